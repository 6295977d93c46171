//! What the screen can be set to: by `set` while it runs, by `[screen]` of the configuration file before.

use super::Layout;

/// One thing that can be set, and what to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Setting {
    /// The look; `None`: as the environment tells.
    Theme(Option<Palette>),
    /// How many colours; `None`: as many as the environment tells of.
    Colors(Option<Colors>),
    /// Only ASCII characters; `None`: as the environment tells.
    Ascii(Option<bool>),
    /// Whether the mouse is listened to.
    Mouse(bool),
    /// How the panes are arranged.
    Layout(Layout),
}

/// A look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Palette {
    /// For dark backgrounds.
    #[default]
    Dark,
    /// For light backgrounds.
    Light,
    /// White and bright colours on a black of its own, whatever the background is.
    HighContrast,
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

/// One row of [`SETTINGS`].
#[derive(Debug)]
pub struct SettingSpec {
    /// Its word.
    pub name: &'static str,
    /// What it may be, with the words for it; the default first.
    pub values: &'static [(&'static str, Setting)],
    /// One sentence.
    pub doc: &'static str,
}

/// Everything that can be set.
#[rustfmt::skip]
pub const SETTINGS: &[SettingSpec] = &[
    SettingSpec {
        name: "theme",
        values: &[
            ("auto", Setting::Theme(None)), ("dark", Setting::Theme(Some(Palette::Dark))),
            ("light", Setting::Theme(Some(Palette::Light))), ("high-contrast", Setting::Theme(Some(Palette::HighContrast))),
        ],
        doc: "The look. auto is dark, unless COLORFGBG tells of a light background; high-contrast paints its own black one.",
    },
    SettingSpec {
        name: "colors",
        values: &[
            ("auto", Setting::Colors(None)), ("none", Setting::Colors(Some(Colors::None))),
            ("16", Setting::Colors(Some(Colors::Basic))), ("256", Setting::Colors(Some(Colors::Indexed))),
            ("full", Setting::Colors(Some(Colors::Full))),
        ],
        doc: "How many colours. auto asks NO_COLOR, COLORTERM and TERM; anything else is stronger than NO_COLOR.",
    },
    SettingSpec {
        name: "ascii",
        values: &[("auto", Setting::Ascii(None)), ("on", Setting::Ascii(Some(true))), ("off", Setting::Ascii(Some(false)))],
        doc: "Whether to draw with ASCII characters only. auto asks TERM and the locale.",
    },
    SettingSpec {
        name: "mouse",
        values: &[("on", Setting::Mouse(true)), ("off", Setting::Mouse(false))],
        doc: "Whether to listen to the mouse. Without, the terminal selects text as it does elsewhere.",
    },
    SettingSpec {
        name: "layout",
        values: &[
            ("stepping", Setting::Layout(Layout::Stepping)), ("comparing", Setting::Layout(Layout::Comparing)),
            ("attention", Setting::Layout(Layout::Attention)),
        ],
        doc: "How the panes are arranged at the start.",
    },
];

impl SettingSpec {
    /// Its row.
    pub fn find(name: &str) -> Option<&'static Self> {
        SETTINGS.iter().find(|spec| spec.name == name)
    }

    /// The words for what it may be.
    pub fn words(&self) -> impl Iterator<Item = &'static str> {
        self.values.iter().map(|(word, _)| *word)
    }
}

impl Setting {
    /// The words for it: the name and the value.
    pub fn words(self) -> (&'static str, &'static str) {
        let found = SETTINGS.iter().find_map(|spec| {
            let (word, _) = spec.values.iter().find(|(_, value)| *value == self)?;
            Some((spec.name, *word))
        });
        found.unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_setting_has_words_of_its_own() {
        for spec in SETTINGS {
            assert!(spec.doc.ends_with('.'), "{}", spec.name);
            for (word, setting) in spec.values {
                assert_eq!(setting.words(), (spec.name, *word));
            }
        }
    }
}
