//! Every colour and glyph. Nothing is said by colour alone: without colours the glyphs and attributes remain.

mod heat;
mod palette;

use std::env;

use ratatui::style::{Color, Modifier, Style};
use ratatui::symbols::border;

pub use crate::debugger::command::{Colors, Palette};
use crate::debugger::view::Status;

/// What the terminal can show, and how it is to look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Theme {
    /// The look.
    pub palette: Palette,
    /// How many colours.
    pub colors: Colors,
    /// Only ASCII characters.
    pub ascii: bool,
}

impl Default for Theme {
    fn default() -> Self {
        Self { palette: Palette::default(), colors: Colors::None, ascii: false }
    }
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
    /// Reads `NO_COLOR`, `COLORTERM`, `TERM`, `SSH_CONNECTION`, `COLORFGBG` and the locale.
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
        let ascii = poor || !locale.is_none_or(utf8);
        // The last number is the background: white and the bright colours but the bright black are light.
        let background = variable("COLORFGBG").and_then(|colors| colors.rsplit(';').next()?.parse().ok());
        let palette = if matches!(background, Some(7 | 9..=15)) { Palette::Light } else { Palette::Dark };
        Self { palette, colors, ascii }
    }

    /// How a role looks.
    pub(crate) fn style(self, role: Role) -> Style {
        if role == Role::Selected(true) {
            // Over whatever colours the row has: patches of them would be unreadable when reversed.
            return Style::new().fg(Color::Reset).bg(Color::Reset).add_modifier(Modifier::REVERSED);
        }
        let bold_reversed = Modifier::BOLD.union(Modifier::REVERSED);
        let hues = self.hues();
        let (color, modifier) = match role {
            Role::Status => (None, Modifier::REVERSED),
            Role::Selected(_) => (None, Modifier::UNDERLINED),
            Role::Bad => (hues.map(|hues| hues.wrong), bold_reversed),
            Role::Follows => (hues.map(|hues| hues.wrong), Modifier::empty()),
            Role::Good | Role::Border(true) => (hues.map(|hues| hues.right), Modifier::empty()),
            Role::Label => (hues.map(|hues| hues.label), Modifier::empty()),
            Role::Dim | Role::Border(false) => match hues.and_then(|hues| hues.faint) {
                None if self.palette != Palette::HighContrast => (None, Modifier::DIM),
                faint => (faint, Modifier::empty()),
            },
            Role::Key => (hues.map(|hues| hues.right), Modifier::BOLD),
            // What is faint about a frame is not to spread to its title.
            Role::Title(false) => return Style::new().fg(Color::Reset).remove_modifier(Modifier::DIM),
            Role::Title(true) | Role::Current => (None, Modifier::BOLD),
            Role::Breakpoint => (hues.map(|hues| hues.mark), Modifier::BOLD),
            Role::Alert | Role::Error => (hues.map(|hues| hues.alert), bold_reversed),
        };
        Style { fg: color, ..Style::new().add_modifier(modifier) }
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

    /// The look of a text that says a share between 0 and 1, on the colour of that share; none where colours are few.
    pub(crate) fn shaded(self, share: f64) -> Style {
        let few = matches!(self.colors, Colors::Basic | Colors::None);
        if few || share.is_nan() || share < 0.02 {
            return Style::new();
        }
        // Black and white of the cube: those of the user's palette may be anything. Heat grows darker on a light ground.
        let dark_ground = self.palette != Palette::Light;
        let text = if dark_ground == (share < if dark_ground { 0.55 } else { 0.5 }) { 231 } else { 16 };
        let text = Color::Indexed(text);
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
        for (colors, palette) in [
            ("15;0", Palette::Dark),
            ("0;15", Palette::Light),
            ("0;default;7", Palette::Light),
            ("12;8", Palette::Dark),
            ("15;default", Palette::Dark),
            ("", Palette::Dark),
        ] {
            assert_eq!(detected(&[("COLORFGBG", colors)]).palette, palette, "{colors}");
        }
    }
}
