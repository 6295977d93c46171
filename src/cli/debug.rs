//! `layerstep debug`: the screen. Without a command, the built-in demo.

mod args;
mod two_dumps;

use std::io::{BufRead, IsTerminal};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, anyhow, bail};
pub(super) use args::Args;
use clap::Parser;

use super::batch::Batch;
use super::config::Config;
use super::demo;
use super::input::{Loaded, TokenArgs};
use super::note;
use super::places;
use super::progress::while_saying;
use super::recording;
use super::suspect;
use super::watch::{self, Stamp, Watch};
use super::witness::{DumpArgs, Opened, Tokens};
use crate::debugger::view::Witness;
use crate::debugger::{Debugger, Opener, Session, Switched};
use crate::diagnose::{Apart, Witnesses};
use crate::dump::Dump;
use crate::model::fingerprint::Cache;
use crate::session::{Places, held};
use crate::tui;

/// What is debugged, and where it lies.
pub(super) struct Subject {
    pub(super) debugger: Debugger,
    pub(super) places: Places,
    watch: Option<Watch>,
    /// Opens the dumps once more.
    reopen: Option<tui::Reopen>,
    /// What is debugged, in a sentence.
    story: Option<&'static str>,
}

/// Runs the command.
pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let config = Config::load(args.config.as_deref())?;
    let recovered = args.recover.as_ref().map(|journal| recording::recovered(journal.as_deref(), args)).transpose()?;
    let read = args.commands.is_empty();
    let (args, commands) = recovered.as_ref().map_or((args, &args.commands), |again| (&again.args, &again.commands));
    if args.model.is_none() && args.dumps.reference.is_some() && args.dumps.candidate.is_some() {
        return two_dumps::run(args, config);
    }
    let subject = open(args)?;
    if args.batch != Some(None) {
        let shown = show(subject, config, args.recorded(), commands.clone());
        return shown.inspect(|_| recovered.iter().for_each(recording::Recovered::forget));
    }
    let recorder = recording::recorder(subject.debugger, subject.places, &config, args.recorded())?;
    let stdin = std::io::stdin();
    if recovered.is_none() && (!read || !stdin.is_terminal()) {
        held(&recorder).obey_a_script();
    }
    let mut lines = stdin.lock();
    let script = read.then_some(("standard input", &mut lines as &mut dyn BufRead));
    let ended = Batch::new(Arc::clone(&recorder), std::io::stdout().lock()).run(commands, script);
    let ended = recording::finished(&recorder, ended);
    ended.inspect(|_| recovered.iter().for_each(recording::Recovered::forget))
}

/// Runs a script: the first line may say what is debugged, as on the command line.
pub(super) fn run_script(script: &Path, arguments: &[String]) -> anyhow::Result<ExitCode> {
    let name = script.display().to_string();
    let text = std::fs::read_to_string(script).with_context(|| format!("{name} cannot be read"))?;
    let header =
        |line: &str| line.trim().strip_prefix("debug").is_some_and(|rest| rest.is_empty() || rest.starts_with(' '));
    let blank = |line: &str| line.trim().is_empty() || line.trim().starts_with('#');
    let first = text.lines().position(|line| !blank(line)).filter(|first| text.lines().nth(*first).is_some_and(header));
    let mut given: Vec<String> = vec!["debug".into()];
    if let Some(line) = first.and_then(|index| text.lines().nth(index)) {
        let words = shlex::split(line.trim()).with_context(|| format!("{name}: a quote is not closed: {line}"))?;
        given.extend(from_folder(&words, script.parent().unwrap_or(Path::new(""))));
    }
    given.extend(arguments.iter().cloned());
    let args = Script::try_parse_from(&given)
        .map_err(|error| anyhow!("{name}: {}", super::one_line(&error.to_string())))?
        .args;
    let config = Config::load(args.config.as_deref())?;
    let subject = open(&args)?;
    let recorder = recording::recorder(subject.debugger, subject.places, &config, args.recorded())?;
    // The line stays as an empty one, so that the others keep their numbers.
    let lines: Vec<&str> =
        text.lines().enumerate().map(|(index, line)| if Some(index) == first { "" } else { line }).collect();
    let lines = lines.join("\n");
    held(&recorder).obey_a_script();
    let batch = Batch::new(Arc::clone(&recorder), std::io::stdout().lock());
    let ended = batch.run(&args.commands, Some((&name, &mut lines.as_bytes())));
    recording::finished(&recorder, ended)
}

/// The arguments on the first line of a script: paths are seen from where it lies.
fn from_folder(words: &[String], folder: &Path) -> Vec<String> {
    let path = |word: &str| {
        if folder.join(word).exists() { folder.join(word).display().to_string() } else { word.to_string() }
    };
    let seen = |(before, word): (&String, &String)| match (before.as_str(), word.split_once('=')) {
        // These are no paths, whatever lies in the folder.
        ("--prompt" | "--ids" | "--command" | "-c" | "--suspect" | "--batch", _) => word.clone(),
        (_, Some((option @ ("--reference" | "--candidate" | "--map"), value))) => format!("{option}={}", path(value)),
        _ => path(word),
    };
    words.iter().zip(words.iter().skip(1)).map(seen).collect()
}

/// The arguments of `debug` on the first line of a script.
#[derive(Debug, clap::Parser)]
struct Script {
    #[command(flatten)]
    args: Args,
}

