//! What stands in the place of attention.

use super::{Said, listed, norm_said, short};
use crate::model::spec::{Delta, Layer, Mamba2, Mixer, ShortConvolution};
use crate::ops::Activation;

pub(super) fn mixer(layer: &Layer) -> Said {
    match &layer.mixer {
        None => Said::default(),
        Some(Mixer::ShortConvolution(ShortConvolution { taps, bias })) => {
            let what = [
                (true, "no attention: out(C * conv(B * x)), [B | C | x] out of one matrix".to_string()),
                (true, "conv a filter for each channel over the last positions".to_string()),
                (*bias, "with biases".to_string()),
            ];
            (listed(what), format!("{taps} positions"))
        }
        Some(Mixer::Delta(delta)) => of_delta(delta),
        Some(Mixer::Mamba2(mamba)) => of_mamba2(mamba, layer.abreast.is_some()),
    }
}

fn of_delta(delta: &Delta) -> Said {
    let Delta { key_heads, heads, key_dim, head_dim, taps, act, eps, norm, woven } = delta;
    let act = Activation::NAMES.iter().find(|(_, known)| known == act).map_or("its activation", |(name, _)| name);
    let matrices = if *woven {
        "q, k, v and z out of one matrix and b, a out of another, each by key head"
    } else {
        "q, k and v out of one matrix, z, b and a out of one each"
    };
    let (normed, numbers) = norm_said(norm);
    let what = [
        (true, format!("no attention: {matrices}")),
        (true, format!("{act}(conv) of q, k and v, a filter for each channel over the last positions")),
        (true, "q and k of length 1, q / sqrt(channels)".to_string()),
        (true, "β = σ(b), g = -exp(A) softplus(a + bias) in f32".to_string()),
        (true, "S = exp(g) S, S += k (β (v - Sᵀ k))ᵀ, o = Sᵀ q in f32".to_string()),
        (true, format!("out(norm(o) * silu(z)), norm of each head: {normed}")),
    ];
    let sizes = [
        (true, format!("key heads: {key_heads} of {key_dim}, heads: {heads} of {head_dim}")),
        (true, format!("{taps} positions, eps of lengths {}, {numbers}", short(*eps))),
    ];
    (listed(what), listed(sizes))
}

fn of_mamba2(mamba: &Mamba2, is_abreast: bool) -> Said {
    let Mamba2 {
        heads,
        head_dim,
        groups,
        state,
        taps,
        taps_bias,
        act,
        biases,
        least_step,
        input_factor,
        factors,
        norm,
        norm_first,
    } = mamba;
    let act = Activation::NAMES.iter().find(|(_, known)| known == act).map_or("its activation", |(name, _)| name);
    let (normed, numbers) = norm.as_ref().map(norm_said).unwrap_or_default();
    let plus = if *taps_bias { " + b" } else { "" };
    let biases = match biases {
        [false, false] => "",
        [true, false] => "with a bias",
        [false, true] => "a bias in the last one",
        [true, true] => "with a bias, as the last one has",
    };
    let gated = match norm {
        None => "out(y * silu(z))".to_string(),
        Some(_) if *norm_first => format!("out(norm(y) * silu(z)), norm of each group: {normed}"),
        Some(_) => format!("out(norm(y * silu(z))), norm of each group: {normed}"),
    };
    let place = if is_abreast { "beside attention" } else { "no attention" };
    let is_scaled = *factors != [1.0; 5];
    let what = [
        (true, format!("{place}: z, x, B, C and dt out of one matrix")),
        (!biases.is_empty(), biases.to_string()),
        (*input_factor != 1.0, "which reads its input times a factor".to_string()),
        (is_scaled, "each times a factor of its own".to_string()),
        (true, format!("{act}(conv{plus}) of x, B and C, a filter for each channel over the last positions")),
        (true, "head h reads B and C of group h // (heads / groups)".to_string()),
        (true, "Δ = softplus(dt + bias), S = exp(-exp(A) Δ) S + Δ B xᵀ, y = Sᵀ C + D x in f32".to_string()),
        (least_step.is_some(), "Δ no shorter than a constant, but in decode steps of one token".to_string()),
        (true, gated),
    ];
    let sizes = [
        (true, format!("heads: {heads} of {head_dim}, groups: {groups}, channels of the state: {state}")),
        (true, format!("{taps} positions")),
        (!numbers.is_empty(), numbers),
        (least_step.is_some(), format!("shortest step {}", short(least_step.unwrap_or_default()))),
        (*input_factor != 1.0, format!("input times {}", short(*input_factor))),
        (is_scaled, format!("factors {}", factors.map(short).join(", "))),
    ];
    (listed(what), listed(sizes))
}
