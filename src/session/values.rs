//! NAME.safetensors: what was looked at in a session. The tensors lie in it under their names, `engine/2.q_rope`, for other
//! tools to read; what is no tensor (stops, comparisons, pages of the lens) is CBOR in the tensor `views`.

use std::collections::HashMap;
use std::path::Path;

use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize};

use crate::debugger::view::{Header, Stop, Token, Witness};
use crate::debugger::{LensSeen, Look, Looks};
use crate::diagnose::ActivationRow;
use crate::dump::{Aligned, RowSubset};
use crate::engine::{Graph, Site};
use crate::formats::{self, Archive};
use crate::model::fingerprint;
use crate::model::{Fingerprint, Model};

/// The one key of the metadata; its value is the digest of `views`.
const FORMAT: &str = "layerstep.session/1";
/// The tensor of what is no tensor.
const VIEWS: &str = "views";

/// What came of one command of the debugger.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Event {
    /// Which line of the session it is.
    pub line: usize,
    /// The line, as it was typed.
    pub text: String,
    /// Where the debugger stood after it: which forward, and how many ops of it were computed.
    pub forward: usize,
    /// Ops computed of it.
    pub counter: usize,
    /// How often what our engine computes was changed.
    pub variant: usize,
    /// How often the dumps were read again.
    pub reads: usize,
    /// Why it stood there, or what was wrong.
    #[serde(deserialize_with = "stop")]
    pub stop: Result<Stop, String>,
    /// What front ends are told, where that has changed.
    pub header: Option<Header>,
    /// Rows of the listing that patches change.
    pub patched: Vec<usize>,
    /// What was compared since the event before, or judged anew: row and comparison.
    #[serde(deserialize_with = "known")]
    pub rows: Vec<(usize, ActivationRow)>,
}

/// What is no tensor.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Views {
    /// Which session it belongs to.
    pub id: String,
    /// The text of config.json.
    pub config: String,
    /// What front ends were told at the start.
    pub start: Header,
    /// What came of each command of the debugger.
    pub events: Vec<Event>,
    /// Pages of the lens.
    #[serde(deserialize_with = "known")]
    pub lens: Vec<LensSeen>,
    /// Tokens whose texts were said, or stood above a column.
    pub tokens: Vec<Token>,
    /// Every tensor of the model, by its digest.
    pub fingerprint: Fingerprint,
    #[serde(deserialize_with = "known")]
    seen: Vec<Entry>,
}

/// Why the debugger stood somewhere; a reason that only a newer version has is none.
fn stop<'de, D: Deserializer<'de>>(from: D) -> Result<Result<Stop, String>, D::Error> {
    Ok(ciborium::Value::deserialize(from)?.deserialized().unwrap_or(Ok(Stop::Done)))
}

/// A list without what only a newer version has.
fn known<'de, D: Deserializer<'de>, T: DeserializeOwned>(from: D) -> Result<Vec<T>, D::Error> {
    let all = Vec::<ciborium::Value>::deserialize(from)?;
    Ok(all.into_iter().filter_map(|one| one.deserialized().ok()).collect())
}

impl Views {
    /// What a recorder has.
    pub fn new(id: String, config: String, start: Header, events: Vec<Event>, fingerprint: Fingerprint) -> Self {
        Self { id, config, start, events, fingerprint, ..Self::default() }
    }

    /// Every text that a person or a command may have brought in.
    fn texts(&mut self) -> Vec<&mut String> {
        fn of_header(header: &mut Header) -> Vec<&mut String> {
            header.notes.iter_mut().chain([&mut header.model]).collect()
        }
        let mut all = of_header(&mut self.start);
        for event in &mut self.events {
            all.push(&mut event.text);
            all.extend(event.header.iter_mut().flat_map(of_header));
            match &mut event.stop {
                Ok(Stop::Said(lines) | Stop::Patched(lines) | Stop::Yanked(lines)) => all.extend(lines),
                Ok(Stop::Reloaded { sentence, .. }) | Err(sentence) => all.push(sentence),
                Ok(_) => {}
            }
        }
        all.extend(self.seen.iter_mut().flat_map(|entry| &mut entry.notes));
        all.extend(self.lens.iter_mut().flat_map(|seen| &mut seen.page.notes));
        all
    }
}

