//! `layerstep debug`: the screen. Without a command, the built-in demo.

use std::process::ExitCode;

use anyhow::bail;

use super::demo;
use super::input::{Loaded, TokenArgs};
use super::witness::{DumpArgs, Opened, Tokens};
use crate::debugger::{Debugger, Session};
use crate::diagnose::Witnesses;
use crate::dump::Dump;
use crate::tui;

/// Step through a forward pass in the terminal.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Hugging Face directory, or a repository id of the local cache.
    model: String,
    #[command(flatten)]
    tokens: TokenArgs,
    #[command(flatten)]
    dumps: DumpArgs,
}

/// Runs the command.
pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let loaded = Loaded::open(&args.model)?;
    let opened = if args.dumps.reference.is_none() && args.dumps.candidate.is_none() {
        let Some(ids) = loaded.ids(&args.tokens)? else {
            bail!("nothing to feed: give --prompt TEXT, --ids 1,2,3 or --reference DUMP");
        };
        let steps = vec![ids.len()];
        Opened { dumps: Witnesses::default(), tokens: Tokens::Agreed { ids, steps } }
    } else {
        args.dumps.open(&loaded, &args.tokens)?
    };
    show(&loaded, opened)
}

/// Opens the demo.
pub(super) fn run_demo() -> anyhow::Result<ExitCode> {
    let (loaded, opened) = demo::open()?;
    show(&loaded, opened)
}

fn show(loaded: &Loaded, opened: Opened) -> anyhow::Result<ExitCode> {
    let (ids, steps) = match opened.tokens {
        Tokens::Agreed { ids, steps } => (ids, steps),
        Tokens::Differ { sentence, .. } => bail!("{sentence}"),
    };
    let mut notes = loaded.model.notes.clone();
    for (role, dump) in opened.dumps.named() {
        notes.extend(dump.into_iter().flat_map(Dump::notes).map(|note| format!("{role}: {note}")));
    }
    let session =
        Session { model: loaded.model.clone(), pieces: loaded.pieces(&ids), ids, steps, dumps: opened.dumps, notes };
    tui::run(Debugger::new(session))?;
    Ok(ExitCode::SUCCESS)
}
