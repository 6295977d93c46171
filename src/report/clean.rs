//! What leaves the house: texts without the folders of this computer, and without characters that no page takes.

use std::path::Path;

use crate::diagnose::Report;

/// Shortens the paths that it knows.
#[derive(Debug)]
pub(super) struct Cleaner {
    /// What is replaced, and by what; the longest first.
    paths: Vec<(String, String)>,
}

impl Cleaner {
    /// Knows the paths of a comparison, and the folders they lie in.
    pub(super) fn of(report: &Report) -> Self {
        let sources = report.sources.iter().map(|source| source.path.as_str());
        // The model's folder is known to the commands only.
        let models = report.blind_spots.iter().filter_map(|spot| model_of(&spot.remedy));
        Self::knowing(sources.chain(models))
    }

    fn knowing<'a>(paths: impl Iterator<Item = &'a str>) -> Self {
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
        known.sort_by_key(|(path, _): &(String, String)| std::cmp::Reverse(path.len()));
        Self { paths: known }
    }

    /// A text as it may be shown: in one line, with file names for paths.
    pub(super) fn clean(&self, text: &str) -> String {
        let short = self.paths.iter().fold(text.to_string(), |text, (path, name)| text.replace(path, name));
        printable(&short)
    }
}

/// The path of the model in a command that makes a better dump.
fn model_of(remedy: &str) -> Option<&str> {
    let rest = ["capture.py ", "inspect "].iter().find_map(|word| remedy.split_once(word)).map(|(_, rest)| rest)?;
    match rest.strip_prefix('\'') {
        Some(quoted) => quoted.split('\'').next(),
        None => rest.split(' ').next(),
    }
}

/// A text in one line, with control characters escaped, what XML forbids, and what turns the text around it: every text of
/// a document goes through this.
pub fn printable(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' => clean.push(' '),
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => clean.extend(c.escape_default()),
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
        let cleaner = Cleaner::knowing(paths.into_iter());
        for (text, clean) in [
            ("capture.py '/home/ada/dumps/ref.npz' and work/model", "capture.py 'ref.npz' and model"),
            ("/home/ada/dumps/other.npz is beside it", "other.npz is beside it"),
            ("/model/layers.0/MatMul is a name", "/model/layers.0/MatMul is a name"),
            ("\u{1b}[31m\u{202e}x\ny\u{ffff}", "\\u{1b}[31m\\u{202e}x y\\u{ffff}"),
        ] {
            assert_eq!(cleaner.clean(text), clean);
        }
        for (remedy, model) in [
            ("python reference/capture.py '/home/my models/m' --ids 1,2", Some("/home/my models/m")),
            ("layerstep inspect ../m --names", Some("../m")),
            ("feed more tokens", None),
        ] {
            assert_eq!(model_of(remedy), model);
        }
    }
}
