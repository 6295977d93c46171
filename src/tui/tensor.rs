//! What of a tensor is shown: whose, which head, scrolled how far; and the page that came for it.

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
    /// The page that came last, or a sentence why there is none.
    pub(crate) page: Option<Result<TensorPage, String>>,
    /// Whether a page is on its way.
    pub(crate) waiting: bool,
    /// Whether the debugger has moved since.
    pub(crate) stale: bool,
    asked: Option<TensorRequest>,
}

/// What can be shown, in the order of `t`: each witness, then the difference that the errors are about;
/// with a suspect on, also what it leaves over.
pub(crate) fn choices(header: &Header) -> Vec<Shown> {
    let has = |witness| header.witnesses.contains(&witness);
    let mut choices: Vec<Shown> = header.witnesses.iter().copied().map(Shown::Values).collect();
    let suspect = if has(Witness::Candidate) { Witness::Candidate } else { Witness::Engine };
    let against = if has(Witness::Reference) { Witness::Reference } else { Witness::Engine };
    if suspect != against {
        choices.push(Shown::Difference(suspect, against));
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

    /// Shows the next or the previous choice.
    pub(crate) fn turn(&mut self, forwards: bool, header: &Header) {
        let count = choices(header).len().max(1);
        self.choice = if forwards { self.choice + 1 } else { self.choice + count - 1 } % count;
    }

    /// The page on screen.
    pub(crate) fn shown_page(&self) -> Option<&TensorPage> {
        self.page.as_ref()?.as_ref().ok()
    }

    /// Whether the page for a request has not come yet.
    pub(crate) fn lacks(&self, request: &TensorRequest) -> bool {
        self.stale || !self.asked.as_ref().is_some_and(|asked| same(asked, request))
    }

    /// Notes that a page was asked for.
    pub(crate) fn ask(&mut self, request: TensorRequest) {
        self.asked = Some(request);
        self.waiting = true;
        self.stale = false;
    }

    /// Takes a page in, and brings the scroll offsets within it.
    pub(crate) fn receive(
        &mut self,
        request: &TensorRequest,
        page: Result<TensorPage, String>,
        visible: Option<(usize, usize)>,
    ) {
        if self.asked.as_ref().is_some_and(|asked| same(asked, request)) {
            self.page = Some(page);
            self.clamp(visible);
        }
    }

    /// Scrolls the numbers.
    pub(crate) fn scroll(&mut self, rows: isize, columns: isize, visible: Option<(usize, usize)>) {
        self.row = self.row.saturating_add_signed(rows);
        self.column = self.column.saturating_add_signed(columns);
        self.clamp(visible);
    }

    /// Shows another head.
    pub(crate) fn turn_plane(&mut self, planes: isize) {
        if let Some(page) = self.shown_page() {
            self.plane = self.plane.saturating_add_signed(planes).min(page.planes.saturating_sub(1));
        }
    }

    fn clamp(&mut self, visible: Option<(usize, usize)>) {
        let (Some(page), Some((rows, columns))) = (self.shown_page(), visible) else { return };
        let row = self.row.min(page.row_axis.1.saturating_sub(rows));
        let column = self.column.min(page.column_axis.1.saturating_sub(columns));
        let plane = self.plane.min(page.planes.saturating_sub(1));
        (self.row, self.column, self.plane) = (row, column, plane);
    }
}

fn same(a: &TensorRequest, b: &TensorRequest) -> bool {
    let parts = |r: &TensorRequest| (r.row, r.shown, r.plane, r.rows, r.columns, r.heatmap);
    parts(a) == parts(b)
}
