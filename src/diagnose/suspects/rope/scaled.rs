//! Speeds that are scaled in another way than the model's, and cosines and sines that are multiplied by another factor.
//!
//! Some ways are tried as they are; where a rotation was dumped with what goes into it, its speeds and its factor are measured,
//! and what they tell is tried: which type of `rope_scaling` has them, with which numbers.

mod told;

use super::{Scene, Variant, own_speeds, rotation, with};
use crate::engine::{Edit, Field};
use crate::model::op::Rotate;
use crate::model::spec::{Rope, Scaling};
use crate::ops::{Frequencies, Yarn};
use told::Told;

/// By how much models lengthen their context with YaRN.
const CONTEXTS: [f64; 6] = [2.0, 4.0, 8.0, 16.0, 32.0, 40.0];

/// The factor of YaRN that belongs to so many contexts.
fn yarn_factor(contexts: f64) -> f64 {
    if contexts > 1.0 { 0.1 * contexts.ln() + 1.0 } else { 1.0 }
}

/// YaRN as most models have it.
fn yarn(contexts: f64, original: f64) -> Scaling {
    Scaling::Yarn(Yarn { factor: contexts, fast: 32.0, slow: 1.0, original, truncate: true })
}

/// `YaRN by 4 from 4096 positions`
fn said(scaling: &Scaling) -> String {
    match scaling {
        Scaling::Default => "no scaling".into(),
        Scaling::Linear { factor } if *factor < 1.0 => format!("positions times {}", 1.0 / factor),
        Scaling::Linear { factor } => format!("linear scaling by {factor}"),
        Scaling::Dynamic { factor, positions } => format!("dynamic scaling by {factor} beyond {positions} positions"),
        Scaling::Yarn(Yarn { factor, fast, slow, original, .. }) => {
            let betas = if (*fast, *slow) == (32.0, 1.0) {
                String::new()
            } else {
                format!(", betas {} and {}", rounded(*fast), rounded(*slow))
            };
            format!("YaRN by {factor} from {original} positions{betas}")
        }
        Scaling::LongRope { original, .. } => format!("the tables of longrope for {original} positions and more"),
        Scaling::Llama3 { factor, original, .. } => format!("llama3 scaling by {factor} from {original} positions"),
        Scaling::Ntk { alpha } => format!("a base stretched by alpha {alpha}"),
        Scaling::Proportional { turned, .. } => format!("{turned} pairs turned at the speeds of a whole head"),
    }
}

/// Four digits of a number that was measured.
fn rounded(number: f64) -> f64 {
    super::fit::rounded(number, 4)
}

/// What a rotation became, and what the model has.
fn other(own: &Rope, scaling: Scaling, factor: f64) -> Variant {
    let other = Rope { scaling, factor, ..own.clone() };
    let (here, there) = (said(&other.scaling), said(&own.scaling));
    let usual = if let Scaling::Yarn(how) = &other.scaling { yarn_factor(how.factor) } else { 1.0 };
    let factors = match (is_same(factor, own.factor), is_same(factor, 1.0)) {
        (true, true) if !is_same(usual, 1.0) => format!(", without its factor {usual:.4}"),
        (true, true) => String::new(),
        (true, false) => format!(", with the model's factor {factor:.4}"),
        (false, true) => format!(", without the factor {:.4}", own.factor),
        (false, false) => format!(", cosines and sines times {factor:.4}"),
    };
    let there = if own.scaling == Scaling::Default { "none" } else { &there[..] };
    with(format!("{here}{factors} where the model has {there}"), Field::Rope(other))
}

fn is_same(a: f64, b: f64) -> bool {
    (a / b - 1.0).abs() <= 1e-7
}

/// Other speeds than the model's.
pub(super) fn scaling(scene: &Scene) -> Vec<Variant> {
    let (Some(rotate), Some(here)) = (rotation(scene), own_speeds(scene)) else { return Vec::new() };
    let (own, length) = (&rotate.rope, scene.first + scene.tokens);
    let positions = scene.model.spec.positions;
    let mut variants = Vec::new();
    if own.scaling != Scaling::Default {
        variants.push(other(own, Scaling::Default, 1.0));
        if !is_same(own.factor, 1.0) {
            variants.push(other(own, Scaling::Default, own.factor));
        }
    }
    variants.extend(other_lengths(own, length));
    if let Scaling::Yarn(how) = &own.scaling {
        // Configs that say one factor and mean the ratio of both lengths, or the other way round.
        let ratio = positions as f64 / how.original;
        let factors = CONTEXTS[..4].iter().copied().chain([ratio]).filter(|factor| !is_same(*factor, how.factor));
        variants.extend(factors.map(|factor| other(own, Scaling::Yarn(Yarn { factor, ..*how }), yarn_factor(factor))));
    }
    variants.extend([2.0, 4.0, 8.0, 0.5].map(|factor| other(own, Scaling::Linear { factor }, 1.0)));
    for factor in [8.0, 32.0] {
        variants.push(other(own, Scaling::Llama3 { factor, low: 1.0, high: 4.0, original: 8192.0 }, 1.0));
    }
    for contexts in &CONTEXTS[..3] {
        variants.push(other(own, yarn(*contexts, positions as f64), yarn_factor(*contexts)));
    }
    if length > positions {
        variants.extend([2.0, 4.0].map(|factor| other(own, Scaling::Dynamic { factor, positions }, 1.0)));
    }
    if let Some(told) = Told::of(scene, rotate) {
        let measured = told.linear().into_iter().chain(told.named()).chain(told.as_measured());
        variants.extend(measured.filter(|variant| is_beyond_rounding(variant, own, &here, length)));
    }
    // What is the model's at this length is no other one.
    variants.retain(|variant| match &variant.edit {
        Edit::Set(Field::Rope(rope)) => {
            rope.frequencies(length) != here || !is_same(rope.factor, own.factor) && rope.scaling == Scaling::Default
        }
        _ => true,
    });
    variants
}

