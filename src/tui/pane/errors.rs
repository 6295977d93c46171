//! The errors: over the layers as a chart, and of each op of the selected layer as a table. What came in, what was made
//! here, and what noise explains.

use ratatui::buffer::Buffer;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::Style;
use ratatui::text::Line;
use ratatui::widgets::Widget;

use crate::debugger::command::Pane;
use crate::debugger::view::{ListingRow, Status};
use crate::tui::app::App;
use crate::tui::outline;
use crate::tui::text;
use crate::tui::theme::Role;

/// Columns of a number, and of the ratio, with the space before it.
const NUMBER: usize = 7;
const RATIO: usize = 7;
/// Columns of the sign of a status, and of the word for it.
const SIGN: usize = 3;
const WORD: usize = 14;

/// Draws them.
pub(super) fn draw(buffer: &mut Buffer, area: Rect, app: &App) {
    let room = usize::from(area.width).saturating_sub(2);
    let legend = super::curve::titles(app, room).pop().unwrap_or_default();
    let name = super::title(app, Pane::Divergence, if room < 40 { "log10" } else { "log10 by layer" });
    let inside = super::framed(buffer, area, app.theme, vec![Line::raw(name), legend], app.focus == Pane::Divergence);
    let rows = shown_rows(app);
    let table = rows.len() as u16 + 1;
    let gap = u16::from(inside.height >= 22);
    // The table is read, the chart only looked at.
    let chart = inside.height.saturating_sub(table + gap + 2).clamp((inside.height / 3).min(16), 16);
    let chart = if inside.height < 12 { 0 } else { chart };
    let heights = [Constraint::Length(chart), Constraint::Length(gap), Constraint::Min(0), Constraint::Length(2)];
    let [chart, _, table, words] = Layout::vertical(heights).areas(inside);
    super::curve::chart(app).render(chart, buffer);
    self::table(buffer, table, &rows, app);
    let sentence = app.selected_row().and_then(|row| app.listing.rows.get(row)).map_or(String::new(), sentence);
    let lines = super::information::wrapped(&app.theme.text(&sentence), usize::from(words.width));
    for (line, y) in lines.iter().zip(words.top()..words.bottom()) {
        buffer.set_stringn(words.x, y, line, usize::from(words.width), app.theme.style(Role::Dim));
    }
}

/// The ops of the selected layer; where none is selected, those that belong to no layer.
fn shown_rows(app: &App) -> Vec<usize> {
    let ops = &app.listing.rows;
    let layer = app.selected_row().and_then(|row| ops.get(row)).and_then(|op| op.layer);
    (0..ops.len()).filter(|row| ops[*row].layer == layer).collect()
}

/// The columns that fit, from the right: status, ratio, floor, local, what came in, error.
struct Columns {
    name: usize,
    came_in: bool,
    words: bool,
}

impl Columns {
    fn of(width: usize) -> Self {
        let came_in = width >= 58;
        let words = width >= 72;
        let numbers = NUMBER * (3 + usize::from(came_in)) + RATIO + if words { WORD } else { SIGN };
        Self { name: width.saturating_sub(numbers), came_in, words }
    }

    fn line(&self, [error, came_in, local, floor, ratio]: [&str; 5]) -> String {
        let came_in = if self.came_in { format!("{came_in:>NUMBER$}") } else { String::new() };
        format!("{error:>NUMBER$}{came_in}{local:>NUMBER$}{floor:>NUMBER$}{ratio:>RATIO$} ")
    }
}

fn table(buffer: &mut Buffer, area: Rect, rows: &[usize], app: &App) {
    if area.is_empty() {
        return;
    }
    let columns = Columns::of(usize::from(area.width));
    let theme = app.theme;
    let width = usize::from(area.width);
    let heading = columns.line(["error", "input", "local", "floor", theme.glyph("×floor", "xfloor")]);
    let heading = format!("{:1$}{heading}", "", columns.name);
    buffer.set_stringn(area.x, area.y, heading, width, theme.style(Role::Label));
    let height = usize::from(area.height) - 1;
    let selected = rows.iter().position(|row| Some(*row) == app.selected_row()).unwrap_or(0);
    let first = (selected + height / 3 + 1).saturating_sub(height).min(rows.len().saturating_sub(height));
    for (index, row) in rows.iter().enumerate().skip(first).take(height) {
        let op = &app.listing.rows[*row];
        let number = |number: Option<f64>| number.map_or(String::new(), text::shorter);
        let local = op.local.as_ref();
        let numbers = [
            number(op.error),
            number(local.and_then(|local| local.propagated)),
            number(local.map(|local| local.error)),
            number(local.map(|local| local.floor)),
            local.map_or(String::new(), |local| text::ratio(local.ratio())),
        ];
        let (sign, style) = theme.status(op.status);
        let status = if columns.words { word(op.status) } else { sign };
        let y = area.y + 1 + (index - first) as u16;
        let base = if app.listing.at == Some(*row) { theme.style(Role::Current) } else { Style::new() };
        let name = text::pad(&theme.text(&op.label), columns.name, theme.ellipsis());
        let line = format!("{name}{}", columns.line(numbers.each_ref().map(String::as_str)));
        let (end, _) = buffer.set_stringn(area.x, y, line, width, base);
        buffer.set_stringn(end, y, status, usize::from(area.right().saturating_sub(end)), style);
        if Some(*row) == app.selected_row() {
            let selected = theme.style(Role::Selected(app.focus == Pane::Divergence));
            buffer.set_style(Rect { y, height: 1, ..area }, selected);
        }
    }
}

/// The word for a status.
fn word(status: Status) -> &'static str {
    match status {
        Status::Ahead => "",
        Status::NotCompared => "not dumped",
        Status::Agrees => "agrees",
        Status::Equivalent => "other layout",
        Status::Diverges => "DIVERGES",
        Status::Follows => "follows",
    }
}

/// What the numbers of an op say.
fn sentence(op: &ListingRow) -> String {
    let name = outline::called(op);
    let Some(local) = &op.local else {
        return match op.status {
            Status::Ahead => format!("{name} is not computed yet"),
            _ => format!("{name}: nothing was measured on its own inputs"),
        };
    };
    let made = text::short(local.error);
    let times = text::ratio(local.ratio());
    match op.status {
        Status::Equivalent => format!("{name} has another layout; what follows takes it so, and agrees"),
        Status::Follows => format!("{name}: the error came in; {made} is made here, {times} times the noise"),
        _ => format!("{name}: {made} is made here, {times} times the noise of correct programs"),
    }
}
