//! Attention patterns: one head large with its tokens on both axes, the witness beside it, the keys of one query, and all
//! heads of the layer small.

use ratatui::buffer::Buffer;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use ratatui::widgets::Widget;

use super::PaneSpec;
use super::tensor::whose;
use super::tokens::{quoted, token_row, turn_token};
use crate::debugger::command::{Count, Pane};
use crate::debugger::in_layers;
use crate::debugger::view::{AttentionPage, AttentionRequest, KeyLine, Page, PageRequest, Shown, Witness};
use crate::tui::app::App;
use crate::tui::keymap::readable;
use crate::tui::slot::{Feed, Slot};
use crate::tui::text;
use crate::tui::theme::Role;
use crate::tui::widget::heatmap::Heatmap;

/// Columns of a token's label beside a row.
const GUTTER: u16 = 12;
/// Rows of the labels above the columns.
const ABOVE: u16 = 4;
/// Columns of the list of keys.
const KEYS: u16 = 30;

/// Its row.
pub(super) const SPEC: PaneSpec = PaneSpec {
    draw,
    pages: &[
        Feed { wanted: |app| wanted(app).0, slot: |panes| &mut panes.attention.slot },
        Feed { wanted: |app| wanted(app).1, slot: |panes| &mut panes.attention.beside },
    ],
    scroll: |app, rows, columns| {
        turn_token(app, Count::On(rows));
        app.choose_head(Count::On(columns));
    },
    head: turn_head,
    heads: |app| shown(app).map(|page| page.lines.len()),
    enter: |app| computing(app),
    ..PaneSpec::PLAIN
};

/// The line that computes the attention of the layer, where it is not computed yet.
fn computing(app: &App) -> Option<String> {
    let layer = app.layer();
    let probs = app.listing.rows.iter().find(|op| op.layer == Some(layer) && op.label == PROBS)?;
    (!probs.computed).then(|| format!("goto {}", probs.short))
}

/// What the probabilities are called in every family.
const PROBS: &str = "probs";

/// The attention of the selected layer.
#[derive(Debug, Default)]
pub(crate) struct State {
    slot: Slot,
    /// The other witness beside it.
    beside: Slot,
    head: usize,
}

fn shown(app: &App) -> Option<&AttentionPage> {
    if let Page::Attention(page) = app.panes.attention.slot.shown()? { Some(page) } else { None }
}

/// Shows another head. Before a page has come nobody knows how many there are; the page shows the last one instead of
/// none.
pub(super) fn turn_head(app: &mut App, count: Count) {
    let heads = shown(app).map_or(usize::MAX, |page| page.lines.len());
    app.panes.attention.head = count.of(app.panes.attention.head, heads);
}

/// The parts of the pane; any may be empty.
#[derive(Clone, Copy, Debug, Default)]
struct Parts {
    /// What the head does, in numbers.
    numbers: Rect,
    /// Columns of the labels beside a row, and rows of those above the columns.
    labels: (u16, u16),
    /// The head, without its labels.
    heatmap: Rect,
    /// The other witness, without its labels, where there is room.
    beside: Option<Rect>,
    /// The keys of the selected query.
    keys: Rect,
    /// Where the small ones stand.
    heads: Rect,
    /// Columns and rows of a small one.
    small: (u16, u16),
}

/// Divides the inside of the pane.
fn parts(inside: Rect, app: &App) -> Parts {
    let heads = shown(app).map_or(8, |page| page.lines.len());
    let numbers = u16::from(inside.height >= 6) + u16::from(inside.height >= 18);
    let small = if inside.height >= 14 { (inside.height / 3).clamp(4, 16) } else { 0 };
    let [numbers, middle, below] =
        Layout::vertical([Constraint::Length(numbers), Constraint::Min(0), Constraint::Length(small)]).areas(inside);
    let with_keys = if middle.width >= 58 { KEYS } else { 0 };
    let [large, keys] = Layout::horizontal([Constraint::Min(0), Constraint::Length(with_keys)]).areas(middle);
    let two = app.header.witnesses.len() > 1 && large.width >= 76 && matches!(whose(app), Shown::Values(_));
    let labels = (GUTTER.min(large.width / 3), ABOVE.min(large.height / 3));
    let labelled = |area: Rect| {
        let (gutter, above) = (labels.0.min(area.width), labels.1.min(area.height));
        Rect { x: area.x + gutter, y: area.y + above, width: area.width - gutter, height: area.height - above }
    };
    let (heatmap, beside) = if two {
        let halves = Layout::horizontal([Constraint::Fill(1), Constraint::Length(1), Constraint::Fill(1)]);
        let [left, _, right] = halves.areas(large);
        (labelled(left), Some(labelled(right)))
    } else {
        (labelled(large), None)
    };
    let small = small_size(below, heads);
    Parts { numbers, labels, heatmap, beside, keys, heads: below, small }
}

