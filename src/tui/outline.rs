//! The listing as it is read: one line per layer, opened where the debugger stands and where the user looks.

use std::collections::BTreeSet;
use std::ops::Range;

use crate::debugger::view::{Listing, ListingRow, Status};

/// One line of the program pane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Line {
    /// An op: row of the listing.
    Op(usize),
    /// The head of a layer.
    Layer(usize),
}

/// What the user opened, closed and selected.
#[derive(Clone, Debug)]
pub(crate) struct Outline {
    /// The selected line.
    pub(crate) selected: Line,
    /// First line on screen.
    pub(crate) offset: usize,
    opened: BTreeSet<usize>,
    closed: BTreeSet<usize>,
}

impl Default for Outline {
    fn default() -> Self {
        Self { selected: Line::Op(0), offset: 0, opened: BTreeSet::new(), closed: BTreeSet::new() }
    }
}

impl Outline {
    /// Whether the ops of a layer are listed.
    pub(crate) fn is_open(&self, layer: usize, listing: &Listing) -> bool {
        let within = |row: Option<usize>| row.and_then(|row| layer_of(listing, row)) == Some(layer);
        let looked_at = matches!(self.selected, Line::Op(row) if within(Some(row)));
        looked_at || self.opened.contains(&layer) || (within(listing.at) && !self.closed.contains(&layer))
    }

    /// All lines, in order.
    pub(crate) fn lines(&self, listing: &Listing) -> Vec<Line> {
        let mut lines = Vec::with_capacity(listing.rows.len());
        let mut before = None;
        let mut open = false;
        for (row, op) in listing.rows.iter().enumerate() {
            match op.layer {
                None => lines.push(Line::Op(row)),
                Some(layer) => {
                    if before != Some(layer) {
                        lines.push(Line::Layer(layer));
                        open = self.is_open(layer, listing);
                    }
                    if open {
                        lines.push(Line::Op(row));
                    }
                }
            }
            before = op.layer;
        }
        lines
    }

    /// Opens or closes a layer; closing selects its head.
    pub(crate) fn toggle(&mut self, layer: usize, listing: &Listing) {
        if self.is_open(layer, listing) { self.close(layer) } else { self.open(layer) }
    }

    /// Lists the ops of a layer.
    pub(crate) fn open(&mut self, layer: usize) {
        self.closed.remove(&layer);
        self.opened.insert(layer);
    }

    /// Leaves one line of a layer, and selects it.
    pub(crate) fn close(&mut self, layer: usize) {
        self.opened.remove(&layer);
        self.closed.insert(layer);
        self.selected = Line::Layer(layer);
    }

    /// Selects the op computed last; a layer that was closed opens when the debugger enters it.
    pub(crate) fn follow(&mut self, listing: &Listing) {
        self.closed.clear();
        self.selected = Line::Op(listing.at.unwrap_or(0));
    }

    /// Moves the selection by so many lines, as far as there are any.
    pub(crate) fn move_by(&mut self, lines: isize, listing: &Listing) {
        let all = self.lines(listing);
        let Some(last) = all.len().checked_sub(1) else { return };
        self.selected = all[self.index(&all).saturating_add_signed(lines).min(last)];
    }

    /// Where the selection is among the lines.
    pub(crate) fn index(&self, lines: &[Line]) -> usize {
        lines.iter().position(|line| *line == self.selected).unwrap_or(0)
    }

    /// Scrolls as little as keeps the selection on screen, with some lines around it.
    pub(crate) fn scroll_to_selection(&mut self, height: usize, listing: &Listing) {
        let lines = self.lines(listing);
        let index = self.index(&lines);
        let margin = (height / 4).min(3);
        let last = lines.len().saturating_sub(height);
        let lowest = (index + margin + 1).saturating_sub(height);
        self.offset = self.offset.clamp(lowest, lowest.max(index.saturating_sub(margin))).min(last);
    }
}

