//! What measured speeds tell: which way of scaling has them, with which numbers. A search over few numbers, of which those
//! are proposed that give every measured speed; whether one gives the dumped tensor is decided where all variants are tried.

use std::f64::consts::TAU;

use super::{CONTEXTS, other, rounded, said, yarn, yarn_factor};
use crate::diagnose::precision::Precision;
use crate::diagnose::suspects::spectroscopy::{amplitude, own_speeds, speeds, theta_of};
use crate::diagnose::suspects::{Scene, Variant};
use crate::engine::{Edit, Field};
use crate::model::op::Rotate;
use crate::model::spec::{Rope, Scaling};
use crate::ops::{Frequencies, Yarn};

/// Measured speeds are known this well, beside [`LEAST`].
const APART: f64 = 1e-4;

/// Slow pairs turn by so little that their speeds are known no better, in radians per position.
const LEAST: f64 = 1e-6;

/// Speeds that are divided by less are those of a coarser format.
const SCALED: f64 = 1.02;

/// Ways of one type that are proposed at most.
const PROPOSED: usize = 3;

/// What was measured.
pub(super) struct Told<'a> {
    own: &'a Rope,
    /// Tokens of the sequence at the end of the forward.
    length: usize,
    /// Positions of the model's context.
    positions: usize,
    /// The speeds that the dump has.
    speeds: Vec<f64>,
    /// By what the speeds of plain RoPE are divided.
    ratios: Vec<f64>,
    /// What cosines and sines are multiplied by.
    factor: f64,
}

/// What cosines and sines are multiplied by in the dump; slow pairs turn by less than coarse numbers tell.
pub(super) fn factor(scene: &Scene) -> Option<f64> {
    amplitude(scene).filter(|factor| factor.is_normal())
}

impl<'a> Told<'a> {
    /// What a dumped rotation tells; none where it has the model's speeds.
    pub(super) fn of(scene: &Scene, rotate: &'a Rotate) -> Option<Self> {
        if scene.precision != Precision::F32 {
            return None;
        }
        let (own, length) = (&rotate.rope, scene.first + scene.tokens);
        let speeds = speeds(scene)?;
        let plain = own.plain().frequencies(length);
        let ratios: Vec<f64> =
            plain.speeds().iter().zip(&speeds).map(|(plain, seen)| f64::from(*plain) / seen).collect();
        let told = Self { own, length, positions: scene.model.spec.positions, speeds, ratios, factor: factor(scene)? };
        (!told.are(own_speeds(scene)?.speeds())).then_some(told)
    }

    /// Whether the measured speeds are these.
    fn are(&self, speeds: &[f32]) -> bool {
        self.distance(speeds) <= 1.0
    }

    /// How far the measured speeds are from these, in units of how well they are known.
    fn distance(&self, speeds: &[f32]) -> f64 {
        let apart = |(seen, speed): (&f64, &f32)| (seen - f64::from(*speed)).abs() / (APART * seen.abs() + LEAST);
        self.speeds.iter().zip(speeds).map(apart).fold(0.0, f64::max)
    }

    fn has(&self, scaling: &Scaling) -> bool {
        self.are(Rope { scaling: scaling.clone(), ..self.own.clone() }.frequencies(self.length).speeds())
    }

    /// The factor that was measured, or the one of these that it is.
    fn factor_among(&self, known: &[f64]) -> f64 {
        let near = |known: &&f64| (self.factor / **known - 1.0).abs() < 1e-5;
        known.iter().find(near).copied().unwrap_or(self.factor)
    }

    fn variant(&self, scaling: Scaling, factor_of_type: f64) -> Variant {
        let factor = self.factor_among(&[factor_of_type, 1.0, self.own.factor]);
        other(self.own, scaling, factor)
    }

    /// One factor for all pairs, as the fastest has it.
    pub(super) fn linear(&self) -> Option<Variant> {
        let ratio = *self.ratios.first()?;
        let factor = (ratio * 1e4).round() as f32 / 1e4;
        (0.05..1e3).contains(&ratio).then(|| self.variant(Scaling::Linear { factor }, 1.0))
    }

