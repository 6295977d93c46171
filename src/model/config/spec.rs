//! From the keys of config.json and a family's row to what the model computes.

use serde_json::Value;

use super::factors::Factors;
use super::kinds::{self, Kinds};
use super::latent;
use super::mlp::Mlps;
use super::read::Reader;
use super::rope::Sizes;
use super::{ConfigError, MOST_LAYERS, MOST_POSITIONS, MOST_WIDE, blocks, mixer, rope, window};
use crate::model::families::{BlockPart, Family, Fused, NormRow, ScaleRow, Windows};
use crate::model::spec::{Around, Attn, Embed, Growth, Head, Layer, Norm, QkNorm, Spec, Wiring};

const TIED: &str = "tie_word_embeddings";

/// What the model computes whose config.json this is.
pub(super) fn spec(reader: &Reader, family: &Family) -> Result<Spec, ConfigError> {
    let (keys, defaults) = (family.keys, family.defaults);
    let other = |key: &str| family.others.iter().find(|(own, other)| *own == key && reader.has(other));
    let size = |key, default, most| reader.size(other(key).map_or(key, |(_, other)| *other), default, most);
    let hidden = size(keys.hidden_size, defaults.hidden_size, MOST_WIDE)?;
    let blocks = blocks::read(reader, family)?;
    let layers = match &blocks {
        Some(parts) => parts.len(),
        None => size(keys.num_hidden_layers, defaults.num_hidden_layers, MOST_LAYERS)?,
    };
    let heads = size(keys.num_attention_heads, defaults.num_attention_heads, MOST_WIDE)?;
    refuse(reader, family)?;
    let eps = keys.eps.map_or(Ok(defaults.eps), |key| reader.number(key, defaults.eps, 0.0))? as f32;
    let norm = norm_of(NormRow { bias: norm_bias(reader, family)?, ..family.norm }, eps);
    let latent = latent::read(reader, family, heads, norm)?;
    let (kv_heads, head_dim) = match &latent {
        Some(latent) => (heads, latent.own + latent.turned),
        None => (key_heads(reader, family, heads)?, head_dim(reader, family, hidden, heads)?),
    };
    let positions = reader.size(keys.max_position_embeddings, defaults.max_position_embeddings, MOST_POSITIONS)?;
    let types = window::layer_types(reader, family, layers)?;
    let windows = window::per_layer(reader, family, layers, types.as_deref())?;
    let kinds = Kinds::read(reader, family, &windows, (heads, kv_heads, head_dim))?;
    let rotated = latent.map_or(head_dim, |latent| latent.turned);
    let sizes = Sizes { positions, head_dim: rotated, global: latent.map_or(kinds.global.head_dim, |_| rotated) };
    let ropes = rope::per_layer(reader, family, &windows, types.as_deref(), sizes)?;
    let scale = scale(reader, family, head_dim, latent.is_some())?;
    let residual_factor = factor(reader, family.residual_factor)?;
    let factors = Factors::read(reader, family)?;
    let by_layer = family.scale_by_layer.map_or(Ok(false), |key| reader.flag(key, false))?;
    let attn = Attn {
        heads,
        kv_heads,
        head_dim,
        latent,
        fused: groups_of(family.fused, kv_heads),
        qkv_bias: reader.on(family.qkv_bias)?,
        o_bias: reader.on(family.o_bias)?,
        clip: cap(reader, family.clip.map(|key| (key, None)))?,
        input_factor: factors.attention[0],
        key_factor: factors.key,
        qk_norm: qk_norm(reader, family, eps)?,
        v_norm: family.v_norm.map(|row| norm_of(row, eps)),
        values_are_keys: false,
        from: None,
        rope: None,
        scale,
        cap: cap(reader, family.score_cap)?,
        window: None,
        both_ways: family.encoder.is_some(),
        chunk: None,
        growth: None,
        sinks: family.sinks,
        gate: family.attn_gate,
        alibi: family.alibi,
    };
    let around = Around { pre: family.around.0.then_some(norm), post: family.around.1.then_some(norm) };
    let wiring = wiring(reader, family)?;
    let shares = matches!(wiring, Wiring::Parallel(_)) && !family.wiring.two_norms;
    let mlp_norms = Around { pre: around.pre.filter(|_| !shares), ..around };
    let mlps = Mlps::read(reader, family, hidden, layers, blocks.as_deref(), norm)?;
    let (is_chunked, growth) = (matches!(family.windows, Windows::Chunks(_)), growth(reader, family)?);
    let mixers = mixer::per_layer(reader, family, layers, blocks.as_deref(), hidden, norm)?;
    let is_abreast = family.mixer.is_some_and(|row| row.abreast);
    let abreast = is_abreast.then_some([factors.mixer[1], factors.attention[1]]);
    let layer = |layer: usize| -> Result<Layer, ConfigError> {
        let scale = if by_layer { scale / (layer + 1) as f64 } else { scale };
        let unnormed = layer == 0 && family.encoder.is_some_and(|encoder| encoder.first_unnormed);
        let rope = ropes[layer].clone();
        let (window, chunk) = if is_chunked { (None, windows[layer]) } else { (windows[layer], None) };
        let growth = growth.filter(|_| rope.is_none());
        let qk_norm = attn.qk_norm.filter(|_| rope.is_some() || !family.qk_norm.is_some_and(|row| row.rotated_only));
        let attn = Attn { qk_norm, rope, scale, window, chunk, growth, ..attn.clone() };
        Ok(Layer {
            attn: kinds.attn(layer, attn),
            mixer: mixers[layer],
            abreast: abreast.filter(|_| mixers[layer].is_some()),
            mlp: kinds.mlp(layer, mlps.of(layer)),
            beside: mlps.beside(layer),
            attn_norms: Around { pre: around.pre.filter(|_| !unnormed), ..around },
            mlp_norms,
            wiring: blocks.as_deref().map_or(wiring, |parts| alone(parts[layer])),
            scale: residual_factor,
            scalar: family.layer_scalar,
        })
    };
    Ok(Spec {
        family: family.name,
        names: family.names,
        is_wrapped: false,
        hidden,
        vocab: reader.size("vocab_size", defaults.vocab_size, MOST_WIDE)?,
        positions,
        embed: embed(reader, family, hidden, positions, norm)?,
        per_layer: kinds::per_layer(reader, family)?,
        layers: (0..layers).map(layer).collect::<Result<_, _>>()?,
        norm: (!family.wiring.post_norm).then_some(norm),
        head: if family.encoder.is_some() { None } else { Some(head(reader, family)?) },
        embedding: Vec::new(),
    })
}

