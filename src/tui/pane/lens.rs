//! The logit lens: what the model would say after each layer, and how the token that is followed comes up.

use ratatui::buffer::Buffer;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::Style;
use ratatui::text::Line;

use super::PaneSpec;
use super::tensor::whose;
use super::tokens::{quote, quoted, token_row, turn_token};
use crate::debugger::command::{Count, Pane};
use crate::debugger::view::{LensPage, LensRequest, LensRow, Page, PageRequest, Shown, TokenLine, Witness};
use crate::tui::app::App;
use crate::tui::slot::{Feed, Slot};
use crate::tui::text;
use crate::tui::theme::Role;
use crate::tui::widget::bars;

/// Most probable tokens of a row, as many as fit the widest pane.
const TOKENS: usize = 8;

/// Columns of the place with its mark, and of the sign of another top token after it.
const PLACE: usize = 7;
const SIGN: usize = 1;
/// Columns of a rank and of a number, with the space before it.
const RANK: usize = 6;
const NUMBER: usize = 7;
/// Columns of a token with its probability: at least, and at most; and of the probability in it.
const TOKEN: (usize, usize) = (12, 20);
const SHARE: usize = 4;
/// Columns of the bar with the space before it: at least, and at most.
const BAR: (usize, usize) = (7, 25);

/// Its row.
pub(super) const SPEC: PaneSpec = PaneSpec {
    draw,
    pages: &[Feed { wanted, slot: |panes| &mut panes.lens.slot }],
    follow: |panes| panes.lens.row = None,
    scroll: |app, rows, columns| {
        if let Some(page) = shown(app).filter(|_| rows != 0) {
            app.panes.lens.row = Some(Count::On(rows).of(selected(page, app), page.rows.len()));
        }
        turn_token(app, Count::On(columns));
    },
    click,
    enter: |app| {
        let page = shown(app)?;
        app.going_to(page.rows.get(selected(page, app))?.row)
    },
    // Where the attention is shown, it turns its head itself.
    head: |app, count| {
        if app.inside(Pane::Attention).is_none() {
            super::attention::turn_head(app, count);
        }
    },
    resize: (0, 1),
    ..PaneSpec::PLAIN
};

/// What the lens shows.
#[derive(Debug, Default)]
pub(crate) struct State {
    slot: Slot,
    /// The token that it follows.
    followed: Option<u32>,
    /// The row that the user has moved to; `None`: that of the selected op.
    row: Option<usize>,
}

fn shown(app: &App) -> Option<&LensPage> {
    if let Page::Lens(page) = app.panes.lens.slot.shown()? { Some(page) } else { None }
}

fn wanted(app: &App) -> Option<PageRequest> {
    app.inside(Pane::Lens)?;
    let (shown, token, chosen) = (witness(app), token_row(app), app.panes.lens.followed);
    Some(PageRequest::Lens(LensRequest { token, shown, top: TOKENS, chosen, mid: false }))
}

/// Whose residual stream the lens reads: of a difference, that of the one that is looked at.
fn witness(app: &App) -> Witness {
    match whose(app) {
        Shown::Values(witness) | Shown::Difference(witness, _) | Shown::Ratio(witness, _) => witness,
    }
}

fn click(app: &App, inside: Rect, (_, line): (u16, u16)) -> Vec<String> {
    let Some((row, page)) = row_at(inside, line, app).zip(shown(app)) else { return Vec::new() };
    match row.cast_signed() - selected(page, app).cast_signed() {
        0 => Vec::new(),
        by if by > 0 => vec![format!("scroll lens down {by}")],
        by => vec![format!("scroll lens up {}", by.unsigned_abs())],
    }
}

/// Follows a token by its id or its text; without one, the likeliest.
pub(crate) fn follow(app: &mut App, token: Option<&str>) {
    let Some(text) = token else {
        return app.panes.lens.followed = None;
    };
    let bare = text.trim_matches('"');
    let said = shown(app).into_iter().flat_map(|page| &page.rows).flat_map(|row| &row.top);
    let known = app.header.tokens.iter().chain(said.map(|line| &line.token));
    let found = known.filter(|token| token.text == bare || token.text.trim() == bare).map(|token| token.id).next();
    match found.or_else(|| text.parse().ok()) {
        Some(id) => app.panes.lens.followed = Some(id),
        None => {
            app.said.complain(format!("no token on the screen is {text}: give its id, or a text that the lens shows"));
        }
    }
}

