//! The colours of each look. Never red against green: orange is wrong, cyan and blue are right, whoever sees them.

use ratatui::buffer::Buffer;
use ratatui::style::Color;

use super::{Colors, Palette, Theme};

/// The colours that roles share.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hues {
    /// What is wrong.
    pub(super) wrong: Color,
    /// What agrees, has the keys, or is a key.
    pub(super) right: Color,
    /// Names of axes, headers.
    pub(super) label: Color,
    /// Breakpoints.
    pub(super) mark: Color,
    /// NaN, and what went wrong.
    pub(super) alert: Color,
    /// What matters less; `None`: the terminal dims it.
    pub(super) faint: Option<Color>,
    /// Text and background; `None`: those of the terminal.
    pub(super) ground: Option<(Color, Color)>,
}

/// Numbers and not names: what the first 16 look like is up to the user's palette, and may be unreadable.
const DARK: Hues = Hues {
    wrong: Color::Indexed(172),
    right: Color::Indexed(80),
    label: Color::Indexed(111),
    mark: Color::Indexed(176),
    alert: Color::Indexed(213),
    faint: None,
    ground: None,
};

/// Dimmed black is black on many terminals, so what is faint is grey.
const LIGHT: Hues = Hues {
    wrong: Color::Indexed(130),
    right: Color::Indexed(23),
    label: Color::Indexed(26),
    mark: Color::Indexed(90),
    alert: Color::Indexed(126),
    faint: Some(Color::Indexed(241)),
    ground: None,
};

const HIGH_CONTRAST: Hues = Hues {
    wrong: Color::Indexed(214),
    right: Color::Indexed(51),
    label: Color::Indexed(117),
    mark: Color::Indexed(219),
    alert: Color::Indexed(219),
    faint: Some(Color::Indexed(249)),
    ground: Some((Color::Indexed(231), Color::Indexed(16))),
};

const DARK_BASIC: Hues = Hues {
    wrong: Color::Yellow,
    right: Color::Cyan,
    label: Color::LightBlue,
    mark: Color::Magenta,
    alert: Color::LightMagenta,
    faint: None,
    ground: None,
};

/// Yellow and cyan cannot be read on white.
const LIGHT_BASIC: Hues = Hues {
    wrong: Color::Red,
    right: Color::Blue,
    label: Color::Blue,
    mark: Color::Magenta,
    alert: Color::Magenta,
    faint: None,
    ground: None,
};

const HIGH_CONTRAST_BASIC: Hues = Hues {
    wrong: Color::LightYellow,
    right: Color::LightCyan,
    label: Color::LightCyan,
    mark: Color::LightMagenta,
    alert: Color::LightMagenta,
    faint: Some(Color::Gray),
    ground: Some((Color::White, Color::Black)),
};

impl Theme {
    /// Its colours, if it has any.
    pub(super) fn hues(self) -> Option<Hues> {
        match (self.colors, self.palette) {
            (Colors::None, _) => None,
            (Colors::Basic, Palette::Dark) => Some(DARK_BASIC),
            (Colors::Basic, Palette::Light) => Some(LIGHT_BASIC),
            (Colors::Basic, Palette::HighContrast) => Some(HIGH_CONTRAST_BASIC),
            (_, Palette::Dark) => Some(DARK),
            (_, Palette::Light) => Some(LIGHT),
            (_, Palette::HighContrast) => Some(HIGH_CONTRAST),
        }
    }

    /// Puts the background of the look under all that has been drawn, and its colour into text that has none.
    pub(crate) fn paint_ground(self, buffer: &mut Buffer) {
        let Some((text, ground)) = self.hues().and_then(|hues| hues.ground) else { return };
        for cell in &mut buffer.content {
            if cell.fg == Color::Reset {
                cell.fg = text;
            }
            if cell.bg == Color::Reset {
                cell.bg = ground;
            }
        }
    }
}

#[cfg(test)]
pub(super) use tests::luminance;

#[cfg(test)]
mod tests {
    use super::super::Role;
    use super::*;
    use ratatui::style::Modifier;