/// One tensor that was looked at.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Entry {
    tensor: String,
    /// The beginning of the SHA-256 of its bytes.
    digest: String,
    variant: usize,
    forward: usize,
    site: String,
    witness: Witness,
    rows: Vec<usize>,
    first_key: usize,
    notes: Vec<String>,
}

/// All that the file holds.
#[derive(Debug, Default)]
pub struct Values {
    /// What is no tensor.
    pub views: Views,
    /// What was looked at.
    pub seen: HashMap<Look, Aligned>,
}

/// What is wrong with a file of values.
#[derive(Debug, thiserror::Error)]
#[error("{file}: {problem}; replay the session with its model, or fetch the file again")]
pub struct Damaged {
    file: String,
    problem: String,
}

/// The beginning of a SHA-256 is enough: it finds accidents, not forgers.
fn digest(bytes: &[u8]) -> String {
    fingerprint::digest(bytes)[..16].to_string()
}

/// `engine/2.q_rope`, `reference/2.q_rope@1`; with the variant where there is more than one.
fn name_of(look: &Look, graph: &Graph) -> String {
    let variant = if look.variant == 0 { String::new() } else { format!("+{}", look.variant) };
    format!("{}{variant}/{}", look.witness.name(), graph.key(look.site, look.forward))
}

/// The file: what was looked at, by the names of `graph`, and `views`. Returns the bytes, and how many tensors they hold.
///
/// # Errors
/// One sentence: the views cannot be written as CBOR.
pub fn to_bytes(mut views: Views, looks: &Looks, graph: &Graph) -> Result<(Vec<u8>, usize), String> {
    let mut all: Vec<(&Look, &Aligned)> = looks.seen.iter().collect();
    all.sort_by_key(|(look, _)| **look);
    let mut written: Vec<(String, Vec<u8>, Vec<usize>)> = Vec::new();
    // What a patch has not changed is written once.
    let mut known: HashMap<(Site, usize, Witness, String), usize> = HashMap::new();
    views.lens.clone_from(&looks.lens);
    views.tokens = looks.texts.iter().map(|(id, text)| Token { id: *id, text: text.clone() }).collect();
    views.seen.clear();
    for (look, seen) in all {
        let values: Vec<f32> = seen.part.values.iter().copied().collect();
        let bytes: &[u8] = bytemuck::cast_slice(&values);
        let digest = digest(bytes);
        let place = *known.entry((look.site, look.forward, look.witness, digest.clone())).or_insert_with(|| {
            written.push((name_of(look, graph), bytes.to_vec(), seen.part.values.shape().to_vec()));
            written.len() - 1
        });
        views.seen.push(Entry {
            tensor: written[place].0.clone(),
            digest,
            variant: look.variant,
            forward: look.forward,
            site: graph.name(look.site).to_string(),
            witness: look.witness,
            rows: seen.part.rows.clone(),
            first_key: seen.part.first_key,
            notes: seen.notes.clone(),
        });
    }
    let count = written.len();
    let mut cbor = Vec::new();
    ciborium::into_writer(&views, &mut cbor).map_err(|error| format!("the session cannot be written: {error}"))?;
    let tensors = written.iter().map(|(name, bytes, shape)| (name.clone(), &bytes[..], shape.clone())).collect();
    Ok((assembled(tensors, &cbor)?, count))
}

/// The bytes of a file of these tensors and `views`: equal ones where these are equal.
fn assembled(tensors: Vec<(String, &[u8], Vec<usize>)>, cbor: &[u8]) -> Result<Vec<u8>, String> {
    let metadata = HashMap::from([(FORMAT.to_string(), digest(cbor))]);
    let view = |dtype, shape, bytes| TensorView::new(dtype, shape, bytes).map_err(|error| error.to_string());
    let mut all = Vec::new();
    for (name, bytes, shape) in tensors {
        all.push((name, view(Dtype::F32, shape, bytes)?));
    }
    all.push((VIEWS.to_string(), view(Dtype::U8, vec![cbor.len()], cbor)?));
    safetensors::serialize(all, Some(metadata)).map_err(|error| error.to_string())
}

