//! histogram
use crate::tui::app::App;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
pub(crate) const LOUDEST: usize = 8;
pub(crate) fn bins(_i: Rect) -> usize {
    20
}
pub(super) fn draw(_b: &mut Buffer, _a: Rect, _app: &App) {}