    /// Types whose speeds are those that were measured.
    pub(super) fn named(&self) -> Vec<Variant> {
        let most = self.ratios.iter().copied().fold(0.0, f64::max);
        let mut found = Vec::new();
        if most >= SCALED {
            let (yarn, llama3) = (self.yarn(most), self.llama3(most));
            // Where no pair lies on a ramp both have the same speeds, and only YaRN has a factor.
            let ways = if (self.factor - 1.0).abs() < APART { [llama3, yarn] } else { [yarn, llama3] };
            found.extend(ways.into_iter().flatten());
        }
        found.extend(self.dynamic());
        found
    }

    /// Numbers by which a context may be lengthened: those that models have, and the one that slow pairs tell.
    fn contexts(most: f64) -> Vec<f64> {
        let mut contexts = CONTEXTS.to_vec();
        contexts.extend([64.0, rounded(most)]);
        contexts
    }

    /// Positions that may have been the original ones: the model's, and powers of two.
    fn originals(&self, factor: f64) -> Vec<f64> {
        let positions = self.positions as f64;
        let own = match &self.own.scaling {
            Scaling::Yarn(yarn) => Some(yarn.original),
            Scaling::Llama3 { original, .. } => Some(f64::from(*original)),
            _ => None,
        };
        let mut originals: Vec<f64> = own.into_iter().chain([positions, (positions / factor).round()]).collect();
        originals.extend((4..19).map(|power| f64::from(1 << power)));
        originals
    }

    fn yarn(&self, most: f64) -> Vec<Variant> {
        let mut found = Vec::new();
        for factor in Self::contexts(most) {
            let own = if let Scaling::Yarn(own) = self.own.scaling {
                Some(Scaling::Yarn(Yarn { factor, ..own }))
            } else {
                None
            };
            for scaling in own.into_iter().chain(self.originals(factor).into_iter().map(|from| yarn(factor, from))) {
                if found.len() < PROPOSED && self.has(&scaling) {
                    found.push(self.variant(scaling, yarn_factor(factor)));
                }
            }
        }
        if found.is_empty() {
            found.extend(self.ramp(rounded(most)).map(|scaling| self.variant(scaling, yarn_factor(rounded(most)))));
        }
        found
    }

    /// Other numbers of rotations between which YaRN's ramp lies, where the slowest pair is divided by the whole factor.
    fn ramp(&self, factor: f64) -> Option<Scaling> {
        // Of each pair, the share of its speed that is kept.
        let kept = |ratio: &f64| (ratio.recip() - factor.recip()) / (1.0 - factor.recip());
        let inside = |(_, kept): &(usize, f64)| *kept > 0.001 && *kept < 0.999;
        let between: Vec<(usize, f64)> = self.ratios.iter().map(kept).enumerate().filter(inside).collect();
        let ((first, above), (last, below)) = (*between.first()?, *between.last()?);
        if first == last {
            return None;
        }
        let width = (last - first) as f64 / (above - below);
        let low = first as f64 - (1.0 - above) * width;
        // Two pairs lie on some ramp anyway: its ends have to be whole pairs then, as they mostly are.
        let is_whole = |end: f64| (end - end.round()).abs() < 1e-3;
        if between.len() == 2 && !(is_whole(low) && is_whole(low + width)) {
            return None;
        }
        let dims = self.own.dims as f64;
        let original = self.positions as f64;
        let turns = |pair: f64| original / TAU * self.own.theta.powf(-2.0 * pair / dims);
        let (fast, slow) = (turns(low), turns(low + width));
        let scaling = Scaling::Yarn(Yarn { factor, fast, slow, original, truncate: false });
        (low > -1e-3 && self.has(&scaling)).then_some(scaling)
    }

