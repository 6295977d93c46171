//! What leaves the house: texts without the folders of this computer, and without characters that no page takes.

use std::path::Path;

/// Shortens the paths that it knows.
#[derive(Debug)]
pub(super) struct Cleaner {
    /// What is replaced, and by what; the longest first.
    paths: Vec<(String, String)>,
}

impl Cleaner {
    /// Knows some paths, and the folders they lie in.
    pub(super) fn of<'a>(paths: impl Iterator<Item = &'a str>) -> Self {
        let mut known = Vec::new();
        for text in paths {
            let path = Path::new(text);
            let Some((name, parent)) = path.file_name().zip(path.parent()) else { continue };
            if parent != Path::new("") {
                known.push((text.to_string(), name.to_string_lossy().into_owned()));
            }
            // What lies beside it; the root stands in too many texts.
            if path.is_absolute() && parent.parent().is_some() {
                known.push((format!("{}{}", parent.display(), std::path::MAIN_SEPARATOR), String::new()));
            }
        }
        known.sort_by_key(|(path, _)| std::cmp::Reverse(path.len()));
        Self { paths: known }
    }

    /// A text as it may be shown: in one line, with file names for paths.
    pub(super) fn clean(&self, text: &str) -> String {
        let short = self.paths.iter().fold(text.to_string(), |text, (path, name)| text.replace(path, name));
        printable(&short)
    }
}

/// Control characters escaped, and what XML forbids.
pub(super) fn printable(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' => clean.push(' '),
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => clean.extend(c.escape_default()),
            // These turn the text around them.
            '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => clean.extend(c.escape_unicode()),
            c => clean.push(c),
        }
    }
    clean
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_and_control_characters_go() {
        let paths = ["/home/ada/dumps/ref.npz", "work/model", "plain"];
        let cleaner = Cleaner::of(paths.into_iter());
        for (text, clean) in [
            ("capture.py '/home/ada/dumps/ref.npz' and work/model", "capture.py 'ref.npz' and model"),
            ("/home/ada/dumps/other.npz is beside it", "other.npz is beside it"),
            ("/model/layers.0/MatMul is a name", "/model/layers.0/MatMul is a name"),
            ("\u{1b}[31m\u{202e}x\ny\u{ffff}", "\\u{1b}[31m\\u{202e}x y\\u{ffff}"),
        ] {
            assert_eq!(cleaner.clean(text), clean);
        }
    }
}
