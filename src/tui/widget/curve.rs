//! Errors over the layers on a logarithmic scale: a bar for the error, a mark for the part that was made in the layer, and
//! a hatched band for the noise of correct programs.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::widgets::Widget;

use crate::debugger::view::LayerErrors;
use crate::tui::theme::{Role, Theme};

/// Columns of the scale on the left.
const SCALE: u16 = 4;

/// Errors to be drawn.
pub(crate) struct Curve<'a> {
    /// One for each layer.
    pub(crate) layers: &'a [LayerErrors],
    /// The layer where the first error out of line is.
    pub(crate) divergent: Option<usize>,
    /// The layer from which on errors are out of line.
    pub(crate) wrong_from: Option<usize>,
    /// The layer that is looked at.
    pub(crate) current: Option<usize>,
    /// Colours and glyphs.
    pub(crate) theme: Theme,
}

/// Some layers side by side, drawn as one bar where space is short.
struct Bar {
    first: usize,
    count: usize,
    errors: LayerErrors,
}

/// Whole decades, equally far apart, each on a row of its own.
struct Ticks {
    /// The highest.
    high: i32,
    /// Decades from one to the next.
    step: i32,
    /// How many lie below the highest.
    count: u16,
    /// Rows from one to the next.
    apart: u16,
}

impl Ticks {
    /// As many as there is room for in so many rows, at least two.
    fn of((low, high): (f64, f64), rows: u16) -> Self {
        let span = (high - low) as u16;
        let room = (rows.saturating_sub(1) / 2).max(1);
        let step = span.div_ceil(room).max(1);
        let count = span.div_ceil(step).max(1);
        Self { high: high as i32, step: i32::from(step), count, apart: (rows.saturating_sub(1) / count).max(1) }
    }
}

/// What a bar of so many cells looks like: where its top is, where the mark stands, how high the noise reaches.
struct Heights {
    error: f64,
    local: Option<f64>,
    floor: f64,
}

/// How many layers a bar stands for, and how many columns it takes.
fn bar_sizes(layers: usize, columns: usize) -> (usize, usize) {
    let count = layers.div_ceil(columns.max(1)).max(1);
    (count, (columns / layers.div_ceil(count).max(1)).clamp(1, 4))
}

/// The layer whose bar stands in a column of the area.
pub(crate) fn layer_at(area: Rect, column: u16, layers: usize) -> Option<usize> {
    let columns = area.width.checked_sub(SCALE)?;
    let (count, pitch) = bar_sizes(layers, usize::from(columns));
    let inside = column.checked_sub(area.x + SCALE)?;
    Some(usize::from(inside) / pitch * count).filter(|layer| *layer < layers)
}

impl Curve<'_> {
    fn bars(&self, columns: usize) -> (Vec<Bar>, usize) {
        let (count, pitch) = bar_sizes(self.layers.len(), columns);
        let worst = |errors: &[LayerErrors]| errors.iter().copied().reduce(LayerErrors::worst).unwrap_or_default();
        let chunks = self.layers.chunks(count).enumerate();
        let bars: Vec<Bar> = chunks
            .map(|(index, errors)| Bar { first: index * count, count: errors.len(), errors: worst(errors) })
            .collect();
        (bars, pitch)
    }

    /// The decades that the scale spans: below the smallest number above zero, and above the largest.
    pub(crate) fn decades(&self) -> (f64, f64) {
        // A floor of nothing at all (an op that is exact) would flatten the rest.
        let shown = |number: &f64| number.is_finite() && *number > 1e-30;
        let numbers = self.layers.iter().flat_map(|layer| [layer.error, layer.local, layer.floor]).flatten();
        let logs = numbers.filter(shown).map(f64::log10);
        let (low, high) =
            logs.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), log| (log.min(low), log.max(high)));
        if low > high { (-8.0, 0.0) } else { ((low - 0.5).floor().min(high.ceil() - 2.0), high.ceil()) }
    }

    /// The height of a bar, between 0 and 1.
    pub(crate) fn height(error: f64, (low, high): (f64, f64)) -> f64 {
        if error.is_nan() {
            return 1.0;
        }
        if error <= 0.0 { 0.0 } else { ((error.log10() - low) / (high - low)).clamp(0.0, 1.0) }
    }

    fn glyphs(&self) -> &'static [&'static str] {
        if self.theme.ascii { &["_", "="] } else { &["▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"] }
    }

    /// What a cell of a bar shows, `filled` eighths (or halves) of it being bar; `None` above the bar.
    fn glyph(&self, filled: f64) -> Option<&'static str> {
        let glyphs = self.glyphs();
        if filled >= 1.0 {
            return Some(if self.theme.ascii { "#" } else { "█" });
        }
        if filled <= 0.0 {
            return None;
        }
        Some(glyphs[((filled * glyphs.len() as f64) as usize).min(glyphs.len() - 1)])
    }
}

