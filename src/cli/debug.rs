//! `layerstep debug`: the screen. Without a command, the built-in demo.

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::bail;

use super::demo;
use super::input::{Loaded, TokenArgs};
use super::note;
use super::suspect;
use super::watch::{self, Stamp, Watch};
use super::witness::{DumpArgs, Opened, Tokens};
use crate::debugger::view::Witness;
use crate::debugger::{Debugger, Opener, Session, Switched};
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
    /// Let our own engine make a known mistake, to look at: rope_interleaved, rope_theta@0-2,7 in some layers only,
    /// rope_theta:2 in the second of its ways. Dumps are still compared with the right engine. `layerstep explain` lists
    /// the mistakes.
    #[arg(long, value_name = "ID[:N][@LAYERS]")]
    suspect: Option<String>,
    /// Read the dumps again each time their files change, as the key R does.
    #[arg(long)]
    watch: bool,
}

/// Runs the command.
pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let loaded = Loaded::open(&args.model)?;
    let switched = args.suspect.as_deref().map(|suspect| suspect::switched(suspect, &loaded.model)).transpose()?;
    if let Some(switched) = &switched {
        note(&format!("note: our engine computes {}: {}", switched.describe(), switched.words));
    }
    if args.dumps.reference.is_none() && args.dumps.candidate.is_none() {
        if args.watch {
            bail!("--watch needs a dump to watch: give --reference DUMP, --candidate DUMP, or both");
        }
        let Some(ids) = loaded.ids(&args.tokens)? else {
            bail!("nothing to feed: give --prompt TEXT, --ids 1,2,3 or --reference DUMP");
        };
        let steps = vec![ids.len()];
        let opened = Opened { dumps: Witnesses::default(), tokens: Tokens::Agreed { ids, steps } };
        return show(&loaded, session(&loaded, opened)?, switched, None);
    }
    let watch = args.watch.then(|| Watch::of(&args.dumps));
    let files = Files { loaded: Arc::new(loaded), tokens: args.tokens.clone(), dumps: args.dumps.clone() };
    show(&files.loaded, files.session()?, switched, watch)
}

/// Opens the demo.
pub(super) fn run_demo() -> anyhow::Result<ExitCode> {
    let (loaded, opened) = demo::open()?;
    show(&loaded, session(&loaded, opened)?, None, None)
}

fn show(
    loaded: &Loaded,
    session: Session,
    switched: Option<Switched>,
    watch: Option<Watch>,
) -> anyhow::Result<ExitCode> {
    let changed = watch.map(|mut watch| -> tui::Watch { (watch::PAUSE, Box::new(move || watch.changed())) });
    let mut debugger = Debugger::new(session);
    if let Some(tokenizer) = &loaded.tokenizer {
        debugger.name_tokens(Arc::clone(tokenizer));
    }
    if let Some(switched) = switched {
        debugger.switch_on(switched);
    }
    tui::run(debugger, changed)?;
    Ok(ExitCode::SUCCESS)
}

fn session(loaded: &Loaded, opened: Opened) -> anyhow::Result<Session> {
    let (ids, steps) = match opened.tokens {
        Tokens::Agreed { ids, steps } => (ids, steps),
        Tokens::Differ { sentence, .. } => bail!("{sentence}"),
    };
    let mut notes = loaded.model.notes.clone();
    for (role, dump) in opened.dumps.named() {
        notes.extend(dump.into_iter().flat_map(Dump::notes).map(|note| format!("{role}: {note}")));
    }
    let (model, pieces) = (loaded.model.clone(), loaded.pieces(&ids));
    Ok(Session { model, pieces, ids, steps, dumps: opened.dumps, notes, opener: None })
}

/// Where the dumps of a session come from.
#[derive(Clone, Debug)]
struct Files {
    loaded: Arc<Loaded>,
    tokens: TokenArgs,
    dumps: DumpArgs,
}

impl Files {
    /// The session, as the files are now.
    fn session(&self) -> anyhow::Result<Session> {
        let stamps = self.stamps();
        let session = session(&self.loaded, self.dumps.open(&self.loaded, &self.tokens)?)?;
        Ok(Session { opener: Some(Box::new(Read { files: self.clone(), stamps })), ..session })
    }

    /// Reference, candidate and map.
    fn stamps(&self) -> [Option<Stamp>; 3] {
        [&self.dumps.reference, &self.dumps.candidate, &self.dumps.map].map(|path| path.as_deref().map(Stamp::of))
    }
}

/// Files, and what they looked like when they were read.
#[derive(Debug)]
struct Read {
    files: Files,
    stamps: [Option<Stamp>; 3],
}

impl Opener for Read {
    fn changed(&self) -> Vec<Witness> {
        let (now, read) = (self.files.stamps(), &self.stamps);
        let roles = [Witness::Reference, Witness::Candidate];
        let changed = |role: usize| now[role].is_some() && (now[role] != read[role] || now[2] != read[2]);
        roles.into_iter().enumerate().filter(|(role, _)| changed(*role)).map(|(_, witness)| witness).collect()
    }

    fn open(&self) -> Result<Session, String> {
        self.files.session().map_err(|error| format!("{error:#}").split_whitespace().collect::<Vec<_>>().join(" "))
    }
}
