//! Moving within a pane, or within what covers the panes.

use super::app::{App, Overlay};
use super::outline::{self, Line};
use crate::debugger::command::{Count, Direction, Extent, Pane};

impl App {
    /// Scrolls what covers the panes.
    pub(crate) fn scroll_overlay(&mut self, overlay: Overlay, direction: Direction, extent: Extent, count: usize) {
        let page = usize::from(self.size.1).saturating_sub(4).max(1);
        let last = super::pane::overlay_lines(self, overlay.kind).len().saturating_sub(page);
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
        self.overlay = Some(Overlay { scroll: scroll.min(last), ..overlay });
    }

    /// Moves within the pane that has the keys.
    pub(crate) fn scroll(&mut self, direction: Direction, extent: Extent, count: usize) {
        let count = count.cast_signed();
        let by = match extent {
            Extent::Line => count,
            Extent::Page => count.saturating_mul(self.page_height(self.focus)),
            Extent::End => isize::MAX,
        };
        let sideways = matches!(direction, Direction::Left | Direction::Right);
        if sideways && extent == Extent::End && matches!(self.focus, Pane::Program | Pane::Divergence) {
            return;
        }
        let (rows, columns) = direction.rows_and_columns(by);
        self.scroll_pane(self.focus, rows, columns);
    }

    /// Moves within a pane.
    pub(crate) fn scroll_pane(&mut self, pane: Pane, rows: isize, columns: isize) {
        match pane {
            Pane::Diagnosis => self.move_diagnosis(rows),
            Pane::Tensor => {
                let visible = self.tensor_parts().map(|parts| parts.numbers());
                self.tensor.scroll(rows, columns, visible);
            }
            Pane::Log => self.log.scroll(rows, self.page_height(Pane::Log).cast_unsigned()),
            Pane::Program | Pane::Divergence | Pane::Curve | Pane::Histogram => self.scroll_program(rows, columns),
            Pane::Attention => {
                self.turn_token(Count::On(rows));
                self.turn_head(Count::On(columns));
            }
            Pane::Lens => {
                if let Some(page) = self.views.lens.shown().filter(|_| rows != 0) {
                    let row = Count::On(rows).of(super::pane::lens_selected(page, self), page.rows.len());
                    self.views.lens_row = Some(row);
                }
                self.turn_token(Count::On(columns));
            }
            Pane::Cache => {
                let layers = self.views.cache.shown().map_or(1, |page| page.layers.len());
                if rows != 0 {
                    self.views.cache_layer = Some(Count::On(rows).of(super::pane::cache_selected(self), layers));
                }
                self.turn_head(Count::On(columns));
            }
            Pane::Tokens => {
                if let Some(area) = self.areas().of(pane).filter(|_| rows != 0) {
                    self.views.first_token = Some(super::pane::tokens_scrolled(self, area, rows));
                }
            }
        }
    }

    pub(crate) fn scroll_program(&mut self, rows: isize, columns: isize) {
        if rows != 0 {
            self.outline.move_by(rows, &self.listing);
        }
        let layer = match self.outline.selected {
            Line::Layer(layer) => Some(layer),
            Line::Op(row) => outline::layer_of(&self.listing, row),
        };
        match layer {
            Some(layer) if columns > 0 => self.outline.open(layer),
            Some(layer) if columns < 0 => self.outline.close(layer),
            _ => {}
        }
    }
}
