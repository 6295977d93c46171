//! From the keys of config.json and a family's row to what the model computes.

use super::read::Reader;
use super::rope::Sizes;
use super::{ConfigError, MOST_LAYERS, MOST_POSITIONS, MOST_WIDE, rope, window};
use crate::model::families::{Family, Switch};
use crate::model::spec::{Around, Attn, Embed, Feed, Head, Layer, Mlp, Norm, Router, Spec};

/// What the model computes whose config.json this is.
pub(super) fn spec(reader: &Reader, family: &Family) -> Result<Spec, ConfigError> {
    let (keys, defaults) = (family.keys, family.defaults);
    let hidden = reader.size(keys.hidden_size, defaults.hidden_size, MOST_WIDE)?;
    let layers = reader.size(keys.num_hidden_layers, defaults.num_hidden_layers, MOST_LAYERS)?;
    let heads = reader.size(keys.num_attention_heads, defaults.num_attention_heads, MOST_WIDE)?;
    let (kv_heads, head_dim) = (key_heads(reader, family, heads)?, head_dim(reader, family, hidden, heads)?);
    let positions = reader.size(keys.max_position_embeddings, defaults.max_position_embeddings, MOST_POSITIONS)?;
    let types = window::layer_types(reader, family, layers)?;
    let windows = window::per_layer(reader, family, layers, types.as_deref())?;
    let ropes = rope::per_layer(reader, family, &windows, types.as_deref(), Sizes { positions, head_dim })?;
    let norm = Norm {
        form: family.norm.form,
        eps: reader.number(keys.eps, defaults.eps, 0.0)? as f32,
        offset: family.norm.offset,
        bias: family.norm.bias,
        rounded_once: family.norm.rounded_once,
    };
    let scale = match family.scale {
        None => (head_dim as f64).sqrt().recip(),
        Some((key, default)) => reader.number(key, default, f64::MIN_POSITIVE)?.sqrt().recip(),
    };
    let by_layer = family.scale_by_layer.map_or(Ok(false), |key| reader.flag(key, false))?;
    let attn = Attn {
        heads,
        kv_heads,
        head_dim,
        fused: family.fused,
        qkv_bias: on(reader, family.qkv_bias)?,
        o_bias: on(reader, family.o_bias)?,
        qk_norm: family.qk_norm.then_some(norm),
        rope: None,
        scale,
        cap: cap(reader, family.score_cap)?,
        window: None,
    };
    let around = Around { pre: family.around.0.then_some(norm), post: family.around.1.then_some(norm) };
    let mlps = Mlps::read(reader, family, hidden)?;
    let layer = |layer: usize| -> Result<Layer, ConfigError> {
        let scale = if by_layer { scale / (layer + 1) as f64 } else { scale };
        let attn = Attn { window: windows[layer], rope: ropes[layer].clone(), scale, ..attn.clone() };
        Ok(Layer { attn, mlp: mlps.of(layer), attn_norms: around, mlp_norms: around })
    };
    Ok(Spec {
        family: family.name,
        names: family.names,
        hidden,
        vocab: reader.size("vocab_size", defaults.vocab_size, MOST_WIDE)?,
        positions,
        embed: Embed {
            scale: family.embed_scale.then_some((hidden as f64).sqrt() as f32),
            learned: family.rope.is_none().then_some(positions),
        },
        layers: (0..layers).map(layer).collect::<Result<_, _>>()?,
        norm,
        head: Head {
            tied: reader.flag("tie_word_embeddings", defaults.tie_word_embeddings)?,
            cap: cap(reader, family.logit_cap)?,
        },
    })
}

fn on(reader: &Reader, switch: Switch) -> Result<bool, ConfigError> {
    match switch {
        Switch::Never => Ok(false),
        Switch::Always => Ok(true),
        Switch::Key(key) => reader.flag(key, false),
    }
}

/// A cap; null is none.
fn cap(reader: &Reader, row: Option<(&str, f64)>) -> Result<Option<f64>, ConfigError> {
    let Some((key, default)) = row else { return Ok(None) };
    if reader.has(key) && reader.get(key).is_none() {
        return Ok(None);
    }
    reader.number(key, default, f64::MIN_POSITIVE).map(Some)
}

