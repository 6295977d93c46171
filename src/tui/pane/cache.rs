//! cache
use crate::tui::app::App;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
pub(crate) struct CacheParts {
    pub(crate) grid: Rect,
    pub(crate) head: Rect,
}
pub(crate) fn parts(inside: Rect) -> CacheParts {
    CacheParts { grid: inside, head: Rect::default() }
}
pub(super) fn draw(_b: &mut Buffer, _a: Rect, _app: &App) {}
