//! The errors: over the layers as a chart, and of each op of the selected layer as a table. What came in, what was made
//! here, and what noise explains.

use ratatui::buffer::Buffer;
use ratatui::layout::{Constraint, Layout, Position, Rect};
use ratatui::style::Style;
use ratatui::text::Line;
use ratatui::widgets::Widget;

use super::PaneSpec;
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

/// Columns of a name beside which the numbers of its op are drawn as well; narrower panes have only the numbers.
const NAMED: usize = 24;
const DRAWN: usize = 12;

/// What the chart shows, in words.
const NAME: &str = "log10 by layer";

/// Their row.
pub(super) const SPEC: PaneSpec = PaneSpec {
    draw,
    scroll: super::program::scroll,
    sideways: false,
    click: |app, inside, (column, row)| super::curve::leading(app, hit(inside, column, row, app)),
    enter: super::program::enter,
    missing: |app| (!app.listing.compared).then_some("there are no errors: nothing to compare with was given"),
    ..PaneSpec::PLAIN
};

/// Draws them.
fn draw(buffer: &mut Buffer, area: Rect, app: &App) {
    let legend = super::curve::legend(app);
    let room = usize::from(area.width).saturating_sub(text::width(legend) + 2);
    let name = if text::width(NAME) + 4 > room { "log10" } else { NAME };
    let inside = super::frame(buffer, area, app, Pane::Divergence, name, legend);
    let rows = shown_rows(app);
    let [chart, table, words] = parts(inside, rows.len());
    super::curve::chart(app).render(chart, buffer);
    self::table(buffer, table, &rows, app);
    let sentence = app.selected_op().map_or(String::new(), sentence);
    let lines = text::wrapped(&app.theme().text(&sentence), usize::from(words.width));
    super::put(buffer, words, lines.into_iter().map(|line| Line::styled(line, app.theme().style(Role::Dim))));
}

/// Chart, table and words.
fn parts(inside: Rect, rows: usize) -> [Rect; 3] {
    let table = rows as u16 + 1;
    let gap = u16::from(inside.height >= 22);
    // The table is read, the chart only looked at.
    let chart = inside.height.saturating_sub(table + gap + 2).clamp((inside.height / 3).min(16), 16);
    let chart = if inside.height < 12 { 0 } else { chart };
    let heights = [Constraint::Length(chart), Constraint::Length(gap), Constraint::Min(0), Constraint::Length(2)];
    let [chart, _, table, words] = Layout::vertical(heights).areas(inside);
    [chart, table, words]
}

/// What stands at a place of the pane's inside: a layer of the chart, or an op of the table.
fn hit(inside: Rect, column: u16, row: u16, app: &App) -> Option<outline::Line> {
    let rows = shown_rows(app);
    let [chart, table, _] = parts(inside, rows.len());
    if chart.contains(Position::new(column, row)) {
        let layer = crate::tui::widget::curve::layer_at(chart, column, app.curve.layers.len());
        return layer.map(outline::Line::Layer);
    }
    let below = row.checked_sub(table.y + 1).filter(|_| row < table.bottom())?;
    let op = first_shown(&rows, table.height, app) + usize::from(below);
    rows.get(op).map(|row| outline::Line::Op(*row))
}

/// Index of the first op that a table of so many lines shows.
fn first_shown(rows: &[usize], height: u16, app: &App) -> usize {
    let height = usize::from(height).saturating_sub(1);
    let selected = rows.iter().position(|row| Some(*row) == app.selected_row()).unwrap_or(0);
    (selected + height / 3 + 1).saturating_sub(height).min(rows.len().saturating_sub(height))
}

/// The ops of the selected layer; where none is selected, those that belong to no layer.
fn shown_rows(app: &App) -> Vec<usize> {
    let ops = &app.listing.rows;
    let layer = app.selected_op().and_then(|op| op.layer);
    (0..ops.len()).filter(|row| ops[*row].layer == layer).collect()
}

/// The columns that fit, from the right: status, ratio, floor (which local and ratio tell, too), local, what came in, error.
struct Columns {
    name: usize,
    floor: bool,
    came_in: bool,
    words: bool,
}

impl Columns {
    fn of(width: usize) -> Self {
        let (floor, came_in, words) = (width >= 50, width >= 58, width >= 72);
        let numbers =
            NUMBER * (2 + usize::from(floor) + usize::from(came_in)) + RATIO + if words { WORD } else { SIGN };
        Self { name: width.saturating_sub(numbers), floor, came_in, words }
    }

    fn line(&self, [error, came_in, local, floor, ratio]: [&str; 5]) -> String {
        let column = |shown: bool, number: &str| if shown { format!("{number:>NUMBER$}") } else { String::new() };
        let (came_in, floor) = (column(self.came_in, came_in), column(self.floor, floor));
        format!("{error:>NUMBER$}{came_in}{local:>NUMBER$}{floor}{ratio:>RATIO$} ")
    }
}

fn table(buffer: &mut Buffer, area: Rect, rows: &[usize], app: &App) {
    if area.is_empty() {
        return;
    }
    let columns = Columns::of(usize::from(area.width));
    let theme = app.theme();
    let width = usize::from(area.width);
    let heading = columns.line(["error", "input", "local", "floor", theme.glyph("×floor", "xfloor")]);
    let heading = format!("{:1$}{heading}", "", columns.name);
    buffer.set_stringn(area.x, area.y, heading, width, theme.style(Role::Label));
    let height = usize::from(area.height) - 1;
    let first = first_shown(rows, area.height, app);
    let drawn = columns.name.checked_sub(NAMED + 2).filter(|drawn| *drawn >= DRAWN);
    let decades = super::curve::chart(app).decades();
    if let Some(drawn) = drawn {
        let (low, high) = (decades.0 as i32, decades.1 as i32);
        let scale = format!("{:<1$}1e{high}", format!("1e{low}"), drawn.saturating_sub(4));
        buffer.set_stringn(area.x + NAMED as u16 + 1, area.y, scale, drawn, theme.style(Role::Label));
    }
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
        let name = text::middle(&theme.text(&op.label), columns.name.saturating_sub(1), theme.ellipsis());
        let name = text::pad(&name, columns.name, "");
        let line = format!("{name}{}", columns.line(numbers.each_ref().map(String::as_str)));
        let (end, _) = buffer.set_stringn(area.x, y, line, width, base);
        buffer.set_stringn(end, y, status, usize::from(area.right().saturating_sub(end)), style);
        if let Some(drawn) = drawn {
            let bar = Rect { x: area.x + NAMED as u16 + 1, y, width: drawn as u16, height: 1 };
            let look = if op.status == Status::Diverges { theme.style(Role::Follows) } else { style };
            let numbers = [op.error, local.map(|local| local.error), local.map(|local| local.floor)];
            crate::tui::widget::curve::along(buffer, bar, numbers, decades, (theme, look));
        }
        if Some(*row) == app.selected_row() {
            let selected = theme.style(Role::Selected(app.desk.focus == Pane::Divergence));
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
    if op.error.is_some_and(f64::is_nan) {
        return match op.status {
            Status::Follows => format!("{name}: what is not finite came in"),
            _ => format!("{name}: elements are finite on one side only; tensor shows the first"),
        };
    }
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
