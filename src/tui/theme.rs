//! Every colour and glyph. Nothing is said by colour alone: without colours the glyphs and attributes remain.

use std::env;

use ratatui::style::{Color, Modifier, Style};
use ratatui::symbols::border;

use crate::debugger::view::Status;

/// What the terminal can show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Theme {
    /// How many colours.
    pub colors: Colors,
    /// Only ASCII characters.
    pub ascii: bool,
}

/// How many colours a terminal has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Colors {
    /// None: attributes only.
    None,
    /// The sixteen of the user's palette.
    Basic,
    /// 256.
    Indexed,
    /// 24 bits.
    Full,
}

/// What a piece of the screen says; the theme knows how it looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// The line at the top.
    Status,
    /// A verdict of divergence.
    Bad,
    /// A verdict of agreement.
    Good,
    /// Wrong because its inputs are.
    Follows,
    /// Less important.
    Dim,
    /// Names of axes, headers of rows and columns.
    Label,
    /// Keys in hints and help.
    Key,
    /// The frame of a pane, and of the one that has the keys.
    Border(bool),
    /// The title of a pane, and of the one that has the keys.
    Title(bool),
    /// The selected row, where keys go to the listing or not.
    Selected(bool),
    /// The op computed last.
    Current,
    /// A breakpoint's mark.
    Breakpoint,
    /// NaN and infinities among numbers.
    Alert,
    /// What went wrong.
    Error,
}

/// Frames of panes where only ASCII can be shown.
const ASCII_BORDER: border::Set<'static> = border::Set {
    top_left: "+",
    top_right: "+",
    bottom_left: "+",
    bottom_right: "+",
    vertical_left: "|",
    vertical_right: "|",
    horizontal_top: "-",
    horizontal_bottom: "-",
};

impl Theme {
    /// Reads `NO_COLOR`, `COLORTERM`, `TERM`, `SSH_CONNECTION` and the locale.
    pub fn from_environment() -> Self {
        Self::detect(|name| env::var(name).ok().filter(|value| !value.is_empty()))
    }

    /// The rules of [`Theme::from_environment`], over any environment.
    pub fn detect(variable: impl Fn(&str) -> Option<String>) -> Self {
        let term = variable("TERM").unwrap_or_default();
        let locale = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().find_map(&variable);
        let utf8 = |locale: String| locale.to_lowercase().replace('-', "").contains("utf8");
        let poor = matches!(term.as_str(), "dumb" | "linux" | "vt100" | "vt220");
        let colors = if variable("NO_COLOR").is_some() || term == "dumb" {
            Colors::None
        } else if matches!(variable("COLORTERM").as_deref(), Some("truecolor" | "24bit")) {
            Colors::Full
        } else if term.contains("256color") || variable("SSH_CONNECTION").is_some() {
            Colors::Indexed
        } else {
            Colors::Basic
        };
        // Containers often set no locale at all, on terminals that do show UTF-8.
        Self { colors, ascii: poor || !locale.is_none_or(utf8) }
    }

    /// How a role looks.
    pub(crate) fn style(self, role: Role) -> Style {
        if role == Role::Selected(true) {
            // Over whatever colours the row has: patches of them would be unreadable when reversed.
            return Style::new().fg(Color::Reset).bg(Color::Reset).add_modifier(Modifier::REVERSED);
        }
        let bold_reversed = Modifier::BOLD.union(Modifier::REVERSED);
        let orange = if self.colors == Colors::Basic { Color::Yellow } else { Color::Indexed(172) };
        let (color, modifier) = match role {
            Role::Status => (Color::Reset, Modifier::REVERSED),
            Role::Selected(_) => (Color::Reset, Modifier::UNDERLINED),
            Role::Bad => (orange, bold_reversed),
            Role::Follows => (orange, Modifier::empty()),
            Role::Good | Role::Border(true) => (Color::Cyan, Modifier::empty()),
            Role::Label => (Color::LightBlue, Modifier::empty()),
            Role::Dim | Role::Border(false) => (Color::Reset, Modifier::DIM),
            Role::Key => (Color::Cyan, Modifier::BOLD),
            // The dimness of a frame is not to spread to its title.
            Role::Title(false) => return Style::new().remove_modifier(Modifier::DIM),
            Role::Title(true) | Role::Current => (Color::Reset, Modifier::BOLD),
            Role::Breakpoint => (Color::Magenta, Modifier::BOLD),
            Role::Alert | Role::Error => (Color::LightMagenta, bold_reversed),
        };
        let style = Style::new().add_modifier(modifier);
        if self.colors == Colors::None || color == Color::Reset { style } else { style.fg(color) }
    }

