//! lens
use crate::tui::app::App;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
pub(crate) const TOKENS: usize = 6;
pub(super) fn draw(_b: &mut Buffer, _a: Rect, _app: &App) {}
