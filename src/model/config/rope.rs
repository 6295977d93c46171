//! Rotary position embedding as config.json describes it, layer by layer: `rope_theta` with `rope_scaling` (transformers 4),
//! or `rope_parameters` (transformers 5), which may have an entry for each type of attention.
//!
//! Precedence as in `convert_rope_params_to_dict` of transformers: a `rope_scaling` that is not empty wins over
//! `rope_parameters`, and a `rope_theta` inside wins over one outside. Where sliding layers have a RoPE of their own
//! (`Gemma3TextConfig`), `rope_scaling` is that of the other layers.

mod scaling;

use serde_json::{Map, Value};

use super::{
    ConfigError,
    listed::listed,
    read::{Reader, shown},
    window,
};
use crate::model::families::{Family, RopeRow, Rotated, Windows};
use crate::model::row::POSITIONS;
use crate::model::spec::Rope;
use scaling::Source;

/// The sizes that rotations depend on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sizes {
    /// `max_position_embeddings`.
    pub(super) positions: usize,
    /// Width of one head.
    pub(super) head_dim: usize,
    /// The same in layers without a window, where those have another RoPE.
    pub(super) global: usize,
}

/// How each layer rotates; `types` are those that `layer_types` lists.
pub(super) fn per_layer(
    reader: &Reader,
    family: &Family,
    windows: &[Option<usize>],
    types: Option<&[bool]>,
    sizes: Sizes,
) -> Result<Vec<Option<Rope>>, ConfigError> {
    let Some(row) = &family.rope else { return Ok(vec![None; windows.len()]) };
    let slides = |layer: usize| types.map_or(windows[layer].is_some(), |types| types[layer]);
    let rotated = rotated(reader, row.layers, windows)?;
    let read = Read { reader, family, row, sizes };
    let (full, sliding) = match row.sliding {
        None => {
            let one = read.one_for_all(types)?;
            refuse_idle(reader, row, one.theta)?;
            (one.clone(), one)
        }
        Some((key, default)) => read.one_for_each(key, default)?,
    };
    let of = |layer: usize| if slides(layer) { &sliding } else { &full };
    Ok(rotated.into_iter().enumerate().map(|(layer, rotated)| rotated.then(|| of(layer).clone())).collect())
}

/// Refuses another base where the class does not look for it: engines may rotate by that one.
fn refuse_idle(reader: &Reader, row: &RopeRow, theta: f64) -> Result<(), ConfigError> {
    match row.idle.and_then(|key| Some((key, reader.get(key)?))) {
        Some((key, value)) if value.as_f64() != Some(theta) => Err(reader.contradiction(format!(
            "{key} is {}, and transformers rotates by {}, which is {theta}; write the same under both",
            shown(value),
            row.theta
        ))),
        _ => Ok(()),
    }
}

/// Which layers are rotated.
fn rotated(reader: &Reader, layers: Rotated, windows: &[Option<usize>]) -> Result<Vec<bool>, ConfigError> {
    match layers {
        Rotated::WindowedIfAny if windows.iter().any(Option::is_some) => {
            Ok(windows.iter().map(Option::is_some).collect())
        }
        Rotated::All | Rotated::WindowedIfAny => Ok(vec![true; windows.len()]),
        Rotated::Windowed => Ok(windows.iter().map(Option::is_some).collect()),
        Rotated::Never => Ok(vec![false; windows.len()]),
        Rotated::Listed { .. } => listed(reader, layers, windows.len()),
        Rotated::IfSaid => match reader.get(POSITIONS) {
            None => Ok(vec![false; windows.len()]),
            Some(word) if word == "rope" || word == "nope" => Ok(vec![word == "rope"; windows.len()]),
            Some(word) => Err(reader.unsupported(POSITIONS, word, "; it has rope and nope")),
        },
    }
}

/// What is read, and for what.
#[derive(Clone, Copy)]
struct Read<'a> {
    reader: &'a Reader<'a>,
    family: &'a Family,
    row: &'a RopeRow,
    sizes: Sizes,
}

