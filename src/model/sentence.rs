//! What stands behind the last layer of a model that is published as an embedder: `modules.json` of sentence-transformers lists
//! it, and each module has a folder with a config.json of its own.

use std::path::{Component, Path};

use serde_json::Value;

use super::config::read::{Reader, shown};
use super::config::{ConfigError, MOST_WIDE};
use super::load::{self, LoadError, read_text};
use super::spec::{Dense, Pooling, Spec, Stage};
use crate::ops::Activation;

/// The modes of `Pooling` under their old keys, and their new names; `None`: it is not implemented.
const MODES: [(&str, &str, Option<Pooling>); 6] = [
    ("pooling_mode_cls_token", "cls", Some(Pooling::First)),
    ("pooling_mode_mean_tokens", "mean", Some(Pooling::Mean)),
    ("pooling_mode_lasttoken", "lasttoken", Some(Pooling::Last)),
    ("pooling_mode_max_tokens", "max", None),
    ("pooling_mode_mean_sqrt_len_tokens", "mean_sqrt_len_tokens", None),
    ("pooling_mode_weightedmean_tokens", "weightedmean", None),
];

/// `torch.nn.functional.normalize` has this.
const SHORTEST: f64 = 1e-12;

impl Spec {
    /// The same as an embedder, where the folder says that it is one: the rows of the last layer become one, and no logits
    /// follow.
    ///
    /// # Errors
    /// A file that cannot be read, or a module that is not implemented.
    pub fn as_published(self, dir: &Path) -> Result<Self, LoadError> {
        let file = dir.join("modules.json");
        if !file.is_file() {
            return Ok(self);
        }
        let embedding = stages(dir, &file)?;
        Ok(if embedding.is_empty() { self } else { Self { head: None, embedding, ..self } })
    }
}

/// The modules behind the transformer.
fn stages(dir: &Path, file: &Path) -> Result<Vec<Stage>, LoadError> {
    let name = load::shown(file);
    // What is read is an object; the list is one under a key here.
    let reader_of = format!("{{\"modules\": {}}}", read_text(file)?);
    let reader = Reader::new(&reader_of, &name)?;
    let modules = reader.get("modules").and_then(Value::as_array);
    let modules = modules.ok_or_else(|| reader.wrong("modules", &Value::Null, "a list of modules"))?;
    let mut stages = Vec::new();
    for module in modules {
        let text = |key: &str| module.get(key).and_then(Value::as_str).unwrap_or_default();
        let (kind, folder) = (text("type").rsplit('.').next().unwrap_or_default(), text("path"));
        match kind {
            "Transformer" | "Dropout" => {}
            "Pooling" => stages.push(Stage::Pool(pooling(&plain(&reader, dir, folder)?)?)),
            "Dense" => stages.push(Stage::Dense(dense(&plain(&reader, dir, folder)?, folder)?)),
            "Normalize" => stages.push(Stage::Unit { eps: SHORTEST }),
            _ => return Err(reader.unsupported("type", &text("type").into(), MODULES_THAT_ARE).into()),
        }
    }
    match stages.first() {
        None | Some(Stage::Pool(_)) => Ok(stages),
        Some(_) => Err(reader.contradiction("no Pooling follows the Transformer".into()).into()),
    }
}

const MODULES_THAT_ARE: &str = "; the modules it has are Transformer, Pooling, Dense, Normalize and Dropout";

/// The config.json of a module, whose folder stands in that of the model.
fn plain(reader: &Reader, dir: &Path, folder: &str) -> Result<std::path::PathBuf, LoadError> {
    match Path::new(folder).components().collect::<Vec<_>>()[..] {
        [Component::Normal(name)] => Ok(dir.join(name).join("config.json")),
        _ => Err(reader.wrong("path", &folder.into(), "the plain name of a folder").into()),
    }
}

fn pooling(file: &Path) -> Result<Pooling, LoadError> {
    let (text, name) = (read_text(file)?, load::shown(file));
    let reader = Reader::new(&text, &name)?;
    let by_flag = |key: &str| reader.flag(key, false);
    let by_name = reader.get("pooling_mode");
    let mut chosen = Vec::new();
    for (key, mode, how) in MODES {
        let named = by_name
            .is_some_and(|value| value == mode || value.as_array().is_some_and(|all| all.contains(&mode.into())));
        if named || by_flag(key)? {
            let hint = "; the modes it has are cls, mean and lasttoken";
            chosen.push(
                how.ok_or_else(|| reader.unsupported(if named { "pooling_mode" } else { key }, &mode.into(), hint))?,
            );
        }
    }
    match (chosen[..].first(), chosen.len()) {
        (Some(how), 1) => Ok(*how),
        _ => Err(reader
            .contradiction(format!("{} modes of pooling are chosen, and one is expected", chosen.len()))
            .into()),
    }
}

fn dense(file: &Path, folder: &str) -> Result<Dense, LoadError> {
    let (text, name) = (read_text(file)?, load::shown(file));
    let reader = Reader::new(&text, &name)?;
    let path = reader.get("activation_function").and_then(Value::as_str).unwrap_or("torch.nn.modules.activation.Tanh");
    let act = match path.rsplit('.').next() {
        Some("Identity") => Activation::Identity,
        Some("Tanh") => Activation::Tanh,
        Some("ReLU") => Activation::Relu,
        Some("GELU") => Activation::Gelu,
        Some("SiLU") => Activation::Silu,
        _ => return Err(reader.unsupported("activation_function", &shown(&path.into()).into(), "").into()),
    };
    let width = reader.size("out_features", 0, MOST_WIDE)?;
    if width == 0 {
        let missing = ConfigError::Contradiction { file: name.clone(), detail: "it has no out_features".into() };
        return Err(missing.into());
    }
    Ok(Dense { folder: folder.to_owned(), width, bias: reader.flag("bias", true)?, act })
}
