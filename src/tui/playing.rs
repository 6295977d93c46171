//! How a recording is played: its lines are obeyed as if they were typed, each when the one before it is done and its
//! pages have come. Going back is going to the start and playing up to the place.

use std::time::Duration;

use super::app::{App, Running};
use super::keymap::Input;
use super::message::Request;
use super::obey::is_recorded;
use super::player::{Card, CardKind, Doing, Player};
use crate::debugger::Command;
use crate::debugger::command::{Count, Layout, Place, ScreenCommand};
use crate::debugger::view::{Curve, Header, Listing};
use crate::session::Shown;

impl App {
    /// The player, unless the user has left it.
    pub(crate) fn open_player(&self) -> Option<&Player> {
        self.player.as_ref().filter(|player| !player.live)
    }

    /// Whether the recording goes somewhere as fast as it can: whoever types has to wait, or press Esc.
    pub(crate) fn seeks(&self) -> bool {
        self.player.as_ref().is_some_and(|player| matches!(player.doing, Doing::Seeking(_)))
    }

    /// How long the line that was played last is to be seen before the next; nothing if none is to follow by itself.
    pub(crate) fn pause(&self) -> Option<Duration> {
        let player = self.open_player().filter(|player| player.doing == Doing::Playing)?;
        (self.is_ready() && self.typing.prompt.is_none()).then(|| player.pause())
    }

    /// Whether all that was obeyed is done, and shown.
    fn is_ready(&self) -> bool {
        self.running.is_none() && self.script.lines.is_empty() && self.panes.awaited == 0
    }

    /// Obeys a command of the player.
    pub(crate) fn play(&mut self, command: &ScreenCommand) {
        use ScreenCommand as S;
        let Some(player) = &mut self.player else {
            return self.said.refuse("no recording is open: layerstep replay NAME opens one");
        };
        let played = player.played;
        match command {
            S::Seek(place) if !player.live || !is_relative(place) => self.seek(place),
            _ if player.live => self.said.refuse(format!("the recording was left: played {played} goes back to it")),
            S::Speed(speed) => player.set_speed(*speed),
            S::Live => {
                self.leave_recording();
                let parting = self.parting.take().unwrap_or_default();
                self.said.mention(format!("{parting}: what follows is your own"));
            }
            _ if player.doing != Doing::Paused => player.doing = Doing::Paused,
            _ if player.torn => self.seek(&Place::Line(Count::To(played))),
            _ if played == player.lines() => {
                self.said.refuse("this is the end of the recording: played start goes back");
            }
            _ => {
                player.doing = Doing::Playing;
                if self.is_ready() {
                    self.play_line();
                }
            }
        }
    }

    fn seek(&mut self, place: &Place) {
        let Some(player) = &mut self.player else { return };
        match player.lines_at(place) {
            Err(sentence) => self.said.refuse(sentence),
            Ok(target) => {
                let goes_back = target < player.played || player.live || player.torn;
                player.doing = Doing::Seeking(target);
                if goes_back {
                    self.running = Some(Running::new(Command::Restart, self.outline.offset));
                    self.requests.push(Request::Reset);
                }
                self.go_on_with_recording();
            }
        }
    }

    /// The next line of the recording is due.
    pub(crate) fn tick(&mut self) {
        if self.pause().is_some() {
            self.play_line();
        }
    }

    /// Obeys lines until the place is reached that the user wants to see.
    pub(crate) fn go_on_with_recording(&mut self) {
        while self.running.is_none() && self.seeks() {
            self.settle();
            let ready = self.is_ready();
            let Some(player) = self.player.as_mut().filter(|_| ready) else { return };
            match player.doing {
                Doing::Seeking(target) if player.played < target.min(player.lines()) => self.play_line(),
                _ => player.doing = Doing::Paused,
            }
        }
    }