/// The same file, with every text of a person or a command changed: what is sent away must not tell of folders.
///
/// # Errors
/// What is wrong with the file.
pub(super) fn rewrite(bytes: &[u8], file: &str, change: &mut dyn FnMut(&mut String)) -> Result<Vec<u8>, Damaged> {
    let damaged = |problem: String| Damaged { file: file.to_string(), problem: formats::escape(&problem) };
    let mut views = from_bytes(bytes, file)?.views;
    for text in views.texts() {
        change(text);
    }
    let mut cbor = Vec::new();
    ciborium::into_writer(&views, &mut cbor).map_err(|error| damaged(error.to_string()))?;
    let tensors = SafeTensors::deserialize(bytes).map_err(|error| damaged(error.to_string()))?;
    let mut kept: Vec<_> = tensors.tensors().into_iter().filter(|(name, _)| name != VIEWS).collect();
    kept.sort_by(|a, b| a.0.cmp(&b.0));
    let kept = kept.iter().map(|(name, view)| (name.clone(), view.data(), view.shape().to_vec())).collect();
    assembled(kept, &cbor).map_err(damaged)
}

/// Whether a file holds what was looked at in a session: nothing else is ever replaced by it.
pub(super) fn is_one(path: &Path) -> bool {
    Archive::open(path).is_ok_and(|archive| archive.metadata().contains_key(FORMAT))
}

/// Reads a file of values.
///
/// # Errors
/// What is wrong, and with which tensor.
pub fn read(path: &Path) -> Result<Values, Damaged> {
    let file = path.display().to_string();
    let bytes = std::fs::read(path)
        .map_err(|cause| Damaged { file: formats::escape(&file), problem: format!("it cannot be read: {cause}") })?;
    from_bytes(&bytes, &file)
}

/// Reads what [`to_bytes`] has made; `file` is its name in errors.
///
/// # Errors
/// What is wrong, and with which tensor.
pub fn from_bytes(bytes: &[u8], file: &str) -> Result<Values, Damaged> {
    let damaged = |problem: String| Damaged { file: file.to_string(), problem: formats::escape(&problem) };
    let (_, header) = SafeTensors::read_metadata(bytes)
        .map_err(|error| damaged(format!("it is no whole safetensors file: {error}")))?;
    let Some(stored) = header.metadata().as_ref().and_then(|metadata| metadata.get(FORMAT)).cloned() else {
        return Err(damaged(format!("its metadata has no {FORMAT}: it holds no session")));
    };
    let tensors = SafeTensors::deserialize(bytes)
        .map_err(|error| damaged(format!("it is no whole safetensors file: {error}")))?;
    let cbor = tensors.tensor(VIEWS).map_err(|_| damaged(format!("it has no tensor {VIEWS}")))?;
    if digest(cbor.data()) != stored {
        return Err(damaged(format!("the bytes of {VIEWS} are not those that were written")));
    }
    let views: Views =
        ciborium::from_reader(cbor.data()).map_err(|error| damaged(format!("{VIEWS} cannot be read: {error}")))?;
    // Names are those of the model's family. Without its configuration nobody asks for tensors.
    let graph = Model::without_weights(&views.config).map(|model| model.graph).unwrap_or_default();
    let mut seen = HashMap::new();
    for entry in &views.seen {
        let name = &entry.tensor;
        let tensor = tensors.tensor(name).map_err(|_| damaged(format!("it has no tensor {name}")))?;
        if tensor.dtype() != Dtype::F32 || digest(tensor.data()) != entry.digest {
            return Err(damaged(format!("the bytes of {name} are not those that were written")));
        }
        // A newer version may have more.
        let Some(site) = graph.parse(&entry.site) else { continue };
        let look = Look { variant: entry.variant, forward: entry.forward, site, witness: entry.witness };
        let words: Vec<f32> = tensor
            .data()
            .chunks_exact(4)
            .map(|word| f32::from_le_bytes([word[0], word[1], word[2], word[3]]))
            .collect();
        let values = ndarray::ArrayD::from_shape_vec(tensor.shape(), words)
            .map_err(|error| damaged(format!("{name} has another size than its shape: {error}")))?;
        let part = RowSubset { values: values.into_shared(), rows: entry.rows.clone(), first_key: entry.first_key };
        seen.insert(look, Aligned { part, notes: entry.notes.clone() });
    }
    Ok(Values { views, seen })
}
