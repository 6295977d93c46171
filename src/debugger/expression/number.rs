//! A number as text, with so many significant digits.

/// `0.123456789`, `1.5e-7`, `42`, `-inf`
pub(in crate::debugger) fn significant(value: f64, digits: usize) -> String {
    /// Whole numbers below this have all their digits.
    const WHOLE: f64 = 1e15;
    if value.is_nan() {
        return "nan".into();
    }
    if value.is_infinite() || (value.fract() == 0.0 && value.abs() < WHOLE) {
        return format!("{value}");
    }
    let text = format!("{value:.*e}", digits - 1);
    let (mantissa, exponent) = text.split_once('e').expect("scientific notation has an exponent");
    let trim = |text: &str| text.trim_end_matches('0').trim_end_matches('.').to_string();
    match exponent.parse::<i32>().expect("an exponent is a whole number") {
        exponent if (-4..0).contains(&exponent) => {
            trim(&format!("{value:.*}", digits - 1 + exponent.unsigned_abs() as usize))
        }
        exponent if exponent >= 0 && (exponent as usize) < digits => {
            let text = format!("{value:.*}", digits - 1 - exponent as usize);
            if text.contains('.') { trim(&text) } else { text }
        }
        _ => format!("{}e{exponent}", if mantissa.contains('.') { trim(mantissa) } else { mantissa.into() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_so_many_digits() {
        #[rustfmt::skip]
        let table: &[(f64, usize, &str)] = &[
            (0.0, 9, "0"), (-0.0, 9, "-0"), (42.0, 3, "42"), (123_456.0, 3, "123456"), (1e15, 9, "1e15"),
            (0.1, 9, "0.1"), (2.0 / 3.0, 9, "0.666666667"), (1234.5678, 5, "1234.6"), (99999.6, 5, "1e5"),
            (1.0 / 3e4, 5, "3.3333e-5"), (-1.0 / 3e3, 5, "-0.00033333"), (0.999_999_999_9, 9, "1"),
            (1.5e-300, 9, "1.5e-300"), (1e300, 9, "1e300"), (12345.678, 5, "12346"), (2.5, 1, "2"),
            (f64::NAN, 9, "nan"), (f64::NEG_INFINITY, 9, "-inf"),
        ];
        for (value, digits, text) in table {
            assert_eq!(significant(*value, *digits), *text, "{value:e}");
        }
    }
}
