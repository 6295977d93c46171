//! Mistakes in rotary position embedding, the most frequent family.

mod scaled;

pub(super) use scaled::multiplies;

use super::spectroscopy::{own_speeds, positions, rotation, speeds, theta_of};
use super::{Scene, Suspect, Variant, fit, knobs};
use crate::engine::{Edit, Field, Role as A};
use crate::model::op::{Places, Rotate};
use crate::model::spec::Rope;
use crate::ops::{Frequencies, Pairs, Rounding};

const ROPE: &[A] = &[A::QRope, A::KRope];

pub(super) const SUSPECTS: &[Suspect] = &[
    Suspect {
        id: "kv_cache_position",
        summary: "from some token on, positions are stuck, restarted or shifted",
        ops: ROPE,
        symptom: "the prefill is right, decoded tokens are wrong",
        cause: "the position of a decode step is not taken from the cache's length",
        fix: "rotate a decoded token by the number of tokens before it",
        seen: "mlx-vlm #1983, fla #766, vllm-mlx #311, maclocal-api #92",
        variants: cache_position,
    },
    Suspect {
        id: "rope_missing",
        summary: "nothing is rotated",
        ops: ROPE,
        symptom: "token 0 is right, all later ones are wrong, and the output is the input",
        cause: "RoPE is left out, or the layer is taken for one without positions",
        fix: "rotate q and k of this layer",
        seen: "Camelid #535, executorch #22043, mistral.rs a1582cbff",
        variants: |_| vec![with_speeds("not rotated", Frequencies::of_speeds([]))],
    },
    Suspect {
        id: "rope_interleaved",
        summary: "channels (2i, 2i + 1) are rotated together where the model pairs (i, i + d/2)",
        ops: ROPE,
        symptom: "token 0 is right, later tokens are wrong in all heads; one or two tokens are generated well, then loops",
        cause: "the layout of GPT-J and of Meta's Llama files, where Hugging Face's weights are permuted for halves",
        fix: "rotate channel i with channel i + d/2",
        seen: "candle #3411, mistral.rs be3f76ad7, SharpInference #7, tt-metal #26844",
        variants: pairs,
    },
    Suspect {
        id: "rope_direction",
        summary: "the rotation turns the other way",
        ops: ROPE,
        symptom: "token 0 is right, later tokens are wrong; scores alone are right if q and k both turn that way",
        cause: "the sign of the sine is exchanged",
        fix: "y_i = x_i cos - x_(i+d/2) sin, y_(i+d/2) = x_(i+d/2) cos + x_i sin",
        seen: "no public thread is known to us",
        variants: direction,
    },
    Suspect {
        id: "rope_scaling_missing",
        summary: "rope_scaling of config.json is ignored, or one is applied that is not there",
        ops: ROPE,
        symptom: "fast pairs agree, slow ones turn too fast (or too slow) by a constant factor",
        cause: "only rope_theta is read",
        fix: "scale the speeds as rope_scaling (rope_parameters) says",
        seen: "tiny-vllm #1, llama.cpp #8676, ANEForge #58, mlxcel #1340, ollama #13452",
        variants: scaled::scaling,
    },
    Suspect {
        id: "query_scale_by_position",
        summary: "queries do not grow with their position",
        ops: &[A::QRope, A::QTempered],
        symptom: "tokens up to the trained length are right, later queries are too short by one factor each",
        cause: "llama_4_scaling_beta of rope_parameters is not read",
        fix: "multiply queries by 1 + beta ln(1 + floor(position / original_max_position_embeddings))",
        seen: "no public thread is known to us",
        variants: |scene| match scene.op() {
            crate::engine::Op::Rope(Rotate { rope, .. }) => {
                let other = Rope { growth: None, ..rope.clone() };
                knobs::others(scene, [(Field::Rope(other), "not multiplied by their growth")])
            }
            crate::engine::Op::Grow(_) => vec![Variant::new("not multiplied by their growth", Edit::identity())],
            _ => Vec::new(),
        },
    },
    Suspect {
        id: "rope_theta",
        summary: "another theta",
        ops: ROPE,
        symptom: "token 0 is right; the fastest pair is right everywhere, slower ones drift",
        cause: "the default of 10000 in the place of rope_theta",
        fix: "read rope_theta (or rope_parameters.rope_theta) of config.json",
        seen: "candle 9a0267f0c, MarinFold #184, vLLM #42624, DeepSpeed #8345",
        variants: theta,
    },
    Suspect {
        id: "rope_position_offset",
        summary: "all positions are shifted by a constant",
        ops: ROPE,
        symptom: "token 0 is wrong, too; harmless where q and k are shifted alike",
        cause: "positions start at 1, or padding is counted",
        fix: "the first token stands at position 0",
        seen: "moeut #6, mlx-vlm #1983",
        variants: position_offset,
    },
    Suspect {
        id: "rope_partial",
        summary: "only a part of each head is rotated",
        ops: ROPE,
        symptom: "some channels pass unchanged, the others turn at other speeds",
        cause: "partial_rotary_factor of another model",
        fix: "rotate all channels of a head",
        seen: "pie #603, mlx-lm #1698, maxtext #4616, lmdeploy #3861",
        variants: partial,
    },
    Suspect {
        id: "rope_attention_factor",
        summary: "rotated queries and keys are multiplied by a constant",
        ops: ROPE,
        symptom: "every row turns as it should and is longer or shorter by one factor, scores by its square",
        cause: "the attention factor of YaRN or LongRoPE (mscale) of another model, or of a scaling that is not in use",
        fix: "rotate with cosines and sines as they are",
        seen: "mobius #548, HF #47435, Megatron #1429, llama.cpp #17945, vLLM #27722",
        variants: scaled::attention_factor,
    },
    Suspect {
        id: "ref_inv_freq_low_precision",
        summary: "the reference's own RoPE speeds were cast to bf16 or f16",
        ops: ROPE,
        symptom: "the reference disagrees with its weights, more from token to token, while the candidate is right",
        cause: "model.to(bfloat16) casts the buffer inv_freq",
        fix: "load the reference with dtype=... in from_pretrained, or restore inv_freq in float32",
        seen: "Automodel #3233, HF #25681, HF #29496, Megatron #744",
        variants: |scene| if scene.is_reference { rounded_speeds(scene) } else { Vec::new() },
    },
    Suspect {
        id: "rope_low_precision",
        summary: "speeds, angles or the table of cosines are rounded to bf16 or f16",
        ops: ROPE,
        symptom: "a small error that grows with the position and looks like noise",
        cause: "the table is computed in the dtype of the model",
        fix: "compute angles in f32, and round cosines and sines only at the end",
        seen: "candle 81de4cbaa, gpt-neox #1003, sglang-jax #1472, HF #29285",
        variants: low_precision,
    },
];

