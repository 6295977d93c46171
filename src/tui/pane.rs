//! The screen, drawn: a function of the state, one file per pane.

mod attention;
mod cache;
mod curve;
pub(crate) mod diagnosis;
mod errors;
mod experts;
mod help;
mod histogram;
mod information;
pub(crate) mod lens;
mod log;
mod player;
mod program;
mod prompt;
mod status;
pub(crate) mod tensor;
pub(crate) mod tokens;
mod welcome;

use ratatui::Frame;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::Line;
use ratatui::widgets::{Block, Clear, Widget};

use super::app::App;
use super::desk::Place;
use super::layout;
use super::said::OverlayKind;
use super::slot::{Feed, Slot};
use super::theme::{Role, Theme};
use crate::debugger::command::{Count, Pane, Whose};
use crate::debugger::view::{Page, PageRequest};

/// What the screen knows of a pane: its row stands with its drawing.
pub(crate) struct PaneSpec {
    /// Draws it.
    draw: fn(&mut Buffer, Rect, &App),
    /// The pages that it shows.
    pub(crate) pages: &'static [Feed],
    /// What a page does that has come.
    pub(crate) came: fn(&mut App, &PageRequest),
    /// Looks at where the debugger stands now, not where the user had moved to.
    pub(crate) follow: fn(&mut Panes),
    /// Moves by so many rows and columns.
    pub(crate) scroll: fn(&mut App, isize, isize),
    /// Whether there is a first and a last column to go to.
    pub(crate) sideways: bool,
    /// Rows that its inside shows at once.
    pub(crate) rows: fn(&App, Rect) -> u16,
    /// The lines that a click stands for, at a column and row of its inside, beyond giving it the keys.
    pub(crate) click: fn(&App, Rect, (u16, u16)) -> Vec<String>,
    /// Does what the selected line is for; or gives the line that does.
    pub(crate) enter: fn(&mut App) -> Option<String>,
    /// Shows another head.
    pub(crate) head: fn(&mut App, Count),
    /// How many heads there are to be shown, once that is known.
    pub(crate) heads: fn(&App) -> Option<usize>,
    /// Shows other values.
    pub(crate) show: fn(&mut App, Whose),
    /// Whether it is where the user has moved to even when the debugger has moved.
    pub(crate) keeps: bool,
    /// Why it cannot be shown.
    pub(crate) missing: fn(&App) -> Option<&'static str>,
    /// Where a command shows it.
    pub(crate) place: Place,
    /// The pane that it is a part of: that scrolls, and has the keys.
    pub(crate) part_of: Option<Pane>,
    /// Columns that the program has more, and rows that the small pane has more, when it is made larger by one.
    pub(crate) resize: (i16, i16),
}

impl PaneSpec {
    const PLAIN: Self = Self {
        draw: |_, _, _| {},
        pages: &[],
        came: |_, _| {},
        follow: |_| {},
        scroll: |_, _, _| {},
        sideways: true,
        rows: |_, inside| inside.height,
        click: |_, _, _| Vec::new(),
        enter: |_| None,
        head: |_, _| {},
        heads: |_| None,
        show: tensor::show_whose,
        keeps: false,
        missing: |_| None,
        place: Place::Large,
        part_of: None,
        resize: (-2, 0),
    };
}

/// The row of a pane.
pub(crate) fn spec(pane: Pane) -> &'static PaneSpec {
    match pane {
        Pane::Program => &program::SPEC,
        Pane::Tensor => &tensor::SPEC,
        Pane::Histogram => &histogram::SPEC,
        Pane::Attention => &attention::SPEC,
        Pane::Divergence => &errors::SPEC,
        Pane::Lens => &lens::SPEC,
        Pane::Cache => &cache::SPEC,
        Pane::Experts => &experts::SPEC,
        Pane::Tokens => &tokens::SPEC,
        Pane::Diagnosis => &diagnosis::SPEC,
        Pane::Log => &log::SPEC,
        Pane::Curve => &curve::SPEC,
    }
}

/// The rows of all panes that have a name.
pub(crate) fn specs() -> impl Iterator<Item = &'static PaneSpec> {
    Pane::NAMED.iter().map(|(_, pane)| spec(*pane))
}

