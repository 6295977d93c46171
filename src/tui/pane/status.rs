//! The line at the top: model, forward, what is recorded, where the debugger stands, the suspect that is on, the verdict.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;

use crate::debugger::Command;
use crate::debugger::view::Status;
use crate::tui::app::{App, Running};
use crate::tui::beside::Heard;
use crate::tui::keymap::readable;
use crate::tui::outline;
use crate::tui::text;
use crate::tui::theme::Role;

/// The parts of the line in the order in which they find their room: what matters most first.
const BY_WEIGHT: [usize; 8] = [7, 5, 6, 4, 1, 3, 2, 0];

/// Draws it.
pub(super) fn draw(buffer: &mut Buffer, area: Rect, app: &App) {
    if area.is_empty() {
        return;
    }
    let style = app.theme().style(Role::Status);
    buffer.set_style(area, style);
    let (verdict, verdict_style) = verdict(app);
    let at = app.at().map_or("not started".to_string(), |op| format!("at {}", outline::called(op)));
    let (model, facts) = (app.theme().text(&app.header.model), app.theme().text(&app.header.facts));
    let patches = match app.header.patches {
        0 => None,
        1 => Some("1 patch".to_string()),
        count => Some(format!("{count} patches")),
    };
    let suspect = app.header.suspect.iter().cloned().chain(patches).collect::<Vec<_>>().join(", ");
    let recording = app.header.recording.as_deref().map_or(String::new(), |file| {
        let name = file.rsplit('/').next().unwrap_or(file);
        format!("REC {}", app.theme().text(name))
    });
    let parts = ["layerstep".to_string(), model, facts, forward(app), recording, at, suspect, verdict];
    let mut room = usize::from(area.width).saturating_sub(1);
    let mut shown = parts.clone().map(|_| String::new());
    for index in BY_WEIGHT {
        let part = &parts[index];
        let gap = if shown.iter().all(String::is_empty) { 0 } else { 3 };
        let cut = text::fit(part, room.saturating_sub(gap), app.theme().ellipsis());
        // Where one stands, the suspect and the model's name are understood when cut.
        let enough = if matches!(index, 1 | 4..=7) { text::width(part).min(8) } else { text::width(part) };
        if !cut.is_empty() && text::width(&cut) >= enough {
            room -= text::width(&cut) + gap;
            shown[index] = cut;
        }
    }
    let [left @ .., verdict] = shown;
    let left: Vec<String> = left.into_iter().filter(|part| !part.is_empty()).collect();
    let end = usize::from(area.width);
    buffer.set_stringn(area.x + 1.min(area.width - 1), area.y, left.join("   "), end.saturating_sub(1), style);
    if !verdict.is_empty() {
        let x = area.right().saturating_sub(text::width(&verdict) as u16 + 2).max(area.x);
        buffer.set_stringn(x, area.y, format!(" {verdict} "), end, verdict_style);
    }
}

fn forward(app: &App) -> String {
    let tokens = app.header.forwards.get(app.listing.forward).copied().unwrap_or(0);
    let plural = if tokens == 1 { "" } else { "s" };
    match app.listing.forward {
        0 => format!("prefill {tokens} token{plural}"),
        step => format!("decode {step}/{}", app.header.forwards.len().saturating_sub(1)),
    }
}

fn verdict(app: &App) -> (String, Style) {
    let theme = app.theme();
    if let Some(running) = app.running.as_ref().filter(|running| running.long || app.slow) {
        return (format!("{}, Esc interrupts", doing(running, app)), theme.style(Role::Bad));
    }
    if app.slow {
        return ("making the page".to_string(), theme.style(Role::Status));
    }
    // The whole comparison knows better than the op where one stands.
    let another = matches!(&app.ahead, Some(Heard::Found(outlook)) if outlook.is_another());
    if another && app.listing.first_divergence.is_some() {
        return ahead(app);
    }
    if let Some(op) = app.at().filter(|op| op.status == Status::Diverges) {
        let times = match op.local {
            _ if op.error.is_some_and(f64::is_nan) => ", not finite".into(),
            // A few rows that are wrong hardly show in the whole.
            Some(local) if local.ratio() <= 1.0 => ", in some rows".into(),
            Some(local) => format!(", {} x floor", text::ratio(local.ratio())),
            None => String::new(),
        };
        return (format!("DIVERGED here{times}"), theme.style(Role::Bad));
    }
    let first = app.listing.first_divergence.and_then(|row| app.listing.rows.get(row));
    match first {
        Some(op) => (format!("DIVERGED at {}", outline::called(op)), theme.style(Role::Bad)),
        None if !app.listing.compared => ("nothing to compare with".to_string(), theme.style(Role::Status)),
        None if app.wrong_from().is_some() => ("DIVERGED earlier".to_string(), theme.style(Role::Bad)),
        None => ahead(app),
    }
}

/// What a command is at.
fn doing(running: &Running, app: &App) -> String {
    use Command as C;
    let what = match running.command {
        C::Diagnose(_) => "trying known mistakes",
        C::Reload => "reading the dumps",
        C::Export { .. } | C::Save { .. } => "writing",
        C::Generate(_) => "generating",
        C::Switch(_) | C::Patch(_) | C::Unpatch(_) | C::Undo | C::Redo => "computing again",
        C::Print(_) | C::Yank(_) | C::Info(_) => "computing",
        _ => "running",
    };
    if let Some((done, total)) = app.listing.done {
        return format!("{what} {done} of {total}");
    }
    let layers = app.listing.rows.iter().filter_map(|op| op.layer).max();
    let place = app.at().and_then(|op| op.layer).zip(layers).filter(|_| !running.command.stays());
    place.map_or_else(|| what.to_string(), |(layer, last)| format!("{what}, layer {layer} of {}", last + 1))
}

/// What is known of the whole, where nothing is wrong so far, or something else than a value.
fn ahead(app: &App) -> (String, Style) {
    let theme = app.theme();
    let plain = |text: &str| (text.to_string(), theme.style(Role::Status));
    match &app.ahead {
        Some(Heard::Found(outlook)) => {
            let key = app.input.keys.keys_of("continue").first().map(|key| readable(key));
            let lies_ahead = outlook.stops && app.listing.first_divergence.is_none();
            let goes = key.filter(|_| lies_ahead).map_or(String::new(), |key| format!(" ({key} goes there)"));
            let words = match &outlook.place {
                Some(place) => format!("{}: {}{goes}", outlook.verdict, theme.text(place)),
                None => outlook.verdict.clone(),
            };
            (words, theme.style(if outlook.agrees { Role::Status } else { Role::Bad }))
        }
        Some(Heard::Begun) if app.listing.at.is_none() => plain("comparing the dumps"),
        _ if app.listing.at.is_none() => plain(""),
        _ => plain("agrees so far"),
    }
}
