//! Recording while debugging: where to, the journal, and going on after a crash.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Arc, Mutex};

use anyhow::{Context, anyhow, bail};

use super::config::Config;
use super::debug::Args;
use super::witness::DumpArgs;
use super::{note, places};
use crate::debugger::Debugger;
use crate::session::{Journal, Places, Recorder, Text, file_of, held, journal};

/// A recorder of a debugger; what it records is saved as `record`, if that is given, which may replace another session.
pub(super) fn recorder(
    mut debugger: Debugger,
    places: Places,
    config: &Config,
    record: Option<(&Path, bool)>,
) -> anyhow::Result<Arc<Mutex<Recorder>>> {
    debugger.limit_memory(config.memory);
    let mut recorder = Recorder::new(debugger, places, config.session);
    if let Some((name, replace)) = record {
        let path = file_of(name);
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        if !folder.is_dir() {
            bail!("--record {}: there is no folder {}", name.display(), folder.display());
        }
        recorder.record_to(path, replace).map_err(|sentence| anyhow!("--record {}: {sentence}", name.display()))?;
    }
    if let Some(folder) = places::journals()
        && let Err(sentence) = recorder.keep_journal(&folder)
    {
        note(&format!("note: a crash would lose this session: {sentence}"));
    }
    Ok(Arc::new(Mutex::new(recorder)))
}

/// Ends a recording, however the session ended.
pub(super) fn finished(recorder: &Mutex<Recorder>, ended: anyhow::Result<ExitCode>) -> anyhow::Result<ExitCode> {
    // A command that was interrupted may still be on its way out.
    match held(recorder).finish() {
        Ok(said) => said.iter().for_each(|line| note(line)),
        Err(sentence) if ended.is_err() => note(&format!("error: {sentence}")),
        Err(sentence) => bail!(sentence),
    }
    ended
}

/// A session that was cut off.
pub(super) struct Recovered {
    /// What was debugged.
    pub(super) args: Args,
    /// What was typed, and how it goes on.
    pub(super) commands: Vec<String>,
    journal: PathBuf,
}

impl Recovered {
    /// The journal is not needed any more.
    pub(super) fn forget(&self) {
        drop(std::fs::remove_file(&self.journal));
    }
}

/// The session of a journal, or the last one that was cut off; `args` say how it goes on.
pub(super) fn recovered(journal: Option<&Path>, args: &Args) -> anyhow::Result<Recovered> {
    let journal = if let Some(journal) = journal {
        journal.to_owned()
    } else {
        let folder = places::journals().context("there is no home directory, so no journals are kept")?;
        let last = journal::left_behind(&folder).into_iter().next();
        last.with_context(|| format!("no session was cut off: {} holds no journal", folder.display()))?
    };
    let Text { header, lines } = Journal::recover(&journal)?;
    let source = |role: &str| header.sources.iter().find(|source| source.role == role);
    let path = |role: &str| source(role).map(|source| PathBuf::from(&source.file));
    let map = header.sources.first().and_then(|source| source.map.as_ref()).map(PathBuf::from);
    let dumps = DumpArgs { reference: path("reference"), candidate: path("candidate"), map };
    let again = Args::of(&header, header.model.path.clone(), dumps);
    note(&format!("going on with {}: {} lines", journal.display(), lines.len()));
    Ok(Recovered {
        args: Args {
            // Whoever has no screen takes the first row.
            batch: if args.batch == Some(None) { args.batch } else { again.batch },
            watch: args.watch,
            record: args.record.clone(),
            replace: args.replace,
            ..again
        },
        commands: lines.into_iter().map(|line| line.text).chain(args.commands.iter().cloned()).collect(),
        journal,
    })
}