impl<'a> Read<'a> {
    /// The object under a key; `None` when it is missing, null or empty.
    fn object(&self, key: &str) -> Result<Option<&'a Map<String, Value>>, ConfigError> {
        match self.reader.get(key) {
            None => Ok(None),
            Some(Value::Object(keys)) => Ok(Some(keys).filter(|keys| !keys.is_empty())),
            Some(other) => Err(self.reader.wrong(key, other, "an object or null")),
        }
    }

    /// One set of parameters.
    fn rope(&self, inside: &Reader, theta: f64, nested: bool, truncate: bool) -> Result<Rope, ConfigError> {
        scaling::read(&Source { outer: self.reader, inside, row: self.row, sizes: self.sizes, theta, nested, truncate })
    }

    /// Parameters that are there, or those of plain RoPE.
    fn rope_or_plain(&self, inside: Option<&Reader>, theta: f64) -> Result<Rope, ConfigError> {
        let empty = self.reader.inside("", &Map::new());
        self.rope(inside.unwrap_or(&empty), theta, inside.is_some(), true)
    }

    /// What stands for missing `rope_parameters`.
    fn missing(&self) -> Option<Map<String, Value>> {
        let is_missing = ["rope_scaling", "rope_parameters"].iter().all(|key| self.reader.get(key).is_none());
        let said = self.row.missing;
        (is_missing && !said.is_empty()).then(|| serde_json::from_str(said).expect("what a row says is JSON"))
    }

    /// Where all layers that are rotated are rotated alike.
    fn one_for_all(&self, types: Option<&[bool]>) -> Result<Rope, ConfigError> {
        let theta = scaling::theta(self.reader, self.row.theta, self.family.defaults.rope_theta)?;
        let mut found = None;
        for key in ["rope_scaling", "rope_parameters"] {
            found = found.or(self.object(key)?.map(|keys| (key, keys)));
        }
        let missing = self.missing();
        found = found.or(missing.as_ref().map(|keys| ("rope_parameters", keys)));
        let Some((key, keys)) = found else { return self.rope_or_plain(None, theta) };
        let inside = self.reader.inside(key, keys);
        let truncate = scaling::truncate(&inside)?;
        if !window::nested(keys) {
            return self.rope(&inside, theta, false, truncate);
        }
        if !matches!(self.family.windows, Windows::ByLayer { .. } | Windows::AllBut { .. }) {
            let hint = format!(", since layers of model_type {} have no attention types", self.family.name);
            return Err(self.reader.unsupported(key, &Value::Object(keys.clone()), hint));
        }
        let mut ropes = Vec::new();
        for name in window::used_types(types) {
            match keys.get(name) {
                Some(Value::Object(inner)) => {
                    ropes.push(self.rope(&inside.inside(name, inner), theta, true, truncate)?);
                }
                // Without a list of layer types every layer may be full, and the entry for the other type may be missing.
                None if types.is_none() => {}
                other => {
                    return Err(inside.wrong(name, other.unwrap_or(&Value::Null), "the RoPE parameters of its layers"));
                }
            }
        }
        match ropes.as_slice() {
            [first, rest @ ..] if rest.iter().all(|rope| rope == first) => Ok(first.clone()),
            _ => {
                let hint = format!(": one RoPE for all layers is what model_type {} has", self.family.name);
                Err(self.reader.unsupported(key, &Value::Object(keys.clone()), hint))
            }
        }
    }

    /// Where sliding layers have another one than full ones: these two, the full ones' first.
    fn one_for_each(&self, key: Option<&str>, default: f64) -> Result<(Rope, Rope), ConfigError> {
        let theta = scaling::theta(self.reader, self.row.theta, self.family.defaults.rope_theta)?;
        let local = key.map_or(Ok(default), |key| scaling::theta(self.reader, key, default))?;
        let refuse = |key: &str, keys: &Map<String, Value>, expected: &str| {
            let hint = format!(": model_type {} has {expected}", self.family.name);
            Err(self.reader.unsupported(key, &Value::Object(keys.clone()), hint))
        };
        let scaling = self.object("rope_scaling")?;
        if let Some(keys) = scaling.filter(|keys| window::nested(keys)) {
            return refuse("rope_scaling", keys, "one set of parameters there, that of full_attention");
        }
        let missing = self.missing();
        let parameters = self.object("rope_parameters")?.or(missing.as_ref());
        if let Some(keys) = parameters.filter(|keys| !window::nested(keys)) {
            return refuse("rope_parameters", keys, "an entry there for each of full_attention and sliding_attention");
        }
        let all = parameters.map(|keys| self.reader.inside("rope_parameters", keys));
        let truncate = all.as_ref().map_or(Ok(true), scaling::truncate)?;
        let of_type = |name: &str, more: Option<&Map<String, Value>>, theta: f64| {
            let entry = match parameters.and_then(|keys| keys.get(name)) {
                Some(Value::Object(keys)) => keys.clone(),
                Some(Value::Null) | None => Map::new(),
                Some(other) => {
                    return Err(self.reader.wrong(&format!("rope_parameters.{name}"), other, "an object or null"));
                }
            };
            let inside = match (more, &all) {
                (Some(more), _) => self.reader.inside("rope_scaling", &entry.into_iter().chain(more.clone()).collect()),
                (None, Some(all)) => all.inside(name, &entry),
                (None, None) => self.reader.inside(name, &entry),
            };
            let head_dim = if name == window::FULL { self.sizes.global } else { self.sizes.head_dim };
            let sizes = Sizes { head_dim, ..self.sizes };
            Self { sizes, ..*self }.rope(&inside, theta, true, truncate)
        };
        Ok((
            of_type(window::FULL, scaling, theta)?,
            of_type(window::SLIDING, scaling.filter(|_| self.row.scales_all), local)?,
        ))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// The base and the rotated channels of each of four layers of a family like Llama, with this row.
    #[expect(clippy::needless_pass_by_value, reason = "callers write the value on the spot")]
    fn read(row: RopeRow, keys: Value, slides: [bool; 4]) -> Vec<Option<(f64, usize)>> {
        let family = Family { rope: Some(row), ..*Family::of_unknown() };
        let text = keys.to_string();
        let reader = Reader::new(&text, "f").expect("an object");
        let windows = slides.map(|slides| slides.then_some(8));
        let sizes = Sizes { positions: 64, head_dim: 16, global: 16 };
        let ropes =
            per_layer(&reader, &family, &windows, None, sizes).unwrap_or_else(|error| panic!("{keys}: {error}"));
        ropes.into_iter().map(|rope| rope.map(|rope| (rope.theta, rope.dims))).collect()
    }

    const SLIDES: [bool; 4] = [true, true, false, true];

    #[test]
    fn a_share_of_a_head_is_rotated() {
        let row = RopeRow { share: Some(("rotary_pct", 0.25)), theta: "rotary_emb_base", ..RopeRow::HALVES };
        let first = |keys: Value| read(row, keys, SLIDES)[0];
        assert_eq!(first(json!({})), Some((1e4, 4)));
        assert_eq!(first(json!({"rotary_pct": 0.5, "rotary_emb_base": 500.0, "rope_theta": 7.0})), Some((500.0, 8)));
        let inside = json!({"partial_rotary_factor": 1.0, "rope_theta": 700.0});
        assert_eq!(first(json!({"rotary_pct": 0.5, "rope_parameters": inside})), Some((700.0, 16)));
    }

    #[test]
    fn some_layers_are_not_rotated() {
        let which = |layers: Rotated, keys: Value, slides: [bool; 4]| {
            let ropes = read(RopeRow { layers, ..RopeRow::HALVES }, keys, slides);
            ropes.into_iter().map(|rope| rope.is_some()).collect::<Vec<_>>()
        };
        assert_eq!(which(Rotated::Windowed, json!({}), SLIDES), SLIDES);
        assert_eq!(which(Rotated::Windowed, json!({}), [false; 4]), [false; 4]);
        assert_eq!(which(Rotated::WindowedIfAny, json!({}), SLIDES), SLIDES);
        assert_eq!(which(Rotated::WindowedIfAny, json!({}), [false; 4]), [true; 4]);
        let listed = Rotated::Listed { interval: 4 };
        assert_eq!(which(listed, json!({}), SLIDES), [true, true, true, false]);
        assert_eq!(which(listed, json!({"no_rope_layer_interval": 2}), SLIDES), [true, false, true, false]);
        assert_eq!(which(listed, json!({"no_rope_layers": [0, 1, 1, 0]}), SLIDES), [false, true, true, false]);
    }

    /// `Gemma3TextConfig` of transformers.
    #[test]
    fn sliding_layers_have_a_rope_of_their_own() {
        let row = RopeRow { sliding: Some((Some("rope_local_base_freq"), 1e4)), ..RopeRow::HALVES };
        let of = |keys: Value| read(row, keys, SLIDES).into_iter().map(|rope| rope.map_or(0.0, |rope| rope.0));
        let of = |keys: Value| of(keys).collect::<Vec<_>>();
        assert_eq!(of(json!({})), [1e4; 4]);
        let old = json!({"rope_theta": 5e5, "rope_local_base_freq": 100.0, "rope_scaling": {"type": "linear", "factor": 8.0}});
        assert_eq!(of(old), [100.0, 100.0, 5e5, 100.0]);
        let new = json!({"full_attention": {"rope_theta": 7e5}, "sliding_attention": {"rope_theta": 70.0}});
        assert_eq!(of(json!({"rope_parameters": new, "rope_theta": 9.0})), [70.0, 70.0, 7e5, 70.0]);
        let partly = json!({"full_attention": {"rope_type": "default"}});
        assert_eq!(of(json!({"rope_parameters": partly, "rope_theta": 9.0})), [1e4, 1e4, 9.0, 1e4]);
    }

    #[test]
    fn types_have_the_names_of_the_class() {
        let types = &[("default", "default"), ("su", "longrope")];
        let row = RopeRow { types, original: Some(32), ..RopeRow::HALVES };
        let family = Family { rope: Some(row), ..*Family::of_unknown() };
        let rope = |kind: &str| {
            let (ones, twos) = ([1.0; 8], [2.0; 8]);
            let keys = json!({"rope_scaling": {"type": kind, "short_factor": ones, "long_factor": twos,
                "original_max_position_embeddings": 16}})
            .to_string();
            let reader = Reader::new(&keys, "f").expect("an object");
            let sizes = Sizes { positions: 64, head_dim: 16, global: 16 };
            Ok::<_, ConfigError>(per_layer(&reader, &family, &[None], None, sizes)?.remove(0).expect("it rotates"))
        };
        let su = rope("su").expect("it has that");
        assert_eq!((su.scaling.name(), su.scaling.limit()), ("longrope", Some(32)), "what the class has outside wins");
        let refused = rope("longrope").expect_err("not under that name").to_string();
        assert!(refused.contains("default and su"), "{refused}");
    }
}
