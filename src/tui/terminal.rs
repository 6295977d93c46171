//! The loop of the screen: keys, answers and time come in, requests go out, and what has changed is drawn.

use std::io::{self, IsTerminal};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use ratatui::crossterm::clipboard::CopyToClipboard;
use ratatui::crossterm::event::{self, DisableMouseCapture, EnableMouseCapture, Event, KeyEventKind};
use ratatui::crossterm::terminal::{self as modes, BeginSynchronizedUpdate, EndSynchronizedUpdate};
use ratatui::crossterm::{execute, queue};
use ratatui::layout::Rect;
use signal_hook::consts::SIGSTOP;

use super::app::App;
use super::beside::{Ahead, Heard, Reopen, Watch, watched};
use super::history::History;
use super::keymap::Keymap;
use super::message::{Msg, Reply, Request};
use super::pane;
use super::settings::Settings;
use super::theme::Theme;
use super::tty::{self, Screen};
use super::worker::Worker;
use crate::debugger::Outlook;
use crate::session::{Backend, Shown, held};

/// A frame takes at least this long: a held key must not flood a slow line.
const FRAME: Duration = Duration::from_millis(16);
/// How long what a key has changed waits for the page that it asked for, so that both are drawn at once.
const TOGETHER: Duration = Duration::from_millis(6);
/// How long the loop sleeps while nothing is under way; only a continued process and changed dumps wait for it.
const IDLE: Duration = Duration::from_millis(500);
/// How long it sleeps at most while the dumps are compared ahead.
const AHEAD: Duration = Duration::from_millis(50);
/// No time at all, which this source of events would take for "do not even look".
const NOW: Duration = Duration::from_millis(1);
/// After how long it is said what the debugger is at.
const SLOW: Duration = Duration::from_millis(400);
/// How long keys wait for a reply of the debugger while one is under way.
const BUSY: Duration = Duration::from_millis(10);

/// Why there is no screen, or no longer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Input or output is a file or a pipe.
    #[error(
        "layerstep needs a terminal for its screen; debug --batch, run, replay --check, diff, inspect, capture and generate work without one"
    )]
    NoTerminal,
    /// The terminal failed.
    #[error("the terminal failed: {0}")]
    Io(#[from] io::Error),
    /// The debugger's thread is gone.
    #[error("{0}")]
    Worker(String),
}

/// What the screen begins with.
#[derive(Default)]
pub struct Start {
    /// What the user has chosen of the screen.
    pub settings: Settings,
    /// What the keys do.
    pub keys: Keymap,
    /// How often to look whether the dumps have changed, and how: they are then read again.
    pub watch: Option<Watch>,
    /// Opens the dumps once more, to compare them ahead of the user; none where there are none.
    pub reopen: Option<Reopen>,
    /// What the comparison has found, where it is known from the start.
    pub outlook: Option<Outlook>,
    /// What is debugged, in a sentence for the first page.
    pub story: Option<&'static str>,
    /// Where the command lines of earlier runs are kept.
    pub history: Option<PathBuf>,
    /// Commands to begin with.
    pub commands: Vec<String>,
    /// A recording to be played; it stands at its start until a command plays it.
    pub recording: Option<Shown>,
}

/// Shows a debugger on the terminal until the user quits.
///
/// # Errors
/// When standard input or output is not a terminal, or it fails.
pub fn run<B: Backend + Send + 'static>(backend: Arc<Mutex<B>>, start: Start) -> Result<(), Error> {
    if !io::stdin().is_terminal() || !io::stdout().is_terminal() {
        return Err(Error::NoTerminal);
    }
    let size = modes::size()?;
    held(&backend).shown_on(size.0, size.1);
    let changed = start.watch.map(watched).transpose()?;
    let theme = Theme::from_environment();
    let (header, listing, curve) = {
        let backend = held(&backend);
        (backend.header(), backend.listing(), backend.curve())
    };
    let mut app = App::new(theme, size, header, listing, curve);
    app.story = start.story;
    app.configure(start.settings);
    app.input.keys = start.keys;
    let lines = start.settings.history;
    app.typing.history = start.history.map(|file| History::open(&file, lines)).unwrap_or_default();
    if let Some(recording) = start.recording {
        app.open_recording(recording);
    }
    app.script.lines = start.commands.into_iter().rev().collect();
    let ahead = start.reopen.map(Ahead::start).transpose()?;
    app.ahead = start.outlook.map(Heard::Found).or(ahead.is_some().then_some(Heard::Begun));
    tty::restore_on_panic();
    tty::restore_on_signal()?;
    let worker = Worker::start(backend)?;
    let result = tty::enter(start.settings.mouse).map_err(Error::from).and_then(|screen| {
        Loop { app, worker, screen, changed, ahead, open: 0, busy: None, since: None, torn: false, quit: false }.run()
    });
    tty::leave();
    result
}

