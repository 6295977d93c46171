//! Sizes as people write them: `4 GB`, `512 MiB`.

const UNITS: &[(&str, usize)] = &[
    ("GB", 1_000_000_000),
    ("GiB", 1 << 30),
    ("MB", 1_000_000),
    ("MiB", 1 << 20),
    ("kB", 1000),
    ("KB", 1000),
    ("KiB", 1 << 10),
    ("B", 1),
];

/// How many bytes that is.
pub(super) fn read(text: &str) -> Option<usize> {
    let text = text.trim();
    let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit())?);
    let (_, factor) = UNITS.iter().find(|(name, _)| *name == unit.trim_start())?;
    number.parse::<usize>().ok()?.checked_mul(*factor)
}

/// The same number in the largest unit that makes it a whole one.
pub(super) fn written(bytes: usize) -> String {
    let whole = UNITS.iter().filter(|(_, factor)| bytes > 0 && bytes.is_multiple_of(*factor));
    let (unit, factor) = whole.max_by_key(|(_, factor)| *factor).unwrap_or(&("B", 1));
    format!("{} {unit}", bytes / factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_and_written() {
        for (text, expected, again) in [
            ("4 GB", Some(4_000_000_000), "4 GB"),
            ("4GiB", Some(4 << 30), "4 GiB"),
            (" 1500 MB ", Some(1_500_000_000), "1500 MB"),
            ("64 kB", Some(64_000), "64 KB"),
            ("7 B", Some(7), "7 B"),
            ("0 GB", Some(0), "0 B"),
            ("4", None, ""),
            ("GB", None, ""),
            ("-1 GB", None, ""),
            ("1.5 GB", None, ""),
            ("4 gigabytes", None, ""),
            ("99999999999999999999 GB", None, ""),
            ("18446744073 GiB", None, ""),
        ] {
            assert_eq!(read(text), expected, "{text}");
            assert_eq!(expected.map(written).unwrap_or_default(), again, "{text}");
        }
    }
}
