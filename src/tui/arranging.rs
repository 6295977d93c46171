//! Which panes are shown, where, and which of them has the keys.

use super::app::App;
use super::layout;
use crate::debugger::command::{Count, Layout, Pane};

impl App {
    /// Shows a pane in the large place and gives it the keys; once more, and the tensor is back.
    pub(crate) fn show_pane(&mut self, pane: Pane) {
        if matches!(pane, Pane::Divergence | Pane::Curve) && !self.listing.compared {
            return self.complain("there are no errors: nothing to compare with was given");
        }
        let visible = self.areas().of(pane).is_some();
        match pane {
            Pane::Diagnosis if self.diagnosis.is_none() => self.complain("nothing is diagnosed: d does that"),
            Pane::Program | Pane::Diagnosis => self.focus = pane,
            _ if visible && self.focus == pane && self.arranged.large == pane && pane != Pane::Tensor => {
                self.arranged.large = Pane::Tensor;
                self.focus = Pane::Program;
            }
            _ if visible && self.arranged.large != pane && pane != Pane::Tokens => self.focus = pane,
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
        let shown = layout::Shown { curve: false, diagnosis: self.diagnosis.is_some() };
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
        match self.focus {
            Pane::Program => self.arranged.program = (self.arranged.program + 2 * by).clamp(-200, 200),
            Pane::Diagnosis | Pane::Curve | Pane::Lens => {
                self.arranged.below = (self.arranged.below + by).clamp(-200, 200);
            }
            _ => self.arranged.program = (self.arranged.program - 2 * by).clamp(-200, 200),
        }
    }
}
