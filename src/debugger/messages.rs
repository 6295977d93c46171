//! What the debugger says of itself in words: where it stands, what is set, what commands there are. Scripts print it,
//! the screen shows it in its log.

use std::fmt::Write;

use super::command::{COMMANDS, Group, Spec, Topic};
use super::expression::{FUNCTIONS, WORDS};
use super::state::Debugger;
use super::view::{Shown, Stop, Witness};
use crate::diagnose::Status;
use crate::engine::Site;
use crate::metrics::summarise;

/// Columns of `help` in which a command stands; a longer one has a line of its own.
const USAGE: usize = 34;

/// The lines of `help`.
pub(super) fn help(name: Option<&str>) -> Result<Vec<String>, String> {
    let usage = |spec: &Spec| format!("{} {}", spec.name, spec.arguments).trim_end().to_string();
    if let Some(function) = name.and_then(|name| FUNCTIONS.iter().find(|function| function.name == name)) {
        return Ok(vec![function.signature.to_string(), format!("  {}", function.doc)]);
    }
    if let Some(name) = name {
        let spec = Spec::find(name)?;
        let mut lines = vec![usage(spec), format!("  {}", spec.doc)];
        if !spec.short.is_empty() {
            lines.push(format!("  also: {}", spec.short.join(", ")));
        }
        lines.extend(examples(spec.examples));
        return Ok(lines);
    }
    let mut lines = Vec::new();
    for (group, title) in Group::ALL {
        lines.push(format!("{title}:"));
        for spec in COMMANDS.iter().filter(|spec| spec.group == *group) {
            let short = spec.short.first().map_or(String::new(), |short| format!(" ({short})"));
            let usage = usage(spec) + &short;
            if usage.len() <= USAGE {
                lines.push(format!("  {usage:<USAGE$} {}", spec.doc));
            } else {
                lines.push(format!("  {usage}"));
                lines.push(format!("  {:USAGE$} {}", "", spec.doc));
            }
        }
    }
    lines.push("Expressions and conditions:".into());
    lines.extend(expressions().map(|(usage, doc)| format!("  {usage:<USAGE$} {doc}")));
    Ok(lines)
}

/// What expressions and conditions are made of, beside names and numbers: how it is written, and a sentence.
pub fn expressions() -> impl Iterator<Item = (&'static str, &'static str)> {
    let functions = FUNCTIONS.iter().map(|function| (function.signature, function.doc));
    functions.chain(WORDS.iter().map(|word| (word.name, word.doc)))
}

/// Lines that can be typed, what they do in a column beside them.
fn examples(examples: &[&str]) -> Vec<String> {
    let parts: Vec<(&str, &str)> =
        examples.iter().map(|example| example.split_once("  # ").unwrap_or((example, ""))).collect();
    let column = parts.iter().filter(|(_, does)| !does.is_empty()).map(|(line, _)| line.len()).max().unwrap_or(0);
    let line = |(line, does): (&str, &str)| match does {
        "" => format!("  > {line}"),
        does => format!("  > {line:<column$}  # {does}"),
    };
    parts.into_iter().map(line).collect()
}

/// What a command's end means, in lines.
pub fn describe(debugger: &Debugger, stop: &Stop) -> Vec<String> {
    match stop {
        Stop::Done => vec![place(debugger)],
        Stop::Breakpoint { number, line } => vec![format!("stopped by {number}: {line}"), place(debugger)],
        Stop::Divergence => vec![format!("divergence at {}", at_name(debugger)), place(debugger)],
        Stop::End => vec!["the end of the last forward".into(), place(debugger)],
        Stop::Start => vec!["the start: nothing lies before".into()],
        Stop::Interrupted => vec![format!("interrupted at {}", at_name(debugger))],
        Stop::Reloaded { sentence, .. } => vec![sentence.clone()],
        Stop::Said(lines) | Stop::Patched(lines) | Stop::Yanked(lines) => lines.clone(),
        Stop::Diagnosed(diagnosis) => {
            let mut lines = vec![format!("why {}:", diagnosis.name)];
            if diagnosis.suspects.is_empty() {
                lines.push(
                    "  no mistake of one op makes it: run, then info verdict tells whether only its name is wrong"
                        .into(),
                );
            }
            for (index, suspect) in diagnosis.suspects.iter().enumerate() {
                let on = if suspect.on { " ON" } else { "" };
                let share = format!("{:.3} %", suspect.explained * 100.0);
                lines.push(format!("  {} {}{on}  explains {share}: {}", index + 1, suspect.id, suspect.summary));
                if !suspect.fix.is_empty() {
                    lines.push(format!("    fix: {}", suspect.fix));
                }
            }
            lines
        }
    }
}