impl Widget for Curve<'_> {
    fn render(self, area: Rect, buffer: &mut Buffer) {
        let area = area.intersection(buffer.area);
        if area.height < 3 || area.width < SCALE + 2 {
            return;
        }
        let (bars, pitch) = self.bars(usize::from(area.width - SCALE));
        let label = self.theme.style(Role::Label);
        let Ticks { high, step, count, apart } = Ticks::of(self.decades(), area.height - 1);
        // Rows above the highest decade stay empty.
        let rows = apart * count + 1;
        let area = Rect { y: area.bottom() - rows - 1, height: rows + 1, ..area };
        for tick in 0..=count {
            let decade = high - step * i32::from(tick);
            buffer.set_string(area.x, area.y + tick * apart, format!("{decade:>3}"), label);
        }
        let decades = (f64::from(high - step * i32::from(count)), f64::from(high));
        for y in 0..rows {
            buffer.set_string(area.x + SCALE - 1, area.y + y, self.theme.glyph("│", "|"), self.theme.style(Role::Dim));
        }
        let mut free = 0;
        for (index, bar) in bars.iter().enumerate() {
            let x = area.x + SCALE + (index * pitch) as u16;
            let within = |layer: Option<usize>| layer.is_some_and(|l| (bar.first..bar.first + bar.count).contains(&l));
            let wide = pitch.saturating_sub(1).clamp(1, 3);
            self.bar(bar, within(self.divergent), Rect::new(x, area.y, wide as u16, rows), decades, buffer);
            let style = if within(self.current) { self.theme.style(Role::Selected(true)) } else { label };
            let name = bar.first.to_string();
            let last = index + 1 == bars.len();
            let wanted = within(self.current) || index == 0 || (bar.first.is_multiple_of(5) && !last) || pitch > 2;
            let room = usize::from(area.right() - x);
            if wanted && index * pitch >= free && name.len() <= room {
                buffer.set_string(x, area.y + rows, &name, style);
                free = index * pitch + name.len() + 1;
            } else if within(self.current) && room > 0 {
                buffer[(x, area.y + rows)].set_style(style);
            }
        }
    }
}

impl Curve<'_> {
    fn bar(&self, bar: &Bar, divergent: bool, area: Rect, decades: (f64, f64), buffer: &mut Buffer) {
        let bottom = area.bottom() - 1;
        let area = area.intersection(buffer.area);
        let Some(error) = bar.errors.error else {
            let (dot, style) = (self.theme.glyph("·", "."), self.theme.style(Role::Dim));
            buffer.set_stringn(area.x, bottom, dot, usize::from(area.width), style);
            return;
        };
        let wrong = self.wrong_from.is_some_and(|first| bar.first + bar.count > first);
        let style = match (divergent, wrong) {
            (true, _) => Style { add_modifier: ratatui::style::Modifier::BOLD, ..self.theme.style(Role::Follows) },
            (false, true) => self.theme.style(Role::Follows),
            (false, false) => self.theme.style(Role::Good),
        };
        let cells = |number: f64| Self::height(number, decades) * f64::from(area.height);
        let heights = Heights {
            // A bar of no height would look like a layer that was not compared.
            error: cells(error).max(0.15),
            local: bar.errors.local.map(cells),
            floor: bar.errors.floor.map_or(0.0, cells).round(),
        };
        let mut top = bottom;
        for up in 0..area.height {
            let Some((glyph, is_bar)) = self.cell(&heights, f64::from(up)) else { break };
            let y = bottom - up;
            let style = if is_bar { style } else { self.theme.style(Role::Dim) };
            top = if is_bar { y } else { top };
            for x in area.left()..area.right() {
                buffer[(x, y)].set_symbol(glyph).set_style(style);
            }
        }
        if let Some(local) = heights.local.filter(|_| area.width > 0) {
            let up = (local.ceil() as u16).clamp(1, area.height) - 1;
            let mark = &mut buffer[(area.x + area.width / 2, bottom - up)];
            mark.set_symbol(self.theme.glyph("◆", "o")).set_style(self.theme.style(Role::Current));
            top = top.min(bottom - up);
        }
        if divergent || error.is_nan() {
            let mark = if error.is_nan() { "N" } else { "!" };
            let y = if top > area.y && !error.is_nan() { top - 1 } else { top };
            buffer[(area.x, y)].set_symbol(mark).set_style(self.theme.style(Role::Bad));
        }
    }

    /// The glyph of the cell so many cells up, and whether it is of the bar; `None` above both bar and noise.
    fn cell(&self, heights: &Heights, up: f64) -> Option<(&'static str, bool)> {
        let noise = up < heights.floor;
        match self.glyph(heights.error - up) {
            // What does not reach out of the noise is hatched.
            Some(_) if noise => Some((self.theme.glyph("▒", "%"), true)),
            Some(glyph) => Some((glyph, true)),
            None => noise.then(|| (self.theme.glyph("░", ":"), false)),
        }
    }
}