fn key_heads(reader: &Reader, family: &Family, heads: usize) -> Result<usize, ConfigError> {
    let Some(key) = family.keys.num_key_value_heads else { return Ok(heads) };
    let found = match reader.nullable_size(key, MOST_WIDE)? {
        Some(heads) => heads,
        None if reader.has(key) => heads,
        None => family.defaults.num_key_value_heads.unwrap_or(heads),
    };
    if !heads.is_multiple_of(found) {
        return Err(reader.contradiction(format!(
            "{} ({heads}) is not a multiple of {key} ({found}), so query heads cannot share key heads evenly",
            family.keys.num_attention_heads
        )));
    }
    Ok(found)
}

fn head_dim(reader: &Reader, family: &Family, hidden: usize, heads: usize) -> Result<usize, ConfigError> {
    let (hidden_key, heads_key) = (family.keys.hidden_size, family.keys.num_attention_heads);
    let divided = hidden.is_multiple_of(heads);
    let width = match family.keys.head_dim {
        None => hidden / heads,
        Some(key) => match reader.nullable_size(key, MOST_WIDE)? {
            Some(width) => width,
            None if reader.has(key) => hidden / heads,
            None => family.defaults.head_dim.unwrap_or(hidden / heads),
        },
    };
    // The classes of some families check it whatever the width of a head is.
    if family.whole_heads && !divided {
        return Err(reader.contradiction(format!("{hidden_key} ({hidden}) is not a multiple of {heads_key} ({heads})")));
    }
    let whole = family.rope.is_some_and(|row| row.share.is_none());
    if width == 0 || (whole && !width.is_multiple_of(2)) || heads.saturating_mul(width) > MOST_WIDE {
        return Err(reader.contradiction(format!(
            "the width of a head (head_dim, else {hidden_key} / {heads_key}) is {width}, and RoPE needs an even width \
             whose product with {heads_key} ({heads}) is at most {MOST_WIDE}"
        )));
    }
    Ok(width)
}

/// The MLP of each layer.
struct Mlps {
    dense: Mlp,
    sparse: Option<Mlp>,
    step: usize,
    dense_layers: Vec<u64>,
}

impl Mlps {
    fn read(reader: &Reader, family: &Family, hidden: usize) -> Result<Self, ConfigError> {
        let (keys, defaults) = (family.keys, family.defaults);
        let width = match defaults.intermediate_size {
            Some(default) => reader.size(keys.intermediate_size, default, MOST_WIDE)?,
            None => reader.nullable_size(keys.intermediate_size, MOST_WIDE)?.unwrap_or(4 * hidden),
        };
        let feed = Feed { width, act: reader.activation(keys.act, defaults.act)?, bias: on(reader, family.mlp_bias)? };
        let dense = if family.gated { Mlp::Gated(feed) } else { Mlp::Plain(feed) };
        let Some(row) = family.experts else {
            return Ok(Self { dense, sparse: None, step: 1, dense_layers: Vec::new() });
        };
        let (names, default) = row.count;
        let key = names.iter().copied().find(|key| reader.has(key)).unwrap_or(names[0]);
        let count = reader.size(key, default, MOST_LAYERS)?;
        let top_k = reader.size("num_experts_per_tok", row.top_k, MOST_LAYERS)?;
        if top_k > count {
            return Err(reader.contradiction(format!("num_experts_per_tok ({top_k}) is more than {key} ({count})")));
        }
        let router =
            Router { top_k, renormalise: on(reader, row.renormalise)?, softmax_after: false, rounded: row.rounded };
        let feed = Feed { width: reader.size(row.width.0, row.width.1, MOST_WIDE)?, ..feed };
        let step = if row.some_layers { reader.size("decoder_sparse_step", 1, MOST_LAYERS)? } else { 1 };
        let dense_layers = if row.some_layers { reader.integers("mlp_only_layers")? } else { Vec::new() };
        Ok(Self { dense, sparse: Some(Mlp::Experts { feed, count, router }), step, dense_layers })
    }

    fn of(&self, layer: usize) -> Mlp {
        let is_dense = self.dense_layers.contains(&(layer as u64)) || !(layer + 1).is_multiple_of(self.step);
        match &self.sparse {
            Some(sparse) if !is_dense => sparse.clone(),
            _ => self.dense.clone(),
        }
    }
}
