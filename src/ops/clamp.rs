//! Numbers between limits, and the gated functions of them.

use ndarray::{Array, ArrayView, Dimension};

use super::real::{Real, Rounding};

/// `x` between two limits, which are rounded themselves.
pub fn clipped<T: Real, D: Dimension>(
    x: ArrayView<T, D>,
    (least, most): (f64, f64),
    rounding: Rounding,
) -> Array<T, D> {
    let mut limits = [T::from_f64(least), T::from_f64(most)];
    rounding.round(&mut limits);
    let mut y = x.as_standard_layout().into_owned();
    y.mapv_inplace(|x| x.max(limits[0]).min(limits[1]));
    y
}

/// `x σ(alpha x)` of `x` that is at most `limit`, rounded after every torch op: `_apply_gate` of `modeling_gpt_oss.py`.
pub fn clamped_swish<T: Real, D: Dimension>(
    x: ArrayView<T, D>,
    alpha: f64,
    limit: f64,
    rounding: Rounding,
) -> Array<T, D> {
    let alpha = T::from_f64(alpha);
    let mut y = clipped(x, (f64::NEG_INFINITY, limit), rounding);
    let mut gate = y.clone();
    let steps: [&dyn Fn(T) -> T; 2] = [&|x| x * alpha, &|x| T::one() / (T::one() + (-x).exponential())];
    for step in steps {
        gate.mapv_inplace(step);
        rounding.round(gate.as_slice_mut().expect("standard layout"));
    }
    y *= &gate;
    rounding.round(y.as_slice_mut().expect("standard layout"));
    y
}

/// `a (b + 1)` of `b` between `-limit` and `limit`, rounded after the sum and after the product.
pub fn clamped_product<T: Real, D: Dimension>(
    a: ArrayView<T, D>,
    b: ArrayView<T, D>,
    limit: f64,
    rounding: Rounding,
) -> Array<T, D> {
    let mut y = clipped(b, (-limit, limit), rounding);
    y.mapv_inplace(|b| b + T::one());
    rounding.round(y.as_slice_mut().expect("standard layout"));
    y *= &a;
    rounding.round(y.as_slice_mut().expect("standard layout"));
    y
}
