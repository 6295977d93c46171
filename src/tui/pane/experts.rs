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
use crate::debugger::view::{ExpertsPage, ExpertsRequest, Page, PageRequest, Routed, Shown, Witness};
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
    pages: &[Feed { wanted, slot: |panes| &mut panes.experts.slot }],
    follow: |panes| panes.experts.first = 0,
    scroll: |app, rows, _| {
        let most = page(app).map_or(0, |page| page.tokens.len().saturating_sub(1));
        app.panes.experts.first = app.panes.experts.first.saturating_add_signed(rows).min(most);
    },
    missing: |app| {
        let has_experts = app.listing.rows.iter().any(|row| row.label == "routing");
        (!has_experts).then_some("this model has no experts")
    },
    ..PaneSpec::PLAIN
};

/// What is known of a layer's experts.
#[derive(Debug, Default)]
pub(crate) struct State {
    slot: Slot,
    /// The first token on screen.
    first: usize,
}

fn page(app: &App) -> Option<&ExpertsPage> {
    if let Page::Experts(page) = app.panes.experts.slot.shown()? { Some(page) } else { None }
}

/// Of the selected layer, whose tensors are shown; held against the reference, if there is one.
fn wanted(app: &App) -> Option<PageRequest> {
    app.inside(Pane::Experts)?;
    let of = match whose(app) {
        Shown::Values(witness) | Shown::Difference(witness, _) | Shown::Ratio(witness, _) => witness,
    };
    let others = || app.header.witnesses.iter().copied().filter(|witness| *witness != of);
    let against = others().find(|witness| *witness == Witness::Reference).or_else(|| others().next());
    let layer = app.selected_op().and_then(|op| op.layer).unwrap_or(0);
    Some(PageRequest::Experts(ExpertsRequest { layer, of, against }))
}

/// Draws it.
fn draw(buffer: &mut Buffer, area: Rect, app: &App) {
    let name = page(app).map_or("experts".to_string(), |page| format!("experts of layer {}", page.layer));
    let who = page(app).map_or("", |page| page.of.name());
    let who = Line::styled(format!(" {who} "), app.theme().style(Role::Key));
    let inside = super::frame(buffer, area, app, Pane::Experts, &name, who);
    let state = &app.panes.experts;
    let Some(Page::Experts(page)) = super::page(buffer, inside, &state.slot, app) else { return };
    let load = if inside.height > 3 * LOAD { LOAD } else { 0 };
    let [list, below] = Layout::vertical([Constraint::Min(0), Constraint::Length(load)]).areas(inside);
    // Columns of all experts of a token: `12 .34` each.
    let each = page.load.len().saturating_sub(1).to_string().len() + 5;
    let wide = each * page.tokens.iter().map(|token| token.experts.len()).max().unwrap_or(0);
    let heading = format!(" {:>4} {:<wide$}{:>MARGIN$} ", "at", "experts", "margin");
    let other = page.against.map_or(String::new(), |other| format!("{:<1$} ", other.name(), wide.max(9)));
    let heading = Line::styled(format!("{heading}{other}token"), app.theme().style(Role::Label));
    let first = state.first.min(page.tokens.len());
    let lines = page.tokens[first..].iter().map(|token| line(page, token, (each, wide), app));
    super::put(buffer, list, std::iter::once(heading).chain(lines));
    super::shown(buffer, area, app, (first, usize::from(list.height.saturating_sub(1))), page.tokens.len());
    loads(buffer, below, page, app);
}

/// A token's experts, the margin, what another witness chooses, if that is something else, and the token.
fn line(page: &ExpertsPage, token: &Routed, (each, wide): (usize, usize), app: &App) -> Line<'static> {
    let weight = |weight: f32| format!("{weight:.2}").trim_start_matches('0').replace("1.00", "1");
    let word = |(expert, share): &(usize, f32)| format!("{:<each$}", format!("{expert} {}", weight(*share)));
    let words = |experts: &[(usize, f32)]| experts.iter().map(word).collect::<Vec<String>>().concat();
    let margin = token.nearest.map_or(String::new(), |nearest| text::number(nearest.margin, 7).trim().to_string());
    let mut spans =
        vec![Span::raw(format!(" {:>4} {:<wide$}{margin:>MARGIN$} ", token.position, words(&token.experts)))];
    if page.against.is_some() {
        // A choice that rounding decides is no mistake.
        let (words, role) = match &token.other {
            Some(other) if other.is_tie => (format!("{}tie", words(&other.experts)), Role::Key),
            Some(other) => (words(&other.experts), Role::Bad),
            None => ("same".into(), Role::Dim),
        };
        spans.push(Span::styled(format!("{words:<wide$} ", wide = wide.max(9)), app.theme().style(role)));
    }
    spans.push(Span::raw(quoted(app, token.position)));
    Line::from(spans)
}

/// How many tokens each expert is given.
fn loads(buffer: &mut Buffer, area: Rect, page: &ExpertsPage, app: &App) {
    let counts = &page.load;
    if area.height < 2 || counts.is_empty() {
        return;
    }
    let most = counts.iter().max().copied().unwrap_or(0);
    let caption = format!("tokens by expert, 0 to {}, most {most}", counts.len() - 1);
    buffer.set_stringn(area.x, area.y, caption, usize::from(area.width), app.theme().style(Role::Label));
    Bars { counts, theme: app.theme() }.render(Rect { y: area.y + 1, height: area.height - 1, ..area }, buffer);
}
