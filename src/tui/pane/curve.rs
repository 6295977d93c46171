//! The divergence over the layers.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::Line;
use ratatui::widgets::Widget;

use super::PaneSpec;
use crate::debugger::command::Pane;
use crate::tui::app::App;
use crate::tui::outline;
use crate::tui::text;
use crate::tui::widget::curve::{Curve, layer_at};

/// Its row: it shows the layers of the program.
pub(super) const SPEC: PaneSpec = PaneSpec {
    draw,
    scroll: super::program::scroll,
    click: |app, inside, (column, _)| {
        let layer = layer_at(inside, column, app.curve.layers.len());
        leading(app, layer.map(outline::Line::Layer))
    },
    part_of: Some(Pane::Program),
    resize: (0, 1),
    ..PaneSpec::PLAIN
};

/// Errors lead to their layer or op, and once more goes there.
pub(super) fn leading(app: &App, hit: Option<outline::Line>) -> Vec<String> {
    match hit {
        None => Vec::new(),
        Some(outline::Line::Op(row)) if hit == Some(app.outline.selected) => app.going_to(row).into_iter().collect(),
        Some(line @ outline::Line::Op(_)) => vec![app.selecting(line)],
        Some(line @ outline::Line::Layer(_)) => vec![app.selecting(line), "scroll program right".to_string()],
    }
}

/// Draws it.
fn draw(buffer: &mut Buffer, area: Rect, app: &App) {
    let room = usize::from(area.width).saturating_sub(2);
    // That its scale is one of powers of ten is said where there is room.
    let name = if " log10 ".len() + text::width(legend(app)) < room { " log10 " } else { "" };
    let inside = super::framed(buffer, area, app.theme(), vec![Line::raw(name), Line::raw(legend(app))], false);
    chart(app).render(inside, buffer);
}

/// What the signs of the chart mean.
pub(super) fn legend(app: &App) -> &'static str {
    app.theme().glyph(" █ error ◆ local ░ floor ", " # error o local : floor ")
}

/// The errors over the layers.
pub(super) fn chart(app: &App) -> Curve<'_> {
    let layer = |row: Option<usize>| row.and_then(|row| outline::layer_of(&app.listing, row));
    Curve {
        layers: &app.curve.layers,
        divergent: layer(app.listing.first_divergence),
        wrong_from: layer(app.wrong_from()),
        current: layer(app.listing.at),
        theme: app.theme(),
    }
}