struct Loop {
    app: App,
    worker: Worker,
    screen: Screen,
    /// Set by the thread that watches the dumps.
    changed: Option<Arc<AtomicBool>>,
    /// The comparison that runs ahead, where something is compared.
    ahead: Option<Ahead>,
    /// Requests that the debugger has not answered yet.
    open: usize,
    /// Since when the debugger is at work without a pause.
    busy: Option<Instant>,
    /// Since when the last line of a recording can be seen.
    since: Option<Instant>,
    /// The terminal had another size for a moment, and may have lost what was on it.
    torn: bool,
    quit: bool,
}

impl Loop {
    fn run(mut self) -> Result<(), Error> {
        let requests = self.app.begin();
        self.send(requests)?;
        self.draw()?;
        let mut drawn = Instant::now();
        let mut changed = false;
        while !self.quit {
            // Everything that waits is heard before anything is drawn, but no flood keeps the screen from drawing.
            let idle = if self.ahead.as_ref().is_some_and(Ahead::runs) { AHEAD } else { IDLE };
            let mut pause = if changed || self.open > 0 { NOW } else { self.until_tick().clamp(NOW, idle) };
            while !self.quit && event::poll(pause)? {
                changed |= self.hear(event::read()?)?;
                pause = NOW;
                if changed && drawn.elapsed() > 2 * FRAME {
                    break;
                }
            }
            let due = FRAME.saturating_sub(drawn.elapsed());
            if self.open > 0 {
                changed |= self.hear_replies(if changed { due.clamp(TOGETHER, BUSY) } else { BUSY })?;
            } else if changed {
                thread::sleep(due.min(BUSY));
            }
            if self.changed.as_ref().is_some_and(|changed| changed.swap(false, Ordering::Relaxed)) {
                let requests = self.app.update(Msg::Changed);
                self.send(requests)?;
                changed = true;
            }
            changed |= self.hear_ahead()? || self.is_slow()?;
            if self.until_tick().is_zero() {
                self.since = None;
                let requests = self.app.update(Msg::Tick);
                self.send(requests)?;
                changed = true;
            }
            if tty::was_continued() {
                self.return_to_terminal()?;
                changed = true;
            }
            if changed && !self.quit && drawn.elapsed() >= FRAME {
                self.draw()?;
                drawn = Instant::now();
                changed = false;
            }
        }
        Ok(())
    }

    /// Hears what the debugger says within a while; whether it said anything.
    fn hear_replies(&mut self, mut pause: Duration) -> Result<bool, Error> {
        let mut heard = false;
        while self.open > 0 {
            let Some(reply) = self.worker.reply(pause).map_err(Error::Worker)? else { break };
            heard = true;
            pause = Duration::ZERO;
            if !matches!(reply, Reply::Progress(_)) {
                self.open -= 1;
            }
            let requests = self.app.update(Msg::Reply(reply));
            self.send(requests)?;
        }
        Ok(heard)
    }

    /// Says when the debugger has been at work for a while, and when it no longer is; whether that is news.
    fn is_slow(&mut self) -> Result<bool, Error> {
        self.busy = (self.open > 0).then(|| self.busy.unwrap_or_else(Instant::now));
        let slow = self.busy.is_some_and(|since| since.elapsed() > SLOW);
        if slow == self.app.slow {
            return Ok(false);
        }
        let requests = self.app.update(Msg::Slow(slow));
        self.send(requests)?;
        Ok(true)
    }