    /// The word and look of a status.
    pub(crate) fn status(self, status: Status) -> (&'static str, Style) {
        match status {
            Status::Ahead => ("", Style::new()),
            Status::NotCompared => (self.glyph("·", "."), self.style(Role::Dim)),
            Status::Agrees => ("ok", self.style(Role::Good)),
            Status::Equivalent => ("eq", self.style(Role::Good)),
            Status::Diverges => ("!!", self.style(Role::Bad)),
            Status::Follows => ("up", self.style(Role::Follows)),
        }
    }

    /// One of two glyphs: the second where only ASCII can be shown.
    pub(crate) fn glyph(self, unicode: &'static str, ascii: &'static str) -> &'static str {
        if self.ascii { ascii } else { unicode }
    }

    /// Marks a cut.
    pub(crate) fn ellipsis(self) -> &'static str {
        self.glyph("…", "~")
    }

    /// Frames of panes.
    pub(crate) fn border(self) -> border::Set<'static> {
        if self.ascii { ASCII_BORDER } else { border::PLAIN }
    }

    /// Text from outside, or of ours, with what this terminal cannot show replaced.
    pub(crate) fn text(self, text: &str) -> String {
        let text = super::text::visible(text);
        if !self.ascii || text.is_ascii() {
            return text;
        }
        let replace = |character: char| match character {
            '·' | '−' => '-',
            '×' => 'x',
            _ if character.is_ascii() => character,
            _ => '?',
        };
        text.chars().map(replace).collect()
    }

    /// How one value of a heatmap is shown.
    pub(crate) fn ink(self) -> Ink {
        match (self.colors, self.ascii) {
            (Colors::Full | Colors::Indexed, false) => Ink::HalfBlocks,
            (Colors::Full | Colors::Indexed, true) => Ink::Backgrounds,
            (Colors::Basic | Colors::None, _) => Ink::Shades,
        }
    }

    /// The colour of a value between -1 and 1: purple below zero, orange above, dark at zero, brighter away from it.
    /// Brightness says how much and hue says which sign, so it reads under every kind of colour blindness.
    pub(crate) fn heat(self, value: f32) -> Color {
        /// Steps on each side of zero: few enough that scrolling over a slow line stays light.
        const STEPS: f32 = 16.0;
        /// Zero.
        const DARK: f64 = 22.0;
        let strength = f64::from((value.abs().min(1.0) * STEPS).round() / STEPS);
        // The dark half of the diverging map of ColorBrewer, from its outer end inwards, ends before it turns white.
        let along = 0.05 + 0.33 * strength;
        let color = colorous::PURPLE_ORANGE.eval_continuous(if value > 0.0 { 1.0 - along } else { along });
        let fade = (strength / 0.35).min(1.0);
        let mix = |channel: u8| (DARK + (f64::from(channel) - DARK) * fade) as u8;
        let (r, g, b) = (mix(color.r), mix(color.g), mix(color.b));
        match self.colors {
            Colors::Full => Color::Rgb(r, g, b),
            Colors::Indexed => Color::Indexed(nearest(r, g, b)),
            Colors::Basic if value > 0.0 => Color::Yellow,
            Colors::Basic if value < 0.0 => Color::Magenta,
            Colors::Basic | Colors::None => Color::Reset,
        }
    }

    /// The look of a text that says a share between 0 and 1, on the colour of that share; none where colours are few.
    pub(crate) fn shaded(self, share: f64) -> Style {
        let few = matches!(self.colors, Colors::Basic | Colors::None);
        if few || share.is_nan() || share < 0.02 {
            return Style::new();
        }
        // Black and white of the cube: those of the palette may be anything.
        let text = if share < 0.3 { Color::Indexed(231) } else { Color::Indexed(16) };
        Style::new().fg(text).bg(self.heat(share as f32))
    }

    /// Glyphs from nothing to much.
    pub(crate) fn ramp(self) -> &'static [&'static str] {
        if self.ascii {
            &[" ", ".", ":", "-", "=", "+", "*", "#", "%", "@"]
        } else {
            &[" ", "░", "▒", "▓", "█"]
        }
    }
}

