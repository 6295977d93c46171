//! How far a long task is, in one line of the terminal.

use std::io::IsTerminal;

/// Runs a long task with a line of progress on the terminal: what is done to how many of what.
pub(super) fn with_progress<R>(doing: &str, what: &str, task: impl FnOnce(&mut dyn FnMut(usize, usize)) -> R) -> R {
    let show = std::io::stderr().is_terminal();
    let result = task(&mut |done, total| {
        if show && done.is_multiple_of(16) {
            write(&format!("{doing} {done} of {total} {what}"));
        }
    });
    if show {
        write("");
    }
    result
}

/// Overwrites the line.
#[expect(clippy::print_stderr, reason = "progress goes to stderr")]
fn write(line: &str) {
    eprint!("\r\x1b[K{line}");
}
