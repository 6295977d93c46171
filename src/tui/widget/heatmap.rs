//! A matrix as colours: two values a cell where the terminal can, else one; shades of glyphs without colours.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Color, Style};
use ratatui::widgets::Widget;

use crate::tui::theme::{Ink, Role, Theme};

/// Cells that one value is blown up to at most, in each direction.
const LARGEST: usize = 8;

/// A matrix to be drawn. NaN and +inf have glyphs of their own; -inf is blank: what a mask hides.
pub(crate) struct Heatmap<'a> {
    /// Rows of columns.
    pub(crate) values: &'a [Vec<f32>],
    /// The magnitude that gets the strongest colour.
    pub(crate) limit: f32,
    /// Colours and glyphs.
    pub(crate) theme: Theme,
}

impl Heatmap<'_> {
    /// How many pixels tall and wide one value is drawn in an area. A pixel is half a cell tall with half blocks.
    pub(crate) fn scale(&self, area: Rect) -> (usize, usize) {
        let rows = self.values.len().max(1);
        let columns = self.values.iter().map(Vec::len).max().unwrap_or(0).max(1);
        let pixels = usize::from(area.height) * self.per_cell();
        let fit = |room: usize, count: usize| (room / count).clamp(1, LARGEST);
        let (tall, wide) = (fit(pixels, rows), fit(usize::from(area.width), columns));
        // Whole cells where there is room, so that rows can have labels; and nothing grotesquely tall or wide.
        let tall = if tall > 1 { tall / self.per_cell() * self.per_cell() } else { tall };
        (tall.min(4 * wide.max(2)), wide.min(4 * tall.max(2)))
    }

    /// Pixels in the height of a cell.
    pub(crate) fn per_cell(&self) -> usize {
        if self.theme.ink() == Ink::HalfBlocks { 2 } else { 1 }
    }

    /// The rows that begin in a line of the screen, where each is so many pixels tall.
    pub(crate) fn begin(&self, line: u16, tall: usize, rows: usize) -> std::ops::Range<usize> {
        let pixel = usize::from(line) * self.per_cell();
        let row = |pixel: usize| pixel.div_ceil(tall.max(1)).min(rows);
        row(pixel)..row(pixel + self.per_cell())
    }

    fn cell(&self, upper: Option<f32>, lower: Option<f32>) -> (&'static str, Style) {
        let theme = self.theme;
        let odd = [upper, lower].into_iter().flatten().find(|value| value.is_nan() || *value == f32::INFINITY);
        if let Some(odd) = odd {
            let glyph = if odd.is_nan() { "N" } else { theme.glyph("∞", "I") };
            return (glyph, theme.style(Role::Alert));
        }
        let shown = |value: Option<f32>| value.filter(|value| value.is_finite());
        let color = |value: f32| theme.heat(self.relative(value));
        match (theme.ink(), shown(upper), shown(lower)) {
            (_, None, None) => (" ", Style::new()),
            (Ink::HalfBlocks, Some(upper), Some(lower)) => ("▀", Style::new().fg(color(upper)).bg(color(lower))),
            (Ink::HalfBlocks, Some(upper), None) => ("▀", Style::new().fg(color(upper))),
            (Ink::HalfBlocks, None, Some(lower)) => ("▄", Style::new().fg(color(lower))),
            (Ink::Backgrounds, value, other) => (" ", Style::new().bg(value.or(other).map_or(Color::Reset, color))),
            (Ink::Shades, value, other) => {
                let value = value.or(other).unwrap_or(0.0);
                let ramp = theme.ramp();
                let index = (self.relative(value).abs() * ramp.len() as f32) as usize;
                (ramp[index.min(ramp.len() - 1)], Style::new().fg(color(value)))
            }
        }
    }

    fn relative(&self, value: f32) -> f32 {
        let ratio = value / self.limit;
        if ratio.is_finite() { ratio.clamp(-1.0, 1.0) } else { value.signum() * f32::from(u8::from(value != 0.0)) }
    }
}

impl Widget for Heatmap<'_> {
    fn render(self, area: Rect, buffer: &mut Buffer) {
        let area = area.intersection(buffer.area);
        let (tall, wide) = self.scale(area);
        let at = |row: usize, column: usize| self.values.get(row / tall)?.get(column / wide).copied();
        for y in 0..area.height {
            for x in 0..area.width {
                let (row, column) = (usize::from(y) * self.per_cell(), usize::from(x));
                let lower = if self.per_cell() == 2 { at(row + 1, column) } else { None };
                let (upper, below) = (at(row, column), lower);
                if upper.is_some() || below.is_some() {
                    let (glyph, style) = self.cell(upper, below);
                    buffer[(area.x + x, area.y + y)].set_symbol(glyph).set_style(style);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tui::theme::{Colors, Palette};

    fn drawn(values: &[Vec<f32>], theme: Theme, width: u16, height: u16) -> Buffer {
        let mut buffer = Buffer::empty(Rect::new(0, 0, width, height));
        Heatmap { values, limit: 1.0, theme }.render(buffer.area, &mut buffer);
        buffer
    }

    fn text(buffer: &Buffer) -> Vec<String> {
        let width = usize::from(buffer.area.width);
        buffer.content.chunks(width).map(|row| row.iter().map(ratatui::buffer::Cell::symbol).collect()).collect()
    }

    #[test]
    fn shades_say_how_much_and_odd_values_what_they_are() {
        let theme = Theme { palette: Palette::Dark, colors: Colors::None, ascii: true };
        let values = [vec![0.0, 0.55, -1.0, f32::NAN], vec![0.1, f32::INFINITY, f32::NEG_INFINITY, 9.0]];
        assert_eq!(text(&drawn(&values, theme, 4, 2)), [" +@N", ".I @"]);
    }

    #[test]
    fn half_blocks_hold_two_values_and_leave_masked_ones_blank() {
        let theme = Theme { palette: Palette::Dark, colors: Colors::Full, ascii: false };
        let masked = f32::NEG_INFINITY;
        let buffer = drawn(&[vec![1.0, masked, 1.0], vec![-1.0, 1.0, masked]], theme, 3, 1);
        assert_eq!(text(&buffer), ["▀▄▀"]);
        assert_eq!((buffer[(0, 0)].fg, buffer[(0, 0)].bg), (theme.heat(1.0), theme.heat(-1.0)));
        assert_eq!((buffer[(1, 0)].bg, buffer[(2, 0)].bg), (Color::Reset, Color::Reset));
    }

    #[test]
    fn few_values_are_blown_up_and_nothing_panics() {
        let theme = Theme { palette: Palette::Dark, colors: Colors::Full, ascii: false };
        let values = vec![vec![0.5; 3]; 2];
        let map = Heatmap { values: &values, limit: 1.0, theme };
        assert_eq!(map.scale(Rect::new(0, 0, 12, 4)), (4, 4));
        for (limit, value) in [(0.0, 0.0), (0.0, 1.0), (f32::NAN, 1.0), (f32::INFINITY, 1.0)] {
            let mut buffer = Buffer::empty(Rect::new(0, 0, 3, 3));
            Heatmap { values: &[vec![value]], limit, theme }.render(buffer.area, &mut buffer);
        }
    }
}
