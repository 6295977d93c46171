//! What of a tensor is shown: whose, which head, scrolled how far; and the page that came for it.

use ratatui::layout::{Constraint, Layout, Rect};

use crate::debugger::command::{Count, Pane, Whose};
use crate::debugger::view::{Header, Page, PageRequest, Shown, Status, TensorPage, TensorRequest, Witness};
use crate::tui::app::App;
use crate::tui::slot::Slot;

/// The state of the tensor pane.
#[derive(Debug, Default)]
pub(crate) struct TensorView {
    /// Index among [`choices`], once the user has chosen.
    choice: Option<usize>,
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
    /// Whether it begins where a divergence is worst: until the user moves.
    at_worst: bool,
    /// The op of which there is no difference.
    alone: Option<(usize, usize)>,
    /// The page.
    pub(crate) slot: Slot,
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
    /// The page on screen.
    pub(super) fn shown(&self) -> Option<&TensorPage> {
        if let Page::Tensor(page) = self.slot.shown()? { Some(page) } else { None }
    }

    /// Looks at an op: at what the user has chosen, as far as it has that.
    pub(crate) fn turn_to(&mut self, forward: usize, row: Option<usize>) {
        let of = row.map(|row| (forward, row));
        if of != self.of {
            (self.of, self.at_worst) = (of, true);
            (self.plane, self.row, self.column) = self.chosen;
        }
    }

    /// Takes what is shown for what the user has chosen.
    fn choose_place(&mut self) {
        self.chosen = (self.plane, self.row, self.column);
        self.at_worst = false;
    }

    fn clamp(&mut self, visible: Option<(usize, usize)>) {
        let (Some(page), Some((rows, columns))) = (self.shown(), visible) else { return };
        let row = self.row.min(page.row_axis.1.saturating_sub(rows));
        let column = self.column.min(page.column_axis.1.saturating_sub(columns));
        let plane = self.plane.min(page.planes.saturating_sub(1));
        (self.row, self.column, self.plane) = (row, column, plane);
    }
}

/// Whose values are shown.
pub(in crate::tui::pane) fn whose(app: &App) -> Shown {
    choices(&app.header).get(app.panes.tensor.choice.unwrap_or(0)).copied().unwrap_or_default()
}

/// The same in the tensor pane: of an op that is wrong by itself, the difference, until the user has chosen.
pub(super) fn whose_here(app: &App) -> Shown {
    let difference = || choices(&app.header).into_iter().find(|shown| matches!(shown, Shown::Difference(..)));
    let tensor = &app.panes.tensor;
    let is_there = tensor.alone.is_none() || tensor.alone != tensor.of;
    // With a suspect on, our engine's values are what is looked for.
    if tensor.choice.is_none() && diverges(app) && app.header.suspect.is_none() && is_there {
        difference().unwrap_or_else(|| whose(app))
    } else {
        whose(app)
    }
}

/// Whether the op that is looked at is wrong by itself.
fn diverges(app: &App) -> bool {
    app.selected_op().is_some_and(|op| op.status == Status::Diverges)
}

/// Shows the values of another witness, or a difference.
pub(crate) fn show_whose(app: &mut App, whose: Whose) {
    let shown = if app.inside(Pane::Tensor).is_some() { whose_here(app) } else { self::whose(app) };
    let choices = choices(&app.header);
    let now = choices.iter().position(|choice| *choice == shown).unwrap_or(0);
    let count = choices.len().max(1).cast_signed();
    let found = match whose {
        Whose::On(by) => Some((now.cast_signed() + by).rem_euclid(count).cast_unsigned()),
        whose => choices.iter().position(|shown| match whose {
            Whose::Engine => *shown == Shown::Values(Witness::Engine),
            Whose::Reference => *shown == Shown::Values(Witness::Reference),
            Whose::Candidate => *shown == Shown::Values(Witness::Candidate),
            Whose::Ratio => matches!(shown, Shown::Ratio(..)),
            Whose::Difference | Whose::On(_) => matches!(shown, Shown::Difference(..)),
        }),
    };
    match found {
        Some(choice) => app.panes.tensor.choice = Some(choice),
        None => app.said.complain("there is no such dump: --reference DUMP and --candidate DUMP give them"),
    }
}

