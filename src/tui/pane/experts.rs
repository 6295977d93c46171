//! The experts of a layer: which of them each token is given, by what margin, where another witness chooses others, and how
//! many tokens each of them is given.

use ratatui::buffer::Buffer;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::text::{Line, Span};
use ratatui::widgets::Widget;

use super::PaneSpec;
use super::tensor::whose;
use super::tokens::quoted;
use crate::debugger::command::Pane;
use crate::debugger::view::{Page, PageRequest, Shown, TensorPage, TensorRequest, Witness};
use crate::tui::app::App;
use crate::tui::slot::{Feed, Slot};
use crate::tui::text;
use crate::tui::theme::Role;
use crate::tui::widget::bars::Bars;

/// Columns of a margin.
const MARGIN: usize = 8;
/// Rows of the tokens by expert, with their caption.
const LOAD: u16 = 4;

/// Its row.
pub(super) const SPEC: PaneSpec = PaneSpec {
    draw,
    pages: &[
        Feed { wanted: |app| wanted(app, 0, shown(app)), slot: |panes| &mut panes.experts.choice },
        Feed { wanted: |app| wanted(app, 1, shown(app)), slot: |panes| &mut panes.experts.scores },
        Feed { wanted: |app| wanted(app, 0, other(app)?), slot: |panes| &mut panes.experts.other },
    ],
    follow: |panes| panes.experts.first = 0,
    scroll: |app, rows, _| {
        let most = tensor(&app.panes.experts.choice).map_or(0, |page| page.numbers.len().saturating_sub(1));
        app.panes.experts.first = app.panes.experts.first.saturating_add_signed(rows).min(most);
    },
    missing: |app| routing(app).is_none().then_some("this model has no experts"),
    ..PaneSpec::PLAIN
};

/// What is known of a layer's experts.
#[derive(Debug, Default)]
pub(crate) struct State {
    /// The weights that are given, 0 where an expert is not chosen; and those of another witness.
    choice: Slot,
    other: Slot,
    /// What experts are chosen by.
    scores: Slot,
    /// The first token on screen.
    first: usize,
}

/// The row of the choice: of the selected layer, else of the next one that has experts, else of the last.
fn routing(app: &App) -> Option<usize> {
    let layer = app.selected_op().and_then(|op| op.layer).unwrap_or(0);
    let mut rows = app.listing.rows.iter().enumerate().filter(|(_, row)| row.label == "routing");
    let last = rows.clone().next_back();
    rows.find(|(_, row)| row.layer.is_some_and(|of| of >= layer)).or(last).map(|(row, _)| row)
}

/// Whose experts are shown.
fn shown(app: &App) -> Witness {
    match whose(app) {
        Shown::Values(witness) | Shown::Difference(witness, _) | Shown::Ratio(witness, _) => witness,
    }
}

/// Whose they are compared with: the reference, if there is one.
fn other(app: &App) -> Option<Witness> {
    let others = || app.header.witnesses.iter().copied().filter(|witness| *witness != shown(app));
    others().find(|witness| *witness == Witness::Reference).or_else(|| others().next())
}

/// All of the choice, or of the op before it, which gives the scores.
fn wanted(app: &App, before: usize, witness: Witness) -> Option<PageRequest> {
    app.inside(Pane::Experts)?;
    let (row, all) = (routing(app)?.checked_sub(before)?, (0, usize::MAX));
    let request = TensorRequest {
        row,
        shown: Shown::Values(witness),
        rows: all,
        columns: all,
        heatmap: (1, 1),
        ..TensorRequest::default()
    };
    Some(PageRequest::Tensor(request))
}

fn tensor(slot: &Slot) -> Option<&TensorPage> {
    if let Page::Tensor(page) = slot.shown()? { Some(page) } else { None }
}

/// The experts that a row gives weight to, the heaviest first.
fn chosen(row: &[f32]) -> Vec<(usize, f32)> {
    let mut chosen: Vec<(usize, f32)> = row.iter().copied().enumerate().filter(|(_, weight)| *weight != 0.0).collect();
    chosen.sort_by(|a, b| b.1.total_cmp(&a.1));
    chosen
}

/// How much higher the score of the last that is chosen is than that of the first that is not.
fn margin(scores: &[f32], chosen: usize) -> Option<f32> {
    let mut scores = scores.to_vec();
    scores.sort_by(|a, b| b.total_cmp(a));
    Some(scores.get(chosen.checked_sub(1)?)? - scores.get(chosen)?)
}

