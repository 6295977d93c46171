//! Moving within a pane, and within what covers them.

use super::app::App;
use super::pane::{overlaid, spec};
use super::said::Overlay;
use crate::debugger::command::{Direction, Extent, Pane};

/// Scrolls what covers the panes.
pub(crate) fn scroll_overlay(app: &mut App, overlay: Overlay, direction: Direction, extent: Extent, count: usize) {
    let page = usize::from(app.desk.size.1).saturating_sub(4).max(1);
    let last = overlaid(app, overlay.kind).1.len().saturating_sub(page);
    let by = match extent {
        Extent::Line => count,
        Extent::Page => page.saturating_mul(count),
        Extent::End => usize::MAX,
    };
    let scroll = match direction {
        Direction::Down => overlay.scroll.saturating_add(by),
        Direction::Up => overlay.scroll.saturating_sub(by),
        Direction::Left | Direction::Right => overlay.scroll,
    };
    app.said.overlay = Some(Overlay { scroll: scroll.min(last), ..overlay });
}

/// Moves within the pane that has the keys.
pub(crate) fn scroll(app: &mut App, direction: Direction, extent: Extent, count: usize) {
    let count = count.cast_signed();
    let by = match extent {
        Extent::Line => count,
        Extent::Page => count.saturating_mul(page_height(app, app.desk.focus)),
        Extent::End => isize::MAX,
    };
    let pane = spec(app.desk.focus);
    if matches!(direction, Direction::Left | Direction::Right) && extent == Extent::End && !pane.sideways {
        return;
    }
    let (rows, columns) = direction.rows_and_columns(by);
    (pane.scroll)(app, rows, columns);
}

/// Rows that a pane shows at once.
pub(crate) fn page_height(app: &App, pane: Pane) -> isize {
    let height = app.inside(pane).map_or(1, |inside| (spec(pane).rows)(app, inside));
    isize::from(height.max(1).cast_signed())
}
