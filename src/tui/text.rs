//! Text as the screen shows it: untrusted text made harmless, numbers made short, lines made to fit.

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// Untrusted text (tokens, names, notes) with everything a terminal or a reader could be fooled by written out:
/// control characters, directions, characters without width. All text from outside goes through here.
pub(crate) fn visible(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut after_base = false;
    for character in text.chars() {
        // One accent per letter: a pile of them would climb into the lines above.
        let accent = after_base && matches!(character, '\u{300}'..='\u{36f}');
        after_base = !accent && character.is_alphabetic();
        if accent || (!character.is_control() && character.width().unwrap_or(0) > 0) {
            shown.push(character);
        } else {
            shown.push_str(&escape(character));
        }
    }
    shown
}

fn escape(character: char) -> String {
    match character {
        '\n' => "\\n".to_string(),
        '\t' => "\\t".to_string(),
        '\r' => "\\r".to_string(),
        '\0'..='\u{9f}' => format!("\\x{:02x}", character as u32),
        _ => format!("\\u{{{:x}}}", character as u32),
    }
}

/// Columns a text takes.
pub(crate) fn width(text: &str) -> usize {
    text.width()
}

/// The text cut to so many columns, the cut marked by `ellipsis`.
pub(crate) fn fit(text: &str, columns: usize, ellipsis: &str) -> String {
    if text.width() <= columns {
        return text.to_string();
    }
    let room = columns.saturating_sub(ellipsis.width());
    let mut cut = String::new();
    let mut used = 0;
    for character in text.chars() {
        used += character.width().unwrap_or(0);
        if used > room {
            break;
        }
        cut.push(character);
    }
    if columns >= ellipsis.width() {
        cut.push_str(ellipsis);
    }
    cut
}

/// The text cut in its middle to so many columns: names that begin alike differ at their end.
pub(crate) fn middle(text: &str, columns: usize, ellipsis: &str) -> String {
    if text.width() <= columns || columns < 2 + ellipsis.width() {
        return fit(text, columns, ellipsis);
    }
    let room = columns - ellipsis.width();
    let begin = fit(text, room.div_ceil(2), "");
    let mut left = room - begin.width();
    let end = text.char_indices().rev().take_while(|(_, character)| {
        let wide = character.width().unwrap_or(0);
        let fits = wide <= left;
        left = left.saturating_sub(wide);
        fits
    });
    let start = end.last().map_or(text.len(), |(start, _)| start);
    format!("{begin}{ellipsis}{}", &text[start..])
}

/// The text cut or padded on the right to exactly so many columns.
pub(crate) fn pad(text: &str, columns: usize, ellipsis: &str) -> String {
    let mut text = fit(text, columns, ellipsis);
    text.extend(std::iter::repeat_n(' ', columns.saturating_sub(text.width())));
    text
}

/// Parts of a line, each kept whole, over as many lines as they take; a part that is longer than a line is cut.
pub(crate) fn flow(parts: impl IntoIterator<Item = String>, columns: usize, ellipsis: &str) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for part in parts.into_iter().filter(|part| !part.is_empty()) {
        match lines.last_mut() {
            Some(line) if line.width() + 2 + part.width() <= columns => {
                line.push_str("  ");
                line.push_str(&part);
            }
            _ => lines.push(fit(&part, columns, ellipsis)),
        }
    }
    lines
}

/// A probability in three columns: `93%`, `<1%`; only a certainty is `100%`.
pub(crate) fn percent(value: f64) -> String {
    match value {
        _ if !value.is_finite() => special(value),
        _ if value > 0.0 && value < 0.005 => "<1%".to_string(),
        _ if value < 1.0 => format!("{:.0}%", (value.max(0.0) * 100.0).min(99.0)),
        _ => "100%".to_string(),
    }
}

/// A count in at most six columns: `49152`, `152k`, `17M`.
pub(crate) fn count(value: usize) -> String {
    match value {
        0..100_000 => value.to_string(),
        100_000..10_000_000 => format!("{}k", value / 1000),
        10_000_000..10_000_000_000 => format!("{}M", value / 1_000_000),
        _ => short(value as f64),
    }
}

/// An error or another magnitude, in at most seven columns: `8.7e-1`, `0`, `NaN`.
pub(crate) fn short(value: f64) -> String {
    if value == 0.0 || !value.is_finite() {
        return if value == 0.0 { "0".to_string() } else { special(value) };
    }
    format!("{value:.1e}")
}

/// The same in at most six columns: `8.7e-1`, `3e-10`.
pub(crate) fn shorter(value: f64) -> String {
    let text = short(value);
    if text.len() > 6 { format!("{value:.0e}") } else { text }
}

/// How many times larger one thing is than another, in at most six columns: `0.8`, `140`, `2.6e6`.
pub(crate) fn ratio(value: f64) -> String {
    if value == 0.0 || !value.is_finite() {
        short(value)
    } else if value < 9.95 {
        format!("{value:.1}")
    } else if value < 999.5 {
        format!("{value:.0}")
    } else if value < 1e99 {
        short(value)
    } else {
        ">1e99".to_string()
    }
}

/// A number in at most `columns` columns (six or more), as precise as they allow, with room for a sign.
pub(crate) fn number(value: f64, columns: usize) -> String {
    if !value.is_finite() {
        return special(value);
    }
    if value == 0.0 {
        return if value.is_sign_negative() { "-0" } else { "0" }.to_string();
    }
    let smallest = if columns > 6 { 0.001 } else { 0.01 };
    if value.abs() >= smallest {
        let digits = value.abs().log10().floor().max(0.0) as usize + 1;
        if digits < columns {
            let decimals = columns.saturating_sub(digits + 2).min(4);
            let text = format!("{value:.decimals$}");
            if text.len() <= columns {
                return text;
            }
        }
    }
    let precise = (0..=3).rev().map(|decimals| format!("{value:.decimals$e}")).find(|text| text.len() <= columns);
    precise.unwrap_or_else(|| format!("{value:.0e}"))
}