/// What is wanted, and of the other witness.
fn wanted(app: &App) -> (Option<PageRequest>, Option<PageRequest>) {
    let Some(inside) = app.inside(Pane::Attention) else { return (None, None) };
    let parts = parts(inside, app);
    let shown = whose(app).without_ratio();
    let query = app.first_position() + token_row(app);
    // Magnified, the selected query stays in sight, and so do the keys next to it.
    let magnify = app.panes.tensor.magnify.max(1);
    let window = |at: usize, of: usize| {
        let count = of.div_ceil(magnify);
        ((at + 1).saturating_sub(count.div_ceil(2)).min(of.saturating_sub(count)), count)
    };
    // Every query so far, and every key.
    let so_far = app.first_position() + app.forward_tokens();
    let request = AttentionRequest {
        queries: window(query, so_far),
        keys: window(query, so_far),
        layer: app.layer(),
        shown,
        head: app.panes.attention.head,
        heatmap: app.cells(parts.heatmap),
        small: app.cells(Rect::new(0, 0, parts.small.0, parts.small.1)),
        query,
        top: usize::from(parts.keys.height),
        ..AttentionRequest::default()
    };
    // Beside a witness stands the first dump that it is not.
    let other = match shown {
        Shown::Values(witness) => app.header.witnesses.iter().skip(1).copied().find(|other| *other != witness),
        Shown::Difference(..) | Shown::Ratio(..) => None,
    };
    let beside = parts.beside.zip(other).map(|(area, other)| AttentionRequest {
        shown: Shown::Values(other),
        heatmap: app.cells(area),
        small: (0, 0),
        top: 0,
        ..request.clone()
    });
    (Some(PageRequest::Attention(request)), beside.map(PageRequest::Attention))
}

/// The largest size of a small one with which all heads fit; the smallest where none does.
fn small_size(area: Rect, heads: usize) -> (u16, u16) {
    if area.height < 3 {
        return (0, 0);
    }
    let fits = |rows: &u16| {
        let across = usize::from(area.width / (2 * rows + 2)).max(1);
        heads.div_ceil(across) * usize::from(rows + 1) <= usize::from(area.height)
    };
    let rows = (2..area.height).rev().find(fits).unwrap_or(2);
    (2 * rows, rows)
}

/// Draws it.
fn draw(buffer: &mut Buffer, area: Rect, app: &App) {
    let page = shown(app);
    let name = page.map_or_else(
        || format!("attention of layer {}", app.layer()),
        |page| {
            let layer = in_layers(&page.name).and_then(|rest| rest.split('.').next()).unwrap_or_default();
            let of = page.name.rsplit('.').next().unwrap_or_default();
            let group =
                if page.kv_heads == page.lines.len() { String::new() } else { format!(", kv {}", page.kv_head) };
            format!("{layer}.{of} head {}/{}{group}", page.head, page.lines.len())
        },
    );
    let who = Line::styled(format!(" {} ", super::tensor::shown_name(app)), app.theme().style(Role::Key));
    let room = usize::from(area.width).saturating_sub(who.width() + 6);
    let name = text::fit(&name, room, app.theme().ellipsis());
    let inside = super::frame(buffer, area, app, Pane::Attention, &name, who);
    match (page, computing(app)) {
        (Some(page), _) => self::page(buffer, inside, page, app),
        (None, Some(_)) => super::tensor::paragraph(buffer, inside, &to_compute(app), app),
        (None, None) => drop(super::page(buffer, inside, &app.panes.attention.slot, app)),
    }
}

/// What one can do where nothing is computed yet.
fn to_compute(app: &App) -> String {
    let keys = |line| app.input.keys.keys_of(line).first().map(|key| readable(key));
    let turn = [keys("layer next"), keys("layer previous")].into_iter().flatten().collect::<Vec<_>>();
    let turn = if turn.is_empty() { String::new() } else { format!(", {} show other layers", turn.join(" and ")) };
    let enter = keys("enter").map_or(String::new(), |key| format!(": {key} computes it{turn}"));
    format!("the attention of layer {} is not computed yet{enter}", app.layer())
}