/// Draws it.
fn draw(buffer: &mut Buffer, area: Rect, app: &App) {
    let layer = routing(app).and_then(|row| app.listing.rows[row].layer);
    let name = layer.map_or("experts".to_string(), |layer| format!("experts of layer {layer}"));
    let who = Line::styled(format!(" {} ", shown(app).name()), app.theme().style(Role::Key));
    let inside = super::frame(buffer, area, app, Pane::Experts, &name, who);
    let state = &app.panes.experts;
    let Some(Page::Tensor(choice)) = super::page(buffer, inside, &state.choice, app) else { return };
    let load = if inside.height > 3 * LOAD { LOAD } else { 0 };
    let [list, below] = Layout::vertical([Constraint::Min(0), Constraint::Length(load)]).areas(inside);
    // Columns of all experts of a token: `12 .34` each.
    let each = (choice.column_axis.1.max(2) - 1).to_string().len() + 5;
    let wide = each * choice.numbers.iter().map(|row| chosen(row).len()).max().unwrap_or(0);
    let compared = other(app).filter(|_| tensor(&state.other).is_some());
    let heading = format!(" {:>4} {:<wide$}{:>MARGIN$} ", "at", "experts", "margin");
    let other = compared.map_or(String::new(), |other| format!("{:<1$} ", other.name(), wide.max(9)));
    let heading = Line::styled(format!("{heading}{other}token"), app.theme().style(Role::Label));
    let lines = (state.first..choice.numbers.len()).map(|row| line(choice, row, (each, wide), app));
    super::put(buffer, list, std::iter::once(heading).chain(lines));
    super::shown(buffer, area, app, (state.first, usize::from(list.height.saturating_sub(1))), choice.numbers.len());
    loads(buffer, below, choice, app);
}

/// A token's experts, the margin, what another witness chooses, if that is something else, and the token.
fn line(choice: &TensorPage, row: usize, (each, wide): (usize, usize), app: &App) -> Line<'static> {
    let weight = |weight: f32| format!("{weight:.2}").trim_start_matches('0').replace("1.00", "1");
    let word = |(expert, share): &(usize, f32)| format!("{:<each$}", format!("{expert} {}", weight(*share)));
    let words = |row: &[f32]| chosen(row).iter().map(word).collect::<Vec<String>>().concat();
    let state = &app.panes.experts;
    let (position, own) = (choice.first_position + row, &choice.numbers[row]);
    let scores = tensor(&state.scores).and_then(|page| page.numbers.get(row));
    let margin = scores.and_then(|scores| margin(scores, chosen(own).len()));
    let margin = margin.map_or(String::new(), |margin| text::number(f64::from(margin), 7).trim().to_string());
    let mut spans = vec![Span::raw(format!(" {position:>4} {:<wide$}{margin:>MARGIN$} ", words(own)))];
    if let Some(other) = tensor(&state.other).and_then(|page| page.numbers.get(row)) {
        let set = |row: &[f32]| row.iter().map(|weight| *weight != 0.0).collect::<Vec<bool>>();
        let differs = set(own) != set(other);
        let (words, role) = if differs { (words(other), Role::Bad) } else { ("same".into(), Role::Dim) };
        spans.push(Span::styled(format!("{words:<wide$} ", wide = wide.max(9)), app.theme().style(role)));
    }
    spans.push(Span::raw(quoted(app, position)));
    Line::from(spans)
}

/// How many tokens each expert is given.
fn loads(buffer: &mut Buffer, area: Rect, choice: &TensorPage, app: &App) {
    let counts: Vec<usize> = (0..choice.column_axis.1)
        .map(|expert| choice.numbers.iter().filter(|row| row.get(expert).is_some_and(|weight| *weight != 0.0)).count())
        .collect();
    if area.height < 2 || counts.is_empty() {
        return;
    }
    let most = counts.iter().max().copied().unwrap_or(0);
    let caption = format!("tokens by expert, 0 to {}, most {most}", counts.len() - 1);
    buffer.set_stringn(area.x, area.y, caption, usize::from(area.width), app.theme().style(Role::Label));
    Bars { counts: &counts, theme: app.theme() }
        .render(Rect { y: area.y + 1, height: area.height - 1, ..area }, buffer);
}