/// Draws it.
fn draw(buffer: &mut Buffer, area: Rect, app: &App) {
    let who = format!(" {} ", witness(app).name());
    let room = usize::from(area.width).saturating_sub(who.len() + 6);
    let name = shown(app).map_or("lens".to_string(), |page| name(page, room, app));
    let name = text::fit(&name, room, app.theme().ellipsis());
    let who = Line::styled(who, app.theme().style(Role::Key));
    let inside = super::frame(buffer, area, app, Pane::Lens, &name, who);
    if let Some(Page::Lens(page)) = super::page(buffer, inside, &app.panes.lens.slot, app) {
        self::page(buffer, area, inside, page, app);
    }
}

/// Which token the lens stands at, and which one it follows.
fn name(page: &LensPage, room: usize, app: &App) -> String {
    let at = format!("{} {}", page.position, quoted(app, page.position));
    let followed = quote(app, &page.chosen);
    let names = [format!("lens  token {at}  follows {followed}"), format!("lens {at} follows {followed}")];
    let fits = names.into_iter().find(|name| text::width(name) <= room);
    fits.unwrap_or_else(|| format!("lens {at}: {followed}"))
}

/// The row that stands out: the one that the user has moved to, else that of the op the program looks at.
fn selected(page: &LensPage, app: &App) -> usize {
    let last = page.rows.len().saturating_sub(1);
    match app.panes.lens.row {
        Some(row) => row.min(last),
        None => page.rows.iter().position(|row| is_here(row, app)).unwrap_or(last),
    }
}

/// Whether it belongs to what the program looks at.
fn is_here(row: &LensRow, app: &App) -> bool {
    let layer = app.selected_op().and_then(|op| op.layer);
    if layer.is_some() { row.layer == layer } else { Some(row.row) == app.selected_row() }
}

/// The inside of the pane, divided: rows under their headings, and what is said of the selected one.
struct Parts {
    table: Rect,
    below: Rect,
    words: Vec<String>,
    first: usize,
    height: usize,
}

impl Parts {
    fn of(inside: Rect, page: &LensPage, app: &App) -> Self {
        let selected = selected(page, app);
        let words = page.rows.get(selected).map_or_else(Vec::new, |row| sentences(page, row, app));
        let words = text::flow(words, usize::from(inside.width), app.theme().ellipsis());
        let free = inside.height.saturating_sub(2 + page.rows.len().min(1000) as u16);
        let below = (inside.height / 3).min(5).max(free).min(words.len() as u16);
        let [table, below] = Layout::vertical([Constraint::Min(0), Constraint::Length(below)]).areas(inside);
        let height = usize::from(table.height).saturating_sub(1);
        // The selected row stands where both sides of it can be seen.
        let first = selected.saturating_sub(height / 2).min(page.rows.len().saturating_sub(height));
        // Where there is room, an empty line keeps the words from looking like rows.
        let end = table.y + 1 + page.rows.len().min(height) as u16;
        let below = Rect { y: below.y.min(end + 1), ..below };
        Self { table, below, words, first, height }
    }
}

/// The row of the page that stands in a line of the screen.
fn row_at(inside: Rect, line: u16, app: &App) -> Option<usize> {
    let page = shown(app)?;
    let parts = Parts::of(inside, page, app);
    let below = usize::from(line.checked_sub(inside.y + 1)?);
    Some(parts.first + below).filter(|row| below < parts.height && *row < page.rows.len())
}