/// A cosine: how far below one it is, where five decimals would hide it.
pub(crate) fn cosine(value: f64) -> String {
    match 1.0 - value {
        short_of_one if short_of_one > 0.0 && short_of_one < 1e-4 => format!("1-{}", short(short_of_one)),
        _ if value.is_finite() => format!("{value:.4}"),
        _ => special(value),
    }
}

fn special(value: f64) -> String {
    if value.is_nan() {
        "NaN"
    } else if value > 0.0 {
        "inf"
    } else {
        "-inf"
    }
    .to_string()
}

/// Breaks text at spaces.
pub(crate) fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_string()),
        }
    }
    lines
}

/// A line over as many as it takes, broken at spaces, which stay as they are; what follows the first stands further in.
pub(crate) fn broken(text: &str, columns: usize) -> Vec<String> {
    let indent = text.len() - text.trim_start().len() + 2;
    let (mut lines, mut rest) = (Vec::new(), text.to_string());
    while rest.width() > columns && columns > 2 * indent {
        let whole = fit(&rest, columns, "").len();
        let inside = rest[..whole].trim_start().len();
        let space = rest[whole - inside..whole].rfind(' ').map_or(whole, |space| whole - inside + space);
        let more = format!("{:indent$}{}", "", rest[space..].trim_start());
        rest.truncate(rest[..space].trim_end().len());
        lines.push(std::mem::replace(&mut rest, more));
    }
    lines.push(rest);
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_a_terminal_obeys_survives() {
        assert_eq!(visible("a\x1b]52;c\x07\u{9b}b\r\n\t"), "a\\x1b]52;c\\x07\\x9bb\\r\\n\\t");
        assert_eq!(visible("x\u{202e}y\u{200b}\u{feff}"), "x\\u{202e}y\\u{200b}\\u{feff}");
        assert_eq!(visible("e\u{301}\u{301}"), "e\u{301}\\u{301}");
        assert_eq!(visible("日本 é ▁the"), "日本 é ▁the");
    }

    #[test]
    fn numbers_keep_to_their_columns() {
        let values = [0.0, -0.0, 1.0, -1.0, 0.12345, -12.3456, 99999.9, -99999.9, 123_456_789.0, 1e-5, -1.23e-12, 1e30];
        for columns in [6, 7, 8, 9] {
            for value in values.into_iter().chain([f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -9.999_99, 0.009_99]) {
                assert!(number(value, columns).len() <= columns, "{value} in {columns}: {}", number(value, columns));
            }
        }
        assert_eq!(number(-0.4412, 7), "-0.4412");
        assert_eq!(number(0.4412, 6), "0.441");
        assert_eq!(number(-1.234e-5, 7), "-1.2e-5");
    }

    #[test]
    fn ratios_are_short() {
        let ratios = [0.0, 0.04, 1.0, 9.96, 140.4, 999.6, 2.6e6, 1.5e12, 1e300, f64::INFINITY, f64::NAN];
        let texts = ["0", "0.0", "1.0", "10", "140", "1.0e3", "2.6e6", "1.5e12", ">1e99", "inf", "NaN"];
        assert_eq!(ratios.map(ratio), texts);
        assert_eq!([8.7e-1, 3.14e-10, 0.0].map(shorter), ["8.7e-1", "3e-10", "0"]);
    }

    #[test]
    fn shares_and_counts_are_short() {
        let shares = [0.0, 1e-9, 0.004, 0.936, 0.9999, 1.0, f64::NAN];
        assert_eq!(shares.map(percent), ["0%", "<1%", "<1%", "94%", "99%", "100%", "NaN"]);
        let counts = [0, 99_999, 100_000, 9_999_999, 10_000_000, 9_999_999_999, usize::MAX];
        assert_eq!(counts.map(count), ["0", "99999", "100k", "9999k", "10M", "9999M", "1.8e19"]);
    }

    #[test]
    fn parts_are_kept_whole() {
        let parts = ["rank 1", "\" Paris\"", "", "much longer than a line"].map(String::from);
        assert_eq!(flow(parts, 16, "…"), ["rank 1  \" Paris\"", "much longer tha…"]);
    }

    #[test]
    fn cuts_are_marked_and_wide_characters_never_split() {
        assert_eq!(fit("post_attention", 8, "…"), "post_at…");
        assert_eq!(fit("日本語", 4, "…"), "日…");
        assert_eq!(fit("ab", 0, "…"), "");
        assert_eq!(middle("experts.act_mul", 9, "…"), "expe…_mul");
        assert_eq!(middle("post_attention_layernorm", 15, "..."), "post_a...ernorm");
        assert_eq!(["日本語日", "ab", "abc"].map(|text| middle(text, 3, "…")), ["…日", "ab", "abc"]);
        assert_eq!(pad("日", 4, "…"), "日  ");
    }

    #[test]
    fn long_lines_go_on_further_in() {
        assert_eq!(broken("  step   N  the next op", 14), ["  step   N", "    the next", "    op"]);
        assert_eq!(broken("abcdefghijkl", 8), ["abcdefgh", "  ijkl"]);
        assert_eq!(broken("short", 8), ["short"]);
    }

    #[test]
    fn a_cosine_next_to_one_says_how_near() {
        assert_eq!(cosine(0.5), "0.5000");
        assert_eq!(cosine(1.0 - 2e-7), "1-2.0e-7");
        assert_eq!(cosine(1.0), "1.0000");
    }
}