    fn play_line(&mut self) {
        self.said.message = None;
        let Some(player) = &mut self.player else { return };
        let Some(line) = player.recording.lines.get(player.played).map(|line| line.text.clone()) else {
            player.doing = Doing::Paused;
            return;
        };
        let story = player.card.take().filter(|card| card.kind == CardKind::Story);
        player.played += 1;
        let command = Command::parse(&line);
        let stops = player.played == player.lines() || matches!(command, Ok(Some(Command::Mark(_))));
        if stops && player.doing == Doing::Playing {
            player.doing = Doing::Paused;
        }
        match command {
            Ok(None) => {
                // Comments that follow each other are one text.
                let text = line.trim().trim_start_matches('#').trim();
                let before = story.map(|card| card.text + " ").unwrap_or_default();
                let card = Card { kind: CardKind::Story, text: before + text };
                player.card = Some(card).filter(|card| !card.text.trim().is_empty());
            }
            Ok(Some(command)) if is_recorded(&command) => {
                if let Command::Note(text) = &command {
                    player.card = Some(Card { kind: CardKind::Note, text: text.clone() });
                }
                player.feeds = true;
                self.obey(command, &line);
                if let Some(player) = &mut self.player {
                    player.feeds = false;
                }
            }
            // Nothing that asks for more to be typed, or leaves, belongs to a recording.
            Ok(Some(_)) => {}
            Err(sentence) => self.differ(sentence),
        }
    }

    /// The last line has not done what was recorded.
    pub(crate) fn differ(&mut self, sentence: String) {
        let Some(player) = self.player.as_mut().filter(|player| !player.live) else { return };
        player.differing.push(player.played);
        player.card = Some(Card { kind: CardKind::Difference, text: sentence });
        if player.doing == Doing::Playing {
            player.doing = Doing::Paused;
        }
    }

    /// Pauses; whether the recording was played, or went anywhere.
    pub(crate) fn stop_playing(&mut self) -> bool {
        let doing = self.player.as_mut().map(|player| std::mem::replace(&mut player.doing, Doing::Paused));
        doing.is_some_and(|doing| doing != Doing::Paused)
    }

    /// From here on, what is done is the user's own.
    pub(crate) fn leave_recording(&mut self) {
        let Some(player) = self.player.as_mut().filter(|player| !player.live && !player.feeds) else { return };
        (player.live, player.doing, player.card) = (true, Doing::Paused, None);
        self.parting = Some(format!("left the recording at line {} of {}", player.played, player.lines()));
        self.requests.push(Request::Live);
    }

    /// Everything is as it was at the start, but for what the user has chosen of the screen.
    pub(crate) fn rewound(&mut self, start: Result<Box<(Header, Listing, Curve)>, String>) {
        self.running = None;
        let (header, listing, curve) = match start {
            Ok(start) => *start,
            Err(sentence) => {
                self.stop_playing();
                return self.said.refuse(sentence);
            }
        };
        let mut app = Self::new(self.chosen.detected, self.desk.size, header, listing, curve);
        app.typing.history = std::mem::take(&mut self.typing.history);
        app.input = Input { count: None, ..std::mem::take(&mut self.input) };
        app.player = self.player.take();
        let mouse = self.chosen.settings.mouse;
        *self = app;
        let Some(player) = &mut self.player else { return };
        player.rewind();
        let settings = player.settings;
        self.configure(settings);
        if settings.mouse != mouse {
            self.requests.push(Request::Mouse(settings.mouse));
        }
    }

    /// Opens a recording: at its start, with the panes arranged as every recording begins.
    pub(crate) fn open_recording(&mut self, recording: Shown) {
        let (columns, rows) = self.desk.size;
        self.chosen.settings.layout = Layout::default();
        self.desk.arrange(Some(Layout::default()), self.there());
        if let Some((recorded_columns, recorded_rows)) = recording.size.filter(|size| *size != self.desk.size) {
            self.said.mention(format!(
                "recorded on {recorded_columns}x{recorded_rows}, seen on {columns}x{rows}: panes may show more or less"
            ));
        }
        self.player = Some(Player::new(recording, self.chosen.settings));
    }
}

