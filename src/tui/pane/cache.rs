//! The KV cache: how long the keys or values are that each layer holds for each position, what of it is new, and one
//! head channel by channel.

use ratatui::buffer::Buffer;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use ratatui::widgets::Widget;

use super::PaneSpec;
use super::tokens::quoted;
use crate::debugger::command::{Count, Pane};
use crate::debugger::view::{CacheHead, CachePage, CacheRequest, Half, Page, PageRequest};
use crate::tui::app::App;
use crate::tui::slot::{Feed, Slot};
use crate::tui::text;
use crate::tui::theme::Role;
use crate::tui::widget::heatmap::Heatmap;

/// Columns beside the grid: the layer with its mark; the error of what is new in it; and a token beside the head.
const LAYER: u16 = 6;
const ERROR: u16 = 8;
const TOKEN: u16 = 12;
/// Columns of a position that has its token across.
const ACROSS: usize = 8;
/// Columns of a pane that has both pictures side by side.
const WIDE: u16 = 100;

/// Its row.
pub(super) const SPEC: PaneSpec = PaneSpec {
    draw,
    pages: &[Feed { wanted, slot: |panes| &mut panes.cache.slot }],
    follow: |panes| panes.cache.layer = None,
    scroll: |app, rows, columns| {
        let layers = shown(app).map_or(1, |page| page.layers.len());
        if rows != 0 {
            app.panes.cache.layer = Some(Count::On(rows).of(selected(app), layers));
        }
        app.choose_head(Count::On(columns));
    },
    head: |app, count| {
        let heads = shown(app).map_or(usize::MAX, |page| page.kv_heads);
        app.panes.cache.kv_head = count.of(app.panes.cache.kv_head, heads);
    },
    show: |app, _| {
        let half = &mut app.panes.cache.half;
        *half = if *half == Half::Keys { Half::Values } else { Half::Keys };
    },
    ..PaneSpec::PLAIN
};

/// What of the cache is shown.
#[derive(Debug, Default)]
pub(crate) struct State {
    slot: Slot,
    /// Keys or values.
    half: Half,
    /// The layer that the user has moved to; `None`: that of the selected op.
    layer: Option<usize>,
    /// The key and value head.
    kv_head: usize,
}

fn shown(app: &App) -> Option<&CachePage> {
    if let Page::Cache(page) = app.panes.cache.slot.shown()? { Some(page) } else { None }
}

fn wanted(app: &App) -> Option<PageRequest> {
    let parts = parts(app.inside(Pane::Cache)?, app);
    Some(PageRequest::Cache(CacheRequest {
        half: app.panes.cache.half,
        cells: app.cells(parts.grid),
        head: Some((selected(app), app.panes.cache.kv_head)),
        head_cells: app.cells(parts.head),
    }))
}

/// The parts of the pane; any may be empty.
#[derive(Clone, Copy, Debug, Default)]
struct Parts {
    /// What it holds.
    words: Rect,
    /// The positions, and which of them are new.
    above: Rect,
    /// Layers by positions, without its labels.
    grid: Rect,
    /// Which head it is.
    head_words: Rect,
    /// The head, without its labels.
    head: Rect,
}

/// Divides the inside of the pane.
fn parts(inside: Rect, app: &App) -> Parts {
    let layers = shown(app).map_or(1, |page| page.layers.len());
    let words = 2;
    let (left, right) = if inside.width >= WIDE {
        let halves = Layout::horizontal([Constraint::Fill(1), Constraint::Length(2), Constraint::Fill(1)]);
        let [left, _, right] = halves.areas(inside);
        (left, right)
    } else {
        // Layers have a line each where there is room for that, and never more than two.
        let free = inside.height.saturating_sub(words);
        let wanted = (2 * layers.min(100) as u16 + above(inside, app)).clamp(free.min(4), (free / 2).max(free.min(4)));
        let two = [Constraint::Length(words + wanted), Constraint::Fill(1)];
        let [above, below] = Layout::vertical(two).areas(inside);
        (above, below)
    };
    let rows = [Constraint::Length(words), Constraint::Length(above(inside, app)), Constraint::Min(0)];
    let [words, labels, grid] = Layout::vertical(rows).areas(left);
    let errors = if app.header.witnesses.len() > 1 { ERROR } else { 0 };
    let grid = beside(grid, LAYER, errors);
    let [head_words, _, head] =
        Layout::vertical([Constraint::Length(2), Constraint::Length(1), Constraint::Min(0)]).areas(right);
    Parts { words, above: labels, grid, head_words, head: beside(head, TOKEN.min(right.width / 3), 0) }
}

