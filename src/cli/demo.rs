//! The built-in demo: a small trained Qwen2 model, its PyTorch dump, and the dump of a port that rotates the wrong pairs of
//! channels in layer 2. All of it lies inside the program, so that it works from any directory. How the files were made:
//! `reference/demo/README.md`.

use std::path::PathBuf;
use std::sync::Arc;

use super::input::Loaded;
use super::witness::{Opened, agree};
use crate::dump::{Dump, Options};
use crate::formats::Archive;
use crate::model::{Model, Tokenizer};

const CONFIG: &str = include_str!("../../reference/demo/model/config.json");
const WEIGHTS: &[u8] = include_bytes!("../../reference/demo/model/model.safetensors");
const TOKENIZER: &[u8] = include_bytes!("../../reference/demo/model/tokenizer.json");
const REFERENCE: &[u8] = include_bytes!("../../reference/demo/reference.safetensors");
const CANDIDATE: &[u8] = include_bytes!("../../reference/demo/candidate.safetensors");

/// What the built-in model is called.
pub(super) const NAME: &str = "demo";

/// What is wrong with it.
pub(super) const STORY: &str = "A port of this model gives wrong tokens.";

/// Opens the demo model and both dumps.
pub(super) fn open() -> anyhow::Result<(Loaded, Opened)> {
    let mut model = Model::from_bytes(CONFIG, WEIGHTS)?;
    model.name = NAME.into();
    let model = Arc::new(model);
    let tokenizer = Some(Arc::new(Tokenizer::from_bytes(TOKENIZER, "tokenizer.json of the demo")?));
    let dump = |name: &str, bytes: &'static [u8]| -> anyhow::Result<Option<Dump>> {
        let archive = Archive::from_safetensors_bytes(name, bytes)?;
        Ok(Some(Dump::from_archive(archive, &model.graph, &Options::default())?))
    };
    let (reference, candidate) = (dump("PyTorch", REFERENCE)?, dump("buggy port", CANDIDATE)?);
    let opened = agree(&model, None, reference, candidate)?;
    Ok((Loaded { model, tokenizer, directory: PathBuf::from("demo") }, opened))
}
