//! The diagnosis: the mistakes that make a tensor, how much of its error each explains, and what to do; which of them is
//! selected.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};

use super::PaneSpec;
use crate::debugger::command::Pane;
use crate::debugger::view::{Diagnosis, SuspectLine};
use crate::tui::app::App;
use crate::tui::desk::Place;
use crate::tui::text;
use crate::tui::text::wrapped;
use crate::tui::theme::Role;

/// Columns of the text of a suspect before which nothing stands.
const INDENT: usize = 2;
/// Columns that a pane has before it says in words what is explained.
const WIDE: usize = 56;

/// Its row.
pub(super) const SPEC: PaneSpec = PaneSpec {
    draw,
    scroll: |app, rows, _| move_diagnosis(app, rows),
    enter: trying,
    keeps: true,
    missing: |app| app.panes.diagnosis.is_none().then_some("nothing is diagnosed: d does that"),
    place: Place::Fixed,
    resize: (0, 1),
    ..PaneSpec::PLAIN
};

/// The state of the diagnosis pane.
#[derive(Debug)]
pub(crate) struct DiagnosisView {
    /// What was found.
    diagnosis: Diagnosis,
    /// Index of the selected suspect.
    selected: usize,
    /// Lines of the selected suspect that are scrolled away.
    scroll: usize,
}

/// Whether the diagnosis on screen is that of the selected op.
pub(crate) fn is_diagnosed(app: &App) -> bool {
    let of = |view: &DiagnosisView| (Some(view.diagnosis.row), view.diagnosis.forward);
    app.panes.diagnosis.as_ref().map(of) == Some((app.selected_row(), app.listing.forward))
}

/// Takes in a diagnosis, or the same one after a suspect was switched on or off.
pub(crate) fn diagnosed(app: &mut App, diagnosis: Diagnosis) {
    match &mut app.panes.diagnosis {
        Some(view) if (view.diagnosis.row, view.diagnosis.forward) == (diagnosis.row, diagnosis.forward) => {
            view.diagnosis = diagnosis;
            let makes = app.header.suspect.clone();
            app.said.say(format!("our engine computes {}", makes.as_deref().unwrap_or("as the model says")));
        }
        _ => {
            app.panes.diagnosis = Some(DiagnosisView { diagnosis, selected: 0, scroll: 0 });
            app.desk.focus = Pane::Diagnosis;
        }
    }
}

/// Closes the diagnosis; a suspect that is on stays on.
pub(crate) fn close_diagnosis(app: &mut App) {
    app.panes.diagnosis = None;
    if app.desk.focus == Pane::Diagnosis {
        app.desk.focus = Pane::Program;
    }
}

/// Selects another suspect; below the last one, scrolls.
fn move_diagnosis(app: &mut App, rows: isize) {
    let Some(pane) = app.inside(Pane::Diagnosis) else { return };
    let Some(view) = &app.panes.diagnosis else { return };
    let last = view.diagnosis.suspects.len().saturating_sub(1);
    let (lines, starts) = lines(app, usize::from(pane.width));
    let below = lines.len().saturating_sub(usize::from(pane.height));
    let most = below.saturating_sub(starts.get(last).copied().unwrap_or(0));
    let Some(view) = &mut app.panes.diagnosis else { return };
    if rows > 0 && view.selected < last {
        (view.selected, view.scroll) = (view.selected.saturating_add_signed(rows).min(last), 0);
    } else if rows < 0 && view.scroll == 0 {
        view.selected = view.selected.saturating_add_signed(rows);
    } else {
        view.scroll = view.scroll.saturating_add_signed(rows).min(most);
    }
}

/// The line that switches the selected suspect on or off.
fn trying(app: &mut App) -> Option<String> {
    let view = app.panes.diagnosis.as_ref()?;
    let suspect = view.diagnosis.suspects.get(view.selected)?;
    if suspect.can_be_switched {
        return Some(format!("try {}", view.selected + 1));
    }
    app.said.complain(format!("{} cannot be tried: it is no change of one op", suspect.id));
    None
}

