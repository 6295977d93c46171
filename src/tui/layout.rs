//! Where everything stands. From the size of the terminal and what is open, never from a tensor, so that the page
//! of a tensor can be asked for before it is drawn.
//!
//! ```text
//! >= 120 columns, stepping                            80x24
//! status                                              status
//! +- program --+- large -------------+- tokens -+     +- program --+- large --------------+
//! |            |                     |          |     |            |                      |
//! |            |                     +- curve --+     |            |                      |
//! |            |                     |          |     |            +- curve --------------+
//! |            |                     |          |     |            |                      |
//! +------------+---------------------+----------+     +------------+----------------------+
//! hints, message or prompt                            hints, message or prompt
//!
//! comparing: divergence above the tensor, beside the program. attention: patterns, and the lens beside or below them.
//! < 60x15, or zoomed: the pane that has the keys      < 20x5: one line
//! ```
//!
//! The large place has the tensor, or in its stead the histogram, attention, lens, cache, tokens or log.
//! The curve is there only where something is compared. The diagnosis takes the lower part of the large place, and the
//! place of the curve where that is there.

use ratatui::layout::{Constraint, Layout as Split, Rect};

use crate::debugger::command::{Layout, Pane};

/// The areas of the screen; what does not fit has none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Areas {
    /// The line at the top; the only one on a tiny terminal.
    pub(crate) status: Rect,
    /// The panes, in the order of Tab.
    pub(crate) panes: Vec<(Pane, Rect)>,
    /// The line at the bottom.
    pub(crate) bottom: Option<Rect>,
}

impl Areas {
    /// The area of a pane, if it is on screen.
    pub(crate) fn of(&self, pane: Pane) -> Option<Rect> {
        self.panes.iter().find(|(known, _)| *known == pane).map(|(_, area)| *area)
    }
}

/// What the user has arranged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Arrangement {
    /// Which panes go together.
    pub(crate) layout: Layout,
    /// What stands in the large place.
    pub(crate) large: Pane,
    /// Only the pane that has the keys.
    pub(crate) zoomed: bool,
    /// Columns that the program has more than it would.
    pub(crate) program: i16,
    /// Rows that what lies under the large place has more than it would.
    pub(crate) below: i16,
}

impl Default for Arrangement {
    fn default() -> Self {
        Self { layout: Layout::default(), large: Pane::Tensor, zoomed: false, program: 0, below: 0 }
    }
}

/// What there is to be shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Shown {
    /// Errors over the layers.
    pub(crate) curve: bool,
    /// Why an op is wrong.
    pub(crate) diagnosis: bool,
}

/// A length changed by what the user wants, within bounds.
fn resized(length: u16, by: i16, least: u16, most: u16) -> u16 {
    length.saturating_add_signed(by).clamp(least.min(most), most)
}

/// Divides the screen.
pub(crate) fn areas(columns: u16, rows: u16, focus: Pane, arranged: Arrangement, shown: Shown) -> Areas {
    let screen = Rect::new(0, 0, columns, rows);
    if columns < 20 || rows < 5 {
        return Areas { status: Rect { height: rows.min(1), ..screen }, ..Areas::default() };
    }
    let [status, body, bottom] =
        Split::vertical([Constraint::Length(1), Constraint::Min(0), Constraint::Length(1)]).areas(screen);
    let areas = |panes| Areas { status, bottom: Some(bottom), panes };
    if columns < 60 || rows < 15 || arranged.zoomed {
        return areas(vec![(focus, body)]);
    }
    let wide = columns >= 120;
    let program = match columns {
        0..90 => 38,
        90..120 => 44,
        120..150 => 42,
        _ => 55,
    };
    let program = resized(program, arranged.program, 12, columns - 30);
    let [program, right] = Split::horizontal([Constraint::Length(program), Constraint::Min(0)]).areas(body);
    let mut panes = vec![(Pane::Program, program)];
    match arranged.layout {
        Layout::Stepping => panes.extend(stepping(right, columns, rows, arranged, shown)),
        Layout::Comparing => {
            let half = resized(right.height / 2, arranged.below, 6, right.height - 6);
            let [above, below] = Split::vertical([Constraint::Min(0), Constraint::Length(half)]).areas(right);
            let below_pane = if shown.diagnosis { Pane::Diagnosis } else { other(arranged.large, Pane::Divergence) };
            panes.extend([(Pane::Divergence, above), (below_pane, below)]);
        }
        Layout::Attention if wide => {
            let third = resized(right.width * 2 / 5, arranged.below, 30, right.width - 30);
            let [left, right] = Split::horizontal([Constraint::Min(0), Constraint::Length(third)]).areas(right);
            panes.extend([(Pane::Attention, left), (Pane::Lens, right)]);
        }
        Layout::Attention if rows >= 40 => {
            let half = resized(body.height / 2, arranged.below, 6, body.height - 6);
            let [above, below] = Split::vertical([Constraint::Min(0), Constraint::Length(half)]).areas(body);
            panes = vec![(Pane::Attention, above), (Pane::Lens, below)];
        }
        Layout::Attention => panes = vec![(Pane::Attention, body)],
    }
    areas(panes)
}

/// What stands in the large place, unless it has a place already: then the tensor.
fn other(large: Pane, placed: Pane) -> Pane {
    if large == placed { Pane::Tensor } else { large }
}

fn stepping(right: Rect, columns: u16, rows: u16, arranged: Arrangement, shown: Shown) -> Vec<(Pane, Rect)> {
    let wide = columns >= 120;
    let large = arranged.large;
    let side = if columns < 150 { 27 } else { (columns / 5).min(40) };
    let curve = shown.curve && large != Pane::Divergence;
    // Large, the tokens leave the side to the curve, or to nobody.
    let tokens = large != Pane::Tokens;
    let (place, right) = if wide && (tokens || curve) {
        let [place, right] = Split::horizontal([Constraint::Min(0), Constraint::Length(side)]).areas(right);
        (place, Some(right))
    } else {
        (right, None)
    };
    let (small, height) = match (right, shown.diagnosis) {
        (_, true) => (Some(Pane::Diagnosis), place.height * if wide { 4 } else { 5 } / 8),
        (None, _) if curve && rows >= 20 => (Some(Pane::Curve), (rows / 4).clamp(6, 12)),
        _ => (None, 0),
    };
    let mut panes = Vec::new();
    if let Some(small) = small {
        let height = resized(height, arranged.below, 3, place.height - 5);
        let [above, below] = Split::vertical([Constraint::Min(0), Constraint::Length(height)]).areas(place);
        panes.extend([(large, above), (small, below)]);
    } else {
        panes.push((large, place));
    }
    if let Some(right) = right {
        let height = match (curve, tokens) {
            (false, _) => 0,
            (true, true) => (rows / 3).clamp(7, 18),
            (true, false) => right.height,
        };
        let [above, below] = Split::vertical([Constraint::Min(0), Constraint::Length(height)]).areas(right);
        if tokens {
            panes.push((Pane::Tokens, above));
        }
        if curve {
            panes.push((Pane::Curve, below));
        }
    }
    panes
}

/// The inside of a framed pane.
pub(crate) fn inside(pane: Rect) -> Rect {
    let (width, height) = (pane.width.saturating_sub(2), pane.height.saturating_sub(2));
    Rect::new(pane.x.saturating_add(1), pane.y.saturating_add(1), width, height)
}
