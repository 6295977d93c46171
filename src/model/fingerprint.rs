//! Which model it is: digests of its configuration and of each tensor, however they lie in files.

mod cache;

use std::collections::BTreeMap;
use std::fmt::Write as _;

use rayon::iter::{IntoParallelIterator, ParallelIterator};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::load::shown;
use super::tensor::Tensor;
use super::weights::Model;

pub use cache::Cache;

/// SHA-256 of everything that decides what a model computes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fingerprint {
    /// Of the bytes of config.json.
    pub config: String,
    /// By name: dtype, shape, and the digest of them and of the bytes, as in `bf16 [64, 896] 0f3a...`.
    pub tensors: BTreeMap<String, String>,
}

/// Bytes of a tensor that are hashed before progress is told.
const PIECE: usize = 16 << 20;

/// How many tensors of a kind of difference are named.
const NAMED: usize = 3;

/// The SHA-256 of some bytes, in hexadecimal digits.
pub fn digest(bytes: &[u8]) -> String {
    hexadecimal(&Sha256::digest(bytes))
}

/// Bytes in hexadecimal digits.
pub(crate) fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        write!(text, "{byte:02x}").expect("writing to a String cannot fail");
        text
    })
}

impl Fingerprint {
    /// Reads all weights of a model, on all threads. `progress` is told how many more bytes have been read, and says
    /// whether to go on; `None` if it did not.
    pub fn of(model: &Model, progress: impl Fn(u64) -> bool + Sync) -> Option<Self> {
        let tensors: Vec<&Tensor> = model.tensors.values().collect();
        let tensors: Option<BTreeMap<String, String>> =
            tensors.into_par_iter().map(|tensor| Some((tensor.name.clone(), of_tensor(tensor, &progress)?))).collect();
        Some(Self { config: digest(model.config_json.as_bytes()), tensors: tensors? })
    }

    /// One digest of all tensors and their names.
    pub fn weights(&self) -> String {
        let mut hash = Sha256::new();
        for (name, tensor) in &self.tensors {
            // Lengths, so that no two lists of tensors are the same bytes.
            for text in [name, tensor] {
                hash.update((text.len() as u64).to_le_bytes());
                hash.update(text);
            }
        }
        hexadecimal(&hash.finalize())
    }

    /// What is different in `other`, in words; nothing if it is the same model.
    pub fn differences(&self, other: &Self) -> Vec<String> {
        let mut found = Vec::new();
        if self.config != other.config {
            found.push("config.json is another".to_owned());
        }
        let (mut values, mut shapes, mut missing) = (Vec::new(), Vec::new(), Vec::new());
        for (name, tensor) in &self.tensors {
            match other.tensors.get(name) {
                None => missing.push(shown(name)),
                Some(now) if now == tensor => {}
                Some(now) if form(now) == form(tensor) => values.push(shown(name)),
                Some(now) => {
                    shapes.push(format!("{} ({}, was {})", shown(name), shown(form(now)), shown(form(tensor))));
                }
            }
        }
        let new = other.tensors.keys().filter(|name| !self.tensors.contains_key(*name)).map(shown).collect();
        if values.len() > NAMED && values.len() == self.tensors.len() {
            found.push(format!("all {} tensors have other values", values.len()));
            values.clear();
        }
        let kinds = [(values, "other values"), (shapes, "another shape or dtype"), (missing, "gone"), (new, "new")];
        found.extend(kinds.into_iter().filter(|(names, _)| !names.is_empty()).map(|(names, what)| tell(&names, what)));
        found
    }
}

/// `2 tensors have other values: a, b`.
fn tell(names: &[String], what: &str) -> String {
    let one = names.len() == 1;
    let verb = match (what, one) {
        ("gone" | "new", true) => "is",
        ("gone" | "new", false) => "are",
        (_, true) => "has",
        (_, false) => "have",
    };
    let more = names.len().saturating_sub(NAMED);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    let listed = names[..names.len().min(NAMED)].join(", ");
    format!("{} tensor{} {verb} {what}: {listed}{more}", names.len(), if one { "" } else { "s" })
}

/// Dtype and shape, of the text for a tensor.
fn form(tensor: &str) -> &str {
    tensor.rsplit_once(' ').map_or(tensor, |(form, _)| form)
}

fn of_tensor(tensor: &Tensor, progress: &impl Fn(u64) -> bool) -> Option<String> {
    let form = format!("{} {:?}", tensor.dtype.label(), tensor.shape);
    let mut hash = Sha256::new();
    hash.update(format!("{form}\n"));
    for piece in tensor.bytes().chunks(PIECE) {
        hash.update(piece);
        if !progress(piece.len() as u64) {
            return None;
        }
    }
    Some(format!("{form} {}", hexadecimal(&hash.finalize())))
}
