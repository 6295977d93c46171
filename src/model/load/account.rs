//! The account of a checkpoint: which tensors were wanted, which were there, and which were left.

use std::collections::BTreeMap;

use ndarray::Array1;

use super::shown;
use crate::model::weights::{Storage, Tensor, WeightDtype};

/// How many tensors of each kind of problem are listed by name.
const LISTED: usize = 12;

/// Tensors of a checkpoint that have no influence on the forward pass, by the end of their name.
const HARMLESS: [&str; 3] = [
    // The rotation speeds, a buffer that old versions of transformers saved; they are computed from config.json.
    ".rotary_emb.inv_freq",
    // The causal mask, saved by some conversions from GPT-style code.
    ".self_attn.masked_bias",
    ".rotary_emb.original_inv_freq",
];

/// Hands out tensors by name, and remembers what went wrong. A tensor that is missing or misshapen is replaced by an
/// empty one, so that one pass finds every problem; [`close`](Self::close) says whether the result may be used.
pub(super) struct Ledger {
    tensors: BTreeMap<String, Tensor>,
    missing: Vec<String>,
    misshapen: Vec<String>,
    dtypes: [(WeightDtype, u64); 3],
}

/// The closing balance.
pub(super) struct Account {
    /// One sentence that names all problems.
    pub(super) problems: Option<String>,
    pub(super) notes: Vec<String>,
    pub(super) dtype_label: String,
    pub(super) bytes: u64,
}

impl Ledger {
    pub(super) fn new(tensors: BTreeMap<String, Tensor>) -> Self {
        let dtypes = [WeightDtype::Bf16, WeightDtype::F16, WeightDtype::F32].map(|dtype| (dtype, 0));
        Self { tensors, missing: Vec::new(), misshapen: Vec::new(), dtypes }
    }

    /// The name under which the tensor `name` lies in the file: some checkpoints leave the `model.` away.
    fn key(&self, name: &str) -> Option<String> {
        let bare = name.strip_prefix("model.").unwrap_or(name);
        [name, bare].into_iter().find(|name| self.tensors.contains_key(*name)).map(str::to_owned)
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.key(name).is_some()
    }

    /// Whether nothing is wrong so far.
    pub(super) fn is_clean(&self) -> bool {
        self.missing.is_empty() && self.misshapen.is_empty()
    }

    /// The tensor `name`, which must have this shape.
    pub(super) fn take(&mut self, name: &str, shape: &[usize]) -> Tensor {
        let tensor = self.key(name).and_then(|key| self.tensors.remove(&key));
        match tensor {
            Some(tensor) if tensor.shape == shape => {
                let bytes = tensor.range.len() as u64;
                self.dtypes.iter_mut().filter(|(dtype, _)| *dtype == tensor.dtype).for_each(|(_, sum)| *sum += bytes);
                return tensor;
            }
            Some(tensor) => {
                self.misshapen.push(format!(
                    "{} is {:?} where {shape:?} was expected",
                    shown(&tensor.name),
                    tensor.shape
                ));
            }
            None => self.missing.push(format!("{name} {shape:?}")),
        }
        let storage = std::sync::Arc::new(Storage::Owned(Vec::new()));
        Tensor { name: name.to_owned(), shape: vec![0; shape.len()], dtype: WeightDtype::F32, storage, range: 0..0 }
    }

    /// The values of the vector `name`.
    pub(super) fn vector(&mut self, name: &str, length: usize) -> Array1<f32> {
        self.take(name, &[length]).vector()
    }

    pub(super) fn close(self) -> Account {
        let Self { tensors, missing, misshapen, mut dtypes } = self;
        let (harmless, unused): (Vec<_>, Vec<_>) =
            tensors.into_values().partition(|tensor| HARMLESS.iter().any(|end| tensor.name.ends_with(end)));
        let unused: Vec<String> =
            unused.iter().map(|tensor| format!("{} {:?}", shown(&tensor.name), tensor.shape)).collect();
        let problems: Vec<String> = [(missing, "missing"), (misshapen, "of another shape"), (unused, "not used")]
            .into_iter()
            .filter(|(names, _)| !names.is_empty())
            .map(|(names, what)| format!("{} {what}: {}", names.len(), list(&names)))
            .collect();
        let mut notes = Vec::new();
        if let Some(first) = harmless.first() {
            let name = shown(&first.name);
            notes.push(format!(
                "{} tensor(s) like {name} are not used: they are computed from config.json",
                harmless.len()
            ));
        }
        dtypes.sort_by_key(|(_, bytes)| std::cmp::Reverse(*bytes));
        let labels: Vec<&str> = dtypes.iter().filter(|(_, bytes)| *bytes > 0).map(|(dtype, _)| dtype.label()).collect();
        Account {
            problems: (!problems.is_empty()).then(|| problems.join("; ")),
            notes,
            dtype_label: labels.join(" and "),
            bytes: dtypes.iter().map(|(_, bytes)| bytes).sum(),
        }
    }
}

fn list(names: &[String]) -> String {
    let listed = names.iter().take(LISTED).map(String::as_str).collect::<Vec<_>>().join(", ");
    match names.len().saturating_sub(LISTED) {
        0 => listed,
        more => format!("{listed} and {more} more"),
    }
}
