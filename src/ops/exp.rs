//! The exponential function, for vectors.

/// `eˣ` with an error below 1.2 units in the last place, written so that a compiler can turn it into vector code.
///
/// Cody and Waite's reduction `x = n ln 2 + r` and the minimax polynomial of Cephes' `expf` (Moshier, netlib.org/cephes).
/// Infinities and NaN behave as in IEEE 754; results below the smallest normal number are flushed to zero.
#[inline(always)]
pub(super) fn exp(x: f32) -> f32 {
    const LOWEST: f32 = -87.336_54;
    const HIGHEST: f32 = 88.722_83;
    // Adding 1.5 · 2²³ rounds to the nearest integer, which then stands in the low bits of the sum: no library call and
    // no checked conversion, which would keep the loop scalar.
    const ROUND: f32 = 12_582_912.0;
    let clamped = x.clamp(LOWEST, HIGHEST);
    let shifted = clamped * std::f32::consts::LOG2_E + ROUND;
    let n = shifted - ROUND;
    let power = shifted.to_bits().wrapping_sub(ROUND.to_bits()).cast_signed();
    // ln 2 in two parts, the first of which has trailing zeros, so that n · LN2_HIGH is exact.
    let r = (clamped - n * 0.693_359_4) - n * -2.121_944_4e-4;
    let p = 1.987_569_1e-4;
    let p = p * r + 1.398_199_9e-3;
    let p = p * r + 8.333_452e-3;
    let p = p * r + 4.166_579_6e-2;
    let p = p * r + 1.666_666_5e-1;
    let p = p * r + 0.5;
    let y = p * (r * r) + r + 1.0;
    // Two factors of 2^(n/2): n = 128 is legal just below the overflow threshold, and 2^128 is no f32.
    let half = power >> 1;
    let two_to_the = |n: i32| f32::from_bits(n.wrapping_add(127).cast_unsigned().wrapping_shl(23));
    let y = y * two_to_the(half) * two_to_the(power.wrapping_sub(half));
    let y = if x < LOWEST { 0.0 } else { y };
    if x > HIGHEST { f32::INFINITY } else { y }
}

#[cfg(test)]
mod tests {
    use super::exp;

    #[test]
    fn exp_is_within_two_units_of_the_f64_value() {
        let mut worst = 0.0f64;
        for step in -870_000..=887_000 {
            let x = step as f32 * 1e-4;
            let exact = f64::from(x).exp();
            let unit = f64::from(f32::EPSILON) * exact;
            worst = worst.max((f64::from(exp(x)) - exact).abs() / unit);
        }
        assert!(worst < 1.2, "{worst} units in the last place");
    }

    #[test]
    fn exp_at_the_edges() {
        assert_eq!(exp(0.0), 1.0);
        assert_eq!(exp(f32::NEG_INFINITY), 0.0);
        assert_eq!(exp(f32::INFINITY), f32::INFINITY);
        assert_eq!(exp(-1e9), 0.0);
        assert_eq!(exp(100.0), f32::INFINITY);
        assert!(exp(f32::NAN).is_nan());
    }
}
