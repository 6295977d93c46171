//! The account of a checkpoint: which tensors were wanted, which were there, and which were left.

use std::collections::BTreeMap;

use super::shown;
use crate::model::families::{View, Wrapped};
use crate::model::tensor::{Storage, Tensor, WeightDtype};

/// How many tensors of each kind of problem are listed by name.
const LISTED: usize = 12;

/// Tensors of a checkpoint that have no influence on the forward pass, by the end of their name.
const HARMLESS: [&str; 7] = [
    // The rotation speeds, a buffer that old versions of transformers saved; they are computed from config.json.
    ".rotary_emb.inv_freq",
    // The causal mask, saved by some conversions from GPT-style code.
    ".self_attn.masked_bias",
    ".rotary_emb.original_inv_freq",
    // The same two of GPT-2's own checkpoints.
    ".attn.bias",
    ".attn.masked_bias",
    // And of GPT-NeoX's.
    ".attention.bias",
    ".attention.masked_bias",
];

/// Hands out tensors by name, and remembers what went wrong. A tensor that is missing or misshapen is replaced by an
/// empty one, so that one pass finds every problem; [`close`](Self::close) says whether the result may be used.
pub(super) struct Ledger {
    /// What names may begin with, and what may stand there instead.
    roots: Vec<(&'static str, &'static [&'static str])>,
    /// Whether it holds other models, too.
    is_wrapped: bool,
    /// What may be left away before a name.
    base: &'static str,
    tensors: BTreeMap<String, Tensor>,
    missing: Vec<String>,
    misshapen: Vec<String>,
    dtypes: [(WeightDtype, u64); 3],
    /// Tensors of layers that predict further tokens.
    left: usize,
    /// Tensors of heads that a model without one does not have.
    heads: usize,
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
    /// `others` may stand in the place of `base` before a name; `is_wrapped`: beside other models.
    pub(super) fn new(
        tensors: BTreeMap<String, Tensor>,
        base: &'static str,
        others: &'static [&'static str],
        is_wrapped: bool,
    ) -> Self {
        let roots: Vec<(_, &[&str])> = if is_wrapped {
            vec![(Wrapped::ROOT, Wrapped::ROOTS), ("lm_head.", Wrapped::HEADS)]
        } else {
            vec![(base, others)]
        };
        let dtypes = [WeightDtype::Bf16, WeightDtype::F16, WeightDtype::F32].map(|dtype| (dtype, 0));
        Self { base, roots, is_wrapped, tensors, missing: Vec::new(), misshapen: Vec::new(), dtypes, left: 0, heads: 0 }
    }

    /// The name under which the tensor `name` lies in the file: some checkpoints leave the name of the base model away.
    fn key(&self, name: &str) -> Option<String> {
        let others = self.roots.iter().filter_map(|(root, others)| Some((name.strip_prefix(root)?, *others)));
        let others = others.flat_map(|(rest, others)| others.iter().map(move |other| format!("{other}{rest}")));
        let based = format!("{}{name}", self.base);
        [name.to_owned()].into_iter().chain(others).chain([based]).find(|name| self.tensors.contains_key(name))
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.key(name).is_some()
    }

    /// Whether both are there, with other bytes.
    pub(super) fn differ(&self, name: &str, other: &str) -> bool {
        let of = |name: &str| self.key(name).and_then(|key| self.tensors.get(&key));
        of(name).zip(of(other)).is_some_and(|(a, b)| a.dtype != b.dtype || a.bytes() != b.bytes())
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
        let (name, shape) = (name.to_owned(), vec![0; shape.len()]);
        Tensor { name, shape, transposed: false, dtype: WeightDtype::F32, storage, range: 0..0 }
    }

    /// The matrix `name` of this shape, which is stored `[in, out]`.
    pub(super) fn transposed(&mut self, name: &str, shape: &[usize]) -> Tensor {
        let mut stored = shape.to_vec();
        stored.reverse();
        let tensor = self.take(name, &stored);
        let mut shape = tensor.shape.clone();
        shape.reverse();
        Tensor { shape, transposed: true, ..tensor }
    }

    /// The matrix `name` of this shape, `[channel, tap]`, which is stored as `[channel, 1, tap]`.
    pub(super) fn filters(&mut self, name: &str, shape: &[usize]) -> Tensor {
        let tensor = self.take(name, &[shape[0], 1, shape[1]]);
        Tensor { shape: vec![tensor.shape[0], tensor.shape[2]], ..tensor }
    }

    /// The vector `name` of this shape, which is stored as a matrix.
    pub(super) fn flat(&mut self, name: &str, shape: &[usize]) -> Tensor {
        let stored = self.key(name).and_then(|key| self.tensors.get(&key)).map(|tensor| tensor.shape.clone());
        match stored.filter(|stored| stored.iter().product::<usize>() == shape[0]) {
            Some(stored) => Tensor { shape: shape.to_vec(), ..self.take(name, &stored) },
            None => self.take(name, shape),
        }
    }

    /// The vector of this shape that several make, one after the other; `{}` in `name` is their numbers.
    pub(super) fn joined(&mut self, name: &str, shape: &[usize]) -> Tensor {
        let of = |number: usize| name.replacen("{}", &number.to_string(), 1);
        let count = (0..shape[0]).take_while(|number| self.has(&of(*number))).count();
        if count == 0 || !shape[0].is_multiple_of(count) {
            return self.take(&of(count), shape);
        }
        let parts: Vec<Tensor> = (0..count).map(|number| self.take(&of(number), &[shape[0] / count])).collect();
        let all: Vec<f32> = parts.iter().flat_map(|part| part.vector().to_vec()).collect();
        Tensor::of_vector(&name.replacen("{}", "*", 1), &all)
    }

    /// The matrices or vectors of experts, which are one tensor: `[expert, part * out, in]`, or `[expert, in, out]`, or both
    /// first axes in one.
    pub(super) fn stacked(&mut self, name: &str, count: usize, shape: &[usize], view: View) -> Vec<Tensor> {
        let (part, of) = if let View::Stacked { part, of } = view { (part, of) } else { (0, 1) };
        let transposed = matches!(view, View::StackedTransposed | View::Below { transposed: true }) && shape.len() == 2;
        let mut stored: Vec<usize> = if transposed { vec![shape[1], shape[0]] } else { shape.to_vec() };
        stored[0] *= of;
        if matches!(view, View::Below { .. }) {
            stored[0] *= count;
        } else {
            stored.insert(0, count);
        }
        let all = self.key(name).and_then(|key| self.tensors.get(&key)).cloned();
        // The parts of one tensor are taken one after the other: the last removes it, and finds out what is wrong.
        if part + 1 == of || all.is_none() {
            self.take(name, &stored);
        }
        let Some(all) = all.filter(|all| all.shape == stored) else {
            let storage = std::sync::Arc::new(Storage::Owned(Vec::new()));
            let (name, dtype, shape) = (name.to_owned(), WeightDtype::F32, vec![0; shape.len()]);
            return vec![Tensor { name, shape, transposed: false, dtype, storage, range: 0..0 }; count];
        };
        let bytes = shape.iter().product::<usize>() * all.dtype.size();
        let start = |expert: usize| all.range.start + (expert * of + part) * bytes;
        let one = |expert: usize| Tensor {
            name: format!("{}[{expert}]", all.name),
            shape: shape.to_vec(),
            transposed,
            range: start(expert)..start(expert) + bytes,
            ..all.clone()
        };
        (0..count).map(one).collect()
    }

    /// Tensors of layers from one on are left, `layers` standing before their number, and those of a module that is called
    /// `mtp`.
    pub(super) fn leave_layers_from(&mut self, layers: &str, first: usize) {
        let (bare, before) = (layers.trim_start_matches(self.base), self.tensors.len());
        self.tensors.retain(|name, _| {
            let rest = [layers, bare].into_iter().find_map(|layers| name.strip_prefix(layers)?.strip_prefix('.'));
            let number = rest.and_then(|rest| rest.split('.').next()?.parse::<usize>().ok());
            number.is_none_or(|number| number < first) && !name.starts_with("mtp.")
        });
        self.left = before - self.tensors.len();
    }

    /// Tensors of heads are left: what a model without one is published with.
    pub(super) fn leave_heads(&mut self) {
        const HEADS: [&str; 7] = ["lm_head.", "cls.", "head.", "decoder.", "classifier.", "score.", "pooler."];
        let (base, before) = (self.base, self.tensors.len());
        self.tensors.retain(|name, _| {
            let own = name.strip_prefix(base).unwrap_or(name);
            !HEADS.iter().any(|head| own.starts_with(head))
        });
        self.heads = before - self.tensors.len();
    }

    pub(super) fn close(self) -> Account {
        let Self { mut tensors, missing, misshapen, mut dtypes, is_wrapped, left, heads, .. } = self;
        let count = tensors.len();
        let mut first_other = None;
        tensors.retain(|name, _| {
            let is_other = is_wrapped && Wrapped::is_other(name);
            if is_other && first_other.is_none() {
                first_other = Some(name.clone());
            }
            !is_other
        });
        let others = count - tensors.len();
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
        if left > 0 {
            notes.push(format!("{left} tensor(s) of layers behind the last are not used: they predict further tokens"));
        }
        if let Some(first) = first_other {
            let name = shown(&first);
            notes.push(format!(
                "{others} tensor(s) like {name} are passed over: they are of other parts than the language model"
            ));
        }
        if heads > 0 {
            notes.push(format!(
                "{heads} tensor(s) of a head or a pooler are not used: what is compared ends before them"
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