fn page(buffer: &mut Buffer, inside: Rect, page: &AttentionPage, app: &App) {
    let parts = parts(inside, app);
    super::put(buffer, parts.numbers, numbers(page, usize::from(parts.numbers.width), app));
    large(buffer, parts.heatmap, parts.labels, page, app);
    if let Some(area) = parts.beside
        && let Some(Page::Attention(beside)) = super::page(buffer, area, &app.panes.attention.beside, app)
    {
        let whose = page.against.map_or("", Witness::name);
        large(buffer, area, parts.labels, beside, app);
        let x = area.x.saturating_sub(parts.labels.0);
        buffer.set_stringn(x, area.y.saturating_sub(1), whose, usize::from(GUTTER), app.theme().style(Role::Key));
    }
    keys(buffer, parts.keys, page, app);
    small(buffer, &parts, page, app);
}

/// What the head does: `entropy 1.02  spread 0.55  sink 0.43  own 0.21  previous 0.02`.
fn numbers(page: &AttentionPage, width: usize, app: &App) -> Vec<Line<'static>> {
    let dim = app.theme().style(Role::Dim);
    let (mut lines, mut rest) = (Vec::new(), String::new());
    let Some(line) = page.lines.get(page.head) else { return lines };
    if let Some(n) = line.numbers {
        let figures = [
            ("entropy", n.entropy),
            ("spread", n.spread),
            ("sink", n.sink),
            ("own", n.own),
            ("previous", n.previous),
            ("induction", n.induction),
            ("duplicate", n.duplicate),
        ];
        // No token may come again: then there is nothing to say of that.
        let there =
            figures.iter().filter(|(name, value)| !["induction", "duplicate"].contains(name) || !value.is_nan());
        let said: Vec<String> = there.map(|(name, value)| format!("{name} {}", text::number(*value, 4))).collect();
        // What does not fit stands at the end of the next line.
        let ends = said.iter().scan(0, |end, said| {
            *end += said.len() + 2;
            Some(*end - 2)
        });
        let fitting = ends.take_while(|end| *end <= width).count().max(1);
        lines.push(Line::raw(said[..fitting].join("  ")));
        rest = said[fitting..].join("  ");
    }
    let mut second = Vec::new();
    if let (Some((difference, (query, key))), Some(against)) = (line.difference, page.against) {
        let at = format!("query {} key {key}", page.first_position + query);
        second.push(Span::raw(format!("{} at {at} from the {}", text::short(difference), against.name())));
    }
    if page.pooled != (1, 1) {
        second.push(Span::styled(format!("  max of {}x{}", page.pooled.0, page.pooled.1), dim));
    }
    if let Some(window) = page.window {
        second.push(Span::styled(format!("  window {window}"), dim));
    }
    second.extend(page.notes.first().map(|note| Span::styled(format!("  {}", app.theme().text(note)), dim)));
    if !rest.is_empty() {
        let gap = if second.is_empty() { "" } else { "  " };
        second.push(Span::raw(format!("{gap}{rest}")));
    }
    lines.push(Line::from(second));
    lines
}

/// One head with the tokens of its axes.
fn large(buffer: &mut Buffer, area: Rect, labels: (u16, u16), page: &AttentionPage, app: &App) {
    let area = area.intersection(buffer.area);
    if area.is_empty() {
        return;
    }
    let limit = page.range.0.abs().max(page.range.1.abs());
    let map = Heatmap { values: &page.heatmap, limit, theme: app.theme() };
    let (tall, wide) = map.scale(area);
    let label = app.theme().style(Role::Label);
    let chosen = app.theme().style(Role::Current);
    let (gutter, above) = labels;
    // Beside a cell stands the first row that begins in it; the selected one before any other.
    for y in 0..area.height {
        let mut rows = map.begin(y, tall, page.heatmap.len());
        let span = |row: usize| page.queries.0 + row * page.pooled.0..page.queries.0 + (row + 1) * page.pooled.0;
        let Some(first) = rows.clone().next() else { continue };
        let selected = rows.any(|row| span(row).contains(&page.query));
        let query = if selected { page.query } else { span(first).start };
        let name = format!("{:>3} {}", page.first_position + query, quoted(app, page.first_position + query));
        let name = text::fit(&name, usize::from(gutter.saturating_sub(1)), app.theme().ellipsis());
        let style = if selected { chosen } else { label };
        buffer.set_stringn(area.x - gutter, area.y + y, name, usize::from(gutter), style);
    }
    let columns = page.heatmap.first().map_or(0, Vec::len);
    for column in 0..columns {
        let x = area.x + (column * wide) as u16;
        if x >= area.right() {
            break;
        }
        let key = page.keys.0 + column * page.pooled.1;
        upright(buffer, x, area.y - above, (wide as u16, above), &axis(app, key), label, app);
    }
    map.render(area, buffer);
}

