//! The divergence over the layers.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::Line;
use ratatui::widgets::Widget;

use crate::tui::app::App;
use crate::tui::outline;
use crate::tui::widget::curve::Curve;

/// Draws it.
pub(super) fn draw(buffer: &mut Buffer, area: Rect, app: &App) {
    let titles = vec![Line::raw(" log10 error by layer ")];
    let inside = super::framed(buffer, area, app.theme, titles, false);
    let layer = |row: Option<usize>| row.and_then(|row| outline::layer_of(&app.listing, row));
    let curve = Curve {
        layers: &app.curve.layers,
        divergent: layer(app.listing.first_divergence),
        wrong_from: layer(app.wrong_from()),
        current: layer(app.listing.at),
        theme: app.theme,
    };
    curve.render(inside, buffer);
}
