//! `layerstep diff`: the comparison, as a table or as JSON.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, bail};

use super::debug::session;
use super::input::{Loaded, TokenArgs};
use super::paper::{self, Paper};
use super::progress::{while_saying, with_progress};
use super::reports::{ReportArgs, command};
use super::unwritten;
use super::watch::Watch;
use super::weights;
use super::witness::{DumpArgs, Opened, Tokens};
use crate::debugger::{Debugger, Session};
use crate::diagnose::suspects::search::Accused;
use crate::diagnose::{ActivationRow, Divergence, Report, Source, Verdict, Walk, health, without_model};
use crate::engine::{Graph, Role};
use crate::model::Model;
use crate::report::{Cells, Document};

/// Compare dumps with each other and with our engine; name the activation where an error is made.
///
/// Without --model, two dumps are compared with each other: that finds the place, but rarely whose tensor is wrong.
///
/// Exit status: 0 when the two sides agree (`match`, `rounding`), 1 when something was found, 2 when it could not run.
#[derive(Debug, clap::Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own on the command line")]
pub(super) struct Args {
    /// The model that the dumps are of: Hugging Face directory, or a repository id of the local cache. Needed for one dump,
    /// and to name the culprit.
    #[arg(long)]
    model: Option<String>,
    #[command(flatten)]
    dumps: DumpArgs,
    #[command(flatten)]
    tokens: TokenArgs,
    /// Which row of a batch to take, from 0.
    #[arg(long, value_name = "K")]
    batch: Option<usize>,
    /// Check our own engine instead: prefill against decode, one thread against many, f32 against f64. No dump is needed,
    /// and without --prompt or --ids it feeds 24 tokens of its own choice.
    #[arg(long = "self", conflicts_with_all = ["reference", "candidate", "map", "batch", "watch"])]
    myself: bool,
    /// Compare two checkpoints instead, matrix by matrix: equal, transposed, permuted for RoPE, scaled, quantised, missing.
    #[arg(long, num_args = 2, value_names = ["MODEL", "MODEL"], conflicts_with_all = ["model", "reference", "candidate", "map", "batch", "watch", "myself", "full"])]
    weights: Option<Vec<PathBuf>>,
    /// Print one JSON document (schema layerstep.diff/1).
    #[arg(long)]
    json: bool,
    /// Print every activation, not only the worst of each layer and decode step and the layer of the first divergence.
    #[arg(long)]
    full: bool,
    #[command(flatten)]
    reports: ReportArgs,
    /// Compare again each time the files of a dump change, until Ctrl-C.
    #[arg(long)]
    watch: bool,
}

/// Runs the command.
pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let DumpArgs { reference, candidate, map } = &args.dumps;
    args.reports.check(&[reference.as_deref(), candidate.as_deref(), map.as_deref()])?;
    if args.json && args.reports.on_stdout() {
        bail!("standard output takes one report: --json, or the one with -");
    }
    if let Some(paths) = &args.weights {
        return weights::run(paths, args.json);
    }
    if !args.watch {
        return once(args);
    }
    let watch = Watch::of(&args.dumps);
    once(args)?;
    watch.repeat(|| once(args))
}

fn once(args: &Args) -> anyhow::Result<ExitCode> {
    let (report, session) = if args.myself { (check_engine(args)?, None) } else { compare(args)? };
    if args.reports.any() {
        let mut document = Document { command: Some(command()), ..Document::of(&report) };
        // What diverges is known: the debugger has only to go there.
        if let Some(mut debugger) = session.map(|session| Debugger::new(session).without_comparison()) {
            document.add_tokens(&debugger);
            if args.reports.with_pictures() {
                document.add_pictures(&mut debugger);
            }
        }
        args.reports.write(&document)?;
    }
    let status = if report.verdict.agrees() { ExitCode::SUCCESS } else { ExitCode::from(1) };
    say(args, &report).map_err(|error| unwritten(error, status))?;
    Ok(status)
}

/// Prints the report, where it is not written elsewhere.
fn say(args: &Args, report: &Report) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    if args.reports.on_stdout() {
        // That report is the output.
        Ok(())
    } else if args.json {
        serde_json::to_writer_pretty(&mut out, &report.to_json())?;
        writeln!(out)
    } else {
        print(&mut out, report, args.full)
    }
}

/// What was found, and what a debugger needs to go there.
type Compared = (Report, Option<Session>);

fn compare(args: &Args) -> anyhow::Result<Compared> {
    if args.dumps.reference.is_none() && args.dumps.candidate.is_none() {
        bail!("nothing to compare: give --reference DUMP, --candidate DUMP, or both");
    }
    let Some(model) = &args.model else { return Ok((two_dumps(args)?, None)) };
    let loaded = Loaded::open(model)?;
    let opened = args.dumps.open(args.batch, &loaded, &args.tokens)?;
    match &opened.tokens {
        Tokens::Differ { sentence, ids, embedded } => {
            Ok((inputs_differ(&loaded, &opened, sentence, ids, *embedded), None))
        }
        Tokens::Agreed { ids, steps, apart } => {
            let mut walk = Walk::new(&loaded.model, ids, steps, opened.dumps.clone())?;
            if let Some(apart) = apart {
                walk.go_apart(apart.clone());
            }
            let total = loaded.model.graph.len() * steps.len();
            with_progress("comparing", "activations", |progress| walk.to_end(&mut |done| progress(done, total)))?;
            let report = while_saying("weighing what was found", || walk.report());
            Ok((report, Some(session(&loaded, opened)?)))
        }
    }
}