    /// Hears what the comparison that runs ahead has found; whether there was anything.
    fn hear_ahead(&mut self) -> Result<bool, Error> {
        let Some(ahead) = &mut self.ahead else { return Ok(false) };
        ahead.make_way(self.open > 0);
        let Some(heard) = ahead.heard() else { return Ok(false) };
        let requests = self.app.update(Msg::Ahead(heard));
        self.send(requests)?;
        Ok(true)
    }

    /// How long the last line of a recording is still to be seen before the next is obeyed.
    fn until_tick(&mut self) -> Duration {
        let Some(pause) = self.app.pause() else {
            self.since = None;
            return Duration::MAX;
        };
        pause.saturating_sub(self.since.get_or_insert_with(Instant::now).elapsed())
    }

    fn return_to_terminal(&mut self) -> Result<(), Error> {
        self.screen = tty::enter(self.app.chosen.settings.mouse)?;
        let (columns, rows) = modes::size()?;
        let requests = self.app.update(Msg::Resize(columns, rows));
        self.send(requests)
    }

    /// Whether the event changed anything.
    fn hear(&mut self, event: Event) -> Result<bool, Error> {
        let msg = match event {
            Event::Key(key) if key.kind != KeyEventKind::Release => Msg::Key(key),
            Event::Mouse(mouse) if !matches!(mouse.kind, event::MouseEventKind::Moved) => Msg::Mouse(mouse),
            Event::Paste(text) => Msg::Paste(text),
            Event::Resize(columns, rows) => {
                self.torn = true;
                Msg::Resize(columns, rows)
            }
            _ => return Ok(false),
        };
        let requests = self.app.update(msg);
        self.send(requests)?;
        Ok(true)
    }

    fn send(&mut self, requests: Vec<Request>) -> Result<(), Error> {
        for request in requests {
            match request {
                Request::Quit => {
                    self.quit = true;
                    self.worker.send(Request::Interrupt);
                }
                Request::Suspend => {
                    tty::leave();
                    // Not SIGTSTP: a parent may ignore that, and then nobody would stop.
                    signal_hook::low_level::raise(SIGSTOP)?;
                    self.return_to_terminal()?;
                }
                // OSC 52: terminals that do not know it, or do not want it, pass it over.
                Request::Yank(text) => execute!(self.screen.backend_mut(), CopyToClipboard::to_clipboard_from(text))?,
                Request::LookAhead => {
                    if let Some(ahead) = &mut self.ahead {
                        ahead.again()?;
                    } else {
                        // What was known from the start was of the dumps as they were.
                        let requests = self.app.update(Msg::Ahead(Heard::Ended));
                        self.send(requests)?;
                    }
                }
                Request::Mouse(true) => execute!(self.screen.backend_mut(), EnableMouseCapture)?,
                Request::Mouse(false) => execute!(self.screen.backend_mut(), DisableMouseCapture)?,
                // These are not answered.
                unanswered @ (Request::Interrupt | Request::Obeyed(_) | Request::Live) => self.worker.send(unanswered),
                other => {
                    self.open += 1;
                    self.worker.send(other);
                }
            }
        }
        Ok(())
    }

    fn draw(&mut self) -> Result<(), Error> {
        let size = modes::size()?;
        if size != self.app.desk.size {
            let requests = self.app.update(Msg::Resize(size.0, size.1));
            self.send(requests)?;
        }
        let app = &self.app;
        queue!(self.screen.backend_mut(), BeginSynchronizedUpdate)?;
        if std::mem::take(&mut self.torn) {
            // Not clear(), which asks the terminal where its cursor is.
            self.screen.resize(Rect::new(0, 0, size.0, size.1))?;
        }
        self.screen.draw(|frame| pane::draw(frame, app))?;
        Ok(execute!(self.screen.backend_mut(), EndSynchronizedUpdate)?)
    }
}
