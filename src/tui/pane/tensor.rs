//! The tensor: whose it is, its statistics, how the witnesses differ, its numbers, its heatmap.

mod view;

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use ratatui::widgets::Widget;

use super::{PaneSpec, tokens, welcome};
use crate::debugger::command::Pane;
use crate::debugger::in_layers;
use crate::debugger::view::{ComparisonLine, Page, Shown, TensorPage, Witness};
use crate::tui::app::App;
use crate::tui::slot::Feed;
use crate::tui::text;
use crate::tui::theme::{Ink, Role};
use crate::tui::widget::grid::Grid;
use crate::tui::widget::heatmap::Heatmap;

use view::{Parts, choices};
pub(crate) use view::{TensorView, slice};
pub(super) use view::{show_whose, whose};

/// Columns of a pane below which it says less, and closer together.
const NARROW: usize = 54;

/// Its row.
pub(super) const SPEC: PaneSpec = PaneSpec {
    draw,
    pages: &[Feed { wanted: view::wanted, slot: |panes| &mut panes.tensor.slot }],
    came: view::came,
    scroll: view::scroll,
    rows: |app, inside| view::parts(inside, app.header.witnesses.len()).grid.height.saturating_sub(1),
    head: view::turn_plane,
    heads: |app| app.panes.tensor.shown().map(|page| page.planes).filter(|planes| *planes > 1),
    keeps: true,
    ..PaneSpec::PLAIN
};

/// Draws it.
fn draw(buffer: &mut Buffer, area: Rect, app: &App) {
    let who = who(app, usize::from(area.width));
    let room = usize::from(area.width).saturating_sub(who.width() + 7);
    let selected = app.selected_op();
    let name = match app.panes.tensor.shown() {
        Some(page) => name(page, room),
        None => selected.map_or("", |op| if text::width(&op.name) > room { &op.short } else { &op.name }).to_string(),
    };
    let name = text::fit(&app.theme().text(&name), room, app.theme().ellipsis());
    let inside = super::frame(buffer, area, app, Pane::Tensor, &name, who);
    if welcome::is_due(app) {
        return welcome::draw(buffer, inside, app);
    }
    if let Some(Page::Tensor(page)) = super::page(buffer, inside, &app.panes.tensor.slot, app) {
        self::page(buffer, &view::parts(inside, app.header.witnesses.len()), page, app);
    }
}

fn page(buffer: &mut Buffer, parts: &Parts, page: &TensorPage, app: &App) {
    let theme = app.theme();
    let dim = theme.style(Role::Dim);
    lines(buffer, parts.meaning, app, [Line::styled(theme.text(page.meaning), dim)]);
    let width = usize::from(parts.statistics.width);
    lines(buffer, parts.statistics, app, statistics(page, width, app));
    let notes = page.notes.iter().map(|note| Line::styled(theme.text(note), dim));
    let comparisons = page.comparisons.iter().map(|line| comparison(line, width, app));
    lines(buffer, parts.comparisons, app, comparisons.chain(notes));
    lines(buffer, parts.place, app, [place(page, width, app)]);

    // Few rows leave their space to the heatmap.
    let rows = app.panes.tensor.row.min(page.row_axis.1);
    let row_headers: Vec<String> = (0..page.numbers.len()).map(|row| row_header(page, rows + row, app)).collect();
    let start = app.panes.tensor.column.min(page.column_axis.1);
    let columns = page.numbers.first().map_or(0, Vec::len);
    let column_headers: Vec<String> = (start..start + columns).map(|column| column_header(page, column, app)).collect();
    let height = parts.grid.height.min(page.numbers.len() as u16 + 1);
    let saved = parts.grid.height - height;
    let grid = Grid {
        corner: page.row_axis.0.to_string(),
        rows: &row_headers,
        columns: &column_headers,
        numbers: &page.numbers,
        gutter: parts.gutter,
        number: parts.number,
        theme,
    };
    grid.render(Rect { height, ..parts.grid }, buffer);
    let caption = Rect { y: parts.caption.y - saved, ..parts.caption };
    lines(buffer, caption, app, [heat_caption(page, width, app)]);
    let heatmap = parts.heatmap;
    heat(buffer, Rect { y: heatmap.y - saved, height: heatmap.height + saved, ..heatmap }, parts.gutter, page, app);
}