/// Without a model, two dumps can still be compared with each other.
fn two_dumps(args: &Args) -> anyhow::Result<Report> {
    if args.tokens.prompt.is_some() {
        bail!("--prompt needs the tokenizer of a model: give --model DIRECTORY, or the tokens as --ids 1,2,3");
    }
    let pair = args.dumps.open_pair(args.batch, args.tokens.ids.as_ref().map(Vec::len))?;
    Ok(without_model(&pair, args.tokens.ids.as_deref())?)
}

/// Tokens fed by `--self` when none are given.
const OWN_TOKENS: usize = 24;

/// Tokens spread over the vocabulary, by a step that shares no factor with its usual sizes.
pub(super) fn own_tokens(model: &Model) -> Vec<u32> {
    let vocab = model.spec.vocab;
    let tokens = model.spec.embed.learned.map_or(OWN_TOKENS, |most| OWN_TOKENS.min(most));
    (0..tokens).map(|index| ((index * 7919 + 13) % vocab) as u32).collect()
}

fn check_engine(args: &Args) -> anyhow::Result<Report> {
    let model = args.model.as_deref().context("whose engine is to be checked? give --model DIRECTORY")?;
    let loaded = Loaded::open(model)?;
    let ids = loaded.ids(&args.tokens)?.unwrap_or_else(|| own_tokens(&loaded.model));
    if ids.len() < 2 {
        bail!("one token decodes nothing: give two or more");
    }
    Ok(with_progress("checking", "activations", |progress| health(&loaded.model, &ids, progress)))
}

fn inputs_differ(loaded: &Loaded, opened: &Opened, sentence: &str, ids: &[u32], embedded: bool) -> Report {
    let dumps = opened.dumps.named().into_iter();
    let dumps = dumps.filter_map(|(role, dump)| Some(Source::dump(role, dump?, "not read")));
    Report {
        verdict: Verdict::InputsDiffer,
        sentence: sentence.to_string(),
        divergences: embedded.then(|| wrong_tokens(&loaded.model.graph, sentence)).into_iter().collect(),
        sources: [Source::engine(&loaded.model.name, ids)].into_iter().chain(dumps).collect(),
        ..Report::default()
    }
}

/// The embedding, where other tokens than those fed come in.
fn wrong_tokens(graph: &Graph, sentence: &str) -> Divergence {
    let name = graph.whole(Role::EmbedTokens).map_or("", |site| graph.name(site)).to_string();
    Divergence {
        exact: true,
        summary: sentence.to_string(),
        suspects: vec![Accused::of_label("input_ids_differ", &name, sentence.to_string())],
        name,
        ..Divergence::default()
    }
}

fn print(out: &mut impl Write, report: &Report, full: bool) -> std::io::Result<()> {
    let paper = Paper::of_stdout();
    report.said().iter().try_for_each(|line| paper.write(out, line, report.verdict))?;
    if report.activations.is_empty() {
        return Ok(());
    }
    writeln!(out)?;
    writeln!(
        out,
        "{:<36} {:>9} {:>9} {:>9} {:>8}  {:<10} worst at",
        "activation", "error", "local", "floor", "ratio", "status"
    )?;
    let bad = report.first_divergence().map(|d| (d.step(), d.layer()));
    let mut left_out = 0;
    for (index, row) in report.activations.iter().enumerate() {
        let of_layer = row.step == 0;
        let alone = is_worst(report, index, of_layer) || (of_layer && row.layer.is_none());
        let shown = full || alone || bad == Some((row.step, row.layer));
        if shown && row.compared().is_some() {
            print_row(out, row, &paper)?;
        } else {
            left_out += usize::from(row.compared().is_some());
        }
    }
    let missing = report.activations.iter().filter(|row| row.compared().is_none()).count();
    if left_out > 0 {
        writeln!(out, "{left_out} more compared, with smaller errors in their layer or step: --full prints them")?;
    }
    match missing {
        0 => Ok(()),
        1 => writeln!(out, "1 activation is not in the dump"),
        more => writeln!(out, "{more} activations are not in the dump"),
    }
}

/// Whether a row has the largest error of its layer, or of its decode step.
fn is_worst(report: &Report, index: usize, of_layer: bool) -> bool {
    let row = &report.activations[index];
    let same = |other: &&ActivationRow| {
        other.step == row.step && (!of_layer || other.layer == row.layer) && other.weight().is_some()
    };
    let worst = report.activations.iter().filter(same).max_by(|a, b| a.error.total_cmp(&b.error));
    worst.is_some_and(|worst| std::ptr::eq(worst, row))
}

fn print_row(out: &mut impl Write, row: &ActivationRow, paper: &Paper) -> std::io::Result<()> {
    let Cells { short, error, local, floor, ratio, status, worst } = Cells::of(row);
    let status = paper.coloured(&format!("{status:<10}"), paper::of_status(row.status));
    let line = format!("{short:<36} {error:>9} {local:>9} {floor:>9} {ratio:>8}  {status} {worst}");
    writeln!(out, "{}", line.trim_end())
}