/// What stands above the column of a position: its token, without spaces, or its number.
pub(super) fn axis(app: &App, position: usize) -> String {
    let token = app.header.tokens.get(position).map(|token| app.theme().text(&token.text)).unwrap_or_default();
    if token.trim().is_empty() { position.to_string() } else { token.trim().to_string() }
}

/// A label above a column: across where the column is wide enough, else downwards.
pub(super) fn upright(buffer: &mut Buffer, x: u16, y: u16, room: (u16, u16), token: &str, style: Style, app: &App) {
    let (wide, tall) = room;
    if wide >= 5 {
        let token = text::fit(token, usize::from(wide) - 1, app.theme().ellipsis());
        buffer.set_stringn(x, y + tall.saturating_sub(1), token, usize::from(wide) - 1, style);
        return;
    }
    let characters: Vec<char> = token.chars().filter(|c| text::width(c.encode_utf8(&mut [0; 4])) == 1).collect();
    let shown = characters.len().min(usize::from(tall));
    for (index, character) in characters[..shown].iter().enumerate() {
        let below = y + tall - shown as u16 + index as u16;
        buffer.set_stringn(x, below, character.encode_utf8(&mut [0; 4]), 1, style);
    }
}

/// The keys of the selected query, the one of largest probability first.
fn keys(buffer: &mut Buffer, area: Rect, page: &AttentionPage, app: &App) {
    if area.height < 3 || area.width < 12 {
        return;
    }
    let position = page.first_position + page.query;
    let title = text::fit(&format!(" {position} {} looks at", quoted(app, position)), usize::from(area.width), "");
    buffer.set_stringn(area.x, area.y, title, usize::from(area.width), app.theme().style(Role::Current));
    let lines = page.top.iter().map(|KeyLine { key, probability, against, .. }| {
        let against = against.map_or(String::new(), |against| format!(" {}", text::number(against, 5)));
        let line = format!(" {}{against} {key:>4} {}", text::number(*probability, 5), quoted(app, *key));
        Line::raw(text::fit(&line, usize::from(area.width), app.theme().ellipsis()))
    });
    super::put(buffer, Rect { y: area.y + 1, height: area.height - 1, ..area }, lines);
}

/// All heads of the layer.
fn small(buffer: &mut Buffer, parts: &Parts, page: &AttentionPage, app: &App) {
    let (width, height) = parts.small;
    if width == 0 {
        return;
    }
    let area = parts.heads.intersection(buffer.area);
    let across = usize::from(area.width / (width + 2)).max(1);
    let down = usize::from(area.height / (height + 1)).max(1);
    let limit = page.small_range.0.abs().max(page.small_range.1.abs());
    // Where not all fit, those around the one that is shown large.
    let first = if page.small.len() <= across * down { 0 } else { page.head / across * across };
    for (place, (head, map)) in page.small.iter().enumerate().skip(first).take(across * down).enumerate() {
        let x = area.x + (place % across) as u16 * (width + 2);
        let y = area.y + (place / across) as u16 * (height + 1);
        let shown = head == page.head;
        let style = app.theme().style(if shown { Role::Current } else { Role::Label });
        let sink = page
            .lines
            .get(head)
            .and_then(|line| line.numbers)
            .map_or(String::new(), |n| format!(" {}", text::number(n.spread, 4)));
        let mark = if shown { ">" } else { " " };
        let (name, room) = (format!("{mark}{head}"), usize::from(width) + 1);
        let sink = if name.len() + sink.len() <= room { sink } else { String::new() };
        buffer.set_stringn(x, y, format!("{name}{sink}"), room, style);
        Heatmap { values: map, limit, theme: app.theme() }
            .render(Rect { x: x + 1, y: y + 1, width, height }.intersection(area), buffer);
    }
}
