//! The table of keys, as the README prints it; a test holds the two together.

use std::fmt::Write;

use super::keymap::BINDINGS;
use crate::debugger::COMMANDS;

/// Every key and what it does, as a Markdown table.
pub fn key_table() -> String {
    let commands = COMMANDS.iter().map(|command| (format!("`{}`", command.key), command.doc));
    let screen = BINDINGS.iter().filter(|binding| !binding.doc.is_empty()).map(|binding| {
        let keys: Vec<String> = binding.readable_keys().iter().map(|key| format!("`{key}`")).collect();
        (keys.join(" "), binding.doc)
    });
    let mut table = String::from("| key | what it does |\n|---|---|\n");
    for (keys, doc) in commands.chain(screen) {
        writeln!(table, "| {keys} | {} |", doc.replace('|', "\\|")).expect("writing to a String cannot fail");
    }
    table
}
