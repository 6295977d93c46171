//! What attention does.

use super::{Said, listed, norm_said, short};
use crate::model::spec::{Attn, Growth, Latent, Layer, Over, QkNorm, Rope, Scaling};
use crate::ops::{Inside, Pairs, Yarn};

/// The matrices of queries, keys and values.
pub(super) fn projections(layer: &Layer) -> Said {
    let Attn { fused, qkv_bias, values_are_keys, from, v_norm, clip, latent, gate, input_factor, key_factor, .. } =
        &layer.attn;
    if let Some(latent) = latent {
        return narrow(latent, *qkv_bias);
    }
    let matrices = match fused {
        _ if from.is_some() => "one matrix of queries; keys and values are those of an earlier layer",
        None if *values_are_keys => "two matrices: values are keys before their norm",
        None => "three matrices",
        Some(1) => "one matrix, blocks [q | k | v]",
        Some(_) => "one matrix: the queries of a key head, its key, its value, then those of the next",
    };
    let (how, of_norm) = v_norm.filter(|_| from.is_none()).map(|norm| norm_said(&norm)).unwrap_or_default();
    let what = [
        (true, matrices.to_string()),
        (true, if *qkv_bias { "with biases" } else { "no biases" }.to_string()),
        (*gate, "that of queries gives a gate beside each head, σ of which multiplies its context".to_string()),
        (clip.is_some(), "clipped to within a limit".to_string()),
        (*input_factor != 1.0, "of its input times a factor".to_string()),
        (*key_factor != 1.0, "keys times a factor".to_string()),
        (!how.is_empty(), format!("values normed over each head: {how}")),
    ];
    let numbers = [
        (from.is_some(), format!("those of layer {}", from.unwrap_or_default())),
        (clip.is_some(), format!("limit {}", short(clip.unwrap_or_default()))),
        (*input_factor != 1.0, format!("input times {}", short(*input_factor))),
        (*key_factor != 1.0, format!("keys times {}", short(*key_factor))),
        (!of_norm.is_empty(), of_norm),
    ];
    (listed(what), listed(numbers))
}

/// The matrices around narrow rows.
fn narrow(latent: &Latent, biases: bool) -> Said {
    let Latent { query, width, own, turned, value, norm } = latent;
    let (how, eps) = norm_said(norm);
    let queries = if query.is_some() { "q = up(norm(down(x)))" } else { "q = matrix(x)" };
    let what = [
        (true, queries.to_string()),
        (true, "k and v = up(norm(row)), the row and what all keys have rotated out of one matrix".to_string()),
        (true, "of each head in a row [own | rotated], and [k | v]".to_string()),
        (true, format!("the norms {how}")),
        (biases, "matrices to narrow rows with biases".to_string()),
    ];
    let numbers = [
        (query.is_some(), format!("rows of {} for q", query.unwrap_or_default())),
        (
            true,
            format!(
                "rows of {width} for k and v, heads of {own} own and {turned} rotated channels, values of {value}, {eps}"
            ),
        ),
    ];
    (listed(what), listed(numbers))
}

/// Which query head reads which key head.
pub(super) fn heads(layer: &Layer) -> Said {
    // All fields by name: one that is added has to be told by a function of this file.
    let Attn {
        heads,
        kv_heads,
        head_dim,
        latent: _,
        fused: _,
        gate: _,
        qkv_bias: _,
        o_bias: _,
        qk_norm: _,
        rope: _,
        scale: _,
        cap: _,
        window: _,
        both_ways: _,
        chunk: _,
        growth: _,
        sinks: _,
        alibi: _,
        clip: _,
        input_factor: _,
        key_factor: _,
        v_norm: _,
        values_are_keys: _,
        from: _,
    } = &layer.attn;
    let what = "query head h reads key head h // (query heads / key heads)".to_string();
    (what, format!("query heads: {heads}, key heads: {kv_heads}, channels of each: {head_dim}"))
}

/// The norm of queries and keys.
pub(super) fn norm(layer: &Layer) -> Said {
    let Some(QkNorm { norm, over, after_rope }) = layer.attn.qk_norm else { return Said::default() };
    let over = match over {
        Over::Head => "each head, one weight for all",
        Over::OwnHead => "each head, a weight for each",
        Over::Row => "all heads together",
    };
    let when = if after_rope { "behind RoPE" } else { "before RoPE" };
    let (how, numbers) = norm_said(&norm);
    (format!("normed over {over}, {when}: {how}"), numbers)
}

