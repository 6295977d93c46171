//! `layerstep replay`: a session again, on the screen or as a test.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};

use anyhow::Context;

use super::config::Config;
use super::debug::{self, Subject};
use super::witness::DumpArgs;
use super::{note, places};
use crate::debugger::Debugger;
use crate::model::fingerprint::Cache;
use crate::model::{HubCache, locate};
use crate::session::sources::digest;
use crate::session::{Places, Recorder, Recording, Tally, Text, pack, values::Values};
use crate::tui;

/// Replay a recorded session: on the screen, or with --check as a test.
///
/// With the model and the dumps everything is computed again and compared with the recording; without them the recorded
/// values are shown.
///
/// Exit status of --check: 0 when all is as recorded, 1 when something differs, 2 when it could not run.
#[derive(Debug, Default, clap::Args)]
pub(super) struct Args {
    /// NAME.session, its name without the ending, or what `layerstep pack` has made.
    session: PathBuf,
    /// No screen: compare every answer, activation and verdict with the recording.
    #[arg(long)]
    check: bool,
    /// Replay on this model: the recorded one where it lies elsewhere, or another one.
    #[arg(long, value_name = "MODEL", conflicts_with = "recorded")]
    model: Option<String>,
    /// The reference, where it lies elsewhere or is another one.
    #[arg(long, value_name = "DUMP", conflicts_with = "recorded")]
    reference: Option<PathBuf>,
    /// The candidate, where it lies elsewhere or is another one.
    #[arg(long, value_name = "DUMP", conflicts_with = "recorded")]
    candidate: Option<PathBuf>,
    /// Compute nothing: show only what was recorded, even where the model is there.
    #[arg(long)]
    recorded: bool,
    /// Read this configuration file, not the one in the usual place.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

impl Args {
    /// To read a session without a screen.
    pub(super) fn of(session: &Path, recorded: bool) -> Self {
        Self { session: session.to_owned(), recorded, ..Self::default() }
    }
}

/// A recording, ready to be played.
pub(super) struct Ready {
    pub(super) replay: Recorder,
    /// Whether it is computed again, in one sentence.
    pub(super) how: String,
    /// What is known to differ before anything is played.
    pub(super) differs: Vec<String>,
    /// Dumps that were named and are not those of the recording.
    replaced: Vec<String>,
}

/// Runs the command.
pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let config = Config::load(args.config.as_deref())?;
    let Ready { mut replay, how, differs, replaced } = ready(args, &config)?;
    if args.check {
        note(&how);
        let tally = replay.check();
        let taped = replay.debugger().is_taped();
        let tape = replay.recording().values.as_ref().filter(|_| taped);
        return report(&tally, &differs, &replaced, tape);
    }
    for difference in &differs {
        note(&format!("note: not as recorded: {difference}"));
    }
    let recording = Some(replay.recording().shown(how));
    let Config { settings, keys, .. } = config;
    let start = tui::Start { settings, keys, history: places::history(), recording, ..tui::Start::default() };
    tui::run(Arc::new(Mutex::new(replay)), start)?;
    Ok(ExitCode::SUCCESS)
}

/// Prints what was compared; `tape` is what was played, where nothing was computed.
fn report(tally: &Tally, differs: &[String], replaced: &[String], tape: Option<&Values>) -> anyhow::Result<ExitCode> {
    let mut out = std::io::stdout().lock();
    let differences: Vec<&String> = differs.iter().chain(&tally.differences).collect();
    let Tally { commands, identical, within, .. } = tally;
    let activations = match (tape, *identical, *within) {
        (Some(tape), ..) => format!("{} recorded activations are whole", tape.seen.len()),
        (None, identical, 0) => format!("{identical} activations to the bit"),
        (None, identical, within) => {
            format!("{identical} activations to the bit, and {within} within the noise of f32")
        }
    };
    if differences.is_empty() {
        let said = std::iter::once(format!("as recorded: {commands} commands; {activations}"));
        let said: Vec<String> = said.chain(replaced.iter().cloned()).collect();
        writeln!(out, "{}", said.join("; "))?;
        return Ok(ExitCode::SUCCESS);
    }
    let things = if differences.len() == 1 { "difference" } else { "differences" };
    writeln!(out, "differs from the recording: {} {things}; as recorded: {activations}", differences.len())?;
    for difference in differences {
        writeln!(out, "  {difference}")?;
    }
    Ok(ExitCode::from(1))
}

/// Opens a session, and what it was made of where that is here.
pub(super) fn ready(args: &Args, config: &Config) -> anyhow::Result<Ready> {
    let opened = pack::open(&args.session)?;
    let folder = opened.folder.clone().unwrap_or_default();
    let recording = Recording::of(opened).map_err(anyhow::Error::msg)?;
    let named = args.model.is_some() || args.reference.is_some() || args.candidate.is_some();
    let found = if args.recorded { Err("--recorded".to_string()) } else { subject(args, &recording.text, &folder) };
    match found {
        Ok(args_of_debug) => {
            let Subject { mut debugger, places, .. } = debug::open(&args_of_debug)?;
            debugger.limit_memory(config.memory);
            let differs = other_inputs(args, &recording, &debugger, &places)?;
            let replaced = other_dumps(args, &recording.text, &places)?;
            let how = format!("computed again with {}", debugger.header().model);
            let recorder = Recorder::new(debugger, places, config.session);
            Ok(Ready { replay: recorder.replaying(recording), how, differs, replaced })
        }
        Err(why) if named => anyhow::bail!(why),
        Err(why) => {
            let debugger = recording.debugger().map_err(|sentence| {
                anyhow::anyhow!("{}: {why}, and {sentence}: --model says where the model is", args.session.display())
            })?;
            let how = format!("only what was recorded: {why}");
            let recorder = Recorder::new(debugger, Places::default(), config.session);
            Ok(Ready { replay: recorder.replaying(recording), how, differs: Vec::new(), replaced: Vec::new() })
        }
    }
}