/// From ids to the stream, which is so wide.
fn embed(reader: &Reader, family: &Family, hidden: usize, positions: usize, norm: Norm) -> Result<Embed, ConfigError> {
    let (rows_before, learned) = positions_behind(reader, family, positions)?;
    let own = factor(reader, family.embed_factor)?;
    Ok(Embed {
        width: own_width(reader, family, hidden)?,
        scale: family.embed_scale.then_some((hidden as f64).sqrt() as f32),
        factor: (own != 1.0).then_some(own),
        norm: family.embed_norm.then_some(norm),
        types: token_types(reader, family)?,
        learned: (family.rope.is_none() && !family.alibi).then_some(learned),
        rows_before,
    })
}

/// A factor; 1 where no key says it.
fn factor(reader: &Reader, key: Option<&str>) -> Result<f64, ConfigError> {
    key.map_or(Ok(1.0), |key| reader.number(key, 1.0, f64::MIN_POSITIVE))
}

/// In how many groups q, k and v stand in one matrix.
fn groups_of(fused: Fused, kv_heads: usize) -> Option<usize> {
    match fused {
        Fused::No => None,
        Fused::Blocks => Some(1),
        Fused::ByKeyHead => Some(kv_heads),
    }
}

fn wiring(reader: &Reader, family: &Family) -> Result<Wiring, ConfigError> {
    Ok(if reader.on(family.wiring.parallel)? {
        Wiring::Parallel(family.wiring.order)
    } else if family.wiring.post_norm {
        Wiring::PostNorm
    } else {
        Wiring::Sequential
    })
}

/// Of a block of one part.
fn alone(part: BlockPart) -> Wiring {
    match part {
        BlockPart::Mixer | BlockPart::Attention => Wiring::MixerOnly,
        BlockPart::Mlp | BlockPart::Experts => Wiring::MlpOnly,
    }
}

/// Refuses what changes the mathematics in a way that is not implemented.
fn refuse(reader: &Reader, family: &Family) -> Result<(), ConfigError> {
    for key in family.never {
        if reader.flag(key, false)? {
            return Err(reader.unsupported(key, &true.into(), format!(" for model_type {}", family.name)));
        }
    }
    for (key, texts) in family.only {
        let is_known = |value: &Value| value.as_str().is_some_and(|text| texts.contains(&text));
        if let Some(value) = reader.get(key).filter(|value| !is_known(value)) {
            return Err(reader.unsupported(key, value, format!(" for model_type {}", family.name)));
        }
    }
    Ok(())
}

fn head(reader: &Reader, family: &Family) -> Result<Head, ConfigError> {
    let other = family.others.iter().find(|(own, other)| *own == TIED && reader.has(other));
    Ok(Head {
        tied: reader.flag(other.map_or(TIED, |(_, other)| *other), family.defaults.tie_word_embeddings)?,
        bias: reader.on(family.head_bias)?,
        factor: logit_factor(reader, family)?,
        cap: cap(reader, family.logit_cap)?,
    })
}

