//! What of a tensor is shown: whose, which head, scrolled how far; and the page that came for it.

use super::slot::Slot;
use crate::debugger::command::{Count, Whose};
use crate::debugger::view::{Header, Shown, TensorPage, TensorRequest, Witness};

/// The state of the tensor pane.
#[derive(Debug, Default)]
pub(crate) struct TensorView {
    /// Index among [`choices`].
    pub(crate) choice: usize,
    /// Which head.
    pub(crate) plane: usize,
    /// First row of the numbers.
    pub(crate) row: usize,
    /// First column of the numbers.
    pub(crate) column: usize,
    /// How many times the heatmap is magnified; 0 is 1.
    pub(crate) magnify: usize,
    /// Head, row and column that the user has chosen: an op that has not as many does not make him lose them.
    chosen: (usize, usize, usize),
    /// The forward and the row of the listing that head, row and column are of.
    of: Option<(usize, usize)>,
    /// The page.
    pub(crate) slot: Slot<TensorRequest, TensorPage>,
}

/// What can be shown, in the order of `t`: each witness, then the difference that the errors are about;
/// with a suspect on, also what it leaves over.
pub(crate) fn choices(header: &Header) -> Vec<Shown> {
    let has = |witness| header.witnesses.contains(&witness);
    let mut choices: Vec<Shown> = header.witnesses.iter().copied().map(Shown::Values).collect();
    let suspect = if has(Witness::Candidate) { Witness::Candidate } else { Witness::Engine };
    let against = if has(Witness::Reference) { Witness::Reference } else { Witness::Engine };
    if suspect != against {
        choices.extend([Shown::Difference(suspect, against), Shown::Ratio(suspect, against)]);
    }
    if header.suspect.is_some() && has(Witness::Candidate) && has(Witness::Reference) {
        choices.push(Shown::Difference(Witness::Candidate, Witness::Engine));
    }
    choices
}

impl TensorView {
    /// Whose values are shown.
    pub(crate) fn shown(&self, header: &Header) -> Shown {
        choices(header).get(self.choice).copied().unwrap_or_default()
    }

    /// Shows another choice; false if there is no such one.
    pub(crate) fn choose(&mut self, whose: Whose, header: &Header) -> bool {
        let choices = choices(header);
        let count = choices.len().max(1);
        let wanted = |witness| choices.iter().position(|shown| *shown == Shown::Values(witness));
        let found = match whose {
            Whose::On(by) => Some((self.choice.cast_signed() + by).rem_euclid(count.cast_signed()).cast_unsigned()),
            Whose::Engine => wanted(Witness::Engine),
            Whose::Reference => wanted(Witness::Reference),
            Whose::Candidate => wanted(Witness::Candidate),
            Whose::Ratio => choices.iter().position(|shown| matches!(shown, Shown::Ratio(..))),
            Whose::Difference => choices.iter().position(|shown| matches!(shown, Shown::Difference(..))),
        };
        self.choice = found.unwrap_or(self.choice);
        found.is_some()
    }

    /// The page on screen.
    pub(crate) fn shown_page(&self) -> Option<&TensorPage> {
        self.slot.shown()
    }

    /// Looks at an op: at what the user has chosen, as far as it has that.
    pub(crate) fn turn_to(&mut self, forward: usize, row: Option<usize>) {
        let of = row.map(|row| (forward, row));
        if of != self.of {
            self.of = of;
            (self.plane, self.row, self.column) = self.chosen;
        }
    }

    /// Takes a page in, and brings the scroll offsets within it.
    pub(crate) fn receive(
        &mut self,
        request: &TensorRequest,
        page: Result<TensorPage, String>,
        visible: Option<(usize, usize)>,
    ) {
        let here = self.of.is_some_and(|(_, row)| row == request.row);
        if self.slot.receive(request, page) && here {
            self.clamp(visible);
        }
    }

    /// Scrolls the numbers.
    pub(crate) fn scroll(&mut self, rows: isize, columns: isize, visible: Option<(usize, usize)>) {
        self.row = self.row.saturating_add_signed(rows);
        self.column = self.column.saturating_add_signed(columns);
        self.clamp(visible);
        self.choose_place();
    }

    /// Shows another head.
    pub(crate) fn turn_plane(&mut self, head: Count) {
        let planes = self.shown_page().map_or(usize::MAX, |page| page.planes);
        self.plane = head.of(self.plane, planes);
        self.choose_place();
    }

    fn choose_place(&mut self) {
        self.chosen = (self.plane, self.row, self.column);
    }

    /// Shows a slice: head, first row, first column; `None` leaves one as it is.
    pub(crate) fn slice(&mut self, parts: &[Option<usize>], visible: Option<(usize, usize)>) -> Result<(), String> {
        let axes = self.shown_page().map_or(parts.len().max(2), |page| page.axes.len());
        if parts.len() > axes {
            return Err(format!("the activation has {axes} axes, the slice {}", parts.len()));
        }
        // As in numpy, what is left out at the end is all of it.
        let all: Vec<Option<usize>> = parts.iter().copied().chain([None; 3]).take(axes).collect();
        let [.., row, column] = all[..] else { return Ok(()) };
        if let (3, Some(plane)) = (axes, all[0]) {
            self.plane = plane;
        }
        self.row = row.unwrap_or(0);
        self.column = column.unwrap_or(0);
        self.clamp(visible);
        self.choose_place();
        Ok(())
    }

    fn clamp(&mut self, visible: Option<(usize, usize)>) {
        let (Some(page), Some((rows, columns))) = (self.shown_page(), visible) else { return };
        let row = self.row.min(page.row_axis.1.saturating_sub(rows));
        let column = self.column.min(page.column_axis.1.saturating_sub(columns));
        let plane = self.plane.min(page.planes.saturating_sub(1));
        (self.row, self.column, self.plane) = (row, column, plane);
    }
}