/// What `debug` is to open; a sentence where something is not there.
fn subject(args: &Args, text: &Text, folder: &Path) -> Result<debug::Args, String> {
    let header = &text.header;
    let dump = |role: &str, given: &Option<PathBuf>| -> Result<Option<PathBuf>, String> {
        let Some(source) = header.sources.iter().find(|source| source.role == role) else { return Ok(given.clone()) };
        let path = given.clone().unwrap_or_else(|| folder.join(&source.file));
        if path.exists() { Ok(Some(path)) } else { Err(format!("the {role} {} is not here", source.file)) }
    };
    let (reference, candidate) = (dump("reference", &args.reference)?, dump("candidate", &args.candidate)?);
    let map = header.sources.iter().find_map(|source| source.map.as_ref()).map(|map| folder.join(map));
    if let Some(map) = map.as_ref().filter(|map| !map.exists()) {
        return Err(format!("the names of the tensors, {}, are not here", map.display()));
    }
    let model = match &args.model {
        Some(model) => Some(model.clone()),
        None => model(text, folder)?,
    };
    if model.is_none() && (reference.is_some() || candidate.is_some()) {
        return Err("the session is of the built-in demo, whose dumps are part of the program: give no --reference and no \
                    --candidate, or record one with `layerstep debug MODEL --reference DUMP --candidate DUMP --record NAME`"
            .into());
    }
    Ok(debug::Args::of(header, model, DumpArgs { reference, candidate, map }))
}

/// Where the model of a session is; none for the one that is built in.
fn model(text: &Text, folder: &Path) -> Result<Option<String>, String> {
    let facts = &text.header.model;
    if let Some(path) = &facts.path {
        let path = folder.join(path);
        if path.join("config.json").exists() {
            return Ok(Some(path.display().to_string()));
        }
    }
    if let Some(repository) = &facts.repository
        && locate(repository, &HubCache::of_environment()).is_ok()
    {
        return Ok(Some(repository.clone()));
    }
    if facts.name == super::demo::NAME && facts.path.is_none() {
        return Ok(None);
    }
    // Wherever it was seen last on this machine.
    let cache = places::cache().map(|path| Cache { path });
    let folder = cache.and_then(|cache| cache.folder_of(&facts.config_sha256, &facts.weights_sha256));
    folder
        .map(|folder| Some(folder.display().to_string()))
        .ok_or_else(|| format!("the model {} is not here", facts.name))
}

/// Dumps that the user has named, and that have other bytes than those of the recording.
fn other_dumps(args: &Args, text: &Text, places: &Places) -> anyhow::Result<Vec<String>> {
    let mut found = Vec::new();
    for (role, given) in [("reference", &args.reference), ("candidate", &args.candidate)] {
        let Some((_, path)) = places.dumps.iter().find(|(of, _)| of == role && given.is_some()) else { continue };
        let then = text.header.sources.iter().find(|source| source.role == role);
        let now = digest(path).with_context(|| format!("{} cannot be read", path.display()))?;
        if then.is_none_or(|then| then.sha256 != now) {
            found.push(format!("the {role} {} is not the one that was recorded", path.display()));
        }
    }
    Ok(found)
}

/// What of the model and the dumps is not as it was recorded; what the user has named himself may be another one.
fn other_inputs(
    args: &Args,
    recording: &Recording,
    debugger: &Debugger,
    places: &Places,
) -> anyhow::Result<Vec<String>> {
    let header = &recording.text.header;
    let mut found = Vec::new();
    let now = places.fingerprint(debugger.model(), &AtomicBool::new(false)).filter(|_| args.model.is_none());
    if let Some(now) = now.filter(|_| !header.model.weights_sha256.is_empty()) {
        let same = header.model.weights_sha256 == now.weights() && header.model.config_sha256 == now.config;
        if !same {
            let named = recording.values.as_ref().map(|values| values.views.fingerprint.differences(&now));
            let any = || vec![format!("the model {} has another config.json or other weights", header.model.name)];
            found.extend(named.filter(|named| !named.is_empty()).unwrap_or_else(any));
        }
    }
    for (role, path) in &places.dumps {
        let given = [("reference", &args.reference), ("candidate", &args.candidate)];
        let is_given = given.iter().any(|(of, path)| of == role && path.is_some());
        let then = header.sources.iter().find(|source| source.role == *role && !source.sha256.is_empty());
        let Some(then) = then.filter(|_| !is_given) else { continue };
        if digest(path).with_context(|| format!("{} cannot be read", path.display()))? != then.sha256 {
            found.push(format!("the {role} {} has other bytes", then.file));
        }
    }
    Ok(found)
}