/// The same for one op, along a line: the error as a bar, the noise floor as a band, the part made here as a mark.
pub(crate) fn along(
    buffer: &mut Buffer,
    area: Rect,
    [error, local, floor]: [Option<f64>; 3],
    decades: (f64, f64),
    (theme, style): (Theme, Style),
) {
    let cells = |number: Option<f64>| number.map(|number| Curve::height(number, decades) * f64::from(area.width));
    let (error, local, floor) = (cells(error), cells(local), cells(floor));
    let reaches = |length: Option<f64>, cell: u16| length.is_some_and(|length| length > f64::from(cell) + 0.5);
    for cell in 0..area.width {
        let (glyph, style) = match (reaches(error, cell), reaches(floor, cell)) {
            (true, _) => (theme.glyph("━", "="), style),
            (false, true) => (theme.glyph("░", ":"), theme.style(Role::Dim)),
            (false, false) => continue,
        };
        buffer.set_stringn(area.x + cell, area.y, glyph, 1, style);
    }
    if let Some(local) = local.filter(|_| area.width > 0) {
        let cell = (local as u16).min(area.width - 1);
        buffer.set_stringn(area.x + cell, area.y, theme.glyph("◆", "o"), 1, theme.style(Role::Current));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tui::theme::{Colors, Palette};

    fn layer(error: f64, local: f64, floor: f64) -> LayerErrors {
        LayerErrors { error: Some(error), local: Some(local), floor: Some(floor) }
    }

    fn drawn(layers: &[LayerErrors], divergent: Option<usize>, width: u16, height: u16, ascii: bool) -> Vec<String> {
        let mut buffer = Buffer::empty(Rect::new(0, 0, width, height));
        let theme = Theme { palette: Palette::Dark, colors: Colors::None, ascii };
        Curve { layers, divergent, wrong_from: divergent, current: Some(1), theme }.render(buffer.area, &mut buffer);
        let cells = buffer.content.chunks(usize::from(width).max(1));
        cells.map(|row| row.iter().map(ratatui::buffer::Cell::symbol).collect::<String>()).collect()
    }

    #[test]
    fn what_was_made_here_stands_out_of_the_noise() {
        let ok = layer(1e-7, 8e-8, 1e-7);
        let layers = [ok, ok, layer(1e-1, 1e-1, 1e-7), layer(2e-1, 9e-8, 1e-7), LayerErrors::default()];
        assert_eq!(
            drawn(&layers, Some(2), 9, 6, false),
            ["  0│  !▅ ", "   │  ██ ", " -4│  ██ ", "   │  ██ ", " -8│◆◆▒◆·", "    0    "]
        );
        assert_eq!(
            drawn(&layers, Some(2), 9, 6, true),
            ["  0|  != ", "   |  ## ", " -4|  ## ", "   |  ## ", " -8|oo%o.", "    0    "]
        );
        let wide = drawn(&layers[2..], Some(0), 16, 6, false);
        assert_eq!(
            wide,
            [
                "  0│!◆▄ ▅▅▅     ",
                "   │███ ███     ",
                " -4│███ ███     ",
                "   │███ ███     ",
                " -8│▒▒▒ ▒◆▒ ·   ",
                "    0   1   2   "
            ]
        );
    }

    #[test]
    fn any_errors_in_any_size_are_drawn() {
        let numbers = [f64::NAN, 0.0, f64::INFINITY, 1e300, 1e-300, f64::MIN_POSITIVE];
        let odd: Vec<LayerErrors> =
            (0..36).map(|i| layer(numbers[i % 6], numbers[i / 6], numbers[i * 5 % 6])).collect();
        for width in 0..30 {
            for height in 0..12 {
                drawn(&odd, Some(0), width, height, false);
                drawn(&[], None, width, height, true);
                drawn(&vec![layer(1.0, 1e-7, 1e-7); 200], Some(150), width, height, true);
            }
        }
    }
}
