//! What the user has chosen of the screen. `None` leaves it to the environment.

use super::theme::{Colors, Palette, Theme};
use crate::debugger::command::{Layout, Setting};

/// How the screen is to be: by the configuration file first, by `set` while it runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The look.
    pub theme: Option<Palette>,
    /// How many colours.
    pub colors: Option<Colors>,
    /// Only ASCII characters.
    pub ascii: Option<bool>,
    /// Whether the mouse is listened to.
    pub mouse: bool,
    /// How the panes are arranged at the start.
    pub layout: Layout,
    /// Command lines kept from run to run.
    pub history: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self { theme: None, colors: None, ascii: None, mouse: true, layout: Layout::default(), history: 1000 }
    }
}

impl Settings {
    /// Sets one thing.
    pub fn set(&mut self, setting: Setting) {
        match setting {
            Setting::Theme(theme) => self.theme = theme,
            Setting::Colors(colors) => self.colors = colors,
            Setting::Ascii(ascii) => self.ascii = ascii,
            Setting::Mouse(mouse) => self.mouse = mouse,
            Setting::Layout(layout) => self.layout = layout,
        }
    }

    /// All that [`Settings::set`] sets, as it is now.
    pub fn all(&self) -> [Setting; 5] {
        [
            Setting::Theme(self.theme),
            Setting::Colors(self.colors),
            Setting::Ascii(self.ascii),
            Setting::Mouse(self.mouse),
            Setting::Layout(self.layout),
        ]
    }
}

/// What the user has chosen, on a terminal that the environment tells of.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Chosen {
    /// What the user has chosen.
    pub(crate) settings: Settings,
    /// What the environment tells of the terminal.
    pub(crate) detected: Theme,
}

impl Chosen {
    /// Colours and glyphs.
    pub(crate) fn theme(&self) -> Theme {
        let Settings { theme, colors, ascii, .. } = self.settings;
        Theme {
            palette: theme.unwrap_or(self.detected.palette),
            colors: colors.unwrap_or(self.detected.colors),
            ascii: ascii.unwrap_or(self.detected.ascii),
        }
    }
}
