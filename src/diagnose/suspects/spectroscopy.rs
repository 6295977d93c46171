//! What RoPE did, read from its input and output: one measurement in the place of many guesses.
//!
//! With channels `(a, b)` of a pair as complex numbers, `z = (y_a + j y_b) / (q_a + j q_b)` has the angle `position · ω`. Summed
//! over heads as a correlation, it tells positions where the speeds are known, and speeds where positions are.

use ndarray::{Axis, Ix3};

use super::Scene;
use crate::engine::Op;
use crate::metrics;
use crate::model::op::Rotate;
use crate::ops::{Frequencies, Pairs, split_heads};

/// The rotation that an op is.
pub(super) fn rotation(scene: &Scene) -> Option<&Rotate> {
    if let Op::Rope(rotate) = scene.op() { Some(rotate) } else { None }
}

/// The speeds that the model has in the forward.
pub(super) fn own_speeds(scene: &Scene) -> Option<Frequencies> {
    Some(rotation(scene)?.frequencies(scene.first + scene.tokens))
}

/// A complex number.
type Complex = (f64, f64);

/// Correlations of output with input, `[row][pair]`, summed over heads; none where shapes do not allow it.
fn correlations(scene: &Scene) -> Option<Vec<Vec<Complex>>> {
    let own = rotation(scene)?;
    let y = scene.dumped()?.into_dimensionality::<Ix3>().ok()?;
    let (heads, rows, width) = y.dim();
    let input = scene.input(0)?;
    let x = split_heads(input.view(), width)?;
    let half = own_speeds(scene)?.speeds().len();
    let of_pair = |row: usize, i: usize| {
        let (a, b) = own.pairs.channels(i, half);
        let (to_a, to_b) = if own.rope.parted { Pairs::Halves.channels(i, half) } else { (a, b) };
        (0..heads).fold((0.0, 0.0), |sum, head| {
            let (ya, yb) = (y[[head, row, to_a]], y[[head, row, to_b]]);
            let (qa, qb) = (x[[head, row, a]], x[[head, row, b]]);
            (sum.0 + ya * qa + yb * qb, sum.1 + yb * qa - ya * qb)
        })
    };
    Some((0..rows).map(|row| (0..half).map(|i| of_pair(row, i)).collect()).collect())
}

/// The position that each row was rotated to, if the speeds are the model's.
pub(super) fn positions(scene: &Scene) -> Option<Vec<i64>> {
    const FURTHER: i64 = 16;
    let seen = correlations(scene)?;
    let own = own_speeds(scene)?;
    let speeds = own.speeds();
    let last = i64::try_from(scene.positions().last()? + 1).ok()?;
    let fits = |row: &[Complex], position: i64| {
        let agreement = |((re, im), speed): (&Complex, &f32)| {
            let (sin, cos) = (position as f64 * f64::from(*speed)).sin_cos();
            re * cos + im * sin
        };
        row.iter().zip(speeds).map(agreement).sum::<f64>()
    };
    let best =
        |row: &Vec<Complex>| (-last - FURTHER..=last + FURTHER).max_by(|a, b| fits(row, *a).total_cmp(&fits(row, *b)));
    seen.iter().map(best).collect()
}

/// The speed of each pair, if rows stand one position apart from each other, and not all at one.
pub(super) fn speeds(scene: &Scene) -> Option<Vec<f64>> {
    let mut seen = correlations(scene)?;
    let places = scene.positions();
    if places.windows(2).any(|pair| pair[1] != pair[0] + 1) {
        return None;
    }
    if places.first() == Some(&1) {
        // A row at position 0 stands as it is.
        seen.insert(0, vec![(1.0, 0.0); seen[0].len()]);
    }
    if seen.len() < 2 {
        return None;
    }
    let half = seen[0].len();
    let turn = |a: Complex, b: Complex| (a.0 * b.0 + a.1 * b.1, a.1 * b.0 - a.0 * b.1);
    let angle = |z: Complex| z.1.atan2(z.0);
    let of_pair = |i: usize| {
        let step = seen.windows(2).fold((0.0, 0.0), |sum, rows| {
            let z = turn(rows[1][i], rows[0][i]);
            (sum.0 + z.0, sum.1 + z.1)
        });
        let speed = angle(step);
        // Longer distances tell more, once the short ones have told how many whole turns lie between.
        let (mut cross, mut size) = (0.0, 0.0);
        for (t, row) in seen.iter().enumerate().skip(1) {
            let (t, z) = (t as f64, turn(row[i], seen[0][i]));
            let rest = angle(z) - speed * t;
            let rest = rest - (rest / std::f64::consts::TAU).round() * std::f64::consts::TAU;
            let weight = z.0.hypot(z.1) * t;
            cross += weight * rest;
            size += weight * t;
        }
        speed + if size > 0.0 { cross / size } else { 0.0 }
    };
    Some((0..half).map(of_pair).collect())
}

/// By how much rotated pairs are longer than they were before, all alike.
pub(super) fn amplitude(scene: &Scene) -> Option<f64> {
    let own = rotation(scene)?;
    let pairs = own_speeds(scene)?.speeds().len();
    let seen = correlations(scene)?;
    let input = scene.input(0)?;
    let x = split_heads(input.view(), own.head_dim)?;
    let turned = (0..pairs).flat_map(|i| <[usize; 2]>::from(own.pairs.channels(i, pairs)));
    let size: f64 = turned.map(|channel| x.index_axis(Axis(2), channel).iter().map(|v| v * v).sum::<f64>()).sum();
    let cross: f64 = seen.iter().flatten().map(|z| z.0.hypot(z.1)).sum();
    (size > 0.0).then(|| cross / size)
}

/// The theta whose speeds come nearest to the measured ones: on a grid, then by golden section.
pub(super) fn theta_of(measured: &[f64], speeds: impl Fn(f64) -> Frequencies) -> f64 {
    const LOWEST: f64 = 2.0;
    const HIGHEST: f64 = 20.0;
    const GRID: u32 = 600;
    // A speed is known to the same absolute error whatever its size.
    let apart = |logarithm: f64| {
        let of_theta = speeds(logarithm.exp());
        measured.iter().zip(of_theta.speeds()).map(|(a, b)| (a - f64::from(*b)).powi(2)).sum::<f64>()
    };
    metrics::least(LOWEST, HIGHEST, GRID, apart).exp()
}
