//! Mistakes that are another model's constant: the constants of ops, what models and ports put there, and what that is
//! called. Each is tried against what the model itself has there, so that one row is a mistake and its inverse.

use half::bf16;
use ndarray::{ArrayD, ArrayViewD, Axis};

use super::scene::width;
use super::{Scene, Variant, fit};
use crate::engine::{Edit, Field, Op, Role};
use crate::model::op::{Scoring, Vector};
use crate::model::spec::{Latent, Scaling};
use crate::ops::{Activation, Form, Yarn};

/// What an op would compute with each of these constants, where that is another one than its own.
pub(super) fn others<W: Into<String>>(scene: &Scene, values: impl IntoIterator<Item = (Field, W)>) -> Vec<Variant> {
    let changes = |field: &Field| {
        let mut op = scene.op().clone();
        field.set(&mut op) && op != *scene.op()
    };
    let other = |(field, words): (Field, W)| changes(&field).then(|| Variant::new(words, Edit::Set(field)));
    values.into_iter().filter_map(other).collect()
}

pub(super) fn is_same(a: f64, b: f64) -> bool {
    (a / b - 1.0).abs() <= 1e-9
}

/// Constants that a width gives, with their names.
pub(super) fn constants_of(width: usize) -> [(f64, &'static str); 4] {
    let root = (width as f64).sqrt();
    [
        (root, "sqrt(hidden)"),
        (bf16::from_f64(root).to_f64(), "sqrt(hidden) rounded to bf16"),
        (root.recip(), "1 / sqrt(hidden)"),
        (root * root, "hidden"),
    ]
}

/// What an op gives, times one of some constants or the one that the dump has.
pub(super) fn times<W: Into<String>>(scene: &Scene, constants: impl IntoIterator<Item = (f64, W)>) -> Vec<Variant> {
    let named =
        constants.into_iter().map(|(constant, name)| (constant, format!("times {}, {constant:.4}", name.into())));
    let told = || fit::factor(scene.dumped()?.iter().zip(&scene.exact()?)).filter(|told| told.is_normal());
    let told = told()
        .map_or_else(Vec::new, |told| vec![fit::rounded(told, 1), fit::rounded(told, 2), fit::rounded(told, 3), told]);
    let told =
        told.into_iter().filter(|constant| !is_same(*constant, 1.0)).map(|told| (told, format!("times {told:.6}")));
    named.chain(told).map(|(constant, words)| Variant::new(words, Edit::times(constant))).collect()
}

/// The width of the residual stream.
pub(super) fn hidden(scene: &Scene) -> usize {
    scene.graph().entering(0).map_or(0, |stream| width(&scene.graph()[stream]))
}

/// The constant that an op multiplies by, if it does nothing else.
pub(super) fn factor_of(scene: &Scene) -> Option<f64> {
    match scene.op() {
        Op::Sum { factors } if factors.len() == 1 => Some(factors[0]),
        _ => None,
    }
}

/// Other constants for an op that multiplies by one and does nothing else.
fn other_factors<W: Into<String>>(
    scene: &Scene,
    own: f64,
    constants: impl IntoIterator<Item = (f64, W)>,
) -> Vec<Variant> {
    let none = (1.0, format!("as they are where the model multiplies by {own:.4}"));
    let inverse = (own.recip(), format!("divided by {own:.4} where the model multiplies by that"));
    let twice = (own * own, format!("multiplied by {own:.4} twice"));
    let constants =
        constants.into_iter().map(|(constant, name)| (constant, format!("times {}, {constant:.4}", name.into())));
    let told = || fit::factor(scene.dumped()?.iter().zip(&scene.exact()?)).filter(|told| told.is_normal());
    let told = told()
        .map(|told| (fit::rounded(told * own, 3), format!("times {:.4} where the model has {own:.4}", told * own)));
    let all = [none, inverse, twice].into_iter().chain(constants).chain(told);
    others(
        scene,
        all.filter(|(constant, _)| !is_same(*constant, own))
            .map(|(constant, words)| (Field::Factors(vec![constant]), words)),
    )
}

/// Another factor of what an op multiplies by one.
pub(super) fn factor(scene: &Scene, own: f64) -> Vec<Variant> {
    other_factors(scene, own, Vec::<(f64, &str)>::new())
}

/// The factor of logits.
pub(super) fn logit_factor(scene: &Scene) -> Vec<Variant> {
    let constants = constants_of(hidden(scene));
    match factor_of(scene) {
        Some(own) => other_factors(scene, own, constants),
        None => times(scene, constants),
    }
}

/// The factor of the embedding.
pub(super) fn embed_factor(scene: &Scene) -> Vec<Variant> {
    if let Some(own) = factor_of(scene) {
        return other_factors(scene, own, constants_of(scene.width()));
    }
    let Op::Embed { factor: own, .. } = *scene.op() else { return Vec::new() };
    let constants = constants_of(scene.width());
    let none = (Field::Factor(1.0), format!("as they are where the model multiplies by {own:.4}"));
    let times = |(constant, name): (f64, &str)| (Field::Factor(constant), format!("times {name}, {constant:.4}"));
    // A model's constant is one of f32.
    let is_own = |(constant, _): &(f64, &str)| (constant / own - 1.0).abs() < 1e-6;
    others(scene, [none].into_iter().chain(constants.into_iter().filter(|constant| !is_own(constant)).map(times)))
}

/// What is added to the weight of a norm.
pub(super) fn norm_offset(scene: &Scene) -> Vec<Variant> {
    let Op::Norm { weight: weight @ Vector::Param(_), how, .. } = scene.op() else { return Vec::new() };
    if how.offset != 0.0 {
        let sums = [
            (Field::Offset(0.0), "weight where the model has 1 + weight"),
            (Field::Offset(-1.0), "weight - 1 where the model has 1 + weight"),
            (Field::Offset(2.0), "2 + weight where the model has 1 + weight"),
        ];
        return others(scene, sums);
    }
    // A sum that stands in the place of the weight is rounded as that is.
    let Some(weight) = scene.vector(weight) else { return Vec::new() };
    let sum =
        |(words, offset): (&str, f32)| Variant::new(words, Edit::NormWeight(Vector::Other((&weight + offset).into())));
    [("1 + weight", 1.0), ("weight - 1", -1.0), ("2 + weight", 2.0)].map(sum).into()
}

/// Whether the mean is taken off.
pub(super) fn norm_form(scene: &Scene) -> Vec<Variant> {
    let forms = [(Form::Centred, "the mean taken off"), (Form::Rms, "the mean not taken off")];
    others(scene, forms.map(|(form, words)| (Field::Form(form), words)))
}

/// The eps of a norm.
pub(super) fn norm_eps(scene: &Scene) -> Vec<Variant> {
    const USUAL: [f32; 7] = [1e-5, 1e-6, 0.0, f32::EPSILON, 1e-3, 1e-8, 1e-12];
    let Op::Norm { how, .. } = scene.op() else { return Vec::new() };
    let own = how.eps;
    let with = |eps: f32| (Field::Eps(eps), format!("eps {eps:e} where the model has {own:e}"));
    let outside = |eps: f32| {
        let edits = [Field::Eps(eps), Field::Form(Form::EpsOutside)].map(Edit::Set);
        Variant::new(format!("eps {eps:e} added outside of the root"), Edit::All(edits.into()))
    };
    let mut variants = others(scene, USUAL.map(with));
    if how.form == Form::Rms {
        variants.extend([own, 1e-6, 1e-5].map(outside));
    }
    if let Some(eps) = fitted_eps(scene) {
        variants.extend(others(scene, [fit::rounded(eps, 1), fit::rounded(eps, 2), eps].map(|eps| with(eps as f32))));
    }
    variants
}

/// The eps that the rows' factors tell, if they tell one: `y = c x w + b` with `c = 1 / sqrt(mean(x²) + eps)`.
fn fitted_eps(scene: &Scene) -> Option<f64> {
    let Op::Norm { how, bias, .. } = scene.op() else { return None };
    let (mut y, mut x) = (scene.dumped()?, scene.input(0)?.to_owned());
    let (mut f, own) = (scene.exact()?.to_owned(), f64::from(how.eps));
    if y.ndim() != x.ndim() || y.len_of(Axis(0)) < 2 {
        return None;
    }
    if let Some(bias) = bias {
        let bias = scene.vector(bias)?.mapv(f64::from);
        (y, f) = (y - &bias, f - &bias);
    }
    if how.form == Form::Centred {
        for mut row in x.rows_mut() {
            let mean = row.mean()?;
            row -= mean;
        }
    }
    let (mut sum, mut weights) = (0.0, 0.0);
    for ((y, f), x) in y.rows().into_iter().zip(f.rows()).zip(x.rows()) {
        let factor = fit::factor(y.iter().zip(f))?;
        let mean = x.iter().map(|x| x * x).sum::<f64>() / x.len() as f64;
        // A factor is known to the same relative error in every row: small rows tell eps best.
        let weight = ((mean + own) / (factor * factor)).powi(-2);
        sum += weight * ((mean + own) / (factor * factor) - mean);
        weights += weight;
    }
    let eps = sum / weights;
    (eps.is_finite() && eps > 0.0).then_some(eps)
}

/// The function of a gate, or of an MLP without one.
pub(super) fn function(scene: &Scene) -> Vec<Variant> {
    match scene.op() {
        Op::Activate(own) => {
            // The same function in other steps is no other one.
            let all = Activation::ALL.into_iter().filter(|function| function.name() != own.name());
            let named = |function: Activation| format!("{} for {}", function.name(), own.name());
            others(scene, all.map(|function| (Field::Function(function), named(function))))
        }
        Op::Xielu { .. } => {
            let put = |function: Activation| {
                Variant::new(format!("{} for xielu", function.name()), Edit::Put(vec![Op::Activate(function)]))
            };
            Activation::ALL.into_iter().map(put).collect()
        }
        _ => Vec::new(),
    }
}

/// The scale of scores, that of a head's width, and this width.
pub(super) fn scale_of(scene: &Scene) -> Option<(f64, f64, f64)> {
    let Op::Scores(how) = scene.op() else { return None };
    let (_, width) = scene.read(0)?.1.heads()?;
    Some((how.scale, (width as f64).sqrt().recip(), width as f64))
}

/// The scale of scores.
pub(super) fn score_scale(scene: &Scene) -> Vec<Variant> {
    let Some((own, of_width, d)) = scale_of(scene) else { return Vec::new() };
    let Op::Scores(Scoring { groups, .. }) = scene.op() else { return Vec::new() };
    let (heads, layer) = (groups.len() as f64, scene.node().layer.unwrap_or(0) as f64);
    let hidden = hidden(scene) as f64;
    let plain = is_same(own, of_width);
    let name = if plain { "1 / sqrt(head_dim)".to_string() } else { format!("the model's {own:.6}") };
    let mut candidates = vec![
        (1.0, "1: no scale".to_string()),
        (1.0 / d, format!("1 / head_dim{}", if plain { ": applied twice" } else { "" })),
        (d.sqrt(), "sqrt(head_dim): the inverse".into()),
        (hidden.sqrt().recip(), "1 / sqrt(hidden)".into()),
        ((hidden / heads).sqrt().recip(), "1 / sqrt(hidden / heads)".into()),
        (heads.sqrt().recip(), "1 / sqrt(heads)".into()),
        ((d / 2.0).sqrt().recip(), "1 / sqrt(head_dim / 2)".into()),
        (own / (layer + 1.0), format!("{name}, divided by {}", layer + 1.0)),
        (own / std::f64::consts::LN_2, format!("{name} / ln 2, and the softmax not in powers of 2")),
    ];
    if !plain {
        candidates.push((of_width, format!("1 / sqrt(head_dim) where the model has {own:.6}")));
        candidates.push((own * own, format!("{name}, applied twice")));
    }
    candidates.extend(scales_of_yarn(scene, own, &name));
    candidates.retain(|(scale, _)| !is_same(*scale, own));
    others(scene, candidates.into_iter().map(|(scale, words)| (Field::Scale(scale), words)))
}

/// The scale of scores of latent attention.
pub(super) fn latent_scale(scene: &Scene) -> Vec<Variant> {
    let layer = scene.node().layer.and_then(|layer| scene.model.spec.layers.get(layer));
    let Some(latent) = layer.and_then(|layer| layer.attn.latent) else { return Vec::new() };
    let Some((own, of_width, _)) = scale_of(scene) else { return Vec::new() };
    let square = own / of_width;
    let mut candidates = if is_same(square, 1.0) {
        let yarn = layer.and_then(|layer| layer.attn.rope.as_ref()).map(|rope| &rope.scaling);
        let Some(Scaling::Yarn(Yarn { factor, .. })) = yarn else { return of_parts(scene, &latent, square) };
        let mscale = 0.1 * factor.ln() + 1.0;
        vec![(own * mscale * mscale, format!("times {mscale:.4} squared, which the model has not"))]
    } else {
        let mscale = square.sqrt();
        vec![
            (of_width, format!("without {mscale:.4} squared, mscale of all channels")),
            (of_width * mscale, format!("times {mscale:.4}, mscale of all channels, where the model has its square")),
            (own * square, format!("times {mscale:.4} squared, mscale of all channels, twice")),
        ]
    };
    candidates.retain(|(scale, _)| !is_same(*scale, own));
    let mut variants = others(scene, candidates.into_iter().map(|(scale, words)| (Field::Scale(scale), words)));
    variants.extend(of_parts(scene, &latent, square));
    variants
}

/// The scale of heads that are as wide as one of their parts.
fn of_parts(scene: &Scene, latent: &Latent, square: f64) -> Vec<Variant> {
    let parts = [
        (latent.own, "1 / sqrt(qk_nope_head_dim)"),
        (latent.turned, "1 / sqrt(qk_rope_head_dim)"),
        (latent.value, "1 / sqrt(v_head_dim)"),
    ];
    let scale = |width: usize| square / (width as f64).sqrt();
    let parts = parts.into_iter().filter(|(width, _)| *width != latent.own + latent.turned);
    others(scene, parts.map(|(width, words)| (Field::Scale(scale(width)), words)))
}

/// The scale times what scaled RoPE multiplies cosines and sines by, which multiplies scores by its square.
fn scales_of_yarn(scene: &Scene, own: f64, name: &str) -> Vec<(f64, String)> {
    let rope = scene.beside(Role::QRope).map(|site| &scene.graph()[site].op);
    let Some(Op::Rope(rotate)) = rope.filter(|op| matches!(op, Op::Rope(rotate) if rotate.factor != 1.0)) else {
        return Vec::new();
    };
    let factor = rotate.factor;
    let word = |power: i32, what: &str| {
        let words = format!("{name} times {factor:.4}{what}, the factor that cosines and sines have already");
        (own * factor.powi(power), words)
    };
    vec![word(2, " squared"), word(1, "")]
}

/// The cap of scores.
pub(super) fn score_cap(scene: &Scene) -> Vec<Variant> {
    let Op::Scores(Scoring { cap: own, .. }) = scene.op() else { return Vec::new() };
    let have = own.map_or_else(|| "caps none".to_string(), |own| format!("caps them at {own}"));
    let with = |limit: f64| (Field::Cap(Some(limit)), format!("capped at {limit} where the model {have}"));
    let none = (Field::Cap(None), format!("not capped where the model {have}"));
    others(scene, [none].into_iter().chain(caps(scene, *own).into_iter().map(with)))
}

/// The cap of logits, behind the head or in the op that caps them.
pub(super) fn logit_cap(scene: &Scene) -> Vec<Variant> {
    match scene.op() {
        Op::Cap(own) => {
            let with = |limit: f64| (Field::Cap(Some(limit)), format!("capped at {limit} where the model has {own}"));
            let none = Variant::new(format!("not capped where the model caps them at {own}"), Edit::identity());
            [none].into_iter().chain(others(scene, caps(scene, Some(*own)).into_iter().map(with))).collect()
        }
        Op::Linear { .. } if !scene.graph().readers(scene.site).any(|site| is_cap(scene, site)) => {
            let with = |limit: f64| Variant::new(format!("capped at {limit}"), Edit::Then(Op::Cap(limit)));
            caps(scene, None).into_iter().map(with).collect()
        }
        _ => Vec::new(),
    }
}

fn is_cap(scene: &Scene, site: crate::engine::Site) -> bool {
    matches!(scene.graph()[site].op, Op::Cap(_))
}

/// Caps of models, and that which the dump has; `own` is that of the op.
fn caps(scene: &Scene, own: Option<f64>) -> Vec<f64> {
    let mut caps = vec![30.0, 50.0];
    // What the model has before its own cap, if that is not lost in it.
    let before = |y: ArrayViewD<f64>| -> ArrayD<f64> {
        own.map_or_else(|| y.to_owned(), |own| y.mapv(|y| own * (y / own).atanh()))
    };
    let fitted = || fit::cap(scene.dumped()?.view(), before(scene.exact()?.view()).view());
    if let Some(cap) = fitted() {
        caps.extend([fit::rounded(cap, 1), fit::rounded(cap, 2), fit::rounded(cap, 3), cap]);
    }
    caps
}