/// Opens what the arguments say.
pub(super) fn open(args: &Args) -> anyhow::Result<Subject> {
    let mut places = Places {
        suspect: args.suspect.clone(),
        cache: super::places::cache().map(|path| Cache { path }),
        ..Places::default()
    };
    let Some(model) = &args.model else {
        if args.dumps.reference.is_some() || args.dumps.candidate.is_some() || args.dumps.map.is_some() {
            bail!(
                "which model are the dumps of? give its directory: `layerstep debug MODEL --reference DUMP`; two dumps can \
                 do without one: `layerstep debug --reference DUMP --candidate DUMP`"
            );
        }
        let (loaded, opened) = demo::open()?;
        let switched = args.suspect.as_deref().map(|suspect| suspect::switched(suspect, &loaded.model)).transpose()?;
        let debugger = debugger(session(&loaded, opened)?, switched);
        let again = || demo::open().and_then(|(loaded, opened)| session(&loaded, opened));
        return Ok(Subject { reopen: Some(reopen(again)), story: Some(demo::STORY), ..Subject::new(debugger, places) });
    };
    let loaded = while_saying(&format!("reading {model}"), || Loaded::open(model))?;
    places.model = Some(loaded.directory.clone());
    places.repository = Some(loaded.model.name.clone()).filter(|name| name.contains('/'));
    let switched = args.suspect.as_deref().map(|suspect| suspect::switched(suspect, &loaded.model)).transpose()?;
    if let Some(switched) = &switched {
        note(&format!("note: our engine computes {}: {}", switched.describe(&loaded.model.graph), switched.words));
    }
    if args.dumps.reference.is_none() && args.dumps.candidate.is_none() {
        if args.watch {
            bail!("--watch needs a dump to watch: give --reference DUMP, --candidate DUMP, or both");
        }
        let Some(ids) = loaded.ids(&args.tokens)? else {
            bail!("nothing to feed: give --prompt TEXT, --ids 1,2,3 or --reference DUMP");
        };
        let steps = vec![ids.len()];
        let opened = Opened { dumps: Witnesses::default(), tokens: Tokens::Agreed { ids, steps, apart: None } };
        return Ok(Subject::new(debugger(session(&loaded, opened)?, switched), places));
    }
    let role = |name: &str, path: &Option<PathBuf>| path.clone().map(|path| (name.to_string(), path));
    let dumps = [role("reference", &args.dumps.reference), role("candidate", &args.dumps.candidate)];
    places.dumps = dumps.into_iter().flatten().collect();
    (places.map, places.batch) = (args.dumps.map.clone(), args.batch.flatten());
    let watch = args.watch.then(|| Watch::of(&args.dumps));
    let (batch, dumps) = (args.batch.flatten(), args.dumps.clone());
    let files = Files { loaded: Arc::new(loaded), tokens: args.tokens.clone(), dumps, batch };
    let session = while_saying("reading the dumps", || files.session())?;
    let debugger = debugger(session, switched);
    Ok(Subject { watch, reopen: Some(reopen(move || files.session())), ..Subject::new(debugger, places) })
}

impl Subject {
    fn new(debugger: Debugger, places: Places) -> Self {
        Self { debugger, places, watch: None, reopen: None, story: None }
    }
}

fn reopen(open: impl Fn() -> anyhow::Result<Session> + Send + Sync + 'static) -> tui::Reopen {
    Arc::new(move || open().map_err(|error| super::one_line(&format!("{error:#}"))))
}

fn debugger(session: Session, switched: Option<Switched>) -> Debugger {
    let mut debugger = Debugger::new(session);
    if let Some(switched) = switched {
        debugger.switch_on(switched);
    }
    debugger
}

/// Opens the demo.
pub(super) fn run_demo(config: Option<&Path>) -> anyhow::Result<ExitCode> {
    let config = Config::load(config)?;
    show(open(&Args::default())?, config, None, Vec::new())
}

fn show(
    subject: Subject,
    config: Config,
    record: Option<(&Path, bool)>,
    commands: Vec<String>,
) -> anyhow::Result<ExitCode> {
    let recorder = recording::recorder(subject.debugger, subject.places, &config, record)?;
    let watch = subject.watch.map(|mut watch| -> tui::Watch { (watch::PAUSE, Box::new(move || watch.changed())) });
    let Config { settings, keys, .. } = config;
    let Subject { reopen, story, .. } = subject;
    let history = places::history();
    let start = tui::Start { settings, keys, watch, reopen, story, history, commands, ..tui::Start::default() };
    let ended = tui::run(Arc::clone(&recorder), start).map(|()| ExitCode::SUCCESS).map_err(anyhow::Error::from);
    recording::finished(&recorder, ended)
}

/// The session of dumps that were fed the same tokens.
pub(super) fn session(loaded: &Loaded, opened: Opened) -> anyhow::Result<Session> {
    let (ids, steps, apart) = match opened.tokens {
        Tokens::Agreed { ids, steps, apart } => (ids, steps, apart),
        Tokens::Differ { sentence, .. } => bail!("{sentence}"),
    };
    let mut notes = loaded.model.notes.clone();
    notes.extend(apart.as_ref().map(Apart::describe));
    for (role, dump) in opened.dumps.named() {
        notes.extend(dump.into_iter().flat_map(Dump::notes).map(|note| format!("{role}: {note}")));
    }
    let (model, tokenizer) = (Arc::clone(&loaded.model), loaded.tokenizer.clone());
    let eos = loaded.eos();
    Ok(Session { tokenizer, eos, notes, ..Session::new(model, ids, &steps, opened.dumps) })
}

/// Where the dumps of a session come from.
#[derive(Clone, Debug)]
struct Files {
    loaded: Arc<Loaded>,
    tokens: TokenArgs,
    dumps: DumpArgs,
    batch: Option<usize>,
}

impl Files {
    /// The session, as the files are now.
    fn session(&self) -> anyhow::Result<Session> {
        let stamps = self.stamps();
        let session = session(&self.loaded, self.dumps.open(self.batch, &self.loaded, &self.tokens)?)?;
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
