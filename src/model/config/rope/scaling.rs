//! One set of RoPE parameters: its type, what that reads, and the share of a head that is rotated. As the functions of
//! `ROPE_INIT_FUNCTIONS` and `standardize_rope_params` of transformers read them.

use std::sync::Arc;

use serde_json::Value;

use super::{ConfigError, Reader, Sizes};
use crate::model::families::RopeRow;
use crate::model::spec::{Growth, Rope, Scaling};
use crate::ops::{Pairs, Yarn};

/// Every type, and those of [`ONE_TYPE`]'s keys that it reads.
const TYPES: [(&str, &[&str]); 8] = [
    ("default", &[]),
    ("linear", &[]),
    ("dynamic", &[]),
    ("yarn", &["attention_factor", "beta_fast", "beta_slow", "mscale", "mscale_all_dim", "truncate"]),
    ("longrope", &["attention_factor", "short_factor", "long_factor"]),
    ("llama3", &[]),
    ("proportional", &[]),
    // What stands beside `alpha` in Hunyuan's files has no effect.
    (ALPHA, &["alpha", "beta_fast", "beta_slow", "mscale", "mscale_all_dim"]),
];

/// What `dynamic` with an `alpha` is called in transformers; no file says it.
const ALPHA: &str = "ntk_alpha";

/// Keys that mean another type than one that does not read them; `mrope_section` is the multimodal one.
const ONE_TYPE: [&str; 10] = [
    "attention_factor",
    "beta_fast",
    "beta_slow",
    "short_factor",
    "long_factor",
    "mscale",
    "mscale_all_dim",
    "truncate",
    SECTIONS,
    "alpha",
];

const SECTIONS: &str = "mrope_section";
const ORIGINAL: &str = "original_max_position_embeddings";
const SHARE: &str = "partial_rotary_factor";

/// Where one set of parameters stands, and what its file and family say beside.
pub(super) struct Source<'a> {
    /// The whole file.
    pub(super) outer: &'a Reader<'a>,
    /// The parameters.
    pub(super) inside: &'a Reader<'a>,
    /// The family's row.
    pub(super) row: &'a RopeRow,
    /// Sizes of the model.
    pub(super) sizes: Sizes,
    /// The base where the parameters have none.
    pub(super) theta: f64,
    /// Whether there is a set for each type of attention: then no key outside of them is looked at.
    pub(super) nested: bool,
    /// `truncate` of YaRN, which transformers reads beside the sets where there are several.
    pub(super) truncate: bool,
}

/// A base.
pub(super) fn theta(reader: &Reader, key: &str, default: f64) -> Result<f64, ConfigError> {
    match reader.get(key) {
        None => Ok(default),
        Some(_) => reader.number(key, default, f64::MIN_POSITIVE),
    }
}

/// Whether the ends of YaRN's ramp are whole pairs.
pub(super) fn truncate(parameters: &Reader) -> Result<bool, ConfigError> {
    match parameters.get("truncate") {
        None => Ok(true),
        Some(_) => parameters.flag("truncate", true),
    }
}

/// The RoPE that a set of parameters describes.
pub(super) fn read(source: &Source) -> Result<Rope, ConfigError> {
    let Source { inside, row, .. } = source;
    let name = source.name()?;
    let own = TYPES.iter().find(|(known, _)| *known == name).map_or(&[][..], |(_, keys)| keys);
    let of_row =
        |key: &str| row.growth == Some(key) || (row.sections && key == SECTIONS) || (row.alpha && key == "alpha");
    if let Some((foreign, value)) =
        ONE_TYPE.iter().filter(|key| !own.contains(*key) && !of_row(key)).find_map(|key| Some((*key, inside.get(key)?)))
    {
        return Err(inside.unsupported(foreign, value, format!(" with RoPE type {name}")));
    }
    let theta = theta(inside, "rope_theta", source.theta)?;
    let dims = source.dims(name)?;
    source.rope(theta, source.scaling(name, dims)?, dims)
}

