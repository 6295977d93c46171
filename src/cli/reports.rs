//! `--html`, `--markdown` and `--junit`: reports as files, or on standard output.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::bail;

use crate::formats::{check_writable, write_file};
use crate::report::{Document, html, junit, markdown};

/// What makes the text of a report.
type Make = fn(&Document) -> String;

/// Which reports are written, and where to.
#[derive(Clone, Debug, Default, clap::Args)]
pub(super) struct ReportArgs {
    /// Write a report for people: one HTML page that needs no network, with curves and pictures; - is standard output, for
    /// this and the next two.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Write a report for an issue tracker, in Markdown.
    #[arg(long, value_name = "FILE")]
    markdown: Option<PathBuf>,
    /// Write a report for CI: the XML of JUnit, with a test for each activation.
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
}

impl ReportArgs {
    /// Every report that is wanted: where to, and what makes it.
    fn wanted(&self) -> impl Iterator<Item = (&Path, Make)> {
        let all: [(_, Make); 3] = [(&self.html, html), (&self.markdown, markdown), (&self.junit, junit)];
        all.into_iter().filter_map(|(file, make)| file.as_deref().map(|file| (file, make)))
    }

    /// Whether there is anything to write.
    pub(super) fn any(&self) -> bool {
        self.wanted().next().is_some()
    }

    /// Whether pictures are wanted: they take time.
    pub(super) fn with_pictures(&self) -> bool {
        self.html.is_some()
    }

    /// Whether standard output is taken.
    pub(super) fn on_stdout(&self) -> bool {
        self.wanted().any(|(file, _)| is_stdout(file))
    }

    /// Before the work begins: whether all of them can be written, and none over one of the files that are read.
    pub(super) fn check(&self, read: &[Option<&Path>]) -> anyhow::Result<()> {
        if self.wanted().filter(|(file, _)| is_stdout(file)).count() > 1 {
            bail!("standard output takes one report: give the others a file");
        }
        let files: Vec<&Path> = self.wanted().map(|(file, _)| file).filter(|file| !is_stdout(file)).collect();
        for (index, file) in files.iter().enumerate() {
            if files[..index].contains(file) {
                bail!("two reports cannot both be {}: give each a file of its own", file.display());
            }
            super::not_over(file, read.iter().flatten().copied())?;
            check_writable(file)?;
        }
        Ok(())
    }

    /// Writes all of them.
    pub(super) fn write(&self, document: &Document) -> anyhow::Result<()> {
        for (file, make) in self.wanted() {
            let text = make(document);
            if is_stdout(file) {
                std::io::stdout().lock().write_all(text.as_bytes())?;
            } else {
                write_file(file, |out| out.write_all(text.as_bytes()))?;
            }
        }
        Ok(())
    }
}

fn is_stdout(file: &Path) -> bool {
    file == Path::new("-")
}

/// The command line of this program as a report may show it: with file names for paths.
pub(super) fn command() -> String {
    let mut line = String::from("layerstep");
    let mut takes_text = false;
    for argument in std::env::args_os().skip(1).map(|argument| argument.to_string_lossy().into_owned()) {
        let shown = match argument.split_once('=') {
            _ if takes_text => argument.clone(),
            Some((option, value)) if option.starts_with("--") && option != "--prompt" => {
                format!("{option}={}", name(value))
            }
            _ => name(&argument),
        };
        takes_text = argument == "--prompt";
        // A null byte cannot come from a command line.
        let quoted = shlex::try_quote(&shown).map_or_else(|_| shown.clone(), Cow::into_owned);
        write!(line, " {quoted}").expect("a string takes all text");
    }
    line
}

/// What a path names, without its folder. A repository id keeps its owner.
fn name(text: &str) -> String {
    let path = Path::new(text);
    let is_path = path.is_absolute() || path.exists() || path.parent().is_some_and(Path::is_dir);
    let name = path.file_name().filter(|_| is_path && !text.starts_with("--"));
    name.map_or_else(|| text.to_string(), |name| name.to_string_lossy().into_owned())
}