fn heat(buffer: &mut Buffer, area: Rect, gutter: u16, page: &TensorPage, app: &App) {
    let limit = page.range.0.abs().max(page.range.1.abs());
    let map = Heatmap { values: &page.heatmap, limit, theme: app.theme() };
    let area = area.intersection(buffer.area);
    let picture = Rect { x: area.x + gutter.min(area.width), width: area.width.saturating_sub(gutter), ..area };
    let tall = map.scale(picture).0;
    let per_cell = map.per_cell();
    let label = app.theme().style(Role::Label);
    // A row that begins with a cell has its label there; where a cell holds several rows, every fourth cell.
    for y in 0..picture.height {
        let pixel = usize::from(y) * per_cell;
        let row = pixel / tall;
        let labelled = pixel.is_multiple_of(tall) && (tall >= per_cell || y.is_multiple_of(4));
        if labelled && row < page.heatmap.len() {
            let header = row_header(page, page.heat_from.0 + row * page.pooled.0.max(1), app);
            let header = text::fit(&header, usize::from(gutter.saturating_sub(1)), app.theme().ellipsis());
            buffer.set_stringn(area.x, area.y + y, header, usize::from(gutter), label);
        }
    }
    map.render(picture, buffer);
}

/// Name and axes; a shorter name, then no axes, where space is short.
fn name(page: &TensorPage, room: usize) -> String {
    let axes: Vec<String> = page.axes.iter().map(|(name, length)| format!("{length} {name}")).collect();
    let axes = axes.join(", ");
    let short = in_layers(&page.name).unwrap_or(&page.name);
    let last = short.rsplit('.').next().unwrap_or(short);
    let layer = short.split('.').next().unwrap_or(short);
    let candidates = [format!("{}  [{axes}]", page.name), format!("{short}  [{axes}]"), short.to_string()];
    let fitting = candidates.into_iter().find(|text| text::width(text) <= room);
    fitting.unwrap_or_else(|| if layer == last { last.to_string() } else { format!("{layer}.{last}") })
}

/// The choices of `t`, the one shown standing out; it alone where space is short.
fn who(app: &App, width: usize) -> Line<'static> {
    let shown = view::whose_here(app);
    let choices = if width >= 110 { choices(&app.header) } else { vec![shown] };
    let alone = choices.len() == 1;
    let mut spans = vec![Span::raw(" ")];
    for (index, choice) in choices.into_iter().enumerate() {
        if index > 0 {
            spans.push(Span::raw(" | "));
        }
        let text = named(app, choice, width < 60);
        let style = app.theme().style(if choice == shown { Role::Key } else { Role::Dim });
        spans.push(Span::styled(if choice == shown && !alone { format!("[{text}]") } else { text }, style));
    }
    spans.push(Span::raw(" "));
    Line::from(spans)
}

/// The words for what is shown.
fn named(app: &App, shown: Shown, short: bool) -> String {
    let (gap, minus) = (if short { "" } else { " " }, app.theme().glyph("−", "-"));
    let of = |witness| if short { abbreviated(app, witness) } else { called(app, witness) };
    match shown {
        Shown::Values(witness) => called(app, witness).to_string(),
        Shown::Difference(a, b) => format!("{}{gap}{minus}{gap}{}", of(a), of(b)),
        Shown::Ratio(a, b) => format!("{}{gap}/{gap}{}", of(a), of(b)),
    }
}

/// The word for a witness; our engine is not itself while it makes a mistake.
fn called(app: &App, witness: Witness) -> &'static str {
    match witness {
        Witness::Engine if app.header.suspect.is_some() => "engine with bug",
        other => other.name(),
    }
}

fn abbreviated(app: &App, witness: Witness) -> &'static str {
    match witness {
        Witness::Engine if app.header.suspect.is_some() => "bug",
        Witness::Engine => "eng",
        Witness::Reference => "ref",
        Witness::Candidate => "cand",
    }
}

