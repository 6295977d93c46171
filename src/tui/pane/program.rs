//! The program: one line per op, layers folded; breakpoints, where the debugger stands, what is known of each op.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;

use super::PaneSpec;
use crate::debugger::command::Pane;
use crate::debugger::view::Status;
use crate::tui::app::App;
use crate::tui::desk::Place;
use crate::tui::outline::{self, Line};
use crate::tui::text;
use crate::tui::theme::Role;

/// Columns of a status, of an error, and of its ratio to the floor, each with the space before it.
const STATUS: usize = 3;
const ERROR: usize = 7;
const RATIO: usize = 7;
/// Columns that a pane has before it shows ratios.
const WIDE: usize = 34;

/// Columns of the bar, with the space before it, and those that a pane has before it shows one.
const BAR: usize = 6;
const WIDER: usize = 46;

/// What one line says.
struct Entry {
    breakpoint: bool,
    patched: bool,
    current: bool,
    indent: usize,
    name: String,
    status: Status,
    error: Option<f64>,
    ratio: Option<f64>,
}

/// Its row.
pub(super) const SPEC: PaneSpec =
    PaneSpec { draw, scroll, sideways: false, click, enter, place: Place::Fixed, resize: (2, 0), ..PaneSpec::PLAIN };

/// Moves the selection, and opens or closes its layer.
pub(super) fn scroll(app: &mut App, rows: isize, columns: isize) {
    if rows != 0 {
        app.outline.move_by(rows, &app.listing);
    }
    let layer = match app.outline.selected {
        Line::Layer(layer) => Some(layer),
        Line::Op(row) => outline::layer_of(&app.listing, row),
    };
    match layer {
        Some(layer) if columns > 0 => app.outline.open(layer),
        Some(layer) if columns < 0 => app.outline.close(layer),
        _ => {}
    }
}

/// Selects a line; a layer that is selected is opened or closed.
fn click(app: &App, inside: Rect, (_, row): (u16, u16)) -> Vec<String> {
    let below = row.checked_sub(inside.y).filter(|below| *below < inside.height);
    let lines = app.outline.lines(&app.listing);
    match below.and_then(|below| lines.get(app.outline.offset + usize::from(below))) {
        Some(line) if *line != app.outline.selected => vec![app.selecting(*line)],
        Some(Line::Layer(_)) => vec!["enter".to_string()],
        _ => Vec::new(),
    }
}

/// Goes to the selected op, or opens the selected layer.
pub(super) fn enter(app: &mut App) -> Option<String> {
    match app.outline.selected {
        Line::Op(row) => app.going_to(row),
        Line::Layer(layer) => {
            app.outline.toggle(layer, &app.listing);
            None
        }
    }
}

/// Draws it.
fn draw(buffer: &mut Buffer, area: Rect, app: &App) {
    let lines = app.outline.lines(&app.listing);
    let legend = match usize::from(area.width) {
        _ if !app.listing.compared => "",
        width if width < WIDE + 2 => " error",
        _ => app.theme().glyph(" error ×floor", " error xfloor"),
    };
    let inside = super::frame(buffer, area, app, Pane::Program, "program", legend);
    let shown = lines.iter().skip(app.outline.offset);
    for (line, y) in shown.zip(inside.top()..inside.bottom()) {
        let row = Rect { y, height: 1, ..inside };
        entry(*line, app).draw(buffer, row, app);
        if *line == app.outline.selected {
            buffer.set_style(row, app.theme().style(Role::Selected(app.desk.focus == Pane::Program)));
        }
    }
    super::shown(buffer, area, app, (app.outline.offset, usize::from(inside.height)), lines.len());
}