fn with(words: impl Into<String>, field: Field) -> Variant {
    Variant::new(words, Edit::Set(field))
}

fn with_speeds(words: impl Into<String>, frequencies: Frequencies) -> Variant {
    with(words, Field::Frequencies(frequencies))
}

fn pairs(scene: &Scene) -> Vec<Variant> {
    let Some(own) = own_speeds(scene) else { return Vec::new() };
    let n = own.speeds().len();
    let layouts = [
        (Pairs::Adjacent, format!("pairs (2i, 2i + 1) where the model has (i, i + {n})")),
        (Pairs::Halves, format!("pairs (i, i + {n}) where the model has (2i, 2i + 1)")),
    ];
    let mut variants = knobs::others(scene, layouts.map(|(pairs, words)| (Field::Pairs(pairs), words)));
    let halves = rotation(scene).is_some_and(|own| own.pairs == Pairs::Halves);
    if halves && n > 1 {
        let words = format!("pairs (2i, 2i + 1), written to (i, i + {n}), where the model has (i, i + {n})");
        let edits = [Field::Pairs(Pairs::Adjacent), Field::Parted(true)].map(Edit::Set);
        variants.push(Variant::new(words, Edit::All(edits.into())));
    }
    variants
}

fn direction(scene: &Scene) -> Vec<Variant> {
    let Some(own) = own_speeds(scene) else { return Vec::new() };
    let speeds = own.speeds().iter().map(|w| -w);
    vec![with_speeds("angles of the other sign", Frequencies::of_speeds(speeds))]
}

