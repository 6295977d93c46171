//! Which panes are shown, where, and which of them has the keys.

use super::layout::{self, Areas, Arrangement, Shown};
use crate::debugger::command::{Count, Layout, Pane};

/// Where a command shows a pane.
#[derive(Clone, Copy)]
pub(crate) enum Place {
    /// Where it is already; else in the large place.
    Large,
    /// In the large place, even if it is small already.
    Enlarged,
    /// Where it always is.
    Fixed,
}

/// How the screen is divided.
#[derive(Debug, Default)]
pub(crate) struct Desk {
    /// Columns and rows of the terminal.
    pub(crate) size: (u16, u16),
    /// Which pane has the keys.
    pub(crate) focus: Pane,
    /// How the panes are arranged.
    pub(crate) arranged: Arrangement,
}

impl Desk {
    /// The areas of a screen of so many columns and rows.
    pub(crate) fn areas(&self, (columns, rows): (u16, u16), there: Shown) -> Areas {
        layout::areas(columns, rows, self.focus, self.arranged, there)
    }

    /// Shows a pane in the large place and gives it the keys; once more, and the tensor is back.
    pub(crate) fn show(&mut self, pane: Pane, place: Place, there: Shown) {
        let shows = |desk: &Self| desk.areas(desk.size, there).of(pane).is_some();
        let (visible, large) = (shows(self), self.arranged.large == pane);
        match place {
            Place::Fixed => self.focus = pane,
            _ if visible && large && self.focus == pane && pane != Pane::Tensor => {
                self.arranged.large = Pane::Tensor;
                self.focus = Pane::Program;
            }
            Place::Large if visible && !large => self.focus = pane,
            _ => {
                self.arranged.large = pane;
                self.focus = pane;
                if !shows(self) {
                    self.arranged.layout = Layout::Stepping;
                }
            }
        }
    }

    /// Arranges the panes so; as the next layout has them without one.
    pub(crate) fn arrange(&mut self, layout: Option<Layout>, there: Shown) {
        let all = Layout::NAMED;
        let now = all.iter().position(|(_, layout)| *layout == self.arranged.layout).unwrap_or(0);
        let layout = match layout.unwrap_or(all[(now + 1) % all.len()].1) {
            Layout::Comparing if !there.curve => Layout::Attention,
            other => other,
        };
        self.arranged = Arrangement { layout, ..Arrangement::default() };
        self.focus_something(there);
    }

    /// Where the pane that has the keys is no longer shown, another gets them.
    pub(crate) fn focus_something(&mut self, there: Shown) {
        let panes = self.areas(self.size, there).panes;
        if !panes.is_empty() && !panes.iter().any(|(pane, _)| *pane == self.focus) {
            self.focus = panes.first().map_or(Pane::Program, |(pane, _)| *pane);
        }
    }

    /// The panes that Tab goes through: on a small terminal, those that would be there on a larger one.
    fn turning(&self, there: Shown) -> Vec<Pane> {
        let arranged = Arrangement { zoomed: false, ..self.arranged };
        let (columns, rows) = (self.size.0.max(80), self.size.1.max(24));
        let areas = layout::areas(columns, rows, self.focus, arranged, Shown { curve: false, ..there });
        areas.panes.iter().map(|(pane, _)| *pane).collect()
    }

    /// Gives the keys to a pane that is there; a sentence where it is not.
    pub(crate) fn focus_on(&mut self, pane: Pane, there: Shown) -> Result<(), String> {
        if !self.turning(there).contains(&pane) {
            return Err(format!("{0} is not on the screen: pane {0} shows it", pane.name()));
        }
        self.focus = pane;
        Ok(())
    }

    /// Gives the keys to another pane.
    pub(crate) fn turn_focus(&mut self, count: Count, there: Shown) {
        let panes = self.turning(there);
        let now = panes.iter().position(|pane| *pane == self.focus).unwrap_or(0);
        let next = match count {
            // Panes are counted from 1, as people count.
            Count::To(number) => number.saturating_sub(1).min(panes.len().saturating_sub(1)),
            Count::On(by) => (now.cast_signed() + by).rem_euclid(panes.len().max(1).cast_signed()).cast_unsigned(),
        };
        self.focus = panes.get(next).copied().unwrap_or_default();
    }

    /// Makes the pane that has the keys larger: the program and the small pane by so many columns and rows for each step.
    pub(crate) fn resize(&mut self, (program, below): (i16, i16), by: isize) {
        let by = i16::try_from(by.clamp(-200, 200)).unwrap_or(0);
        self.arranged.program = (self.arranged.program + program * by).clamp(-200, 200);
        self.arranged.below = (self.arranged.below + below * by).clamp(-200, 200);
    }
}
