//! The line at the top: model, forward, what is recorded, where the debugger stands, the suspect that is on, the verdict.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;

use crate::debugger::view::Status;
use crate::tui::app::App;
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
    if app.running.as_ref().is_some_and(|running| running.long) {
        let done = app.listing.done.map_or(String::new(), |(done, total)| format!(" {done} of {total}"));
        return (format!("running{done}, Esc interrupts"), theme.style(Role::Bad));
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
        None if app.listing.at.is_none() => (String::new(), theme.style(Role::Status)),
        None => ("agrees so far".to_string(), theme.style(Role::Status)),
    }
}