/// Whether a place is told by where the player stands.
fn is_relative(place: &Place) -> bool {
    matches!(place, Place::Line(Count::On(_)) | Place::Marks(_))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::debugger::view::Stop;
    use crate::session::Line;
    use crate::tui::keymap;
    use crate::tui::message::{Msg, Reply};
    use crate::tui::theme::{Colors, Palette, Theme};

    const DONE: fn(Result<Stop, String>) -> Msg = |result| {
        let (listing, curve) = (Listing::default(), Curve::default());
        Msg::Reply(Reply::Done { header: None, result, listing, curve, replayed: None })
    };

    fn open(lines: &[&str]) -> App {
        let theme = Theme { palette: Palette::Dark, colors: Colors::None, ascii: true };
        let mut app = App::new(theme, (80, 24), Header::default(), Listing::default(), Curve::default());
        let lines = lines.iter().map(|line| Line { text: (*line).to_string(), ..Line::default() }).collect();
        app.open_recording(Shown { lines, ..Shown::default() });
        app
    }

    /// What is asked for, without pages: an empty listing has none.
    fn typed(app: &mut App, keys: &str) -> Vec<String> {
        let requests = keymap::parse(keys).into_iter().flat_map(|key| app.update(Msg::Key(key)));
        requests.map(|request| format!("{request:?}")).collect()
    }

    fn place(app: &App) -> (usize, Doing, bool) {
        let player = app.player.as_ref().expect("a recording is open");
        (player.played, player.doing, player.torn)
    }

    #[test]
    fn esc_stops_where_it_is_and_what_was_interrupted_is_played_again() {
        let mut app = open(&["step", "continue", "step"]);
        assert_eq!(typed(&mut app, "3."), ["Execute(Step(1), \"step\")"]);
        // Whatever else is typed waits for the place.
        assert!(typed(&mut app, "j.").is_empty());
        app.update(DONE(Ok(Stop::Done)));
        assert_eq!(place(&app), (2, Doing::Seeking(3), false));
        assert_eq!(typed(&mut app, "<esc>"), ["Interrupt"]);
        assert!(app.update(DONE(Ok(Stop::Interrupted))).is_empty());
        assert_eq!(place(&app), (2, Doing::Paused, true));
        assert_eq!(typed(&mut app, "."), ["Reset"]);
        let start = || Ok(Box::new((Header::default(), Listing::default(), Curve::default())));
        let requests = app.update(Msg::Reply(Reply::Reset(start())));
        assert_eq!(format!("{requests:?}"), "[Execute(Step(1), \"step\")]");
        assert_eq!(place(&app), (1, Doing::Seeking(3), false));
        typed(&mut app, "<esc>");
        app.update(DONE(Ok(Stop::Done)));
        assert_eq!(place(&app), (1, Doing::Paused, false), "it was done before it heard of it");
    }

    #[test]
    fn a_session_that_cannot_go_back_says_so_and_stays() {
        let mut app = open(&["step", "zoom"]);
        typed(&mut app, ".");
        app.update(DONE(Ok(Stop::Done)));
        assert_eq!(typed(&mut app, "."), ["Obeyed(\"zoom\")"]);
        assert_eq!(typed(&mut app, ",."), ["Reset"]);
        app.update(Msg::Reply(Reply::Reset(Err("no way back".into()))));
        assert!(app.desk.arranged.zoomed);
        assert_eq!(place(&app), (2, Doing::Paused, false));
    }

    #[test]
    fn time_matters_only_while_it_plays() {
        let mut app = open(&["step", "# a", "zoom"]);
        assert_eq!(app.pause(), None);
        assert_eq!(typed(&mut app, "x"), ["Execute(Step(1), \"step\")"]);
        assert_eq!(app.pause(), None, "not before it is done");
        app.update(DONE(Ok(Stop::Done)));
        assert!(app.pause().is_some());
        assert!(app.update(Msg::Tick).is_empty());
        typed(&mut app, "<esc>");
        assert_eq!((app.pause(), place(&app).0), (None, 2));
        assert!(app.update(Msg::Tick).is_empty(), "a tick too late");
        assert_eq!(place(&app).0, 2);
    }
}