/// Lines above the grid: positions in numbers, or their tokens across where columns are wide, else downwards; and which
/// of them are new.
fn above(inside: Rect, app: &App) -> u16 {
    let positions = shown(app).map_or(0, |page| page.positions);
    if inside.height >= 24 && positions * ACROSS > usize::from(inside.width) { 5 } else { 2 }
}

fn beside(area: Rect, left: u16, right: u16) -> Rect {
    Rect { x: area.x + left.min(area.width), width: area.width.saturating_sub(left + right), ..area }
}

/// The selected layer: the one that the user has moved to, else that of the selected op.
fn selected(app: &App) -> usize {
    app.panes.cache.layer.unwrap_or_else(|| app.layer())
}

/// Draws it.
fn draw(buffer: &mut Buffer, area: Rect, app: &App) {
    let filled = shown(app).map_or(String::new(), |page| match (page.filled, page.layers.len()) {
        (0, _) => "nothing written yet".to_string(),
        (filled, all) if filled == all => format!("all {all} layers filled"),
        (filled, all) => format!("filled to layer {} of {all}", filled - 1),
    });
    let half = match app.panes.cache.half {
        _ if area.width < 60 => format!(" {} ", page_half(app)),
        Half::Keys => " [keys] | values ".to_string(),
        Half::Values => " keys | [values] ".to_string(),
    };
    let room = usize::from(area.width).saturating_sub(half.len() + 6);
    let long = format!("cache  {filled}");
    let name = if long.len() <= room { long } else { long.replace("  filled", "") };
    let name = text::fit(&name, room, app.theme().ellipsis());
    let half = Line::styled(half, app.theme().style(Role::Key));
    let inside = super::frame(buffer, area, app, Pane::Cache, &name, half);
    if let Some(Page::Cache(page)) = super::page(buffer, inside, &app.panes.cache.slot, app) {
        self::page(buffer, inside, page, app);
    }
}

fn page(buffer: &mut Buffer, inside: Rect, page: &CachePage, app: &App) {
    let parts = parts(inside, app);
    let room = usize::from(parts.words.width);
    let mut lines: Vec<Line> =
        text::flow(words(page, app), room, app.theme().ellipsis()).into_iter().map(Line::raw).collect();
    lines.truncate(usize::from(parts.words.height).saturating_sub(1));
    lines.push(scale("norms", page.range, page.pooled, room, app));
    super::put(buffer, parts.words, lines);
    grid(buffer, &parts, page, app);
    match &page.head {
        Some(head) => self::head(buffer, &parts, head, page, app),
        None => super::put(buffer, parts.head_words, [Line::raw(format!("there is no layer {}", selected(app)))]),
    }
}

/// What the cache holds.
fn words(page: &CachePage, app: &App) -> Vec<String> {
    let last = page.positions.saturating_sub(1);
    let mut words = vec![format!("positions 0-{last}")];
    match page.new.len() {
        0 => {}
        1 => words.push(format!("new {} {}", new(app), page.new.start)),
        _ => words.push(format!("new {} {}-{}", new(app), page.new.start, page.new.end - 1)),
    }
    words.push(bytes(page.bytes));
    if let Some(against) = page.against {
        let worst = page.layers.iter().enumerate().filter_map(|(layer, held)| Some((held.error?, layer)));
        let worst = worst.max_by(|a, b| a.0.total_cmp(&b.0));
        words.push(match worst {
            Some((error, layer)) => {
                format!("error against the {}: at most {}, layer {layer}", against.name(), text::short(error))
            }
            None => format!("nothing new to compare with the {}", against.name()),
        });
    }
    words
}

