//! What the user has chosen of the screen. `None` leaves it to the environment.

use super::app::App;
use super::message::Request;
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

    /// What is to be shown on a terminal that the environment tells this of.
    pub(crate) fn theme(&self, detected: Theme) -> Theme {
        Theme {
            palette: self.theme.unwrap_or(detected.palette),
            colors: self.colors.unwrap_or(detected.colors),
            ascii: self.ascii.unwrap_or(detected.ascii),
        }
    }
}

impl App {
    /// Takes in what the user has chosen before the start.
    pub(crate) fn configure(&mut self, settings: Settings) {
        self.settings = settings;
        self.theme = settings.theme(self.detected);
        // Errors, where there are any; else the pane would be empty.
        if settings.layout != Layout::Comparing || self.listing.compared {
            self.arrange(Some(settings.layout));
        }
    }

    /// Changes a setting.
    pub(crate) fn change(&mut self, setting: Setting, requests: &mut Vec<Request>) {
        self.settings.set(setting);
        if let Some(player) = self.player.as_mut().filter(|player| !player.feeds) {
            player.settings.set(setting);
            player.settings.layout = Layout::default();
        }
        self.theme = self.settings.theme(self.detected);
        match setting {
            Setting::Mouse(on) => requests.push(Request::Mouse(on)),
            Setting::Layout(layout) => self.arrange(Some(layout)),
            Setting::Theme(_) | Setting::Colors(_) | Setting::Ascii(_) => {}
        }
        let (name, value) = setting.words();
        self.say(format!("{name} is {value}"));
    }
}
