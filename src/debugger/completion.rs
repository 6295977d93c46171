//! What a half-typed command line may go on with.

use super::command::{COMMANDS, Completes, SETTINGS, SettingSpec, Spec};

/// What may stand where the last word of a line begins.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Completions {
    /// Where the word begins, in bytes.
    pub start: usize,
    /// What it may become.
    pub words: Vec<String>,
}

/// Completions of a line; `names` are those of the activations. Names that begin with the word come first; where there
/// is none, those that contain it.
pub fn complete(line: &str, names: &[String]) -> Completions {
    let start = line.rfind(char::is_whitespace).map_or(0, |at| at + 1);
    let word = &line[start..];
    let begin = |words: &mut dyn Iterator<Item = &str>| -> Vec<String> {
        words.filter(|name| name.starts_with(word)).map(str::to_string).collect()
    };
    if line[..start].trim().is_empty() {
        return Completions { start, words: begin(&mut COMMANDS.iter().map(|spec| spec.name)) };
    }
    let Ok(spec) = Spec::find(line.split_whitespace().next().unwrap_or_default()) else {
        return Completions::default();
    };
    let words = match spec.completes {
        // Only the screen knows the marks.
        Completes::Nothing | Completes::Marks => Vec::new(),
        Completes::Words(words) => begin(&mut words.iter().copied()),
        Completes::Settings => match line[..start].split_whitespace().collect::<Vec<_>>()[..] {
            [_] => begin(&mut SETTINGS.iter().map(|spec| spec.name)),
            [_, name] => SettingSpec::find(name).map_or_else(Vec::new, |spec| begin(&mut spec.words())),
            _ => Vec::new(),
        },
        Completes::Commands => begin(&mut COMMANDS.iter().map(|spec| spec.name)),
        Completes::Files => files(word),
        Completes::Activations => {
            let words = begin(&mut names.iter().map(String::as_str));
            if words.is_empty() && !word.is_empty() {
                names.iter().filter(|name| name.contains(word)).cloned().collect()
            } else {
                words
            }
        }
    };
    Completions { start, words }
}

/// Files and folders whose path begins with a text; folders end in a slash.
fn files(text: &str) -> Vec<String> {
    let (folder, prefix) =
        text.rsplit_once('/').map_or(("", text), |(folder, prefix)| (&text[..=folder.len()], prefix));
    let Ok(entries) = std::fs::read_dir(if folder.is_empty() { "." } else { folder }) else { return Vec::new() };
    let mut found: Vec<String> = entries
        .filter_map(Result::ok)
        .filter_map(|entry| Some((entry.file_name().into_string().ok()?, entry.path().is_dir())))
        .filter(|(name, _)| name.starts_with(prefix) && (!name.starts_with('.') || prefix.starts_with('.')))
        .map(|(name, is_folder)| format!("{folder}{name}{}", if is_folder { "/" } else { "" }))
        .collect();
    found.sort();
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_completed_by_what_stands_before_them() {
        let names = ["embed_tokens", "0.q_proj", "0.q_rope", "norm"].map(String::from);
        for (line, start, expected) in [
            ("st", 0, "step"),
            ("", 0, ""),
            ("goto 0.q", 5, "0.q_proj 0.q_rope"),
            ("goto rope", 5, "0.q_rope"),
            ("b 0.q_r", 2, "0.q_rope"),
            ("info t", 5, "tokens"),
            ("set co", 4, "colors"),
            ("set theme ", 10, "auto dark light high-contrast"),
            ("set nonsense ", 13, ""),
            ("set mouse off ", 14, ""),
            ("help fin", 5, "finish"),
            ("step ", 5, ""),
            ("nonsense x", 0, ""),
            ("source Cargo.t", 7, "Cargo.toml"),
            ("source src/mai", 7, "src/main.rs"),
            ("source no/such/folder/", 7, ""),
        ] {
            let found = complete(line, &names);
            if line.is_empty() {
                assert_eq!(found.words.len(), COMMANDS.len());
            } else {
                assert_eq!((found.start, found.words.join(" ")), (start, expected.to_string()), "{line}");
            }
        }
    }
}