fn theta(scene: &Scene) -> Vec<Variant> {
    let Some(Rotate { rope, .. }) = rotation(scene) else { return Vec::new() };
    let own = rope.theta;
    let with_theta = |theta: f64| Rope { theta, ..rope.clone() };
    let frequencies = |theta: f64| with_theta(theta).frequencies(scene.first + scene.tokens);
    let of_theta =
        |theta: f64| with(format!("theta {theta} where the model has {own}"), Field::Rope(with_theta(theta)));
    let mut found = vec![1e4, 5e5, 1e6, 5e6, 1e7];
    if let Some(theta) = speeds(scene).map(|speeds| theta_of(&speeds, frequencies)) {
        found.extend([fit::rounded(theta, 1), fit::rounded(theta, 2), fit::rounded(theta, 4), theta]);
    }
    found.retain(|theta| (theta / own - 1.0).abs() > 1e-4);
    let mut variants: Vec<Variant> = found.into_iter().map(of_theta).collect();
    let root = own.sqrt();
    let words = format!("theta^(-i/d), which is theta {root} where the model has {own}");
    variants.push(with(words, Field::Rope(with_theta(root))));
    variants
}

/// How far each row is from where it should be, if any is.
fn shifts(scene: &Scene) -> Option<(Vec<i64>, Vec<i64>)> {
    let found = positions(scene)?;
    let shifts: Vec<i64> =
        scene.positions().into_iter().zip(&found).map(|(right, found)| found - place(right)).collect();
    shifts.iter().any(|shift| *shift != 0).then_some((found, shifts))
}

fn position_offset(scene: &Scene) -> Vec<Variant> {
    let shifted = |by: i64| {
        let words = format!("positions shifted by {by:+} from the first token on");
        with(words, Field::Places(Places::Shifted(by)))
    };
    // Over a span nothing tells by how much.
    if scene.part.is_none() && scene.tokens > 0 && scene.right_until == 0 {
        return [1, -1, 2].map(shifted).into();
    }
    let Some((_, shifts)) = shifts(scene) else { return Vec::new() };
    let constant = shifts.iter().all(|shift| *shift == shifts[0]);
    if !constant {
        return Vec::new();
    }
    vec![shifted(shifts[0])]
}

/// Rows that are right before the first decode step, where both stand in one tensor.
const PREFILL: usize = 2;

fn cache_position(scene: &Scene) -> Vec<Variant> {
    let Some((found, shifts)) = shifts(scene) else { return usual_positions(scene) };
    let from = shifts.iter().position(|shift| *shift != 0).unwrap_or_default();
    // Where prefill and decode steps stand in one tensor, the prefill is right; at position 0 every rotation is.
    let wrong = &found[from..];
    let regular = |step: i64| wrong.windows(2).all(|pair| pair[1] - pair[0] == step);
    let at = scene.positions()[from];
    if scene.step == 0 && (at < PREFILL || !(regular(0) || regular(1))) {
        return Vec::new();
    }
    if found[from] < 0 {
        return Vec::new();
    }
    let to = found[from];
    let words = if to == 0 {
        format!("positions start again at 0 with token {at}")
    } else {
        format!("positions shifted by {:+} from token {at} on", to - place(at))
    };
    vec![with(words, Field::Places(Places::From { at, to })), stuck(at, to)]
}