/// Draws it.
fn draw(buffer: &mut Buffer, area: Rect, app: &App) {
    let Some(view) = &app.panes.diagnosis else { return };
    let enter = match view.diagnosis.suspects.get(view.selected) {
        Some(suspect) if suspect.on => " Enter: switch off ",
        Some(suspect) if suspect.can_be_switched => " Enter: try it ",
        _ => "",
    };
    let name = format!("why {}", view.diagnosis.name);
    let inside = super::frame(buffer, area, app, Pane::Diagnosis, &name, enter);
    let (lines, starts) = lines(app, usize::from(inside.width));
    let height = usize::from(inside.height);
    let start = starts.get(view.selected).copied().unwrap_or(0);
    let first = (start + view.scroll).min(lines.len().saturating_sub(height));
    for ((index, line), y) in lines.iter().enumerate().skip(first).zip(inside.top()..inside.bottom()) {
        buffer.set_line(inside.x, y, line, inside.width);
        if starts.get(view.selected) == Some(&index) {
            let selected = app.theme().style(Role::Selected(app.desk.focus == Pane::Diagnosis));
            buffer.set_style(Rect { y, height: 1, ..inside }, selected);
        }
    }
    let hidden = lines.len().saturating_sub(first + height);
    if hidden > 0 && area.width > 24 {
        let more = format!(" {hidden} more ");
        let x = area.right().saturating_sub(more.len() as u16 + 1);
        buffer.set_stringn(x, area.bottom() - 1, &more, more.len(), app.theme().style(Role::Dim));
    }
}

/// All lines, and where each suspect begins.
fn lines(app: &App, width: usize) -> (Vec<Line<'static>>, Vec<usize>) {
    let Some(view) = &app.panes.diagnosis else { return (Vec::new(), Vec::new()) };
    let diagnosis = &view.diagnosis;
    let (mut lines, mut starts) = (Vec::new(), Vec::new());
    for (index, suspect) in diagnosis.suspects.iter().enumerate() {
        starts.push(lines.len());
        lines.push(head(app, index, suspect, width));
        lines.extend(body(app, diagnosis, suspect, width));
    }
    if starts.is_empty() {
        let why = "no suspect: too little was dumped around this op to try one, or the tensor is another one than its name \
                   says; layerstep diff tells what is known";
        lines.extend(wrapped(why, width).into_iter().map(Line::raw));
    }
    (lines, starts)
}

/// Its id, whether our engine makes it, and the share of the error that it explains.
fn head(app: &App, index: usize, suspect: &SuspectLine, width: usize) -> Line<'static> {
    let share = 100.0 * suspect.explained;
    let share = if width < WIDE { format!("{share:.3} %") } else { format!("explains {share:.3} % of the error") };
    let on = if suspect.on { " ON" } else { "" };
    let room = width.saturating_sub(share.len() + on.len() + 1);
    let id = text::fit(&format!("{} {}", index + 1, suspect.id), room, app.theme().ellipsis());
    let gap = " ".repeat(width.saturating_sub(text::width(&id) + on.len() + share.len()));
    Line::from(vec![
        Span::styled(id, app.theme().style(Role::Current)),
        Span::styled(on, app.theme().style(Role::Breakpoint)),
        Span::raw(gap + &share),
    ])
}

fn body(app: &App, diagnosis: &Diagnosis, suspect: &SuspectLine, width: usize) -> Vec<Line<'static>> {
    let theme = app.theme();
    let floor = diagnosis.local.map_or(String::new(), |local| format!(", noise floor {}", text::short(local.floor)));
    let left = format!("left over: {}{floor}", text::short(suspect.residual));
    let labelled =
        |label: &str, words: &str| if words.is_empty() { String::new() } else { format!("{label}: {words}") };
    let paragraphs = [
        (suspect.summary.clone(), Style::new()),
        (labelled("fix", &suspect.fix), theme.style(Role::Good)),
        (left, Style::new()),
        (labelled("shows", &suspect.symptom), theme.style(Role::Dim)),
    ];
    let room = width.saturating_sub(INDENT).max(1);
    let indented = |(words, style): (String, Style)| {
        let lines = wrapped(&theme.text(&words), room);
        lines.into_iter().map(move |line| Line::styled(format!("{:INDENT$}{line}", ""), style))
    };
    paragraphs.into_iter().flat_map(indented).collect()
}
