//! Parse, run, print the error, exit.

use std::io::ErrorKind;
use std::process::ExitCode;

#[expect(clippy::print_stderr, reason = "errors go to stderr")]
fn main() -> ExitCode {
    layerstep::cli::run().unwrap_or_else(|error| {
        let pipe_closed = |cause: &(dyn std::error::Error + 'static)| {
            cause.downcast_ref::<std::io::Error>().is_some_and(|io| io.kind() == ErrorKind::BrokenPipe)
        };
        if error.chain().any(pipe_closed) {
            // What was found is so, whether or not anybody reads it to the end.
            return error.downcast_ref::<layerstep::cli::ReaderGone>().map_or(ExitCode::SUCCESS, |gone| gone.0);
        }
        // One line, whatever a library put into its message.
        let message = format!("{error:#}");
        let lines: Vec<&str> = message.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        eprintln!("error: {}", lines.join(" "));
        ExitCode::from(2)
    })
}
