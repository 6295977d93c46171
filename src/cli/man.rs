//! `layerstep man`: the man pages, from what `--help` prints.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};

use super::{examples, note};

/// Write the man pages: the program's and one for each subcommand.
///
/// With a folder, all of them, as layerstep.1, layerstep-debug.1 and so on: pages that are there are replaced, and all are
/// written or none. Without one, the program's own page on standard output: layerstep man | man -l -
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Where to write; it is made if it is not there.
    folder: Option<PathBuf>,
}

/// A page: its file, and what is in it.
struct Page {
    file: String,
    text: Vec<u8>,
}

/// Runs the command on the pages of `program`.
pub(super) fn run(args: &Args, program: clap::Command) -> anyhow::Result<ExitCode> {
    let pages = pages(program)?;
    let Some(folder) = &args.folder else {
        let own = pages.first().context("the program has a page")?;
        io::stdout().lock().write_all(&own.text)?;
        return Ok(ExitCode::SUCCESS);
    };
    write(folder, &pages)?;
    note(&format!("wrote {} pages to {}", pages.len(), folder.display()));
    Ok(ExitCode::SUCCESS)
}

/// The program's page first.
fn pages(program: clap::Command) -> io::Result<Vec<Page>> {
    let mut program = program.disable_help_subcommand(true);
    program.build();
    let mut pages = vec![page(program.clone(), "")?];
    for command in program.get_subcommands() {
        let name = command.get_name().to_string();
        pages.push(page(command.clone(), &name)?);
    }
    Ok(pages)
}

/// The page of a subcommand: its examples have a section of their own.
fn page(command: clap::Command, name: &str) -> io::Result<Page> {
    let command = command.after_help("");
    let has_subcommands = command.has_subcommands();
    let version = env!("CARGO_PKG_VERSION");
    let man = Man::new(command).source(format!("layerstep {version}")).manual("layerstep");
    let mut text = Vec::new();
    man.render_title(&mut text)?;
    man.render_name_section(&mut text)?;
    man.render_synopsis_section(&mut text)?;
    man.render_description_section(&mut text)?;
    man.render_options_section(&mut text)?;
    if has_subcommands {
        man.render_subcommands_section(&mut text)?;
    }
    let mut section = Roff::new();
    section.control("SH", ["EXAMPLES"]);
    for (line, what) in examples::of(name) {
        section.control("TP", []).text([bold(*line)]).text([roman(*what)]);
    }
    section.to_writer(&mut text)?;
    Ok(Page { file: man.get_filename(), text })
}

/// Puts all pages into a folder, or none: they are written beside their places first.
fn write(folder: &Path, pages: &[Page]) -> anyhow::Result<()> {
    let cannot = || format!("{} cannot be written", folder.display());
    fs::create_dir_all(folder).with_context(cannot)?;
    if let Some(taken) = pages.iter().map(|page| folder.join(&page.file)).find(|path| path.is_dir()) {
        bail!("{} is a folder", taken.display());
    }
    let beside = tempfile::Builder::new().prefix(".layerstep-").tempdir_in(folder).with_context(cannot)?;
    for Page { file, text } in pages {
        let mut page = fs::File::create(beside.path().join(file)).with_context(cannot)?;
        page.write_all(text).and_then(|()| page.sync_all()).with_context(cannot)?;
    }
    for Page { file, .. } in pages {
        fs::rename(beside.path().join(file), folder.join(file)).with_context(cannot)?;
    }
    Ok(())
}
