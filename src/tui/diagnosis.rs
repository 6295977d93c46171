//! The diagnosis of an op: which suspect is selected, and what keys do to it.

use super::app::App;
use super::layout;
use crate::debugger::command::Pane;
use crate::debugger::view::Diagnosis;

/// The state of the diagnosis pane.
#[derive(Debug)]
pub(crate) struct DiagnosisView {
    /// What was found.
    pub(crate) diagnosis: Diagnosis,
    /// Index of the selected suspect.
    pub(crate) selected: usize,
    /// Lines of the selected suspect that are scrolled away.
    pub(crate) scroll: usize,
}

impl App {
    /// Whether the diagnosis on screen is that of the selected op.
    pub(crate) fn is_diagnosed(&self) -> bool {
        let selected = self.selected_row();
        let open = self.diagnosis.as_ref().map(|view| &view.diagnosis);
        open.is_some_and(|open| Some(open.row) == selected && open.forward == self.listing.forward)
    }

    /// Takes in a diagnosis, or the same one after a suspect was switched on or off.
    pub(crate) fn diagnosed(&mut self, diagnosis: Diagnosis) {
        match &mut self.diagnosis {
            Some(view) if (view.diagnosis.row, view.diagnosis.forward) == (diagnosis.row, diagnosis.forward) => {
                view.diagnosis = diagnosis;
                let makes = self.header.suspect.clone();
                self.say(format!("our engine computes {}", makes.as_deref().unwrap_or("as the model says")));
            }
            _ => {
                self.diagnosis = Some(DiagnosisView { diagnosis, selected: 0, scroll: 0 });
                self.focus = Pane::Diagnosis;
            }
        }
    }

    /// Closes the diagnosis; a suspect that is on stays on.
    pub(crate) fn close_diagnosis(&mut self) {
        self.diagnosis = None;
        if self.focus == Pane::Diagnosis {
            self.focus = Pane::Program;
        }
    }

    /// Selects another suspect; below the last one, scrolls.
    pub(crate) fn move_diagnosis(&mut self, rows: isize) {
        let Some(pane) = self.areas().of(Pane::Diagnosis).map(layout::inside) else { return };
        let Some(view) = &self.diagnosis else { return };
        let last = view.diagnosis.suspects.len().saturating_sub(1);
        let (lines, starts) = super::pane::diagnosis_lines(self, usize::from(pane.width));
        let below = lines.len().saturating_sub(usize::from(pane.height));
        let most = below.saturating_sub(starts.get(last).copied().unwrap_or(0));
        let Some(view) = &mut self.diagnosis else { return };
        if rows > 0 && view.selected < last {
            (view.selected, view.scroll) = (view.selected.saturating_add_signed(rows).min(last), 0);
        } else if rows < 0 && view.scroll == 0 {
            view.selected = view.selected.saturating_add_signed(rows);
        } else {
            view.scroll = view.scroll.saturating_add_signed(rows).min(most);
        }
    }

    /// The line that switches the selected suspect on or off.
    pub(crate) fn trying(&mut self) -> Option<String> {
        let view = self.diagnosis.as_ref()?;
        let suspect = view.diagnosis.suspects.get(view.selected)?;
        if suspect.can_be_switched {
            return Some(format!("try {}", view.selected + 1));
        }
        self.complain(format!("{} cannot be tried: it is no change of one op", suspect.id));
        None
    }
}
