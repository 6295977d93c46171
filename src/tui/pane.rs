//! The screen, drawn: a function of the state, one file per pane.

mod attention;
mod cache;
mod curve;
mod diagnosis;
mod errors;
mod help;
mod histogram;
mod information;
mod lens;
mod log;
mod player;
mod program;
mod prompt;
mod status;
mod tensor;
mod tokens;

use ratatui::Frame;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::Line;
use ratatui::widgets::{Block, Clear, Widget};

use super::app::{App, OverlayKind};
use super::layout;
use super::theme::{Role, Theme};
use crate::debugger::command::Pane;

pub(crate) use attention::parts as attention_parts;
pub(crate) use cache::{parts as cache_parts, selected as cache_selected};
pub(crate) use errors::hit as divergence_hit;
pub(crate) use histogram::{LOUDEST, bins as histogram_bins};
pub(crate) use lens::{TOKENS as LENS_TOKENS, row_at as lens_row_at, selected as lens_selected};
pub(crate) use tokens::scrolled as tokens_scrolled;

/// Draws the screen.
pub(crate) fn draw(frame: &mut Frame, app: &App) {
    let areas = app.areas_of(frame.area().width, frame.area().height);
    let buffer = frame.buffer_mut();
    status::draw(buffer, areas.status, app);
    for (pane, area) in areas.panes {
        match pane {
            Pane::Program => program::draw(buffer, area, app),
            Pane::Tensor => tensor::draw(buffer, area, app),
            Pane::Divergence => errors::draw(buffer, area, app),
            Pane::Diagnosis => diagnosis::draw(buffer, area, app),
            Pane::Curve => curve::draw(buffer, area, app),
            Pane::Tokens => tokens::draw(buffer, area, app),
            Pane::Log => log::draw(buffer, area, app),
            Pane::Attention => attention::draw(buffer, area, app),
            Pane::Lens => lens::draw(buffer, area, app),
            Pane::Cache => cache::draw(buffer, area, app),
            Pane::Histogram => histogram::draw(buffer, area, app),
        }
    }
    if let (Some(_), Some(bottom)) = (app.overlay, areas.bottom) {
        let area = Rect { y: 1, height: bottom.y - 1, ..frame.area() };
        overlay(frame.buffer_mut(), area, app);
    }
    let cursor = areas.bottom.and_then(|area| prompt::draw(frame.buffer_mut(), area, app));
    app.theme.paint_ground(frame.buffer_mut());
    if let Some(cursor) = cursor {
        frame.set_cursor_position(cursor);
    }
}

/// The lines of the diagnosis, in so many columns, and where each suspect begins.
pub(crate) fn diagnosis_lines(app: &App, width: usize) -> (Vec<Line<'static>>, Vec<usize>) {
    diagnosis::lines(app, width)
}

/// The layer whose bar stands in a column of the small curve.
pub(crate) fn layer_at(inside: Rect, column: u16, layers: usize) -> Option<usize> {
    super::widget::curve::layer_at(inside, column, layers)
}

/// The lines of an overlay.
pub(crate) fn overlay_lines(app: &App, kind: OverlayKind) -> Vec<Line<'static>> {
    match kind {
        OverlayKind::Help => help::lines(app),
        OverlayKind::Information => information::lines(app),
        OverlayKind::Output => log::output(app),
    }
}

fn overlay(buffer: &mut Buffer, area: Rect, app: &App) {
    let Some(overlay) = app.overlay else { return };
    let lines = overlay_lines(app, overlay.kind);
    let title = match overlay.kind {
        OverlayKind::Help => "help: j k scroll, esc closes",
        OverlayKind::Information => "information: j k scroll, esc closes",
        OverlayKind::Output => "output: j k scroll, esc closes",
    };
    Clear.render(area, buffer);
    let inside = framed(buffer, area, app.theme, vec![Line::raw(title)], true);
    for (line, y) in lines.iter().skip(overlay.scroll).zip(inside.top()..inside.bottom()) {
        buffer.set_line(inside.x, y, line, inside.width);
    }
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

/// Says in the frame how much lies above and below, where not all lines fit.
fn more(buffer: &mut Buffer, area: Rect, app: &App, first: usize, lines: usize) {
    let height = usize::from(area.height.saturating_sub(2));
    shown(buffer, area, app, (first, height), lines);
}

/// The same for a list that is not as high as its pane.
fn shown(buffer: &mut Buffer, area: Rect, app: &App, (first, height): (usize, usize), lines: usize) {
    if lines <= height || area.width < 24 || area.height < 2 {
        return;
    }
    let text = format!(" {}-{} of {lines} ", first + 1, (first + height).min(lines));
    let x = area.right().saturating_sub(text.len() as u16 + 1);
    buffer.set_stringn(x, area.bottom() - 1, &text, text.len(), app.theme.style(Role::Dim));
}

/// A title with a space on each side, and a mark on the pane that has the keys.
fn title(app: &App, pane: Pane, text: &str) -> String {
    let mark = if app.focus == pane { app.theme.glyph("▪ ", "* ") } else { "" };
    format!(" {mark}{text} ")
}
