//! Numbers that a tensor tells about the op that made it.

use std::borrow::Borrow;

use ndarray::ArrayViewD;

/// The least-squares factor `c` of `y ≈ c f`, over elements that are finite in both; none where `f` is zero.
pub(in crate::diagnose) fn factor<T: Borrow<f64>>(pairs: impl IntoIterator<Item = (T, T)>) -> Option<f64> {
    let (mut cross, mut size) = (0.0, 0.0);
    let pairs = pairs.into_iter().map(|(y, f)| (*y.borrow(), *f.borrow()));
    for (y, f) in pairs.filter(|(y, f)| y.is_finite() && f.is_finite()) {
        cross += y * f;
        size += f * f;
    }
    (size > 0.0).then_some(cross / size)
}

/// The nearest number of so many digits: one that somebody may have written down.
pub(super) fn rounded(value: f64, digits: i32) -> f64 {
    if value == 0.0 || !value.is_finite() {
        return value;
    }
    let unit = 10f64.powi(value.abs().log10().floor() as i32 + 1 - digits);
    (value / unit).round() * unit
}

/// The `c` of `y = c tanh(f / c)`, from the largest elements, if there is one.
pub(in crate::diagnose) fn cap(y: ArrayViewD<f64>, f: ArrayViewD<f64>) -> Option<f64> {
    let mut pairs: Vec<(f64, f64)> = y.iter().copied().zip(f.iter().copied()).collect();
    pairs.retain(|(y, f)| y * f > 0.0 && y.is_finite() && f.is_finite());
    pairs.sort_by(|a, b| b.1.abs().total_cmp(&a.1.abs()));
    let mut found: Vec<f64> = pairs.iter().take(9).filter_map(|(y, f)| one_cap(y.abs(), f.abs())).collect();
    found.sort_by(f64::total_cmp);
    found.get(found.len() / 2).copied()
}

/// By bisection: `c tanh(f / c)` grows with `c` from 0 to `f`.
fn one_cap(y: f64, f: f64) -> Option<f64> {
    if y >= f {
        return None;
    }
    let (mut low, mut high) = (y, 1e3 * f);
    for _ in 0..100 {
        let middle = f64::midpoint(low, high);
        if middle * (f / middle).tanh() < y {
            low = middle;
        } else {
            high = middle;
        }
    }
    (high < 0.99e3 * f).then_some(high)
}
