//! The tables of keys and commands, as docs/commands.md prints them; a test holds them together.

use std::fmt::Write;

use super::keymap::{Keymap, readable};
use crate::debugger::{COMMANDS, Group};

/// Every command with its keys, as a Markdown table for each group.
pub fn command_table() -> String {
    let keys = Keymap::default();
    let mut table = String::new();
    for (group, title) in Group::ALL {
        write!(table, "\n**{title}**\n\n| command | key | what it does |\n|---|---|---|\n").expect("a String takes it");
        for spec in COMMANDS.iter().filter(|spec| spec.group == *group) {
            let usage = format!("{} {}", spec.name, spec.arguments);
            let short: Vec<String> = spec.short.iter().map(|short| format!(" `{short}`")).collect();
            let short = short.concat();
            let bound = keys.of_command(spec.name).into_iter();
            let bound: Vec<String> =
                bound.map(|(key, said)| format!("`{}` {said}", readable(key)).trim_end().to_string()).collect();
            let escaped = |text: &str| text.replace('|', "\\|");
            let usage = escaped(usage.trim_end());
            writeln!(table, "| `{usage}`{short} | {} | {} |", bound.join(", "), escaped(spec.doc))
                .expect("a String takes it");
        }
    }
    table
}