/// The other ways to come by the position of one token: one forward cannot tell them apart.
pub(super) fn other_ways(edit: &Edit) -> Option<Variant> {
    match edit {
        Edit::Set(Field::Places(Places::From { at, to })) => Some(stuck(*at, *to)),
        _ => None,
    }
}

fn stuck(at: usize, to: i64) -> Variant {
    with(format!("from token {at} on positions stay at {to}"), Field::Places(Places::Stuck { at, to }))
}

/// A position, which a mistake may move below 0.
fn place(position: usize) -> i64 {
    i64::try_from(position).expect("positions are far below i64's end")
}

/// What a decode step may be given for a position, where the dump does not tell.
fn usual_positions(scene: &Scene) -> Vec<Variant> {
    if scene.step == 0 || scene.part.is_some() {
        return Vec::new();
    }
    let at = scene.first;
    let given = |to: i64| with(format!("token {at} stands at position {to}"), Field::Places(Places::From { at, to }));
    vec![given(0), given(place(at) - 1), given(place(at) + 1)]
}

/// The position from which on it shows, if it shows at each.
pub(super) fn shows_from(suspect: &Suspect) -> Option<usize> {
    match suspect.id {
        // The prefill is right.
        "kv_cache_position" => None,
        "rope_position_offset" | "rope_attention_factor" => Some(0),
        "nope_layers" => Some(1),
        // Nothing is rotated at position 0.
        _ => (suspect.ops == ROPE).then_some(1),
    }
}

fn partial(scene: &Scene) -> Vec<Variant> {
    let Some(own) = rotation(scene) else { return Vec::new() };
    let (head_dim, dims, theta) = (own.head_dim, own.rope.dims, own.rope.theta);
    let own_speeds = own.frequencies(scene.first + scene.tokens);
    let speeds = own_speeds.speeds();
    let mut variants = Vec::new();
    if dims < head_dim {
        let words = format!("all {head_dim} channels rotated where the model rotates {dims}");
        variants.push(with(words, Field::Rope(Rope { dims: head_dim, ..own.rope.clone() })));
    }
    for share in [2, 4] {
        let rotated = dims / share;
        if rotated < 2 || !rotated.is_multiple_of(2) {
            continue;
        }
        let words = format!("only {rotated} of {head_dim} channels rotated");
        variants.push(with_speeds(words.clone(), Frequencies::new(theta, rotated)));
        let every = speeds.iter().copied().step_by(share);
        variants.push(with_speeds(words.clone(), Frequencies::of_speeds(every)));
        let first = speeds.iter().copied().take(rotated / 2);
        variants.push(with_speeds(format!("{words}, at the speeds of a whole head"), Frequencies::of_speeds(first)));
    }
    variants
}

/// Coarser formats.
const FORMATS: [(Rounding, &str); 2] = [(Rounding::Bf16, "bf16"), (Rounding::F16, "f16")];

fn rounded_speeds(scene: &Scene) -> Vec<Variant> {
    let Some(own) = own_speeds(scene) else { return Vec::new() };
    let rounded = |(rounding, name): (Rounding, &str)| {
        let mut speeds = own.speeds().to_vec();
        rounding.round(&mut speeds);
        with_speeds(format!("speeds rounded to {name}"), Frequencies::of_speeds(speeds))
    };
    FORMATS.map(rounded).into()
}

fn low_precision(scene: &Scene) -> Vec<Variant> {
    let mut variants = rounded_speeds(scene);
    for (rounding, name) in FORMATS {
        let (table, angles) = (Field::Table(rounding), Field::Angles(rounding));
        let both = Edit::All([angles.clone(), table.clone()].map(Edit::Set).into());
        variants.push(with(format!("cosines and sines rounded to {name}"), table));
        variants.push(with(format!("angles rounded to {name}"), angles));
        variants.push(Variant::new(format!("angles, cosines and sines rounded to {name}"), both));
    }
    variants
}
