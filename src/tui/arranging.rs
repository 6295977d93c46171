//! Which panes are shown, where, and which of them has the keys; moving within one.

use super::app::{App, Overlay};
use super::layout;
use super::pane::{Place, overlaid, spec};
use crate::debugger::command::{Count, Direction, Extent, Layout, Pane};

impl App {
    /// Shows a pane in the large place and gives it the keys; once more, and the tensor is back.
    pub(crate) fn show_pane(&mut self, pane: Pane) {
        let spec = spec(pane);
        if let Some(sentence) = (spec.missing)(self) {
            return self.complain(sentence);
        }
        let (visible, large) = (self.areas().of(pane).is_some(), self.arranged.large == pane);
        match spec.place {
            Place::Fixed => self.focus = pane,
            _ if visible && large && self.focus == pane && pane != Pane::Tensor => {
                self.arranged.large = Pane::Tensor;
                self.focus = Pane::Program;
            }
            Place::Large if visible && !large => self.focus = pane,
            _ => {
                self.arranged.large = pane;
                self.focus = pane;
                if self.areas().of(pane).is_none() {
                    self.arranged.layout = Layout::Stepping;
                }
            }
        }
    }

    pub(crate) fn arrange(&mut self, layout: Option<Layout>) {
        let all = Layout::NAMED;
        let now = all.iter().position(|(_, layout)| *layout == self.arranged.layout).unwrap_or(0);
        let layout = layout.unwrap_or(all[(now + 1) % all.len()].1);
        if layout == Layout::Comparing && !self.listing.compared {
            return self.arrange(Some(Layout::Attention));
        }
        self.arranged = layout::Arrangement { layout, ..layout::Arrangement::default() };
        self.focus_something();
    }

    /// Where the pane that has the keys is no longer shown, another gets them.
    pub(crate) fn focus_something(&mut self) {
        let panes = self.areas().panes;
        if !panes.is_empty() && !panes.iter().any(|(pane, _)| *pane == self.focus) {
            self.focus = panes.first().map_or(Pane::Program, |(pane, _)| *pane);
        }
    }

    /// The panes that Tab goes through: on a small terminal, those that would be there on a larger one.
    fn turning(&self) -> Vec<Pane> {
        let arranged = layout::Arrangement { zoomed: false, ..self.arranged };
        let (columns, rows) = (self.size.0.max(80), self.size.1.max(24));
        let shown = layout::Shown { curve: false, diagnosis: self.panes.diagnosis.is_some() };
        let areas = layout::areas(columns, rows, self.focus, arranged, shown);
        areas.panes.iter().map(|(pane, _)| *pane).collect()
    }

    /// Gives the keys to a pane that is there.
    pub(crate) fn focus_on(&mut self, pane: Pane) {
        if !self.turning().contains(&pane) {
            return self.complain(format!("{0} is not on the screen: pane {0} shows it", pane.name()));
        }
        self.focus = pane;
    }

    /// Gives the keys to another pane.
    pub(crate) fn turn_focus(&mut self, count: Count) {
        let panes = self.turning();
        let now = panes.iter().position(|pane| *pane == self.focus).unwrap_or(0);
        let next = match count {
            // Panes are counted from 1, as people count.
            Count::To(number) => number.saturating_sub(1).min(panes.len().saturating_sub(1)),
            Count::On(by) => (now.cast_signed() + by).rem_euclid(panes.len().max(1).cast_signed()).cast_unsigned(),
        };
        self.focus = panes.get(next).copied().unwrap_or_default();
    }

    pub(crate) fn resize_pane(&mut self, by: isize) {
        let by = i16::try_from(by.clamp(-200, 200)).unwrap_or(0);
        let (program, below) = spec(self.focus).resize;
        self.arranged.program = (self.arranged.program + program * by).clamp(-200, 200);
        self.arranged.below = (self.arranged.below + below * by).clamp(-200, 200);
    }

    /// Scrolls what covers the panes.
    pub(crate) fn scroll_overlay(&mut self, overlay: Overlay, direction: Direction, extent: Extent, count: usize) {
        let page = usize::from(self.size.1).saturating_sub(4).max(1);
        let last = overlaid(self, overlay.kind).1.len().saturating_sub(page);
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
        let pane = spec(self.focus);
        if matches!(direction, Direction::Left | Direction::Right) && extent == Extent::End && !pane.sideways {
            return;
        }
        let (rows, columns) = direction.rows_and_columns(by);
        (pane.scroll)(self, rows, columns);
    }

    /// Rows that a pane shows at once.
    pub(crate) fn page_height(&self, pane: Pane) -> isize {
        let height = self.inside(pane).map_or(1, |inside| (spec(pane).rows)(self, inside));
        isize::from(height.max(1).cast_signed())
    }
}
