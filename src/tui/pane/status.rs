//! The line at the top: model, forward, where the debugger stands, the verdict.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;

use crate::tui::app::App;
use crate::tui::outline;
use crate::tui::text;
use crate::tui::theme::Role;

/// Draws it.
pub(super) fn draw(buffer: &mut Buffer, area: Rect, app: &App) {
    if area.is_empty() {
        return;
    }
    let style = app.theme.style(Role::Status);
    buffer.set_style(area, style);
    let (verdict, verdict_style) = verdict(app);
    let at = app.at().map_or("not started".to_string(), |op| format!("at {}", outline::called(op)));
    let model = app.theme.text(&app.header.model);
    let facts = app.theme.text(&app.header.facts);
    // What is left out first where space is short comes last.
    let by_weight = [verdict.clone(), at.clone(), model.clone(), forward(app), facts.clone(), "layerstep".to_string()];
    let mut room = usize::from(area.width).saturating_sub(1);
    let mut shown = Vec::new();
    for part in by_weight.into_iter().filter(|part| !part.is_empty()) {
        let gap = if shown.is_empty() { 0 } else { 3 };
        let cut = text::fit(&part, room.saturating_sub(gap), app.theme.ellipsis());
        if text::width(&cut) < text::width(&part).min(12) {
            continue;
        }
        room -= text::width(&cut) + gap;
        shown.push((part, cut));
    }
    let left = ["layerstep".to_string(), model, facts, forward(app), at];
    let cut = |wanted: &String| shown.iter().find(|(part, _)| part == wanted).map(|(_, cut)| cut.clone());
    let left: Vec<String> = left.iter().filter_map(cut).collect();
    let end = usize::from(area.width);
    buffer.set_stringn(area.x + 1.min(area.width - 1), area.y, left.join("   "), end.saturating_sub(1), style);
    if let Some(verdict) = cut(&verdict) {
        let x = area.right().saturating_sub(text::width(&verdict) as u16 + 1).max(area.x);
        buffer.set_stringn(x, area.y, format!("{verdict} "), end, verdict_style);
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
    let theme = app.theme;
    if let Some(running) = &app.running {
        let esc = if running.long { "running, Esc interrupts" } else { "" };
        if running.long {
            return (esc.to_string(), theme.style(Role::Bad));
        }
    }
    let first = app.listing.first_divergence.and_then(|row| app.listing.rows.get(row));
    match first {
        Some(op) => (format!("DIVERGED at {}", outline::called(op)), theme.style(Role::Bad)),
        None if !app.listing.compared => ("nothing to compare with".to_string(), theme.style(Role::Status)),
        None if app.listing.at.is_none() => (String::new(), theme.style(Role::Status)),
        None => ("agrees so far".to_string(), theme.style(Role::Status)),
    }
}