/// How queries and keys are rotated.
pub(super) fn rope(layer: &Layer) -> Said {
    let Attn { rope, head_dim, latent, alibi, growth: unrotated, .. } = &layer.attn;
    let head_dim = latent.as_ref().map_or(head_dim, |latent| &latent.turned);
    let Some(Rope { theta, scaling, dims, factor, pairs, parted, inside, growth }) = rope else {
        let none = if *alibi { "none: positions are in the scores" } else { "none" };
        let grown = "queries times 1 + b ln(1 + floor((position + 1) / n))";
        let what = [(true, none.to_string()), (unrotated.is_some(), grown.to_string())];
        return (listed(what), unrotated.map(growth_numbers).unwrap_or_default());
    };
    let pairs = match pairs {
        Pairs::Halves => "pairs (i, i + d/2)",
        Pairs::Adjacent => "pairs (2i, 2i + 1)",
    };
    let inside = match inside {
        Inside::Products => "",
        Inside::Table => "only cosines and sines are cast",
        Inside::Nothing => "nothing is cast but its result",
    };
    let what = [
        (true, pairs.to_string()),
        (*parted, "written to (i, i + d/2)".to_string()),
        (dims < head_dim, "of the first d channels of each head only".to_string()),
        (*scaling != Scaling::Default, format!("speeds of {}", scaling.name())),
        (*factor != 1.0, "cosines and sines times a factor".to_string()),
        (!inside.is_empty(), inside.to_string()),
        (growth.is_some(), "queries then times 1 + b ln(1 + floor(position / n))".to_string()),
    ];
    let numbers = [
        (true, format!("theta {}", short(*theta))),
        (dims < head_dim, format!("d = {dims} of {head_dim}")),
        (*scaling != Scaling::Default, scaling_numbers(scaling)),
        (*factor != 1.0, format!("cosines and sines times {}", short(*factor))),
        (growth.is_some(), growth.map(growth_numbers).unwrap_or_default()),
    ];
    (listed(what), listed(numbers))
}

fn growth_numbers(Growth { by, every, ahead: _ }: Growth) -> String {
    format!("b = {}, n = {}", short(by), short(every))
}

fn scaling_numbers(scaling: &Scaling) -> String {
    match scaling {
        Scaling::Default => String::new(),
        Scaling::Linear { factor } => format!("factor {}", short((*factor).into())),
        Scaling::Dynamic { factor, positions } => {
            format!("factor {} beyond {positions} positions", short(*factor))
        }
        Scaling::Yarn(Yarn { factor, fast, slow, original, truncate }) => {
            let ends = if *truncate { "" } else { ", ends of the ramp not rounded" };
            let [factor, fast, slow, original] = [factor, fast, slow, original].map(|number| short(*number));
            format!("factor {factor}, beta {fast} to {slow}, trained on {original} positions{ends}")
        }
        Scaling::LongRope { short, long, original } => {
            format!("tables of {} and, beyond {original} positions, of {} factors", short.len(), long.len())
        }
        Scaling::Llama3 { factor, low, high, original } => {
            let [factor, low, high, original] = [factor, low, high, original].map(|number| short((*number).into()));
            format!("factor {factor}, low {low}, high {high}, trained on {original} positions")
        }
        Scaling::Ntk { alpha } => format!("theta times alpha^(d / (d - 2)), alpha {}", short(*alpha)),
        Scaling::Proportional { factor, turned } => {
            format!("{turned} pairs turn, factor {}", short((*factor).into()))
        }
    }
}

/// From products of queries and keys to what the softmax reads.
pub(super) fn scores(layer: &Layer) -> Said {
    let Attn { head_dim, scale, cap, alibi, sinks, .. } = &layer.attn;
    let of_width = (*head_dim as f64).sqrt().recip();
    let is_own = (scale / of_width - 1.0).abs() > 1e-6;
    let product = if is_own { "q·k times a constant of the model" } else { "q·k / sqrt(head_dim)" };
    let what = [
        (true, product.to_string()),
        (*alibi, "plus the slope of the head times the position of the key (ALiBi)".to_string()),
        (cap.is_some(), "then c tanh(s / c), before the mask".to_string()),
        (*sinks, "in the softmax a score more, which each head has (sink)".to_string()),
    ];
    let numbers = [
        (true, format!("times {}", short(*scale))),
        (is_own, format!("1 / sqrt(head_dim) would be {}", short(of_width))),
        (cap.is_some(), format!("c = {}", short(cap.unwrap_or_default()))),
    ];
    (listed(what), listed(numbers))
}

/// What a query sees.
pub(super) fn mask(layer: &Layer) -> Said {
    let Attn { window, chunk, both_ways, .. } = &layer.attn;
    if let Some(chunk) = chunk {
        return ("causal, and only within its own chunk".to_string(), format!("chunks of {chunk} positions"));
    }
    let (all, some) = if *both_ways {
        ("none: a token sees all", "no further back, nor ahead, than half a window")
    } else {
        ("causal", "causal, and no further back than a window")
    };
    match window {
        None => (all.to_string(), String::new()),
        Some(window) => (some.to_string(), format!("{window} positions, its own counted")),
    }
}

/// The output projection.
pub(super) fn output(layer: &Layer) -> Said {
    (if layer.attn.o_bias { "one matrix, with a bias" } else { "one matrix, no bias" }.to_string(), String::new())
}