/// Marks what this forward writes.
fn new(app: &App) -> &'static str {
    app.theme().glyph("▾", "v")
}

/// What the shades mean; and how much a cell stands for, where there is room to say so.
fn scale(what: &'static str, range: (f32, f32), pooled: (usize, usize), room: usize, app: &App) -> Line<'static> {
    let mut line = Line::from(what);
    line.spans.extend(super::tensor::scale(range, range.0 < 0.0, 7, app));
    let note = format!("  max of {}x{}", pooled.0, pooled.1);
    if pooled.0 * pooled.1 > 1 && line.width() + note.len() <= room {
        line.spans.push(Span::styled(note, app.theme().style(Role::Dim)));
    }
    line
}

fn bytes(bytes: usize) -> String {
    let units = [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    match units.into_iter().find(|(unit, _)| bytes >= *unit) {
        Some((unit, name)) => format!("{:.1} {name}", bytes as f64 / unit as f64),
        None => format!("{bytes} bytes"),
    }
}

/// Layers by positions with their labels and errors.
fn grid(buffer: &mut Buffer, parts: &Parts, page: &CachePage, app: &App) {
    let area = parts.grid.intersection(buffer.area);
    if area.is_empty() {
        return;
    }
    let theme = app.theme();
    let label = theme.style(Role::Label);
    let map = Heatmap { values: &page.grid, limit: page.range.0.abs().max(page.range.1.abs()), theme };
    let (tall, wide) = map.scale(area);
    let columns = page.grid.first().map_or(0, Vec::len).min(usize::from(area.width) / wide);
    let end = area.x + (columns * wide) as u16;
    let left = area.x.saturating_sub(LAYER);
    let heading = parts.above.bottom().saturating_sub(2).max(parts.above.y);
    buffer.set_stringn(left, heading, "layer", usize::from(LAYER), label);
    if page.against.is_some_and(|_| end + ERROR <= parts.above.right()) {
        buffer.set_stringn(end + 1, heading, "  error", usize::from(ERROR), label);
    }
    positions(buffer, Rect { x: area.x, width: area.width, ..parts.above }, (columns, wide), page, app);
    for y in 0..area.height {
        let lines = map.begin(y, tall, page.grid.len());
        let layers = lines.start * page.pooled.0..(lines.end * page.pooled.0).min(page.layers.len());
        if layers.is_empty() {
            continue;
        }
        let here = layers.contains(&selected(app));
        let layer = if here { selected(app) } else { layers.start };
        let mark = if here { ">" } else { " " };
        let style = if here { theme.style(Role::Current) } else { label };
        buffer.set_stringn(left, area.y + y, format!("{mark}{layer:>4}"), usize::from(LAYER), style);
        let errors = page.layers[layers].iter().filter_map(|layer| layer.error);
        if let Some(error) = errors.max_by(f64::total_cmp).filter(|_| end + ERROR <= parts.above.right()) {
            let style = if here { theme.style(Role::Current) } else { Style::new() };
            buffer.set_stringn(end + 1, area.y + y, format!("{:>7}", text::short(error)), usize::from(ERROR), style);
        }
    }
    map.render(area, buffer);
}

/// The labels above the columns, and a mark above those that are new.
fn positions(buffer: &mut Buffer, area: Rect, (columns, wide): (usize, usize), page: &CachePage, app: &App) {
    let label = app.theme().style(Role::Label);
    let Some(tall) = area.height.checked_sub(1) else { return };
    let first = |column: usize| column * page.pooled.1.max(1);
    let tokens = page.pooled.1 <= 1 && (tall > 1 || wide >= ACROSS);
    for column in 0..columns {
        let x = area.x + (column * wide) as u16;
        if tokens {
            let room = (wide as u16, tall);
            super::attention::upright(buffer, x, area.y, room, &super::attention::axis(app, column), label, app);
        }
        let span = first(column)..first(column + 1);
        if span.start < page.new.end && page.new.start < span.end {
            buffer.set_stringn(x, area.y + tall, new(app), 1, app.theme().style(Role::Key));
        }
    }
    if !tokens && tall > 0 {
        ticks(buffer, (area.x, area.y + tall - 1), (columns, wide), page.pooled.1, label);
    }
}

/// Numbers above columns, as many as fit, at even distances.
fn ticks(buffer: &mut Buffer, (x, y): (u16, u16), (columns, wide): (usize, usize), pooled: usize, style: Style) {
    let pooled = pooled.max(1);
    let longest = (columns * pooled).to_string().len() + 1;
    let steps = (0..6).flat_map(|power| [1, 2, 5].map(|step| step * 10usize.pow(power)));
    let step = steps.into_iter().find(|step| step * wide >= longest).unwrap_or(columns.max(1));
    for column in (0..columns).step_by(step) {
        let name = (column * pooled).to_string();
        if column * wide + name.len() <= columns * wide {
            buffer.set_stringn(x + (column * wide) as u16, y, &name, name.len(), style);
        }
    }
}

/// One head: positions by channels.
fn head(buffer: &mut Buffer, parts: &Parts, head: &CacheHead, page: &CachePage, app: &App) {
    let CacheHead { layer, kv_head, readers, .. } = head;
    let read = match readers.len() {
        1 => format!("read by head {}", readers.start),
        _ => format!("read by heads {}-{}", readers.start, readers.end.saturating_sub(1)),
    };
    let window = page.layers.get(*layer).and_then(|layer| layer.window).map(|window| format!("window {window}"));
    let name = [format!("layer {layer} kv head {kv_head} of {}", page.kv_heads), read, window.unwrap_or_default()];
    let name = text::flow(name, usize::from(parts.head_words.width), app.theme().ellipsis()).swap_remove(0);
    let name = Line::styled(name, app.theme().style(Role::Current));
    let held = page.layers.get(*layer).map_or(0, |layer| layer.positions);
    let room = usize::from(parts.head_words.width);
    let caption = match held {
        0 => Line::styled("nothing written yet", app.theme().style(Role::Dim)),
        _ => scale(page_half(app), head.range, head.pooled, room, app),
    };
    super::put(buffer, parts.head_words, [name, caption]);
    let area = parts.head.intersection(buffer.area);
    if area.is_empty() || held == 0 {
        return;
    }
    let label = app.theme().style(Role::Label);
    let map = Heatmap { values: &head.grid, limit: head.range.0.abs().max(head.range.1.abs()), theme: app.theme() };
    let (tall, wide) = map.scale(area);
    let gutter = usize::from(area.x - parts.head_words.x);
    let columns = head.grid.first().map_or(0, Vec::len).min(usize::from(area.width) / wide);
    buffer.set_stringn(parts.head_words.x, area.y - 1, "    channel", gutter.saturating_sub(1), label);
    ticks(buffer, (area.x, area.y - 1), (columns, wide), head.pooled.1, label);
    for y in 0..area.height {
        let Some(row) = map.begin(y, tall, head.grid.len()).next() else { continue };
        let position = row * head.pooled.0.max(1);
        let mark = if page.new.contains(&position) { new(app) } else { " " };
        let name = format!("{mark}{position:>3} {}", quoted(app, position));
        let name = text::fit(&name, gutter.saturating_sub(1), app.theme().ellipsis());
        buffer.set_stringn(parts.head_words.x, area.y + y, name, gutter, label);
    }
    map.render(area, buffer);
}

fn page_half(app: &App) -> &'static str {
    if app.panes.cache.half == Half::Keys { "keys" } else { "values" }
}
