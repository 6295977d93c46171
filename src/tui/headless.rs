//! The screen without a terminal or a thread: keys in, text out. Tests and pictures are made with it.

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::buffer::Buffer;
use ratatui::crossterm::event::{KeyModifiers, MouseEvent, MouseEventKind};

use super::app::App;
use super::beside::Heard;
use super::keymap;
use super::message::{Msg, Request};
use super::pane;
use super::theme::Theme;
use super::worker::serve;
use crate::debugger::Outlook;
use crate::session::{Backend, Shown, held};

/// A screen whose debugger answers at once.
pub struct Screen<B> {
    app: App,
    backend: Arc<Mutex<B>>,
    terminal: Terminal<TestBackend>,
    quit: bool,
}

impl<B: Backend> Screen<B> {
    /// A screen of so many columns and rows.
    pub fn headless(backend: B, columns: u16, rows: u16, theme: Theme) -> Self {
        Self::of(Arc::new(Mutex::new(backend)), (columns, rows), theme, None)
    }

    /// The same, with a recording open.
    pub fn replaying(backend: B, columns: u16, rows: u16, theme: Theme, recording: Shown) -> Self {
        Self::of(Arc::new(Mutex::new(backend)), (columns, rows), theme, Some(recording))
    }

    /// The same, of a debugger that others look at, too.
    pub fn of(shared: Arc<Mutex<B>>, size: (u16, u16), theme: Theme, recording: Option<Shown>) -> Self {
        let mut backend = held(&shared);
        backend.shown_on(size.0, size.1);
        let mut app = App::new(theme, size, backend.header(), backend.listing(), backend.curve());
        drop(backend);
        if let Some(recording) = recording {
            app.open_recording(recording);
        }
        let Ok(terminal) = Terminal::new(TestBackend::new(size.0, size.1));
        let mut screen = Self { app, backend: shared, terminal, quit: false };
        let requests = screen.app.begin();
        screen.serve(requests);
        screen.draw();
        screen
    }

    /// Types keys: characters for themselves, others by name: `ss2n/rope<ret>`, `<C-c>`. Draws after each.
    pub fn keys(&mut self, keys: &str) -> &mut Self {
        for key in keymap::parse(keys) {
            self.hear(Msg::Key(key));
        }
        self
    }

    /// Obeys a command line, as one that is typed.
    pub fn obey(&mut self, line: &str) -> &mut Self {
        self.hear(Msg::Line(line.to_string()));
        self
    }

    /// Goes to where so many lines of the recording are played.
    pub fn played(&mut self, lines: usize) -> &mut Self {
        self.obey(&format!("played {lines}"))
    }

    /// Goes to a mark of the recording.
    pub fn to_mark(&mut self, text: &str) -> &mut Self {
        self.obey(&format!("to {text}"))
    }

    /// Lets the pause after a line of the recording pass: while it plays, the next line is obeyed.
    pub fn tick(&mut self) -> &mut Self {
        self.hear(Msg::Tick);
        self
    }

    /// How long the pause is; none while the recording does not play.
    pub fn pause(&self) -> Option<Duration> {
        self.app.pause()
    }

    /// Uses the mouse at a column and a row.
    pub fn mouse(&mut self, kind: MouseEventKind, column: u16, row: u16) -> &mut Self {
        self.hear(Msg::Mouse(MouseEvent { kind, column, row, modifiers: KeyModifiers::NONE }));
        self
    }

    /// Pastes text.
    pub fn paste(&mut self, text: &str) -> &mut Self {
        self.hear(Msg::Paste(text.to_string()));
        self
    }

    /// Changes the size.
    pub fn resize(&mut self, columns: u16, rows: u16) -> &mut Self {
        self.terminal.backend_mut().resize(columns, rows);
        self.hear(Msg::Resize(columns, rows));
        self
    }

    /// Hears what the comparison that runs ahead has found.
    pub fn ahead(&mut self, outlook: Outlook) -> &mut Self {
        self.hear(Msg::Ahead(Heard::Found(outlook)));
        self
    }

    /// Says that the files of the dumps have changed.
    pub fn changed(&mut self) -> &mut Self {
        self.hear(Msg::Changed);
        self
    }

    /// What is on the screen: glyphs and styles.
    pub fn buffer(&self) -> &Buffer {
        self.terminal.backend().buffer()
    }

    /// What is on the screen, one line a row, without trailing spaces.
    pub fn text(&self) -> String {
        let buffer = self.buffer();
        let mut text = String::new();
        for row in buffer.content.chunks(usize::from(buffer.area.width).max(1)) {
            let mut covered = 0;
            let mut line = String::new();
            for cell in row {
                if covered == 0 {
                    line.push_str(cell.symbol());
                    covered = super::text::width(cell.symbol()).saturating_sub(1);
                } else {
                    covered -= 1;
                }
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }

    /// Draws everything anew: here, a wide character leaves a trace in the cell behind it that no terminal shows.
    pub fn redraw(&mut self) -> &mut Self {
        let Ok(()) = self.terminal.clear();
        self.draw();
        self
    }

    /// Whether the user has quit.
    pub fn has_quit(&self) -> bool {
        self.quit
    }

    fn hear(&mut self, msg: Msg) {
        let requests = self.app.update(msg);
        self.serve(requests);
        self.draw();
    }

    fn serve(&mut self, requests: Vec<Request>) {
        let mut queue = std::collections::VecDeque::from(requests);
        while let Some(request) = queue.pop_front() {
            self.quit |= matches!(request, Request::Quit);
            let mut replies = Vec::new();
            serve(&self.backend, request, &AtomicBool::new(false), &mut |reply| replies.push(reply));
            for reply in replies {
                queue.extend(self.app.update(Msg::Reply(reply)));
            }
        }
    }

    fn draw(&mut self) {
        let app = &self.app;
        let Ok(_) = self.terminal.draw(|frame| pane::draw(frame, app));
    }
}