/// The width of the table of embeddings, where it is not that of the stream.
fn own_width(reader: &Reader, family: &Family, hidden: usize) -> Result<Option<usize>, ConfigError> {
    let Some(key) = family.embed_width else { return Ok(None) };
    Ok(reader.nullable_size(key, MOST_WIDE)?.filter(|width| *width != hidden))
}

fn norm_bias(reader: &Reader, family: &Family) -> Result<bool, ConfigError> {
    let of_encoder = family.encoder.map_or(Ok(false), |encoder| reader.on(encoder.norm_bias))?;
    Ok(family.norm.bias || of_encoder)
}

/// How many types of tokens there are.
fn token_types(reader: &Reader, family: &Family) -> Result<Option<usize>, ConfigError> {
    let Some(types) = family.encoder.and_then(|encoder| encoder.types) else { return Ok(None) };
    if let Some(kind) = reader.get("position_embedding_type").filter(|kind| *kind != "absolute") {
        return Err(reader.unsupported("position_embedding_type", kind, "; it has absolute"));
    }
    reader.size("type_vocab_size", types, MOST_WIDE).map(Some)
}

/// Rows of the table of positions that stand before that of position 0, and how many positions there are: where they are
/// counted from behind the pad, the table has as many rows as the key says, in all.
fn positions_behind(reader: &Reader, family: &Family, positions: usize) -> Result<(usize, usize), ConfigError> {
    let Some(pad) = family.encoder.and_then(|encoder| encoder.behind_pad) else {
        return Ok((family.rows_before, positions));
    };
    let before = reader.count("pad_token_id", pad, MOST_POSITIONS)? + 1;
    match positions.checked_sub(before).filter(|left| *left > 0) {
        Some(left) => Ok((before, left)),
        None => Err(reader.contradiction(format!(
            "positions are counted from {before}, behind pad_token_id, and the table has {positions} rows"
        ))),
    }
}

fn norm_of(row: NormRow, eps: f32) -> Norm {
    let NormRow { form, offset, weight, bias, rounded_once } = row;
    Norm { form, eps, offset, weight, bias, rounded_once }
}

fn qk_norm(reader: &Reader, family: &Family, eps: f32) -> Result<Option<QkNorm>, ConfigError> {
    let Some(row) = family.qk_norm else { return Ok(None) };
    let found = QkNorm { norm: norm_of(row.norm, eps), over: row.over, after_rope: row.after_rope };
    Ok(reader.on(row.at)?.then_some(found))
}

/// What products of queries and keys are multiplied by.
fn scale(reader: &Reader, family: &Family, head_dim: usize, is_latent: bool) -> Result<f64, ConfigError> {
    Ok(match family.scale {
        ScaleRow::Fixed(scale) => scale,
        ScaleRow::OfWidth if is_latent => (head_dim as f64).sqrt().recip() * latent::score_factor(reader)?,
        ScaleRow::OfWidth => (head_dim as f64).sqrt().recip(),
        ScaleRow::InverseRoot(key, default) => reader.number(key, default, f64::MIN_POSITIVE)?.sqrt().recip(),
        ScaleRow::Own(key, default) => reader.number(key, default, f64::MIN_POSITIVE)?,
    })
}

/// What queries of layers that are not rotated are multiplied by.
fn growth(reader: &Reader, family: &Family) -> Result<Option<Growth>, ConfigError> {
    let Some((flag, [by, every])) = family.growth else { return Ok(None) };
    let number = |(key, default)| reader.number(key, default, f64::MIN_POSITIVE);
    let found = Growth { by: number(by)?, every: number(every)?, ahead: 1 };
    Ok(reader.flag(flag, true)?.then_some(found))
}

/// What logits are multiplied by, where that is not 1.
fn logit_factor(reader: &Reader, family: &Family) -> Result<Option<f64>, ConfigError> {
    let Some(row) = family.logit_factor else { return Ok(None) };
    let found = reader.number(row.key, row.default, f64::MIN_POSITIVE)?;
    Ok((found != 1.0).then_some(if row.divides { found.recip() } else { found }))
}

/// A cap; null is none.
fn cap(reader: &Reader, row: Option<(&str, Option<f64>)>) -> Result<Option<f64>, ConfigError> {
    let Some((key, default)) = row else { return Ok(None) };
    match reader.get(key) {
        Some(_) => reader.number(key, 0.0, f64::MIN_POSITIVE).map(Some),
        None => Ok(default.filter(|_| !reader.has(key))),
    }
}

fn key_heads(reader: &Reader, family: &Family, heads: usize) -> Result<usize, ConfigError> {
    if reader.on(family.one_key_head)? {
        return Ok(1);
    }
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
