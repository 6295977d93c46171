//! `layerstep diff`: the comparison, as a table or as JSON.

use std::io::{IsTerminal, Write};
use std::process::ExitCode;

use anyhow::{Context, bail};

use super::input::{Loaded, TokenArgs};
use super::watch::Watch;
use super::witness::{DumpArgs, Opened, Tokens};
use crate::diagnose::{ActivationRow, Report, Source, Status, Verdict, walk};

/// Compare dumps with each other and with our engine; name the first activation out of line.
///
/// Exit status: 0 when the two sides agree (`match`, `rounding`), 1 when something was found, 2 when it could not run.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The model that the dumps are of: Hugging Face directory, or a repository id of the local cache.
    #[arg(long)]
    model: Option<String>,
    #[command(flatten)]
    dumps: DumpArgs,
    #[command(flatten)]
    tokens: TokenArgs,
    /// Print one JSON document (schema layerstep.diff/1).
    #[arg(long)]
    json: bool,
    /// Print every activation, not only the worst of each layer and decode step and the layer of the first divergence.
    #[arg(long)]
    full: bool,
    /// Compare again each time the files of a dump change, until Ctrl-C.
    #[arg(long)]
    watch: bool,
}

/// Runs the command.
pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    if !args.watch {
        return once(args);
    }
    let watch = Watch::of(&args.dumps);
    once(args)?;
    watch.repeat(|| once(args))
}

fn once(args: &Args) -> anyhow::Result<ExitCode> {
    if args.dumps.reference.is_none() && args.dumps.candidate.is_none() {
        bail!("nothing to compare: give --reference DUMP, --candidate DUMP, or both");
    }
    let model = args.model.as_deref().context("which model are the dumps of? give --model DIRECTORY")?;
    let loaded = Loaded::open(model)?;
    let opened = args.dumps.open(&loaded, &args.tokens)?;
    let report = match &opened.tokens {
        Tokens::Differ { sentence, ids } => inputs_differ(&loaded, &opened, sentence, ids),
        Tokens::Agreed { ids, steps } => {
            let show = std::io::stderr().is_terminal();
            let mut progress = |done: usize, total: usize| {
                if show && done.is_multiple_of(16) {
                    progress_line(done, total);
                }
            };
            let report = walk(&loaded.model, ids, steps, opened.dumps.clone(), &mut progress)?;
            if show {
                progress_line(0, 0);
            }
            report
        }
    };
    let mut out = std::io::stdout().lock();
    if args.json {
        serde_json::to_writer_pretty(&mut out, &report.to_json()).map_err(std::io::Error::from)?;
        writeln!(out)?;
    } else {
        print(&mut out, &report, args.full)?;
    }
    Ok(if report.verdict.agrees() { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

/// Overwrites one line of the terminal; `total` 0 clears it.
#[expect(clippy::print_stderr, reason = "progress goes to stderr")]
fn progress_line(done: usize, total: usize) {
    if total == 0 {
        eprint!("\r\x1b[K");
    } else {
        eprint!("\rcomparing {done} of {total} activations");
    }
}

fn inputs_differ(loaded: &Loaded, opened: &Opened, sentence: &str, ids: &[u32]) -> Report {
    let mut sources = vec![Source {
        role: "engine",
        path: loaded.model.name.clone(),
        dtype: "f32".into(),
        ids: ids.to_vec(),
        plan: String::new(),
    }];
    for (role, dump) in opened.dumps.named() {
        sources.extend(dump.map(|dump| Source {
            role,
            path: dump.path().display().to_string(),
            dtype: "not read".into(),
            ids: dump.ids().map(|ids| ids.ids.clone()).unwrap_or_default(),
            plan: dump.plan().to_string(),
        }));
    }
    Report {
        verdict: Verdict::InputsDiffer,
        sentence: sentence.to_string(),
        divergences: Vec::new(),
        blind_spots: Vec::new(),
        activations: Vec::new(),
        notes: Vec::new(),
        sources,
    }
}

fn print(out: &mut impl Write, report: &Report, full: bool) -> std::io::Result<()> {
    writeln!(out, "{}: {}", report.verdict.name(), report.sentence)?;
    for note in &report.notes {
        writeln!(out, "note: {note}")?;
    }
    if report.activations.is_empty() {
        return Ok(());
    }
    writeln!(out)?;
    writeln!(
        out,
        "{:<44} {:>9} {:>11} {:>9}  {:<10} worst at",
        "activation", "error", "1-cosine", "max abs", "status"
    )?;
    let bad = report.first_divergence().map(|d| (d.step, d.layer));
    let mut left_out = 0;
    for (index, row) in report.activations.iter().enumerate() {
        let of_layer = row.step == 0;
        let alone = is_worst(report, index, of_layer) || (of_layer && row.layer.is_none());
        let shown = full || alone || bad == Some((row.step, row.layer));
        if shown && row.status != Status::Missing {
            print_row(out, row)?;
        } else {
            left_out += usize::from(row.status != Status::Missing);
        }
    }
    let missing = report.activations.iter().filter(|row| row.status == Status::Missing).count();
    if left_out > 0 {
        writeln!(out, "{left_out} more compared, with smaller errors in their layer or step: --full prints them")?;
    }
    if missing > 0 {
        writeln!(out, "{missing} activations are not in the dump")?;
    }
    Ok(())
}

/// Whether a row has the largest error of its layer, or of its decode step.
fn is_worst(report: &Report, index: usize, of_layer: bool) -> bool {
    let row = &report.activations[index];
    let same = |other: &&ActivationRow| {
        other.step == row.step && (!of_layer || other.layer == row.layer) && other.status != Status::Missing
    };
    let worst = report.activations.iter().filter(same).max_by(|a, b| a.error.total_cmp(&b.error));
    worst.is_some_and(|worst| std::ptr::eq(worst, row))
}

fn print_row(out: &mut impl Write, row: &ActivationRow) -> std::io::Result<()> {
    let name = row.name.strip_prefix("model.").unwrap_or(&row.name);
    let (error, turned, max_abs) = (row.error, (1.0 - row.cosine).max(0.0), row.max_abs);
    let (status, worst) = (row.status.name(), row.worst.to_string());
    let line = format!("{name:<44} {error:>9.1e} {turned:>11.1e} {max_abs:>9.1e}  {status:<10} {worst}");
    writeln!(out, "{}", line.trim_end())
}