/// Shows a slice: head, first row, first column; `None` leaves one as it is.
pub(crate) fn slice(app: &mut App, parts: &[Option<usize>]) {
    let axes = app.panes.tensor.shown().map_or(parts.len().max(2), |page| page.axes.len());
    if parts.len() > axes {
        return app.said.complain(format!("the activation has {axes} axes, the slice {}", parts.len()));
    }
    // As in numpy, what is left out at the end is all of it.
    let all: Vec<Option<usize>> = parts.iter().copied().chain([None; 3]).take(axes).collect();
    let [.., row, column] = all[..] else { return };
    let tensor = &mut app.panes.tensor;
    if let (3, Some(plane)) = (axes, all[0]) {
        tensor.plane = plane;
    }
    (tensor.row, tensor.column) = (row.unwrap_or(0), column.unwrap_or(0));
    scroll(app, 0, 0);
}

/// Scrolls the numbers.
pub(super) fn scroll(app: &mut App, rows: isize, columns: isize) {
    let visible = visible(app);
    let tensor = &mut app.panes.tensor;
    tensor.row = tensor.row.saturating_add_signed(rows);
    tensor.column = tensor.column.saturating_add_signed(columns);
    tensor.clamp(visible);
    tensor.choose_place();
}

/// Shows another head.
pub(super) fn turn_plane(app: &mut App, head: Count) {
    let planes = app.panes.tensor.shown().map_or(usize::MAX, |page| page.planes);
    app.panes.tensor.plane = head.of(app.panes.tensor.plane, planes);
    app.panes.tensor.choose_place();
}

/// Rows and columns of numbers that fit the pane, if it is on screen.
fn visible(app: &App) -> Option<(usize, usize)> {
    app.inside(Pane::Tensor).map(|inside| parts(inside, app.header.witnesses.len()).numbers())
}

/// The page that the pane wants.
pub(super) fn wanted(app: &App) -> Option<PageRequest> {
    let parts = parts(app.inside(Pane::Tensor)?, app.header.witnesses.len());
    let (rows, columns) = parts.numbers();
    let tensor = &app.panes.tensor;
    let apart = choices(&app.header).into_iter().find_map(|shown| match shown {
        Shown::Difference(of, against) => Some((of, against)),
        Shown::Values(_) | Shown::Ratio(..) => None,
    });
    let worst = apart.filter(|_| tensor.at_worst && diverges(app));
    let (plane, row, column) = if worst.is_some() { (0, 0, 0) } else { (tensor.plane, tensor.row, tensor.column) };
    Some(PageRequest::Tensor(TensorRequest {
        row: app.selected_row()?,
        shown: whose_here(app),
        plane,
        rows: (row, rows),
        columns: (column, columns),
        worst,
        heatmap: app.cells(Rect { width: parts.heatmap.width.saturating_sub(parts.gutter), ..parts.heatmap }),
        magnify: tensor.magnify,
    }))
}

/// Brings the scroll offsets within the page that has come, if it is of what is looked at.
pub(super) fn came(app: &mut App, request: &PageRequest) {
    let visible = visible(app);
    let tensor = &mut app.panes.tensor;
    let PageRequest::Tensor(request) = request else { return };
    if tensor.of.is_none_or(|(_, row)| row != request.row) {
        return;
    }
    let place = tensor.shown().map(|page| page.place);
    match (place, request.shown) {
        (Some(place), _) if request.worst.is_some() => (tensor.plane, tensor.row, tensor.column) = place,
        (None, Shown::Difference(..)) => tensor.alone = tensor.of,
        _ => {}
    }
    tensor.clamp(visible);
}

/// The parts of the tensor pane, top to bottom; any may be empty.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Parts {
    /// What the activation means.
    pub(super) meaning: Rect,
    /// Statistics.
    pub(super) statistics: Rect,
    /// One witness against another.
    pub(super) comparisons: Rect,
    /// Which part of the tensor the numbers are.
    pub(super) place: Rect,
    /// Numbers with their headers.
    pub(super) grid: Rect,
    /// What the colours mean.
    pub(super) caption: Rect,
    /// The heatmap.
    pub(super) heatmap: Rect,
    /// Columns of a number.
    pub(super) number: u16,
    /// Columns of the headers of rows.
    pub(super) gutter: u16,
}

/// Divides the inside of the tensor pane. `witnesses` says how many comparisons there can be.
pub(super) fn parts(inside: Rect, witnesses: usize) -> Parts {
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
    Parts { meaning, statistics, comparisons, place, grid, caption, heatmap, number, gutter }
}

impl Parts {
    /// Rows and columns of numbers that fit.
    pub(super) fn numbers(&self) -> (usize, usize) {
        let columns = self.grid.width.saturating_sub(self.gutter) / (self.number + 1);
        (usize::from(self.grid.height.saturating_sub(1)), usize::from(columns))
    }
}