fn at_name(debugger: &Debugger) -> String {
    debugger.pass.run.last().map_or("the start".into(), |_| debugger.pass.called(debugger.pass.ops() - 1))
}

/// `2.q_rope  [4 head, 15 token, 32 head_dim]  rms 0.61  min -2.1  max 2.2  error 8.6e-1  DIVERGES`
fn place(debugger: &Debugger) -> String {
    let Some(row) = debugger.pass.run.counter().checked_sub(1) else {
        return "not started: step computes the first op".into();
    };
    let mut line = at_name(debugger);
    let site = Site::at(row);
    if let Ok((whole, pair, _)) = debugger.shown(site, Shown::Values(Witness::Engine)) {
        let named = debugger.graph()[site].axes.iter().zip(whole.shape());
        let axes: Vec<String> = named.map(|(axis, length)| format!("{length} {}", axis.name)).collect();
        let s = debugger.memos.summaries.get_or(pair, || summarise(whole.view()));
        let _ = write!(line, "  [{}]  rms {:.4e}  min {:.4e}  max {:.4e}", axes.join(", "), s.rms, s.min, s.max);
        if s.nan > 0 {
            let _ = write!(line, "  nan {}", s.nan);
        }
    }
    if let Some(compared) = debugger.current_rows().get(row).filter(|row| row.status != Status::Missing) {
        let _ = write!(line, "  error {:.1e}", compared.error);
        if let Some(local) = compared.made() {
            let _ = write!(line, "  local {:.1e}  floor {:.1e}", local.error, local.floor);
        }
        if compared.nonfinite > 0 {
            let _ = write!(line, "  {} not finite", compared.nonfinite);
        }
        let word = match compared.status {
            Status::Bad => "  DIVERGES",
            Status::Propagated => "  follows",
            Status::Equivalent => "  equivalent",
            _ => "  agrees",
        };
        line.push_str(word);
    }
    line
}

/// The lines of `info`.
pub(super) fn info(debugger: &Debugger, topic: Topic) -> Vec<String> {
    match topic {
        Topic::Place => vec![place(debugger)],
        Topic::Breakpoints => {
            let lines = debugger.stops.lines();
            if lines.is_empty() { vec!["no breakpoints and no watches".into()] } else { lines }
        }
        Topic::Experts | Topic::Patches | Topic::Verdict => Vec::new(),
        Topic::Tokens => {
            let mut lines = Vec::new();
            for feed in debugger.pass.fed.feeds() {
                let name = if feed.forward == 0 { "prefill".to_string() } else { format!("decode {}", feed.forward) };
                for (position, id) in (feed.first..).zip(debugger.pass.fed.span(feed.forward).ids) {
                    lines.push(format!("{position:>5}  {name:<9}  {id:>7}  {}", debugger.token_text(*id)));
                }
            }
            lines
        }
        Topic::Model => {
            let header = debugger.header();
            let mut lines = vec![format!("{}: {}", header.model, header.facts)];
            lines.extend(header.notes);
            lines
        }
        Topic::Divergences => {
            let bad = debugger
                .comparison
                .rows()
                .iter()
                .take(debugger.pass.ops())
                .enumerate()
                .filter(|(_, row)| row.status == Status::Bad);
            let lines: Vec<String> = bad
                .map(|(index, row)| {
                    let made = match (row.nonfinite, row.made()) {
                        (0, Some(local)) => format!("  made here {:.1e}, floor {:.1e}", local.error, local.floor),
                        (0, None) => String::new(),
                        (odd, _) => format!("  {odd} not finite"),
                    };
                    format!("{}{made}", debugger.pass.called(index))
                })
                .collect();
            match lines.is_empty() {
                true if debugger.has_dumps() => vec!["nothing diverges so far".into()],
                true => vec!["nothing is compared: there is no dump".into()],
                false => lines,
            }
        }
    }
}
