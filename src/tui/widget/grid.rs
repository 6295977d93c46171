//! Numbers in rows and columns, under and beside their headers.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::widgets::Widget;

use crate::tui::text;
use crate::tui::theme::{Role, Theme};

/// Numbers to be drawn.
pub(crate) struct Grid<'a> {
    /// What stands above the headers of the rows.
    pub(crate) corner: String,
    /// Headers of the rows, already harmless.
    pub(crate) rows: &'a [String],
    /// Headers of the columns, already harmless.
    pub(crate) columns: &'a [String],
    /// Rows of columns.
    pub(crate) numbers: &'a [Vec<f32>],
    /// Columns of the screen that the headers of the rows take.
    pub(crate) gutter: u16,
    /// Columns of the screen that a number takes, without the space before it.
    pub(crate) number: u16,
    /// Colours and glyphs.
    pub(crate) theme: Theme,
}

impl Widget for Grid<'_> {
    fn render(self, area: Rect, buffer: &mut Buffer) {
        let area = area.intersection(buffer.area);
        if area.is_empty() {
            return;
        }
        let ellipsis = self.theme.ellipsis();
        let label = self.theme.style(Role::Label);
        let header = |text: &str| text::pad(text, usize::from(self.gutter.saturating_sub(1)), ellipsis);
        let columns = area.width.saturating_sub(self.gutter) / (self.number + 1);
        let place = |column: usize| area.x + self.gutter + column as u16 * (self.number + 1);
        let width = usize::from(self.number);
        buffer.set_stringn(area.x, area.y, header(&self.corner), usize::from(area.width), label);
        for (column, name) in self.columns.iter().enumerate().take(usize::from(columns)) {
            let name = text::fit(name, width, ellipsis);
            let indent = width - text::width(&name);
            buffer.set_string(place(column) + 1 + indent as u16, area.y, name, label);
        }
        let rows = self.rows.iter().zip(self.numbers).take(usize::from(area.height) - 1);
        for (row, (name, numbers)) in rows.enumerate() {
            let y = area.y + 1 + row as u16;
            buffer.set_stringn(area.x, y, header(name), usize::from(area.width), label);
            for (column, number) in numbers.iter().enumerate().take(usize::from(columns)) {
                let (number, style) = self.number(*number);
                buffer.set_string(place(column), y, format!(" {number:>width$}"), style);
            }
        }
    }
}

impl Grid<'_> {
    fn number(&self, value: f32) -> (String, Style) {
        let text = text::number(f64::from(value), usize::from(self.number));
        let style = if value.is_nan() || value == f32::INFINITY {
            self.theme.style(Role::Alert)
        } else if value == 0.0 || value.is_infinite() {
            self.theme.style(Role::Dim)
        } else {
            Style::new()
        };
        (text, style)
    }
}