fn page(buffer: &mut Buffer, area: Rect, inside: Rect, page: &LensPage, app: &App) {
    let parts = Parts::of(inside, page, app);
    let columns = Columns::of(usize::from(inside.width), page);
    super::put(buffer, parts.table, [Line::styled(columns.headings(page), app.theme().style(Role::Label))]);
    let rows = page.rows.iter().enumerate().skip(parts.first).take(parts.height);
    for ((index, row), y) in rows.zip(inside.y + 1..) {
        let line = Rect { y, height: 1, ..parts.table };
        columns.draw(buffer, line, row, page, app);
        if index == selected(page, app) {
            buffer.set_style(line, app.theme().style(Role::Selected(app.desk.focus == Pane::Lens)));
        }
    }
    super::shown(buffer, area, app, (parts.first, parts.height), page.rows.len());
    super::put(buffer, parts.below, parts.words.iter().map(|line| Line::styled(line, app.theme().style(Role::Dim))));
}

/// All that is known of the selected row, where columns are few; and what is missing.
fn sentences(page: &LensPage, row: &LensRow, app: &App) -> Vec<String> {
    let number = |value: f64| text::number(value, 7);
    let mut parts = vec![
        format!("{}: {} rank {} of {}", place(row), quote(app, &page.chosen), row.rank, page.vocab),
        format!("p {}", number(row.probability)),
        format!("logit {}", number(row.logit)),
        format!("entropy {} nats", number(row.entropy)),
    ];
    parts.extend(row.divergence.map(|divergence| format!("KL to the end {}", number(divergence))));
    if let (Some(beside), Some(witness)) = (&row.against, page.against) {
        let whose = witness.name();
        let top = beside.top.as_ref().map_or("no number".to_string(), |line| {
            format!("{} {}", quote(app, &line.token), text::percent(line.probability))
        });
        let sign = if differs(row) { "! " } else { "" };
        parts.push(format!("{sign}{whose}: first {top}"));
        parts.push(format!("rank {}", beside.rank));
        parts.push(format!("p {}", number(beside.probability)));
    }
    parts.extend(page.notes.iter().map(|note| app.theme().text(note)));
    parts
}

/// Whether the other witness would say another token.
fn differs(row: &LensRow) -> bool {
    let token = |line: Option<&TokenLine>| line.map(|line| line.token.id);
    row.against.as_ref().is_some_and(|beside| token(beside.top.as_ref()) != token(row.top.first()))
}

fn place(row: &LensRow) -> &str {
    match row.name.as_str() {
        "embed_tokens" => "embed",
        "lm_head" => "logits",
        other => other.strip_suffix(".resid_mid").unwrap_or(other),
    }
}

/// The columns that fit: tokens, rank and probability always; then the bar, the divergence, the entropy, the other
/// witness, and more tokens.
#[derive(Clone, Copy, Debug, Default)]
struct Columns {
    tokens: usize,
    token: usize,
    bar: usize,
    divergence: usize,
    entropy: usize,
    beside: usize,
}

impl Columns {
    fn of(width: usize, page: &LensPage) -> Self {
        let mut room = width.saturating_sub(PLACE + SIGN + RANK + NUMBER);
        let mut columns = Self { tokens: 1, token: room.min(TOKEN.0), ..Self::default() };
        room -= columns.token;
        let mut take = |wanted: usize| {
            let taken = if wanted <= room { wanted } else { 0 };
            room -= taken;
            taken
        };
        columns.bar = take(BAR.0);
        columns.divergence = take(NUMBER);
        columns.entropy = take(NUMBER);
        columns.beside = if page.against.is_some() { take(TOKEN.0 + 1 + RANK) } else { 0 };
        let said = page.rows.iter().map(|row| row.top.len()).max().unwrap_or(1).max(1);
        columns.tokens = (1 + room / (TOKEN.0 + 1)).min(said);
        room -= (columns.tokens - 1) * (TOKEN.0 + 1);
        let wider = (room / columns.tokens).min(TOKEN.1.saturating_sub(columns.token));
        columns.token += wider;
        room -= wider * columns.tokens;
        columns.bar += if columns.bar > 0 { room.min(BAR.1 - BAR.0) } else { 0 };
        columns
    }

