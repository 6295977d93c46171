//! Numbers as reports print them: as `layerstep diff` does.

use crate::diagnose::conclude::times;

/// `8.6e-1`, `NaN`, `inf`; empty where there is none.
pub(super) fn error(value: Option<f64>) -> String {
    value.map_or_else(String::new, |value| format!("{value:.1e}"))
}

/// How many times the noise: `0.3`, `412`, `3.5e6`.
pub(super) fn ratio(value: Option<f64>) -> String {
    value.map_or_else(String::new, times)
}

/// A share of the squared error, in percent. Nearly all is not all.
pub(super) fn percent(share: f64) -> String {
    let percent = (100.0 * share).clamp(0.0, 100.0);
    if percent.is_nan() { "no number".into() } else { format!("{percent:.3} %") }
}

/// A value at the end of a scale of colours.
pub(super) fn value(value: f32) -> String {
    match value.abs() {
        0.0 => "0".into(),
        size if (0.01..1e4).contains(&size) => {
            let digits = (2 - size.log10().floor() as i32).clamp(0, 4) as usize;
            format!("{value:.digits$}")
        }
        _ => format!("{value:.1e}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_number_prints_sanely() {
        let (nan, inf) = (f64::NAN, f64::INFINITY);
        assert_eq!([error(None), error(Some(nan)), error(Some(inf)), error(Some(0.0))], ["", "NaN", "inf", "0.0e0"]);
        assert_eq!([ratio(Some(nan)), ratio(Some(inf)), ratio(Some(3.52e6))], ["NaN", "inf", "3.5e6"]);
        assert_eq!([percent(nan), percent(1.0), percent(-3.0)], ["no number", "100.000 %", "0.000 %"]);
        let values = [0.0, 1.5, -12.345, 0.012, 9999.0, 2e-5, f32::NAN, f32::NEG_INFINITY].map(value);
        assert_eq!(values, ["0", "1.50", "-12.3", "0.0120", "9999", "2.0e-5", "NaN", "-inf"]);
    }
}
