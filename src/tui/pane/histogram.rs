//! How the numbers of the selected activation are distributed: their values, their magnitudes, and its loudest channels.

use ratatui::buffer::Buffer;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::text::{Line, Span};
use ratatui::widgets::Widget;

use super::PaneSpec;
use super::tensor::whose;
use super::tokens::quoted;
use crate::debugger::command::{Count, Pane};
use crate::debugger::in_layers;
use crate::debugger::view::{HistogramPage, HistogramRequest, Page, PageRequest};
use crate::tui::app::App;
use crate::tui::slot::{Feed, Slot};
use crate::tui::text;
use crate::tui::theme::Role;
use crate::tui::widget::bars::Bars;

/// Channels that are listed, where there is room.
const LOUDEST: usize = 12;

/// The names of the percentiles that a page has.
const PERCENTILES: [&str; 7] = ["min", "1%", "25%", "median", "75%", "99%", "max"];
/// Columns of the list of channels where it stands beside the charts, and those of a pane where it does.
const LIST: u16 = 48;
const WIDE: u16 = 120;
/// Columns between the charts.
const GAP: u16 = 2;

/// The parts of the pane; any may be empty.
struct Parts {
    words: Rect,
    charts: [Rect; 2],
    list: Rect,
}

impl Parts {
    fn of(inside: Rect) -> Self {
        let words = if inside.width < 70 { 4 } else { 3 };
        let [words, below] = Layout::vertical([Constraint::Length(words), Constraint::Min(0)]).areas(inside);
        let (charts, list) = if inside.width >= WIDE {
            let [charts, _, list] =
                Layout::horizontal([Constraint::Min(0), Constraint::Length(GAP), Constraint::Length(LIST)])
                    .areas(below);
            (charts, list)
        } else {
            let list = (below.height / 2).min(LOUDEST as u16 + 1);
            let [charts, list] = Layout::vertical([Constraint::Min(0), Constraint::Length(list)]).areas(below);
            (charts, list)
        };
        let halves = [Constraint::Fill(1), Constraint::Length(GAP), Constraint::Fill(1)];
        let [left, _, right] = Layout::horizontal(halves).areas(charts);
        Self { words, charts: [left, right], list }
    }
}

/// Its row.
pub(super) const SPEC: PaneSpec = PaneSpec {
    draw,
    pages: &[Feed { wanted, slot: |panes| &mut panes.histogram.slot }],
    scroll: super::program::scroll,
    head: turn_plane,
    ..PaneSpec::PLAIN
};

/// The distribution of the selected activation.
#[derive(Debug, Default)]
pub(crate) struct State {
    slot: Slot,
    /// The head that it is of; `None`: all of them.
    plane: Option<usize>,
}

fn shown(app: &App) -> Option<&HistogramPage> {
    if let Page::Histogram(page) = app.panes.histogram.slot.shown()? { Some(page) } else { None }
}

/// Shows another head; before the first one stand all of them.
fn turn_plane(app: &mut App, count: Count) {
    let planes = shown(app).map_or(usize::MAX - 1, |page| page.planes);
    let plane = &mut app.panes.histogram.plane;
    let now = plane.map_or(0, |plane| plane.saturating_add(1).min(planes));
    *plane = match count {
        Count::To(_) => Some(count.of(0, planes)),
        Count::On(_) => count.of(now, planes + 1).checked_sub(1),
    };
}

fn wanted(app: &App) -> Option<PageRequest> {
    let inside = app.inside(Pane::Histogram)?;
    Some(PageRequest::Histogram(HistogramRequest {
        row: app.selected_row()?,
        shown: whose(app).without_ratio(),
        plane: app.panes.histogram.plane,
        // One a column of the chart.
        bins: usize::from(Parts::of(inside).charts[0].width),
        channels: LOUDEST,
    }))
}

/// Draws it.
fn draw(buffer: &mut Buffer, area: Rect, app: &App) {
    let who = Line::styled(format!(" {} ", super::tensor::shown_name(app)), app.theme().style(Role::Key));
    let room = usize::from(area.width).saturating_sub(who.width() + 6);
    let name = shown(app).map_or("histogram".to_string(), |page| name(page, room));
    let name = text::fit(&name, room, app.theme().ellipsis());
    let inside = super::frame(buffer, area, app, Pane::Histogram, &name, who);
    if let Some(Page::Histogram(page)) = super::page(buffer, inside, &app.panes.histogram.slot, app) {
        self::page(buffer, inside, page, app);
    }
}

/// What it is a distribution of: all heads, or one; with the keys that choose.
fn name(page: &HistogramPage, room: usize) -> String {
    let short = match in_layers(&page.name) {
        Some(layer) if !layer.contains('.') => &format!("layer {layer} output"),
        Some(short) => short,
        None => &page.name,
    };
    let heads = match page.plane {
        _ if page.planes == 1 => String::new(),
        None => format!("  all {} {}s [ ]", page.planes, page.plane_word),
        Some(plane) => format!("  {} {plane} of {} [ ]", page.plane_word, page.planes),
    };
    let long = format!("histogram  {short}{heads}");
    if text::width(&long) <= room {
        long
    } else {
        format!("{}{heads}", short.replace("self_attn.", "").replace("mlp.", ""))
    }
}

