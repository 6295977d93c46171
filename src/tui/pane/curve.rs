//! The divergence over the layers.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::Line;
use ratatui::widgets::Widget;

use crate::tui::app::App;
use crate::tui::outline;
use crate::tui::text;
use crate::tui::widget::curve::Curve;

/// Draws it.
pub(super) fn draw(buffer: &mut Buffer, area: Rect, app: &App) {
    let room = usize::from(area.width).saturating_sub(2);
    let inside = super::framed(buffer, area, app.theme, titles(app, room), false);
    chart(app).render(inside, buffer);
}

/// What the signs of the chart mean; and that its scale is one of powers of ten, where there is room.
pub(super) fn titles(app: &App, room: usize) -> Vec<Line<'static>> {
    let legend = app.theme.glyph(" █ error ◆ local ░ floor ", " # error o local : floor ");
    let name = " log10 ";
    let name = if name.len() + text::width(legend) < room { name } else { "" };
    vec![Line::raw(name), Line::raw(legend)]
}

/// The errors over the layers.
pub(super) fn chart(app: &App) -> Curve<'_> {
    let layer = |row: Option<usize>| row.and_then(|row| outline::layer_of(&app.listing, row));
    Curve {
        layers: &app.curve.layers,
        divergent: layer(app.listing.first_divergence),
        wrong_from: layer(app.wrong_from()),
        current: layer(app.listing.at),
        theme: app.theme,
    }
}