    fn llama3(&self, most: f64) -> Vec<Variant> {
        let mut found = Vec::new();
        for factor in Self::contexts(most) {
            for original in self.originals(factor).into_iter().chain(self.blended(factor)) {
                let (factor, original) = (factor as f32, original as f32);
                let scaling = Scaling::Llama3 { factor, low: 1.0, high: 4.0, original };
                if found.len() < PROPOSED && self.has(&scaling) {
                    found.push(self.variant(scaling, 1.0));
                }
            }
        }
        found
    }

    /// The original positions that the first pair in the blend of llama3 tells.
    fn blended(&self, factor: f64) -> Option<f64> {
        let plain = self.own.plain().frequencies(0);
        let kept = |(ratio, speed): (&f64, &f32)| {
            let kept = (ratio.recip() - factor.recip()) / (1.0 - factor.recip());
            (kept > 0.001 && kept < 0.999).then(|| TAU / f64::from(*speed) * (1.0 + 3.0 * kept))
        };
        self.ratios.iter().zip(plain.speeds()).find_map(kept).map(f64::round)
    }

    /// A base that has grown with the sequence.
    fn dynamic(&self) -> Option<Variant> {
        let (own, positions) = (self.own, self.positions);
        let of_theta = |theta: f64| Rope { theta, ..own.plain() }.frequencies(0);
        let grown = theta_of(&self.speeds, of_theta);
        if self.length <= positions || !self.are(of_theta(grown).speeds()) {
            return None;
        }
        let dims = own.dims as f64;
        let stretch = (grown / own.theta).powf((dims - 2.0) / dims);
        if let Scaling::Dynamic { factor, positions } = own.scaling {
            let length = positions as f64 * (stretch + factor - 1.0) / factor;
            let is_whole = (length - length.round()).abs() < 0.01 && length >= positions as f64;
            return is_whole.then(|| super::of_length(own, length.round() as usize, self.length));
        }
        let factor = (stretch - 1.0) / (self.length as f64 / positions as f64 - 1.0);
        let round = (2.0 * factor).round() / 2.0;
        let is_round = (factor / round - 1.0).abs() < 1e-3 && round > 1.0 && round <= 64.0;
        is_round.then(|| self.variant(Scaling::Dynamic { factor: round, positions }, 1.0))
    }

    /// The speeds as they were measured, where no type with few numbers has them: what the tables of longrope make.
    pub(super) fn as_measured(&self) -> Option<Variant> {
        let is_scaled = |factor: &f64| (0.99..1e3).contains(factor);
        let most = self.ratios.iter().copied().fold(0.0, f64::max);
        let alike = self.ratios.iter().all(|ratio| (ratio / self.ratios[0] - 1.0).abs() < APART);
        // Another base, with the model's scaling or without, is told by few numbers, and is another mistake.
        let is_theta = [self.own.clone(), self.own.plain()].into_iter().any(|rope| {
            let of_theta = |theta: f64| Rope { theta, ..rope.clone() }.frequencies(self.length);
            let nearest = of_theta(theta_of(&self.speeds, of_theta));
            nearest.speeds().iter().zip(&self.speeds).all(|(own, seen)| (f64::from(*own) - seen).abs() < 0.1 * APART)
        });
        if alike || is_theta || most < SCALED || !self.ratios.iter().all(is_scaled) {
            return None;
        }
        let shown: Vec<String> = self.ratios.iter().map(|ratio| format!("{ratio:.3}")).collect();
        let speeds = Field::Frequencies(Frequencies::of_speeds(self.speeds.iter().map(|speed| *speed as f32)));
        let factor = self.factor_among(&[self.own.factor, 1.0]);
        let times =
            if (factor - 1.0).abs() < APART { String::new() } else { format!(", cosines and sines times {factor:.4}") };
        let there = if self.own.scaling == Scaling::Default { "none".into() } else { said(&self.own.scaling) };
        let words = format!(
            "each speed divided by a number of its own, as by a table of longrope ({}){times}, where the model has {there}",
            shown.join(", ")
        );
        Some(Variant::new(words, Edit::All([speeds, Field::Factor(factor)].map(Edit::Set).into())))
    }
}