/// What the panes show, and where in it the user is.
#[derive(Debug, Default)]
pub(crate) struct Panes {
    pub(crate) tensor: tensor::TensorView,
    histogram: histogram::State,
    attention: attention::State,
    lens: lens::State,
    cache: cache::State,
    experts: experts::State,
    tokens: tokens::State,
    /// While it is open.
    pub(crate) diagnosis: Option<diagnosis::DiagnosisView>,
    /// Pages that are on their way.
    pub(crate) awaited: usize,
}

/// Draws the screen.
pub(crate) fn draw(frame: &mut Frame, app: &App) {
    let areas = app.desk.areas((frame.area().width, frame.area().height), app.there());
    let buffer = frame.buffer_mut();
    status::draw(buffer, areas.status, app);
    for (pane, area) in areas.panes {
        (spec(pane).draw)(buffer, area, app);
    }
    if let (Some(_), Some(bottom)) = (app.said.overlay, areas.bottom) {
        let area = Rect { y: 1, height: bottom.y - 1, ..frame.area() };
        overlay(frame.buffer_mut(), area, app);
    }
    let cursor = areas.bottom.and_then(|area| prompt::draw(frame.buffer_mut(), area, app));
    app.theme().paint_ground(frame.buffer_mut());
    if let Some(cursor) = cursor {
        frame.set_cursor_position(cursor);
    }
}

/// What an overlay is called, and its lines.
pub(crate) fn overlaid(app: &App, kind: OverlayKind) -> (&'static str, Vec<Line<'static>>) {
    match kind {
        OverlayKind::Help => ("help", help::lines(app)),
        OverlayKind::Information => ("information", information::lines(app)),
        OverlayKind::Output => ("output", log::output(app)),
    }
}

fn overlay(buffer: &mut Buffer, area: Rect, app: &App) {
    let Some(overlay) = app.said.overlay else { return };
    let (name, lines) = overlaid(app, overlay.kind);
    Clear.render(area, buffer);
    let titles = vec![Line::raw(format!("{name}: j k scroll, esc closes"))];
    let inside = framed(buffer, area, app.theme(), titles, true);
    put(buffer, inside, lines.into_iter().skip(overlay.scroll));
}

/// Writes lines, as many as there is room for.
fn put<'a>(buffer: &mut Buffer, area: Rect, lines: impl IntoIterator<Item = Line<'a>>) {
    for (line, y) in lines.into_iter().zip(area.top()..area.bottom()) {
        buffer.set_line(area.x, y, &line, area.width);
    }
}

/// The page of a slot; where there is none, it is said why.
fn page<'a>(buffer: &mut Buffer, inside: Rect, slot: &'a Slot, app: &App) -> Option<&'a Page> {
    if let Some(Err(sentence)) = &slot.page {
        tensor::paragraph(buffer, inside, sentence, app);
    }
    slot.shown()
}

/// Draws the frame of a pane with its titles, the first at the left and the second at the right; gives its inside.
fn framed(buffer: &mut Buffer, area: Rect, theme: Theme, titles: Vec<Line>, focused: bool) -> Rect {
    let mut block = Block::bordered().border_set(theme.border()).border_style(theme.style(Role::Border(focused)));
    for (index, title) in titles.into_iter().enumerate() {
        let title = title.style(theme.style(Role::Title(focused)));
        block = block.title_top(if index == 0 { title.left_aligned() } else { title.right_aligned() });
    }
    block.render(area, buffer);
    layout::inside(area)
}

/// Says in the frame how much lies above and below, where not all lines fit a height.
fn shown(buffer: &mut Buffer, area: Rect, app: &App, (first, height): (usize, usize), lines: usize) {
    if lines <= height || area.width < 24 || area.height < 2 {
        return;
    }
    let text = format!(" {}-{} of {lines} ", first + 1, (first + height).min(lines));
    let x = area.right().saturating_sub(text.len() as u16 + 1);
    buffer.set_stringn(x, area.bottom() - 1, &text, text.len(), app.theme().style(Role::Dim));
}

/// Draws the frame of a pane: its name, with a mark where it has the keys, and what stands at the right.
fn frame<'a>(buffer: &mut Buffer, area: Rect, app: &App, pane: Pane, name: &str, right: impl Into<Line<'a>>) -> Rect {
    let focused = app.desk.focus == pane;
    let mark = if focused { app.theme().glyph("▪ ", "* ") } else { "" };
    framed(buffer, area, app.theme(), vec![Line::raw(format!(" {mark}{name} ")), right.into()], focused)
}