fn page(buffer: &mut Buffer, inside: Rect, page: &HistogramPage, app: &App) {
    let parts = Parts::of(inside);
    let number = |value: f64| text::number(value, 7);
    let percentiles = page.histogram.percentiles.iter().flatten().zip(PERCENTILES);
    let words = percentiles.map(|(value, name)| format!("{name} {}", number(*value)));
    let median = (!page.loudest.is_empty()).then(|| format!("median channel {}", number(page.median_channel)));
    let words = words.chain(median).chain(page.notes.iter().map(|note| app.theme().text(note)));
    let words = text::flow(words, usize::from(parts.words.width), app.theme().ellipsis()).into_iter().map(Line::raw);
    super::put(buffer, parts.words, std::iter::once(counts(page, app)).chain(words));
    let made = &page.histogram;
    let edge = |index: usize| made.edges.get(index).map_or(String::new(), |edge| number(*edge).trim().to_string());
    chart(buffer, parts.charts[0], "by value", &made.counts, edge, app);
    let power = |index: usize| match made.exponents.get(index) {
        Some(-127) => "0".to_string(),
        Some(power) => format!("2^{power}"),
        None => String::new(),
    };
    chart(buffer, parts.charts[1], "by size", &made.magnitudes, power, app);
    loudest(buffer, parts.list, page, app);
}

/// How many numbers there are, and how many that are none.
fn counts(page: &HistogramPage, app: &App) -> Line<'static> {
    let made = &page.histogram;
    let mut spans = vec![Span::raw(format!("{} numbers  zeros {}", made.count, made.zeros))];
    let odd = (made.nan, made.positive_infinite, made.negative_infinite);
    spans.extend(super::tensor::odd(odd, "  ", app));
    Line::from(spans)
}

/// Bars over the edges of their bins.
fn chart(buffer: &mut Buffer, area: Rect, name: &str, counts: &[usize], edge: impl Fn(usize) -> String, app: &App) {
    if area.height < 3 || area.width == 0 || counts.is_empty() {
        return;
    }
    let label = app.theme().style(Role::Label);
    let width = usize::from(area.width);
    let most = counts.iter().copied().max().unwrap_or(0);
    let caption = text::fit(&format!("{name}, most {}", text::count(most)), width, app.theme().ellipsis());
    buffer.set_stringn(area.x, area.y, caption, width, label);
    let bars = Bars { counts, theme: app.theme() };
    let wide = bars.wide(area.width);
    let drawn = counts.len().min(width / wide);
    bars.render(Rect { y: area.y + 1, height: area.height - 2, ..area }, buffer);
    let y = area.bottom() - 1;
    // The ends, and what fits between them: below the column where a bin begins.
    let (first, last) = (edge(0), edge(drawn));
    let end = (drawn * wide).max(first.len() + 1 + last.len()).min(width);
    let last_at = end.saturating_sub(last.len());
    buffer.set_stringn(area.x, y, &first, width, label);
    buffer.set_stringn(area.x + last_at as u16, y, &last, width - last_at, label);
    let mut free = first.len() + 2;
    for bin in 1..drawn {
        let (name, x) = (edge(bin), bin * wide);
        if x >= free && x + name.len() + 2 <= last_at {
            buffer.set_stringn(area.x + x as u16, y, &name, name.len(), label);
            free = x + name.len() + 4;
        }
    }
}

/// The channels of largest magnitude, and where they have it.
fn loudest(buffer: &mut Buffer, area: Rect, page: &HistogramPage, app: &App) {
    if area.height < 2 {
        return;
    }
    let width = usize::from(area.width);
    let times = app.theme().glyph("×median", "xmedian");
    let heading = format!("channel  largest {times} at");
    buffer.set_stringn(area.x, area.y, text::fit(&heading, width, ""), width, app.theme().style(Role::Label));
    let lines = page.loudest.iter().map(|channel| {
        let (value, ratio) = (text::number(channel.value, 8), text::ratio(channel.ratio));
        let place = place(page, &channel.place, app);
        let line = format!("{:>7} {value:>8} {ratio:>7} {place}", channel.channel);
        Line::raw(text::fit(&line, width, app.theme().ellipsis()))
    });
    super::put(buffer, Rect { y: area.y + 1, height: area.height - 1, ..area }, lines);
}

/// `token 0 head 3 "The"`: the innermost axis first, the text of the token last.
fn place(page: &HistogramPage, place: &[usize], app: &App) -> String {
    let (mut parts, mut texts) = (Vec::new(), Vec::new());
    for (axis, index) in page.place_axes.iter().zip(place).rev() {
        let position = if matches!(*axis, "token" | "query") { page.first_position + index } else { *index };
        parts.push(format!("{axis} {position}"));
        if matches!(*axis, "token" | "query" | "key") {
            texts.push(quoted(app, position));
        }
    }
    parts.extend(texts);
    parts.join(" ")
}