/// How one value of a heatmap is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ink {
    /// Two values a cell, as the colours of `▀`.
    HalfBlocks,
    /// One value a cell, as its background.
    Backgrounds,
    /// One value a cell, as a glyph of the ramp: its magnitude.
    Shades,
}

/// The nearest of the 256 colours, among the cube and the greys.
fn nearest(r: u8, g: u8, b: u8) -> u8 {
    const LEVELS: [i32; 6] = [0, 95, 135, 175, 215, 255];
    let level = |channel: u8| (0..6usize).min_by_key(|index| (LEVELS[*index] - i32::from(channel)).abs()).unwrap_or(0);
    let distance =
        |x: i32, y: i32, z: i32| (x - i32::from(r)).pow(2) + (y - i32::from(g)).pow(2) + (z - i32::from(b)).pow(2);
    let (x, y, z) = (level(r), level(g), level(b));
    let grey = ((i32::from(r) + i32::from(g) + i32::from(b)) / 3 - 8).clamp(0, 230) / 10;
    let shade = 8 + 10 * grey;
    if distance(shade, shade, shade) < distance(LEVELS[x], LEVELS[y], LEVELS[z]) {
        232 + grey as u8
    } else {
        (16 + 36 * x + 6 * y + z) as u8
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn detected(variables: &[(&str, &str)]) -> Theme {
        Theme::detect(|name| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_string()))
    }

    #[test]
    fn the_environment_decides() {
        assert_eq!(detected(&[("TERM", "xterm-256color"), ("COLORTERM", "truecolor")]).colors, Colors::Full);
        assert_eq!(detected(&[("TERM", "xterm-256color")]).colors, Colors::Indexed);
        assert_eq!(detected(&[("TERM", "xterm")]).colors, Colors::Basic);
        assert_eq!(detected(&[("NO_COLOR", "1"), ("COLORTERM", "truecolor")]).colors, Colors::None);
        assert!(detected(&[("TERM", "xterm"), ("LC_ALL", "C"), ("LANG", "en_GB.UTF-8")]).ascii);
        assert!(!detected(&[("TERM", "xterm"), ("LANG", "en_GB.UTF-8")]).ascii);
        assert!(detected(&[("TERM", "linux")]).ascii);
    }

    #[test]
    fn brightness_grows_with_magnitude() {
        let theme = Theme { colors: Colors::Full, ascii: false };
        let brightness = |value: f32| match theme.heat(value) {
            Color::Rgb(r, g, b) => 0.21 * f64::from(r) + 0.72 * f64::from(g) + 0.07 * f64::from(b),
            other => panic!("{other:?}"),
        };
        for sign in [1.0, -1.0] {
            let steps: Vec<f64> = (0..=16).map(|step| brightness(sign * step as f32 / 16.0)).collect();
            assert!(steps.is_sorted(), "{steps:?}");
        }
    }

    #[test]
    fn colours_of_the_cube_are_their_own_nearest() {
        assert_eq!((nearest(255, 0, 0), nearest(0, 0, 0), nearest(18, 18, 18)), (196, 16, 233));
    }
}