/// Over two lines, as much of it on the first as fits whole.
fn statistics(page: &TensorPage, width: usize, app: &App) -> [Line<'static>; 2] {
    let (s, narrow) = (&page.summary, width < NARROW);
    let (digits, gap) = if narrow { (6, " ") } else { (8, "  ") };
    let value = |value: f64| text::number(value, digits);
    let figures = [("rms", s.rms), ("mean", s.mean), ("min", s.min), ("max", s.max)];
    let mut parts = figures.map(|(name, figure)| format!("{name} {}", value(figure))).to_vec();
    if let Some((largest, index)) = &s.absmax {
        let index: Vec<String> = index.iter().map(ToString::to_string).collect();
        // It is the largest, or the smallest: its place says which.
        let largest = if narrow { String::new() } else { format!("{} ", value(*largest)) };
        parts.push(format!("absmax {largest}at [{}]", index.join(", ")));
    }
    let mut first = String::new();
    while parts.len() > 1 && text::width(&first) + text::width(&parts[0]) <= width && !parts[0].starts_with("absmax") {
        first.push_str(&parts.remove(0));
        first.push_str(gap);
    }
    let rest = Span::raw(parts.join(gap));
    let mut odd = odd((s.nan, s.positive_infinite, s.negative_infinite), gap, app);
    let columns = |spans: &[Span]| spans.iter().map(Span::width).sum::<usize>();
    if rest.width() + columns(&odd) > width && s.nan == 0 {
        // That there is none is what matters least.
        odd.drain(..2);
    }
    odd.insert(0, rest);
    [Line::raw(first.trim_end().to_string()), Line::from(odd)]
}

/// How many numbers are none, each behind a gap: NaN always, infinities where there are any.
pub(super) fn odd((nan, high, low): (usize, usize, usize), gap: &'static str, app: &App) -> Vec<Span<'static>> {
    let counts = [("nan", nan, Role::Alert), ("inf", high, Role::Alert), ("-inf", low, Role::Dim)];
    let said = counts.into_iter().filter(|(what, count, _)| *count > 0 || *what == "nan");
    let styled = |(what, count, role)| {
        let style = if count > 0 { app.theme().style(role) } else { Style::new() };
        [Span::raw(gap), Span::styled(format!("{what} {count}"), style)]
    };
    said.flat_map(styled).collect()
}

fn comparison(line: &ComparisonLine, width: usize, app: &App) -> Line<'static> {
    let who = if width < 90 {
        format!("{}/{} ", abbreviated(app, line.of), abbreviated(app, line.against))
    } else {
        format!("{} against {}: ", called(app, line.of), called(app, line.against))
    };
    let odd = match line.nonfinite {
        0 => Span::raw(""),
        odd => Span::styled(format!("{} not finite  ", text::count(odd)), app.theme().style(Role::Alert)),
    };
    let error = Span::styled(format!("error {}", text::short(line.error)), app.theme().style(Role::Current));
    let gap = if width < NARROW { " " } else { "  " };
    let mut spans = vec![Span::raw(who), odd, error];
    // What has no room is left out whole.
    for more in [
        format!("{gap}cos {}", text::cosine(line.cosine)),
        format!("{gap}max {}", text::short(line.max_abs)),
        Some(&line.worst)
            .filter(|worst| !worst.is_empty())
            .map_or(String::new(), |worst| format!(" at {}", app.theme().text(worst))),
    ] {
        if Line::from(spans.clone()).width() + text::width(&more) > width {
            break;
        }
        spans.push(Span::raw(more));
    }
    Line::from(spans)
}

/// Which part of the tensor the numbers are.
fn place(page: &TensorPage, width: usize, app: &App) -> Line<'static> {
    let whole = placed(page, width < NARROW, |name| name, app);
    // The last part of a name says enough: head_dim is dim.
    let last = |name: &'static str| name.rsplit(['_', '*']).next().unwrap_or(name);
    if whole.width() <= width { whole } else { placed(page, width < NARROW, last, app) }
}

/// The same, with what axes are called.
fn placed(page: &TensorPage, narrow: bool, called: fn(&'static str) -> &'static str, app: &App) -> Line<'static> {
    let (of, gap) = if narrow { ("/", " ") } else { (" of ", "  ") };
    let range = |start: usize, shown: usize, (name, length): (&'static str, usize)| {
        let name = called(name);
        match (start + shown).saturating_sub(1) {
            _ if shown >= length => format!("{name} all {length}"),
            last => format!("{name} {start}-{last}{of}{length}"),
        }
    };
    let mut parts = Vec::new();
    if page.planes > 1 {
        let axis = page.axes.first().map_or("plane", |(name, _)| *name);
        let plane = format!("{axis} {}{of}{}", app.panes.tensor.plane.min(page.planes - 1), page.planes);
        parts.push(Span::styled(plane, app.theme().style(Role::Current)));
        parts.push(Span::styled(format!(" [ ]{gap}"), app.theme().style(Role::Dim)));
    }
    let columns = page.numbers.first().map_or(0, Vec::len);
    let rows = range(app.panes.tensor.row, page.numbers.len(), page.row_axis);
    let columns = range(app.panes.tensor.column, columns, page.column_axis);
    parts.push(Span::styled(format!("{rows}{gap}{columns}"), app.theme().style(Role::Dim)));
    Line::from(parts)
}

