//! Bars: counts side by side, or one share along a line.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::widgets::Widget;

use crate::tui::theme::{Role, Theme};

/// Columns that one bar is drawn wide at most.
const WIDEST: usize = 4;

/// Counts to be drawn, each a bar from the bottom up. What is not 0 can be seen, however small.
pub(crate) struct Bars<'a> {
    /// One for each bin.
    pub(crate) counts: &'a [usize],
    /// Colours and glyphs.
    pub(crate) theme: Theme,
}

impl Bars<'_> {
    /// Columns of one bar.
    pub(crate) fn wide(&self, columns: u16) -> usize {
        (usize::from(columns) / self.counts.len().max(1)).clamp(1, WIDEST)
    }

    /// How many parts of a cell a bar can fill, and what it looks like.
    fn parts(&self) -> &'static [&'static str] {
        if self.theme.ascii { &["_", "=", "#"] } else { &["▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"] }
    }
}

impl Widget for Bars<'_> {
    fn render(self, area: Rect, buffer: &mut Buffer) {
        let area = area.intersection(buffer.area);
        let wide = self.wide(area.width);
        let (parts, style) = (self.parts(), self.theme.style(Role::Good));
        let most = self.counts.iter().copied().max().unwrap_or(0).max(1) as f64;
        let all = usize::from(area.height) * parts.len();
        for (bin, count) in self.counts.iter().enumerate().take(usize::from(area.width) / wide) {
            let filled = (*count as f64 / most * all as f64).round() as usize;
            let filled = if *count > 0 { filled.max(1) } else { 0 };
            for up in 0..area.height {
                let part = filled.saturating_sub(usize::from(up) * parts.len()).min(parts.len());
                let Some(glyph) = part.checked_sub(1).map(|part| parts[part]) else { break };
                for x in bin * wide..(bin + 1) * wide {
                    buffer[(area.x + x as u16, area.bottom() - 1 - up)].set_symbol(glyph).set_style(style);
                }
            }
        }
    }
}

/// A share between 0 and 1 as a bar along a line of so many columns.
pub(crate) fn along(share: f64, columns: usize, theme: Theme) -> String {
    let parts: &[&str] = if theme.ascii { &["#"] } else { &["▏", "▎", "▍", "▌", "▋", "▊", "▉", "█"] };
    let share = if share.is_nan() { 0.0 } else { share.clamp(0.0, 1.0) };
    let filled = (share * (columns * parts.len()) as f64).round() as usize;
    let mut bar = parts[parts.len() - 1].repeat(filled / parts.len());
    bar.push_str((filled % parts.len()).checked_sub(1).map_or("", |part| parts[part]));
    bar
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tui::theme::{Colors, Palette};

    fn drawn(counts: &[usize], width: u16, height: u16, ascii: bool) -> Vec<String> {
        let mut buffer = Buffer::empty(Rect::new(0, 0, width, height));
        Bars { counts, theme: Theme { palette: Palette::Dark, colors: Colors::None, ascii } }
            .render(buffer.area, &mut buffer);
        let rows = buffer.content.chunks(usize::from(width).max(1));
        rows.map(|row| row.iter().map(ratatui::buffer::Cell::symbol).collect()).collect()
    }

    #[test]
    fn bars_grow_from_the_bottom_and_few_are_wide() {
        assert_eq!(drawn(&[0, 1, 8, 16, 10_000], 5, 2, false), ["    █", " ▁▁▁█"]);
        assert_eq!(drawn(&[1, 2, 3], 6, 1, true), ["__==##"]);
        for (width, height) in [(0, 0), (0, 3), (3, 0), (1, 1), (2, 3)] {
            drawn(&[], width, height, false);
            drawn(&[usize::MAX, 0, 7], width, height, false);
        }
    }

    #[test]
    fn a_share_is_a_line() {
        let (full, plain) = (
            Theme { palette: Palette::Dark, colors: Colors::None, ascii: false },
            Theme { palette: Palette::Dark, colors: Colors::None, ascii: true },
        );
        assert_eq!([0.0, 0.5, 0.53, 1.0].map(|share| along(share, 4, full)), ["", "██", "██▏", "████"]);
        assert_eq!([0.0, 0.5, f64::INFINITY, f64::NAN].map(|share| along(share, 4, plain)), ["", "##", "####", ""]);
    }
}