    fn headings(self, page: &LensPage) -> String {
        let tokens = if self.tokens > 1 { "the likeliest" } else { "likeliest" };
        let tokens = text::pad(tokens, self.tokens * (self.token + 1) - 1, "");
        let bar = if self.bar > 0 {
            text::pad(if self.bar > 8 { " log rank" } else { " log" }, self.bar, "")
        } else {
            String::new()
        };
        let number = |width: usize, name: &str| if width > 0 { format!("{name:>width$}") } else { String::new() };
        let (divergence, entropy) = (number(self.divergence, "KL"), number(self.entropy, "nats"));
        let beside = match page.against {
            Some(witness) if self.beside > 0 => {
                format!(" {}{:>RANK$}", text::pad(witness.name(), TOKEN.0, ""), "rank")
            }
            _ => String::new(),
        };
        let start = text::pad("layer", PLACE + SIGN, "");
        format!("{start}{tokens}{:>RANK$}{:>NUMBER$}{bar}{divergence}{entropy}{beside}", "rank", "p")
    }

    fn draw(self, buffer: &mut Buffer, line: Rect, row: &LensRow, page: &LensPage, app: &App) {
        let theme = app.theme();
        let base = if is_here(row, app) { theme.style(Role::Current) } else { Style::new() };
        let mut x = line.x;
        let mut put = |text: &str, columns: usize, style: Style| {
            let room = usize::from(line.right().saturating_sub(x)).min(columns);
            buffer.set_stringn(x, line.y, text, room, style);
            x = x.saturating_add(columns as u16).min(line.right());
        };
        let mark = if is_here(row, app) { ">" } else { " " };
        put(&format!("{mark}{:>w$}", place(row), w = PLACE - 1), PLACE, base);
        let sign = if differs(row) { "!" } else { "" };
        put(sign, SIGN, theme.style(Role::Bad));
        for index in 0..self.tokens {
            let Some(said) = row.top.get(index) else {
                put("", self.token + usize::from(index > 0), Style::new());
                continue;
            };
            put("", usize::from(index > 0), Style::new());
            let style = base.patch(theme.shaded(said.probability));
            let followed = if said.token.id == page.chosen.id { theme.style(Role::Current) } else { Style::new() };
            put(&cell(said, self.token, app), self.token, style.patch(followed));
        }
        put(&format!("{:>RANK$}", text::count(row.rank)), RANK, base);
        put(" ", 1, base);
        let probability = format!("{:>w$}", text::number(row.probability, NUMBER - 1), w = NUMBER - 1);
        put(&probability, NUMBER - 1, base.patch(theme.shaded(row.probability)));
        if self.bar > 0 {
            put(" ", 1, base);
            put(&bars::along(height(row.rank, page.vocab), self.bar - 1, theme), self.bar - 1, theme.style(Role::Good));
        }
        let number = |value: f64| text::number(value, NUMBER - 1);
        for (value, width) in [(row.divergence, self.divergence), (Some(row.entropy), self.entropy)] {
            put(&format!("{:>width$}", value.filter(|_| width > 0).map_or(String::new(), number)), width, base);
        }
        if let Some(beside) = row.against.as_ref().filter(|_| self.beside > 0) {
            put(" ", 1, base);
            let (text, style) = match &beside.top {
                Some(said) => (cell(said, TOKEN.0, app), theme.shaded(said.probability)),
                None => ("no number".to_string(), theme.style(Role::Alert)),
            };
            put(&text, TOKEN.0, base.patch(style));
            put(&format!("{:>RANK$}", text::count(beside.rank)), RANK, base);
        }
    }
}

/// A token and its probability in so many columns.
fn cell(said: &TokenLine, columns: usize, app: &App) -> String {
    let token = quote(app, &said.token);
    let token = text::pad(&token, columns.saturating_sub(SHARE), app.theme().ellipsis());
    format!("{token}{:>SHARE$}", text::percent(said.probability))
}

/// How far up a rank is, on a logarithmic scale: 1 is the first, 0 the last.
fn height(rank: usize, vocab: usize) -> f64 {
    if vocab < 2 { 1.0 } else { 1.0 - (rank.max(1) as f64).ln() / (vocab as f64).ln() }
}