/// The row whose tensor a line stands for: of a layer, its output.
pub(crate) fn row_of(line: Line, listing: &Listing) -> Option<usize> {
    match line {
        Line::Op(row) => (row < listing.rows.len()).then_some(row),
        Line::Layer(layer) => rows_of(layer, listing).next_back(),
    }
}

/// The rows of a layer.
pub(crate) fn rows_of(layer: usize, listing: &Listing) -> Range<usize> {
    let of_layer = |op: &ListingRow| op.layer == Some(layer);
    let start = listing.rows.iter().position(of_layer).unwrap_or(0);
    let end = listing.rows.iter().rposition(of_layer).map_or(start, |last| last + 1);
    start..end
}

/// The layer that a row belongs to.
pub(crate) fn layer_of(listing: &Listing, row: usize) -> Option<usize> {
    listing.rows.get(row)?.layer
}

/// What the head of a layer says for its ops: the gravest status, the largest error and the largest ratio of local error
/// to noise, NaN above all.
pub(crate) fn worst(ops: &[ListingRow]) -> (Status, Option<f64>, Option<f64>) {
    let grave = |status: Status| match status {
        Status::Ahead => 0,
        Status::NotCompared => 1,
        Status::Agrees => 2,
        Status::Equivalent => 3,
        Status::Follows => 4,
        Status::Diverges => 5,
    };
    let status = ops.iter().map(|op| op.status).max_by_key(|status| grave(*status)).unwrap_or(Status::Ahead);
    let key = |error: &f64| if error.is_nan() { f64::INFINITY } else { *error };
    let largest = |numbers: &mut dyn Iterator<Item = f64>| numbers.max_by(|a, b| key(a).total_cmp(&key(b)));
    let error = largest(&mut ops.iter().filter_map(|op| op.error));
    (status, error, largest(&mut ops.iter().filter_map(|op| op.local.map(|local| local.ratio()))))
}

/// What a row is called where space is short: `2.q_rope`, `layer 2`, `norm`.
pub(crate) fn called(op: &ListingRow) -> &str {
    if op.short.bytes().all(|byte| byte.is_ascii_digit()) { &op.label } else { &op.short }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listing() -> Listing {
        let row = |layer: Option<usize>, label: &str| ListingRow {
            name: label.to_string(),
            short: label.to_string(),
            label: label.to_string(),
            layer,
            status: Status::Ahead,
            error: None,
            local: None,
            breakpoint: false,
            patched: false,
            computed: false,
        };
        let rows =
            vec![row(None, "embed"), row(Some(0), "q"), row(Some(0), "out"), row(Some(1), "q"), row(None, "norm")];
        Listing { rows, ..Listing::default() }
    }

    #[test]
    fn layers_open_where_the_debugger_or_the_user_is() {
        let mut listing = listing();
        let mut outline = Outline::default();
        assert_eq!(outline.lines(&listing), [Line::Op(0), Line::Layer(0), Line::Layer(1), Line::Op(4)]);
        listing.at = Some(3);
        outline.follow(&listing);
        assert_eq!(outline.lines(&listing), [Line::Op(0), Line::Layer(0), Line::Layer(1), Line::Op(3), Line::Op(4)]);
        outline.close(1);
        assert_eq!((outline.lines(&listing).len(), outline.selected), (4, Line::Layer(1)));
        outline.toggle(0, &listing);
        outline.move_by(-1, &listing);
        assert_eq!(outline.selected, Line::Op(2), "the last op of the opened layer");
        outline.move_by(-99, &listing);
        assert_eq!(outline.selected, Line::Op(0));
    }

    #[test]
    fn a_head_stands_for_its_output_and_its_worst_op() {
        let mut listing = listing();
        assert_eq!(row_of(Line::Layer(0), &listing), Some(2));
        listing.rows[1].status = Status::Diverges;
        listing.rows[1].error = Some(0.5);
        listing.rows[2].status = Status::Follows;
        listing.rows[2].error = Some(f64::NAN);
        let (status, error, _) = worst(&listing.rows[rows_of(0, &listing)]);
        assert!(status == Status::Diverges && error.is_some_and(f64::is_nan));
    }
}
