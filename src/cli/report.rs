//! `layerstep report`: what was found and done in a session, for others to read.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::bail;

use super::config::Config;
use super::note;
use super::replay::{self, Ready};
use super::reports::{self, ReportArgs};
use crate::debugger::Command;
use crate::diagnose::Report;
use crate::report::{Document, Passage, printable};
use crate::session::{Recorder, Recording, file_of};

/// Write a report of a recorded session: what was found, and every command with its answer.
///
/// With the model and the dumps the comparison is made again; without them the report has what was recorded.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// NAME.session, its name without the ending, or what `layerstep pack` has made.
    session: PathBuf,
    #[command(flatten)]
    reports: ReportArgs,
    /// Compute nothing: report only what was recorded.
    #[arg(long)]
    recorded: bool,
}

/// Runs the command.
pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    if !args.reports.any() {
        bail!("which report? give --html FILE, --markdown FILE or --junit FILE; - is standard output");
    }
    // A session may be named without its ending.
    let session = file_of(&args.session);
    args.reports.check(&[Some(&args.session), Some(&session), Some(&session.with_extension("safetensors"))])?;
    let Ready { mut replay, how, .. } =
        replay::ready(&replay::Args::of(&args.session, args.recorded), &Config::default())?;
    note(&how);
    args.reports.write(&document(&mut replay, args.reports.with_pictures()))?;
    Ok(ExitCode::SUCCESS)
}

fn document(replay: &mut Recorder, with_pictures: bool) -> Document {
    let story = story(replay.recording());
    // Everything that was looked at is computed then.
    let tally = replay.check();
    let report = replay.debugger_mut().report();
    let report = report.as_deref().cloned().or_else(|| replay.recording().report());
    let nothing = || {
        let sentence = "The comparison was not followed to its end, or there was none.".into();
        Document { verdict: "no verdict", report: Report { sentence, ..Report::default() }, ..Document::default() }
    };
    let mut document = report.as_ref().map_or_else(nothing, Document::of);
    let recording = replay.recording();
    document.title = format!("{}: {}", recording.name, recording.text.header.model.name);
    document.command = Some(reports::command());
    document
        .report
        .notes
        .extend(tally.differences.iter().map(|difference| printable(&format!("not as recorded: {difference}"))));
    document.story = story;
    let debugger = replay.debugger_mut();
    document.add_tokens(debugger);
    if with_pictures {
        document.add_pictures(debugger);
    }
    document
}

/// What was typed, answered and remarked. What only moved the screen is left out.
fn story(recording: &Recording) -> Vec<Passage> {
    let mut story = Vec::new();
    let mut told: Vec<String> = Vec::new();
    let mut place = String::from("the start");
    for line in &recording.text.lines {
        // Lines of a comment are one text.
        if let Some(text) = line.text.trim().strip_prefix('#') {
            told.push(text.trim().to_string());
            continue;
        }
        let tell = std::mem::take(&mut told).join(" ");
        if !tell.trim().is_empty() {
            story.push(Passage::Note { text: printable(tell.trim()) });
        }
        match Command::parse(&line.text) {
            Ok(Some(Command::Mark(text))) => {
                story.push(Passage::Mark { place: printable(&place), text: printable(&text) });
            }
            Ok(Some(Command::Note(text))) => story.push(Passage::Note { text: printable(&text) }),
            Ok(Some(Command::Screen(_)) | None) => {}
            _ => {
                let answer: Vec<String> = line.answers.iter().map(|answer| printable(&answer.text)).collect();
                // Where it then stood is the first word of its last line: `2.q_rope  [4 head, ...`
                if let Some((word, _)) = answer.last().and_then(|last| last.split_once("  [")) {
                    place = word.to_string();
                }
                story.push(Passage::Command { line: printable(&line.text), answer });
            }
        }
    }
    story
}
