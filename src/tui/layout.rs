//! Where everything stands. From the size of the terminal and what is open, never from a tensor, so that the page
//! of a tensor can be asked for before it is drawn.
//!
//! ```text
//! >= 120 columns                                      80x24
//! status                                              status
//! +- program --+- tensor -------------+- tokens -+    +- program --+- tensor -------------+
//! |            | statistics           |          |    |            | statistics           |
//! |            | comparisons          |          |    |            | comparisons          |
//! |            | numbers              |          |    |            | numbers              |
//! |            |                      +- curve --+    |            | heatmap              |
//! |            | heatmap              |          |    |            +- curve --------------+
//! |            |                      |          |    |            |                      |
//! +------------+----------------------+----------+    +------------+----------------------+
//! hints, message or prompt                            hints, message or prompt
//!
//! < 60x15: the pane that has the keys                 < 20x5: one line
//! ```
//!
//! The curve is there only where something is compared. The diagnosis takes the lower part of the tensor, and the place of
//! the curve where that is there.

use ratatui::layout::{Constraint, Layout, Rect};

/// The areas of the screen; what does not fit has none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Areas {
    /// The line at the top; the only one on a tiny terminal.
    pub(crate) status: Rect,
    /// The program.
    pub(crate) program: Option<Rect>,
    /// The tensor.
    pub(crate) tensor: Option<Rect>,
    /// Why an op is wrong.
    pub(crate) diagnosis: Option<Rect>,
    /// The divergence over the layers.
    pub(crate) curve: Option<Rect>,
    /// The tokens.
    pub(crate) tokens: Option<Rect>,
    /// The line at the bottom.
    pub(crate) bottom: Option<Rect>,
}

/// Which pane has the keys.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Focus {
    /// The program.
    #[default]
    Program,
    /// The tensor.
    Tensor,
    /// The diagnosis.
    Diagnosis,
}

/// What there is to be shown, beside program and tensor.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Shown {
    /// Errors over the layers.
    pub(crate) curve: bool,
    /// Why an op is wrong.
    pub(crate) diagnosis: bool,
}

/// Divides the screen.
pub(crate) fn areas(columns: u16, rows: u16, focus: Focus, shown: Shown) -> Areas {
    let screen = Rect::new(0, 0, columns, rows);
    if columns < 20 || rows < 5 {
        return Areas { status: Rect { height: rows.min(1), ..screen }, ..Areas::default() };
    }
    let [status, body, bottom] =
        Layout::vertical([Constraint::Length(1), Constraint::Min(0), Constraint::Length(1)]).areas(screen);
    let areas = Areas { status, bottom: Some(bottom), ..Areas::default() };
    if columns < 60 || rows < 15 {
        return match focus {
            Focus::Program => Areas { program: Some(body), ..areas },
            Focus::Tensor => Areas { tensor: Some(body), ..areas },
            Focus::Diagnosis => Areas { diagnosis: Some(body), ..areas },
        };
    }
    if columns < 120 {
        let program = if columns < 90 { 38 } else { 44 };
        let [program, right] = Layout::horizontal([Constraint::Length(program), Constraint::Min(0)]).areas(body);
        if shown.diagnosis {
            let [tensor, diagnosis] = under(right, 5);
            return Areas { program: Some(program), tensor: Some(tensor), diagnosis: Some(diagnosis), ..areas };
        }
        let curve = if shown.curve && rows >= 20 { (rows / 4).clamp(6, 12) } else { 0 };
        let [tensor, curve] = Layout::vertical([Constraint::Min(0), Constraint::Length(curve)]).areas(right);
        let curve = (curve.height > 0).then_some(curve);
        return Areas { program: Some(program), tensor: Some(tensor), curve, ..areas };
    }
    let (program, right) = if columns < 150 { (42, 27) } else { (49, (columns / 5).min(40)) };
    let widths = [Constraint::Length(program), Constraint::Min(0), Constraint::Length(right)];
    let [program, tensor, right] = Layout::horizontal(widths).areas(body);
    let (tensor, diagnosis) = if shown.diagnosis {
        let [tensor, diagnosis] = under(tensor, 4);
        (tensor, Some(diagnosis))
    } else {
        (tensor, None)
    };
    let curve = if shown.curve { (rows / 3).clamp(7, 18) } else { 0 };
    let [tokens, curve] = Layout::vertical([Constraint::Min(0), Constraint::Length(curve)]).areas(right);
    let curve = (curve.height > 0).then_some(curve);
    Areas { program: Some(program), tensor: Some(tensor), diagnosis, curve, tokens: Some(tokens), ..areas }
}

/// The tensor with the diagnosis under it, which takes so many eighths.
fn under(pane: Rect, eighths: u16) -> [Rect; 2] {
    Layout::vertical([Constraint::Min(0), Constraint::Length(pane.height * eighths / 8)]).areas(pane)
}

/// The inside of a framed pane.
pub(crate) fn inside(pane: Rect) -> Rect {
    Rect::new(
        pane.x.saturating_add(1),
        pane.y.saturating_add(1),
        pane.width.saturating_sub(2),
        pane.height.saturating_sub(2),
    )
}

/// The parts of the tensor pane, top to bottom; any may be empty.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct TensorParts {
    /// What the activation means.
    pub(crate) meaning: Rect,
    /// Statistics.
    pub(crate) statistics: Rect,
    /// One witness against another.
    pub(crate) comparisons: Rect,
    /// Which part of the tensor the numbers are.
    pub(crate) place: Rect,
    /// Numbers with their headers.
    pub(crate) grid: Rect,
    /// What the colours mean.
    pub(crate) caption: Rect,
    /// The heatmap.
    pub(crate) heatmap: Rect,
    /// Columns of a number.
    pub(crate) number: u16,
    /// Columns of the headers of rows.
    pub(crate) gutter: u16,
}

/// Divides the inside of the tensor pane. `witnesses` says how many comparisons there can be.
pub(crate) fn tensor_parts(inside: Rect, witnesses: usize) -> TensorParts {
    let tall = inside.height >= 22;
    let comparisons = match witnesses {
        0 | 1 => 0,
        2 => 1,
        _ if tall => 3,
        _ => 1,
    };
    let meaning = u16::from(tall);
    let gaps = u16::from(tall);
    let free = inside.height.saturating_sub(meaning + 2 + comparisons + 1 + 3 * gaps);
    // Numbers without a picture say more than a picture without numbers.
    let (caption, heatmap) = if free < 6 { (0, 0) } else { (1, free / 2) };
    let grid = free - caption - heatmap;
    let rows = [meaning, 2, comparisons, gaps, 1, grid, gaps, caption, heatmap, gaps];
    let [meaning, statistics, comparisons, _, place, grid, _, caption, heatmap, _] =
        Layout::vertical(rows.map(Constraint::Length)).areas(inside);
    let (number, gutter) = match inside.width {
        0..54 => (6, (inside.width / 4).min(11)),
        54..100 => (7, 15),
        _ => (8, 18),
    };
    TensorParts { meaning, statistics, comparisons, place, grid, caption, heatmap, number, gutter }
}

impl TensorParts {
    /// Rows and columns of numbers that fit.
    pub(crate) fn numbers(&self) -> (usize, usize) {
        let columns = self.grid.width.saturating_sub(self.gutter) / (self.number + 1);
        (usize::from(self.grid.height.saturating_sub(1)), usize::from(columns))
    }
}