fn entry(line: Line, app: &App) -> Entry {
    let listing = &app.listing;
    match line {
        Line::Op(row) => {
            let op = &listing.rows[row];
            // The block's output is called after its layer, as the head of the layer is.
            let output = op.layer.is_some() && outline::called(op) == op.label;
            Entry {
                breakpoint: op.breakpoint,
                patched: op.patched,
                current: listing.at == Some(row),
                indent: if op.layer.is_some() { 4 } else { 2 },
                name: if output { format!("{} output", op.label) } else { op.label.clone() },
                status: op.status,
                error: op.error,
                ratio: op.local.map(|local| local.ratio()),
            }
        }
        Line::Layer(layer) => {
            let rows = outline::rows_of(layer, listing);
            let ops = &listing.rows[rows.clone()];
            let open = app.outline.is_open(layer, listing);
            let (status, error, ratio) = outline::worst(ops);
            let mark = if open { app.theme().glyph("▾", "-") } else { app.theme().glyph("▸", "+") };
            Entry {
                patched: !open && ops.iter().any(|op| op.patched),
                breakpoint: !open && ops.iter().any(|op| op.breakpoint),
                current: !open && listing.at.is_some_and(|at| rows.contains(&at)),
                indent: 2,
                name: format!("{mark} layer {layer}"),
                status: if open { Status::Ahead } else { status },
                error: error.filter(|_| !open),
                ratio: ratio.filter(|_| !open),
            }
        }
    }
}

impl Entry {
    fn draw(&self, buffer: &mut Buffer, row: Rect, app: &App) {
        let theme = app.theme();
        let width = usize::from(row.width);
        let base = if self.current { theme.style(Role::Current) } else { Style::new() };
        if self.breakpoint {
            buffer.set_stringn(row.x, row.y, theme.glyph("●", "*"), width, theme.style(Role::Breakpoint));
        }
        if self.current && width > 1 {
            buffer.set_stringn(row.x + 1, row.y, ">", width - 1, base);
        }
        let numbers = match width {
            _ if !app.listing.compared => 0,
            WIDE.. => ERROR + RATIO,
            _ => ERROR,
        };
        let bar = if numbers > 0 && width >= WIDER { BAR } else { 0 };
        let tail = STATUS + numbers + bar;
        let columns = width.saturating_sub(self.indent + tail);
        let patched = if self.patched { theme.glyph(" ≠", " ~") } else { "" };
        let room = columns.saturating_sub(text::width(patched));
        let name = format!("{}{patched}", text::middle(&theme.text(&self.name), room, theme.ellipsis()));
        if width > self.indent {
            buffer.set_stringn(row.x + self.indent as u16, row.y, name, columns, base);
        }
        if width <= self.indent + tail {
            return;
        }
        let (word, style) = theme.status(self.status);
        let status = row.x + (width - tail + 1) as u16;
        buffer.set_stringn(status, row.y, word, STATUS - 1, style);
        // A ratio says whether the error was made here: it stands out where it was, and only there.
        let made_here = self.status == Status::Diverges;
        let ratio_style = if made_here { theme.style(Role::Current) } else { theme.style(Role::Dim) };
        let error_style = if made_here { base } else { style };
        let shown = [
            (self.error.map(text::shorter), ERROR, error_style),
            (self.ratio.map(text::ratio), ERROR + RATIO, ratio_style),
        ];
        if let Some(ratio) = self.ratio.filter(|_| bar > 0) {
            let right = row.right() - (numbers + bar) as u16;
            buffer.set_stringn(right, row.y, self::bar(ratio, theme), bar, ratio_style);
        }
        for (number, end, style) in shown {
            if let Some(number) = number.filter(|_| end <= numbers) {
                let right = row.right() - (numbers - end) as u16;
                buffer.set_stringn(right - number.len().min(ERROR) as u16, row.y, number, ERROR, style);
            }
        }
    }
}

/// How far an error stands above its floor, in powers of ten: a cell for each, from a tenth of the floor on.
fn bar(ratio: f64, theme: crate::tui::theme::Theme) -> String {
    let cells = BAR - 1;
    let filled = if ratio.is_nan() { cells as f64 } else { (ratio.log10() + 1.0).clamp(0.0, cells as f64) };
    let eighths = (filled * 8.0).round() as usize;
    let (whole, part) = (eighths / 8, eighths % 8);
    let parts = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];
    let (full, last) = if theme.ascii { ("#", if part >= 4 { "=" } else { "" }) } else { ("█", parts[part]) };
    let bar = format!("{}{last}", full.repeat(whole));
    format!(" {bar:<cells$}")
}