/// What the colours mean: their range, what part of the values is beyond it, and how many elements a cell stands for.
fn heat_caption(page: &TensorPage, width: usize, app: &App) -> Line<'static> {
    let narrow = width < NARROW;
    let limit = f64::from(page.range.0.abs().max(page.range.1.abs()));
    let (gap, of) = if narrow { (" ", "max ") } else { ("  ", "max of ") };
    let mut spans = vec![Span::raw("heat")];
    spans.extend(scale(page.range, true, if narrow { 6 } else { 8 }, app));
    let beyond = page.summary.max > limit || page.summary.min < -limit;
    let (rows, columns) = page.pooled;
    let notes = [
        (beyond, if narrow { "98%".to_string() } else { "98 % within".to_string() }),
        (rows * columns > 1, format!("{of}{rows}x{columns}")),
        (
            app.panes.tensor.magnify > 1,
            format!("{}x from {}, {}", app.panes.tensor.magnify, page.heat_from.0, page.heat_from.1),
        ),
    ];
    for (_, note) in notes.into_iter().filter(|(wanted, _)| *wanted) {
        if Line::from(spans.clone()).width() + text::width(gap) + text::width(&note) <= width {
            spans.push(Span::styled(format!("{gap}{note}"), app.theme().style(Role::Dim)));
        }
    }
    Line::from(spans)
}

/// The shades of a heatmap between the numbers at their ends; of values that may lie below zero, or not.
pub(super) fn scale(range: (f32, f32), signed: bool, columns: usize, app: &App) -> Vec<Span<'static>> {
    let theme = app.theme();
    let limit = f64::from(range.0.abs().max(range.1.abs()));
    let number = |value: f64| text::number(value, columns);
    if theme.ink() == Ink::Shades {
        let by_size = if signed { " by size" } else { "" };
        return vec![Span::raw(format!(" 0 {} {}{by_size}", theme.ramp().concat(), number(limit)))];
    }
    let shades = if signed { -4i8..=4 } else { 0..=8 };
    let most = f32::from(*shades.end());
    let mut spans = vec![Span::raw(format!(" {} ", if signed { number(-limit) } else { "0".to_string() }))];
    spans.extend(shades.map(|step| Span::styled(" ", Style::new().bg(theme.heat(f32::from(step) / most)))));
    spans.push(Span::raw(format!(" {}", number(limit))));
    spans
}

/// ` 1 " capital"` where rows are tokens, else the index.
fn row_header(page: &TensorPage, row: usize, app: &App) -> String {
    if matches!(page.row_axis.0, "token" | "query" | "key") {
        let position = page.first_position + row;
        format!("{position:>3} {}", tokens::quoted(app, position))
    } else {
        format!("{row:>3}")
    }
}

/// The index, with the token's text where columns are keys, or the vocabulary.
fn column_header(page: &TensorPage, column: usize, app: &App) -> String {
    let of_key = app.header.tokens.get(column).filter(|_| page.column_axis.0 == "key");
    let known = || page.vocabulary.iter().find(|token| token.id as usize == column && !token.text.is_empty());
    match of_key.or_else(known) {
        Some(token) => format!("{column} {}", app.theme().text(&token.text).trim_start()),
        None => column.to_string(),
    }
}

fn lines(buffer: &mut Buffer, area: Rect, app: &App, lines: impl IntoIterator<Item = Line<'static>>) {
    let area = area.intersection(buffer.area);
    for (line, y) in lines.into_iter().zip(area.top()..area.bottom()) {
        buffer.set_line(area.x, y, &line, area.width);
        if line.width() > usize::from(area.width) && area.width > 0 {
            buffer.set_string(area.right() - 1, y, app.theme().ellipsis(), app.theme().style(Role::Dim));
        }
    }
}

/// The word for what is shown.
pub(super) fn shown_name(app: &App) -> String {
    named(app, whose(app), false)
}

/// A sentence over as many lines as it takes.
pub(super) fn paragraph(buffer: &mut Buffer, area: Rect, text: &str, app: &App) {
    use ratatui::widgets::{Paragraph, Wrap};
    let inner = Rect { x: area.x + 1.min(area.width), width: area.width.saturating_sub(2), ..area };
    let (text, style) = (app.theme().text(text), app.theme().style(Role::Dim));
    Paragraph::new(text).style(style).wrap(Wrap { trim: true }).render(inner.intersection(buffer.area), buffer);
}