    /// The relative luminance of WCAG 2, of a colour that looks the same everywhere.
    pub(in super::super) fn luminance(color: Color) -> f64 {
        let level = |step: u8| if step == 0 { 0 } else { 55 + 40 * step };
        let (r, g, b) = match color {
            Color::Rgb(r, g, b) => (r, g, b),
            Color::Indexed(index @ 232..) => (8 + 10 * (index - 232), 8 + 10 * (index - 232), 8 + 10 * (index - 232)),
            Color::Indexed(index @ 16..) => {
                (level((index - 16) / 36), level((index - 16) / 6 % 6), level((index - 16) % 6))
            }
            other => panic!("{other} is what the user's palette makes of it"),
        };
        let linear = |channel: u8| {
            let share = f64::from(channel) / 255.0;
            if share <= 0.04045 { share / 12.92 } else { ((share + 0.055) / 1.055).powf(2.4) }
        };
        0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b)
    }

    fn contrast(a: Color, b: Color) -> f64 {
        let (a, b) = (luminance(a) + 0.05, luminance(b) + 0.05);
        f64::max(a, b) / f64::min(a, b)
    }

    const ROLES: &[Role] = &[
        Role::Status,
        Role::Bad,
        Role::Good,
        Role::Follows,
        Role::Dim,
        Role::Label,
        Role::Key,
        Role::Border(true),
        Role::Border(false),
        Role::Title(true),
        Role::Title(false),
        Role::Selected(true),
        Role::Selected(false),
        Role::Current,
        Role::Breakpoint,
        Role::Alert,
        Role::Error,
    ];

    /// Every role on the backgrounds that the look is made for, the hardest one among them.
    #[test]
    fn every_role_can_be_read() {
        let black = Color::Rgb(0, 0, 0);
        for (palette, grounds, least) in [
            (Palette::Dark, [black, Color::Rgb(0x28, 0x2c, 0x34)], 4.5),
            (Palette::Light, [Color::Rgb(0xff, 0xff, 0xff), Color::Rgb(0xfa, 0xfa, 0xfa)], 4.5),
            (Palette::HighContrast, [black, Color::Indexed(16)], 7.0),
        ] {
            for colors in [Colors::Full, Colors::Indexed] {
                let theme = Theme { palette, colors, ascii: false };
                let ground = theme.hues().and_then(|hues| hues.ground);
                for role in ROLES {
                    let style = theme.style(*role);
                    let own = style.fg.filter(|color| *color != Color::Reset);
                    // Where neither role nor look says a colour, it is the terminal's own.
                    let Some(text) = own.or(ground.map(|(text, _)| text)) else { continue };
                    for under in grounds {
                        let under = ground.map_or(under, |(_, ground)| ground);
                        let found = contrast(text, under);
                        assert!(found >= least, "{palette:?} {role:?}: {found:.2}");
                    }
                    assert!(!style.add_modifier.contains(Modifier::DIM), "{palette:?} {role:?} is dimmed on top");
                }
            }
        }
    }

    #[test]
    fn high_contrast_leaves_nothing_to_the_terminal() {
        let theme = Theme { palette: Palette::HighContrast, colors: Colors::Full, ascii: false };
        let mut buffer = Buffer::empty(ratatui::layout::Rect::new(0, 0, 2, 1));
        buffer[(1, 0)].set_fg(Color::Indexed(51));
        theme.paint_ground(&mut buffer);
        assert_eq!((buffer[(0, 0)].fg, buffer[(0, 0)].bg), (Color::Indexed(231), Color::Indexed(16)));
        assert_eq!((buffer[(1, 0)].fg, buffer[(1, 0)].bg), (Color::Indexed(51), Color::Indexed(16)));
        for colors in [Colors::Basic, Colors::None] {
            for role in ROLES {
                assert!(!Theme { colors, ..theme }.style(*role).add_modifier.contains(Modifier::DIM), "{role:?}");
            }
        }
    }
}
