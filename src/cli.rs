//! The command line: one file per subcommand.
//!
//! Exit status: 0 agree, 1 something was found, 2 could not run. Machine output on stdout, everything else on stderr.

mod batch;
mod bench;
mod capture;
mod config;
mod debug;
mod demo;
mod diff;
mod examples;
mod explain;
mod generate;
mod input;
mod inspect;
mod lens;
mod man;
mod memory;
mod pack;
mod paper;
mod places;
mod progress;
mod recording;
mod replay;
mod report;
mod reports;
mod sensitivity;
mod suspect;
mod sweep;
mod watch;
mod weights;
mod witness;

pub use explain::suspect_table;

use std::fmt;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::bail;
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

/// An interactive terminal debugger for the forward pass of transformers.
///
/// Without a command, opens the built-in demo: a small Qwen2 model beside its PyTorch dump and the dump of a port with a
/// bug.
#[derive(Debug, Parser)]
#[command(version, arg_required_else_help = false)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    /// Threads to compute with [default: all cores]. Results do not depend on it.
    #[arg(long, global = true, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: Option<u16>,
    /// Read this configuration file, not the one in the usual place: for the demo; `debug` and `config` take it, too.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Step through a forward pass in the terminal.
    Debug(debug::Args),
    /// Run a script of the debugger's commands, without a screen. Its first line may be `debug MODEL ...`, as on the
    /// command line; what stands behind the script is added to it.
    Run {
        /// The script: one command a line, # before comments.
        script: PathBuf,
        /// Arguments of `debug`.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Replay a recorded session, on the screen or as a test.
    Replay(replay::Args),
    /// Write a report of a recorded session: HTML, Markdown, JUnit.
    Report(report::Args),
    /// Compare dumps with each other and with our engine; name the first activation out of line.
    Diff(diff::Args),
    /// Explain a known mistake of ports: how it shows, how it comes about, what to do; without an id, list them.
    Explain(explain::Args),
    /// Write every activation of our engine to a dump.
    Capture(capture::Args),
    /// Write text.
    Generate(generate::Args),
    /// Measure loading, prefill, decode and capture.
    Bench(bench::Args),
    /// Show what the model would say after each layer: the logit lens.
    Lens(lens::Args),
    /// Leave out each head, layer or MLP, one at a time: what becomes of the next token.
    Sweep(sweep::Args),
    /// Rank layers or matrices by what weights of fewer bits do to the output.
    Sensitivity(sensitivity::Args),
    /// Show what a model or a dump holds, and what is taken for what.
    Inspect(inspect::Args),
    /// Put both files of a session into one, to send it to somebody; absolute paths are taken out.
    Pack(pack::Args),
    /// Print the configuration in effect, as a file that can be read back.
    Config(config::Args),
    /// Print a completion script for a shell.
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
    /// Write the man pages: the program's and one for each subcommand.
    Man(man::Args),
}

/// What the command line takes.
fn program() -> clap::Command {
    examples::with_examples(Cli::command())
}

/// Runs the program.
///
/// # Errors
/// Whatever keeps a command from running: exit status 2.
pub fn run() -> anyhow::Result<ExitCode> {
    let cli = match program().try_get_matches().and_then(|typed| Cli::from_arg_matches(&typed)) {
        Ok(cli) => cli,
        Err(error) if error.use_stderr() => bail!("{}", one_line(&error.render().to_string())),
        Err(help) => {
            help.print()?;
            return Ok(ExitCode::SUCCESS);
        }
    };
    if let Some(threads) = cli.threads {
        rayon::ThreadPoolBuilder::new().num_threads(threads.into()).build_global()?;
    }
    if cli.config.is_some() && cli.command.is_some() {
        bail!("--config stands behind the command: layerstep debug --config FILE");
    }
    match cli.command {
        None => debug::run_demo(cli.config.as_deref()),
        Some(Command::Debug(args)) => debug::run(&args),
        Some(Command::Run { script, arguments }) => debug::run_script(&script, &arguments),
        Some(Command::Replay(args)) => replay::run(&args),
        Some(Command::Report(args)) => report::run(&args),
        Some(Command::Diff(args)) => computing(|| diff::run(&args)),
        Some(Command::Explain(args)) => explain::run(&args),
        Some(Command::Capture(args)) => computing(|| capture::run(&args)),
        Some(Command::Generate(args)) => computing(|| generate::run(&args)),
        Some(Command::Bench(args)) => computing(|| bench::run(&args)),
        Some(Command::Lens(args)) => computing(|| lens::run(&args)),
        Some(Command::Sweep(args)) => computing(|| sweep::run(&args)),
        Some(Command::Sensitivity(args)) => computing(|| sensitivity::run(&args)),
        Some(Command::Inspect(args)) => inspect::run(&args),
        Some(Command::Pack(args)) => pack::run(&args),
        Some(Command::Config(args)) => config::run(&args),
        Some(Command::Completions { shell }) => {
            // By way of a buffer: clap_complete panics when its output is closed.
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut program(), "layerstep", &mut script);
            std::io::stdout().write_all(&script)?;
            Ok(ExitCode::SUCCESS)
        }
        Some(Command::Man(args)) => man::run(&args, program()),
    }
}

/// Does a command that has no screen on a thread of the pool: a thread outside it would be woken after every op, which takes
/// a fifth of a decode step.
fn computing<R: Send>(command: impl FnOnce() -> R + Send) -> R {
    rayon::scope(|_| command())
}

/// Refuses to write a result over what it is made of.
fn not_over<'a>(written: &Path, read: impl IntoIterator<Item = &'a Path>) -> anyhow::Result<()> {
    // What is not there yet is nothing that is read.
    let Ok(file) = written.canonicalize() else { return Ok(()) };
    if read.into_iter().any(|read| read.canonicalize().is_ok_and(|read| read == file)) {
        bail!("{} is read, and would be lost: give the result another name", written.display());
    }
    Ok(())
}

/// Whoever read the output has gone away. What was found stays the exit status.
#[derive(Clone, Copy, Debug)]
pub struct ReaderGone(pub ExitCode);

impl fmt::Display for ReaderGone {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "the reader of the output has gone away")
    }
}

/// Why the output of a command that ends with `status` cannot be written.
fn unwritten(error: io::Error, status: ExitCode) -> anyhow::Error {
    let is_gone = error.kind() == io::ErrorKind::BrokenPipe;
    let error = anyhow::Error::from(error);
    if is_gone { error.context(ReaderGone(status)) } else { error }
}

/// What clap has to say, in one line and without the usage.
fn one_line(text: &str) -> String {
    let text = text.strip_prefix("error: ").unwrap_or(text);
    let end = ["\n\nUsage:", "\n\nFor more information"].iter().filter_map(|rest| text.find(rest)).min();
    let paragraphs = text[..end.unwrap_or(text.len())].split("\n\n");
    let paragraphs: Vec<String> =
        paragraphs.map(|paragraph| paragraph.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    let text = paragraphs.join("; ");
    // What the standard library says of a number that is none.
    let number = ["invalid digit found in string", "cannot parse integer from empty string"];
    let text = number.iter().fold(text, |text, words| text.replace(words, "a whole number was expected"));
    let text = text.replace("number too large to fit in target type", "that is too large a number");
    format!("{text}; --help tells what is accepted")
}

/// Writes a line to stderr: everything that is not the result.
#[expect(clippy::print_stderr, reason = "the one place that writes notes")]
fn note(line: &str) {
    eprintln!("{line}");
}