/// Whether some speed is another one, or the factor: those of tables in 16 bits are off by less than one in a hundred.
fn is_beyond_rounding(variant: &Variant, own: &Rope, here: &Frequencies, length: usize) -> bool {
    const ROUNDED: f64 = 0.01;
    let (speeds, factor) = match &variant.edit {
        Edit::Set(Field::Rope(rope)) => (rope.frequencies(length), rope.factor),
        Edit::All(edits) => match &edits[..] {
            [Edit::Set(Field::Frequencies(speeds)), Edit::Set(Field::Factor(factor))] => (speeds.clone(), *factor),
            _ => return true,
        },
        _ => return true,
    };
    if (factor / own.factor - 1.0).abs() > ROUNDED {
        return true;
    }
    let (speeds, own) = (speeds.speeds(), here.speeds());
    let apart = |(speed, own): (&f32, &f32)| (f64::from(*speed) / f64::from(*own) - 1.0).abs() > ROUNDED;
    speeds.len() != own.len() || speeds.iter().zip(own).any(apart)
}

/// The speeds of another length than the sequence has.
fn other_lengths(own: &Rope, length: usize) -> Vec<Variant> {
    match &own.scaling {
        Scaling::LongRope { short, long, original } => {
            let (one, table, right) =
                if length > *original { (short, "short", "long") } else { (long, "long", "short") };
            let scaling = Scaling::LongRope { short: one.clone(), long: one.clone(), original: *original };
            let words = format!(
                "the {table} table of longrope for {length} tokens, where the model has the {right} one (it changes at \
                 {original})"
            );
            vec![with(words, Field::Rope(Rope { scaling, ..own.clone() }))]
        }
        Scaling::Dynamic { positions, .. } if length > positions + 1 => {
            vec![of_length(own, length - 1, length)]
        }
        _ => Vec::new(),
    }
}

/// Dynamic speeds of another length.
fn of_length(own: &Rope, other: usize, length: usize) -> Variant {
    let words =
        format!("the base of a sequence of {other} tokens where it has {length}, to which dynamic scaling belongs");
    with(words, Field::Frequencies(own.frequencies(other)))
}

/// Another factor of cosines and sines, with the model's speeds. In a span a factor of scores would do as well, unless it is
/// the model's own that is missing.
pub(super) fn attention_factor(scene: &Scene) -> Vec<Variant> {
    let Some(rotate) = rotation(scene) else { return Vec::new() };
    let own = rotate.factor;
    let has = if is_same(own, 1.0) { "none".into() } else { format!("{own:.4}") };
    let times = |factor: f64, name: &str| {
        with(format!("cosines and sines times {factor:.4}{name} where the model has {has}"), Field::Factor(factor))
    };
    let mut variants = Vec::new();
    if !is_same(own, 1.0) {
        let words = format!("cosines and sines as they are where the model multiplies them by {own:.4}");
        variants.push(with(words, Field::Factor(1.0)));
    }
    if scene.part.is_none() {
        return variants;
    }
    if !is_same(own, 1.0) {
        variants.push(times(own * own, ", the model's factor twice,"));
        variants.push(times(own.sqrt(), ", the root of the model's factor,"));
    }
    for contexts in CONTEXTS {
        variants.push(times(yarn_factor(contexts), &format!(", YaRN's factor for {contexts} contexts,")));
    }
    if let Some(told) = told::factor(scene) {
        let round = [1, 2, 3].map(|digits| super::fit::rounded(told, digits));
        variants.extend(round.into_iter().chain([told]).map(|told| times(told, "")));
    }
    let is_own = |variant: &Variant| matches!(&variant.edit, Edit::Set(Field::Factor(factor)) if is_same(*factor, own));
    variants.retain(|variant| !is_own(variant));
    variants
}

/// Whether a rotation multiplies by a factor of its own.
pub(in crate::diagnose::suspects) fn multiplies(scene: &Scene) -> bool {
    rotation(scene).is_some_and(|Rotate { factor, .. }| !is_same(*factor, 1.0))
}
