//! How far a long task is, in one line of the terminal.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use crate::debugger::view::Listing;

/// After how long a command of the debugger says where it is.
const SLOW: Duration = Duration::from_millis(400);

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

/// Runs a command of the debugger with a line on the terminal that says where it is, where that takes long.
pub(super) fn with_place<R>(command: &str, task: impl FnOnce(&mut dyn FnMut(Listing)) -> R) -> R {
    let (begun, mut shown) = (Instant::now(), false);
    let result = task(&mut |listing| {
        let op = listing.at.and_then(|row| listing.rows.get(row)).filter(|_| begun.elapsed() > SLOW);
        if let Some(op) = op.filter(|_| std::io::stderr().is_terminal()) {
            write(&format!("{command}: {}", op.short));
            shown = true;
        }
    });
    if shown {
        write("");
    }
    result
}

/// Runs a task that may take a moment, with a line on the terminal that says what is done.
pub(super) fn while_saying<R>(what: &str, task: impl FnOnce() -> R) -> R {
    let show = std::io::stderr().is_terminal();
    if show {
        write(what);
    }
    let result = task();
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
