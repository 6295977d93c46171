//! Lines that are the same but for what the order of a sum does to their numbers.

/// Numbers below this are noise.
const NOISE: f64 = 1e-5;
/// What the order of a sum does to a number of f32, generously.
const RELATIVE: f64 = 1e-4;

/// Whether two lines are the same: numbers with a point or an exponent may differ by a unit of their last digit, and
/// noise by anything; spaces between words do not count.
pub(crate) fn same(expected: &str, printed: &str) -> bool {
    let (a, b) = (parts(expected), parts(printed));
    a.len() == b.len() && a.iter().zip(&b).all(|(a, b)| a == b || close(a, b))
}

fn close(expected: &str, printed: &str) -> bool {
    let (Some((a, unit)), Some((b, _))) = (number(expected), number(printed)) else { return false };
    (a - b).abs() <= f64::max(1.5 * unit, RELATIVE * a) || (a < NOISE && b < NOISE)
}

/// A number that is not whole, and a unit of its last digit.
fn number(text: &str) -> Option<(f64, f64)> {
    let (mantissa, exponent) = text.split_once('e').unwrap_or((text, "0"));
    let digits = mantissa.split_once('.').map_or(0, |(_, digits)| digits.len());
    let whole = digits == 0 && !text.contains('e');
    let exponent: i32 = exponent.parse().ok()?;
    let value = text.parse().ok().filter(|_| !whole)?;
    Some((value, 10f64.powi(exponent - i32::try_from(digits).ok()?)))
}

/// The numbers of a line, and what stands between them, without the spaces around it.
fn parts(line: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    let mut rest = line;
    while let Some(start) = rest.find(|c: char| c.is_ascii_digit()) {
        let (before, from) = rest.split_at(start);
        let end = number_end(from);
        parts.extend([before.trim(), &from[..end]]);
        rest = &from[end..];
    }
    parts.push(rest.trim());
    parts
}

/// Where the number ends that a text begins with: `8.6e-1` in `8.6e-1, ...`, `2` in `2.q_rope`.
fn number_end(text: &str) -> usize {
    let digits = |from: usize| from + text[from..].bytes().take_while(u8::is_ascii_digit).count();
    let more = |from: usize, mark: &str| {
        let after = text[from..].strip_prefix(mark).map_or(from, |_| from + mark.len());
        let end = digits(after);
        if end > after { end } else { from }
    };
    let end = more(digits(0), ".");
    let exponent = more(end, "e-");
    if exponent > end { exponent } else { more(end, "e") }
}

#[test]
fn numbers_are_compared_as_numbers() {
    for (a, b, expected) in [
        ("2.q_rope  error 8.6e-1  DIVERGES", "2.q_rope  error 8.7e-1  DIVERGES", true),
        ("2.q_rope  error 8.6e-1", "2.q_rope  error 8.8e-1", false),
        ("error 1.0e0", "error 9.9e-1", true),
        ("local 3.1e-8  floor 2.5e-7", "local 9.9e-8  floor 2.7e-7", true),
        ("local 3.1e-8", "local 3.1e-5", false),
        ("rms 1.2345e0", "rms 1.2346e0", true),
        ("rms 1.2345e0", "rms 1.2348e0", false),
        ("0.109732275", "0.109732288", true),
        ("hit 3 times", "hit 4 times", false),
        ("1.q_rope", "2.q_rope", false),
        ("@1", "@2", false),
        ("[ 1.5   2]", "[1.5 2]", true),
        ("-1.5", "1.5", false),
        ("a 1.5", "a 1.5 b", false),
    ] {
        assert_eq!(same(a, b), expected, "{a:?} and {b:?}");
    }
}