impl Source<'_> {
    /// The rotation, with what the family's row says of it.
    fn rope(&self, theta: f64, (scaling, factor): (Scaling, f64), dims: usize) -> Result<Rope, ConfigError> {
        let RopeRow { pairs, unless, parted, inside, .. } = *self.row;
        let own = unless.map_or(Ok(true), |key| self.outer.flag(key, true))?;
        let (pairs, parted) = if own { (pairs, parted) } else { (Pairs::Halves, false) };
        let growth = match self.row.growth {
            None => None,
            Some(key) => Some(Growth { by: required(self.inside, key)?, every: self.original()?, ahead: 0 }),
        };
        Ok(Rope { theta, scaling, dims, factor, pairs, parted, inside, growth })
    }

    /// The type, as it is computed.
    fn name(&self) -> Result<&'static str, ConfigError> {
        let inside = self.inside;
        let key = if inside.has("rope_type") { "rope_type" } else { "type" };
        let found = match inside.get(key) {
            None => "default",
            Some(Value::String(name)) => name,
            Some(other) => return Err(inside.wrong(key, other, "a string")),
        };
        if self.row.sections && found == "mrope" {
            return Ok("default");
        }
        let known = || TYPES.iter().map(|(name, _)| *name).filter(|name| *name != ALPHA);
        let taken = if self.row.types.is_empty() {
            known().find(|name| *name == found)
        } else {
            self.row.types.iter().find(|(name, _)| *name == found).map(|(_, computed)| *computed)
        };
        if self.row.alpha
            && taken == Some("dynamic")
            && inside.get("alpha").is_some_and(|alpha| alpha.as_f64() != Some(0.0))
        {
            return Ok(ALPHA);
        }
        taken.ok_or_else(|| {
            let all: Vec<&str> = if self.row.types.is_empty() {
                known().collect()
            } else {
                self.row.types.iter().map(|(name, _)| *name).collect()
            };
            let (last, first) = all.split_last().expect("there is a type");
            let hint = format!("; the RoPE types it has are {} and {last}", first.join(", "));
            inside.unsupported(key, inside.get(key).unwrap_or(&Value::Null), hint)
        })
    }

    /// The share of a head that is rotated: what is inside wins.
    fn share(&self, key: &str, default: f64) -> Result<f64, ConfigError> {
        let (reader, key) = if self.inside.get(SHARE).is_some() { (self.inside, SHARE) } else { (self.outer, key) };
        let Some(value) = reader.get(key) else { return Ok(default) };
        let share = value.as_f64().filter(|share| (0.0..=1.0).contains(share));
        share.ok_or_else(|| reader.wrong(key, value, "a number from 0 to 1"))
    }

    /// How many channels of a head the rotation is of.
    fn dims(&self, name: &str) -> Result<usize, ConfigError> {
        let head = self.sizes.head_dim;
        if name == "proportional" {
            return Ok(head);
        }
        // Where the share has a key as well, that wins.
        let has_share = self.row.share.is_some_and(|(key, _)| {
            self.outer.get(self.row.dims.map_or(key, |(key, _)| key)).is_none()
                || self.inside.get(SHARE).is_some()
                || self.outer.get(key).is_some()
        });
        if let Some((key, default)) = self.row.dims.filter(|_| !has_share) {
            let dims = self.outer.size(key, default, head)?;
            let wrong = || self.outer.contradiction(format!("{key} ({dims}) is odd, and RoPE needs pairs"));
            return dims.is_multiple_of(2).then_some(dims).ok_or_else(wrong);
        }
        let Some((key, default)) = self.row.share else {
            return match self.inside.get(SHARE) {
                Some(value) if value.as_f64() != Some(1.0) => {
                    Err(self.inside.unsupported(SHARE, value, "; it rotates whole heads"))
                }
                _ => Ok(head),
            };
        };
        let share = self.share(key, default)?;
        let dims = (head as f64 * share) as usize;
        if dims < 2 || !dims.is_multiple_of(2) {
            return Err(self.inside.contradiction(format!(
                "{share} of a head of {head} channels is rotated ({SHARE}), which is {dims}, and RoPE needs pairs"
            )));
        }
        Ok(dims)
    }

    /// How the speeds are changed, and what cosines and sines are multiplied by.
    fn scaling(&self, name: &str, dims: usize) -> Result<(Scaling, f64), ConfigError> {
        let (inside, positions) = (self.inside, self.sizes.positions);
        let factor = |scaling: fn(f64) -> Scaling| Ok((scaling(required(inside, "factor")?), 1.0));
        match name {
            "linear" => factor(|factor| Scaling::Linear { factor: factor as f32 }),
            "dynamic" | ALPHA => {
                if dims == 2 {
                    return Err(inside.contradiction("dynamic RoPE needs more than one pair of channels".into()));
                }
                if name == ALPHA {
                    return Ok((Scaling::Ntk { alpha: required(inside, "alpha")? }, 1.0));
                }
                Ok((Scaling::Dynamic { factor: required(inside, "factor")?, positions }, 1.0))
            }
            "yarn" => self.yarn(),
            "longrope" => self.longrope(dims),
            "llama3" => {
                let original = self.original()? as f32;
                let [low, high] = ["low_freq_factor", "high_freq_factor"].map(|key| required(inside, key));
                let (low, high) = (low? as f32, high? as f32);
                if low >= high {
                    return Err(inside.contradiction(format!(
                        "the low_freq_factor of its llama3 RoPE ({low}) must be below the high_freq_factor ({high})"
                    )));
                }
                Ok((Scaling::Llama3 { factor: required(inside, "factor")? as f32, low, high, original }, 1.0))
            }
            "proportional" => {
                let turned = (self.share(SHARE, 1.0)? * dims as f64 / 2.0) as usize;
                let factor = optional(inside, "factor")?.unwrap_or(1.0) as f32;
                Ok((Scaling::Proportional { factor, turned }, 1.0))
            }
            _ => Ok((Scaling::Default, 1.0)),
        }
    }

    fn yarn(&self) -> Result<(Scaling, f64), ConfigError> {
        let inside = self.inside;
        let original = self.original()?;
        // A null is the ratio of both lengths; a missing key is none.
        let factor = if inside.has("factor") && inside.get("factor").is_none() {
            self.sizes.positions as f64 / original
        } else {
            required(inside, "factor")?
        };
        let [fast, slow] = [("beta_fast", 32.0), ("beta_slow", 1.0)].map(|(key, usual)| {
            // A zero is taken for a missing one.
            let given = inside.get(key).filter(|value| value.as_f64() != Some(0.0));
            given.map_or(Ok(usual), |_| required(inside, key))
        });
        let truncate = if self.nested { self.truncate } else { truncate(inside)? };
        let how = Yarn { factor, fast: fast?, slow: slow?, original, truncate };
        let [whole, all_dims] = ["mscale", "mscale_all_dim"].map(|key| match inside.get(key) {
            None => Ok(0.0),
            Some(_) => inside.number(key, 0.0, 0.0),
        });
        let longer = |scale: f64| if factor <= 1.0 { 1.0 } else { 0.1 * scale * factor.ln() + 1.0 };
        let attention = match (optional(inside, "attention_factor")?, whole?, all_dims?) {
            (Some(given), ..) => given,
            (None, whole, all_dims) if whole > 0.0 && all_dims > 0.0 => longer(whole) / longer(all_dims),
            _ => longer(1.0),
        };
        Ok((Scaling::Yarn(how), attention))
    }

    fn longrope(&self, dims: usize) -> Result<(Scaling, f64), ConfigError> {
        let inside = self.inside;
        let original = self.original()?;
        let [short, long] = ["short_factor", "long_factor"].map(|key| numbers(inside, key, dims / 2));
        if self.row.mscales {
            let [of_short, of_long] = ["short_mscale", "long_mscale"].map(|key| required(inside, key));
            let (of_short, of_long, short) = (of_short?, of_long?, short?);
            if of_short != of_long {
                let value = inside.get("long_mscale").unwrap_or(&Value::Null);
                return Err(inside.unsupported("long_mscale", value, format!(" beside a short_mscale of {of_short}")));
            }
            long?;
            return Ok((
                Scaling::LongRope { short: short.clone(), long: short, original: original as usize },
                of_short,
            ));
        }
        let factor = optional(inside, "factor")?.unwrap_or(self.sizes.positions as f64 / original);
        let of_factor = || if factor <= 1.0 { 1.0 } else { (1.0 + factor.ln() / original.ln()).sqrt() };
        let attention = optional(inside, "attention_factor")?.unwrap_or_else(of_factor);
        Ok((Scaling::LongRope { short: short?, long: long?, original: original as usize }, attention))
    }

    /// The positions of the original context: outside wins, as in `standardize_rope_params`.
    fn original(&self) -> Result<f64, ConfigError> {
        let outside = if self.nested { None } else { optional(self.outer, ORIGINAL)? };
        match outside.or(self.row.original.map(|positions| positions as f64)) {
            Some(positions) => Ok(positions),
            None => Ok(optional(self.inside, ORIGINAL)?.unwrap_or(self.sizes.positions as f64)),
        }
    }
}

/// A number above zero that has no default.
fn required(reader: &Reader, key: &str) -> Result<f64, ConfigError> {
    let value = reader.get(key).unwrap_or(&Value::Null);
    let number = value.as_f64().filter(|number| *number > 0.0 && *number <= f64::from(f32::MAX));
    number.ok_or_else(|| reader.wrong(key, value, "a number above 0"))
}

/// A number above zero; `None` when it is missing or null.
fn optional(reader: &Reader, key: &str) -> Result<Option<f64>, ConfigError> {
    reader.get(key).map(|_| required(reader, key)).transpose()
}

/// A list of so many numbers above zero.
fn numbers(reader: &Reader, key: &str, count: usize) -> Result<Arc<[f32]>, ConfigError> {
    let value = reader.get(key).unwrap_or(&Value::Null);
    let list: Option<Arc<[f32]>> = value.as_array().and_then(|list| {
        let positive = |value: &Value| value.as_f64().map(|number| number as f32).filter(|number| *number > 0.0);
        list.iter().map(positive).collect()
    });
    list.filter(|list| list.len() == count)
        .ok_or_else(|| reader.wrong(key, value, format!("a list of {count} numbers above 0, one for each pair")))
}
