//! The terminal: entered, drawn on, and left as it was found, whether by quitting, panic or signal.

use std::io::{self, BufWriter, IsTerminal, Stdout, Write};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, Once, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;
use ratatui::crossterm::clipboard::CopyToClipboard;
use ratatui::crossterm::cursor::{Hide, Show};
use ratatui::crossterm::event::{
    self, DisableBracketedPaste, DisableMouseCapture, EnableBracketedPaste, EnableMouseCapture, Event, KeyEventKind,
};
use ratatui::crossterm::style::{ResetColor, force_color_output};
use ratatui::crossterm::terminal::{
    self as modes, BeginSynchronizedUpdate, Clear, ClearType, EndSynchronizedUpdate, EnterAlternateScreen,
    LeaveAlternateScreen,
};
use ratatui::crossterm::{execute, queue};
use ratatui::layout::Rect;
use signal_hook::consts::{SIGCONT, SIGHUP, SIGINT, SIGQUIT, SIGSTOP, SIGTERM};
use signal_hook::iterator::Signals;

use super::app::App;
use super::history::History;
use super::keymap::Keymap;
use super::message::{Msg, Reply, Request};
use super::pane;
use super::settings::Settings;
use super::theme::Theme;
use super::worker::Worker;
use crate::session::{Backend, Shown, held};

/// A frame takes at least this long: a held key must not flood a slow line.
const FRAME: Duration = Duration::from_millis(16);
/// How long what a key has changed waits for the page that it asked for, so that both are drawn at once.
const TOGETHER: Duration = Duration::from_millis(6);
/// How long the loop sleeps while nothing is under way; only a continued process and changed dumps wait for it.
const IDLE: Duration = Duration::from_millis(500);
/// No time at all, which this source of events would take for "do not even look".
const NOW: Duration = Duration::from_millis(1);
/// How long keys wait for a reply of the debugger while one is under way.
const BUSY: Duration = Duration::from_millis(10);

/// Set while the terminal is ours.
static ENTERED: AtomicBool = AtomicBool::new(false);
/// Set when somebody else may have drawn on the terminal: the shell, after we were stopped.
static CONTINUED: AtomicBool = AtomicBool::new(false);
/// The thread that draws. Panics elsewhere are caught and shown by the screen.
static UI_THREAD: Mutex<Option<thread::ThreadId>> = Mutex::new(None);

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

type Screen = Terminal<CrosstermBackend<BufWriter<Stdout>>>;

/// How often to look whether the dumps have changed, and how.
pub type Watch = (Duration, Box<dyn FnMut() -> bool + Send>);

/// What the screen begins with.
#[derive(Default)]
pub struct Start {
    /// What the user has chosen of the screen.
    pub settings: Settings,
    /// What the keys do.
    pub keys: Keymap,
    /// How often to look whether the dumps have changed, and how: they are then read again.
    pub watch: Option<Watch>,
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
    app.configure(start.settings);
    app.input.keys = start.keys;
    let lines = start.settings.history;
    app.typing.history = start.history.map(|file| History::open(&file, lines)).unwrap_or_default();
    if let Some(recording) = start.recording {
        app.open_recording(recording);
    }
    app.script.lines = start.commands.into_iter().rev().collect();
    restore_on_panic();
    restore_on_signal()?;
    let worker = Worker::start(backend)?;
    let result = enter(start.settings.mouse)
        .and_then(|screen| Loop { app, worker, screen, changed, open: 0, since: None, torn: false, quit: false }.run());
    leave();
    result
}

struct Loop {
    app: App,
    worker: Worker,
    screen: Screen,
    /// Set by the thread that watches the dumps.
    changed: Option<Arc<AtomicBool>>,
    /// Requests that the debugger has not answered yet.
    open: usize,
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
            let mut pause = if changed || self.open > 0 { NOW } else { self.until_tick().clamp(NOW, IDLE) };
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
            if self.until_tick().is_zero() {
                self.since = None;
                let requests = self.app.update(Msg::Tick);
                self.send(requests)?;
                changed = true;
            }
            if CONTINUED.swap(false, Ordering::Relaxed) {
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

    /// How long the last line of a recording is still to be seen before the next is obeyed.
    fn until_tick(&mut self) -> Duration {
        let Some(pause) = self.app.pause() else {
            self.since = None;
            return Duration::MAX;
        };
        pause.saturating_sub(self.since.get_or_insert_with(Instant::now).elapsed())
    }

    fn return_to_terminal(&mut self) -> Result<(), Error> {
        self.screen = enter(self.app.chosen.settings.mouse)?;
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
                    leave();
                    // Not SIGTSTP: a parent may ignore that, and then nobody would stop.
                    signal_hook::low_level::raise(SIGSTOP)?;
                    self.return_to_terminal()?;
                }
                // OSC 52: terminals that do not know it, or do not want it, pass it over.
                Request::Yank(text) => execute!(self.screen.backend_mut(), CopyToClipboard::to_clipboard_from(text))?,
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

/// Looks after the dumps on a thread of its own: a slow disk must not hold up the keys.
fn watched((pause, mut look): Watch) -> io::Result<Arc<AtomicBool>> {
    let changed = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&changed);
    thread::Builder::new().name("watch".to_string()).spawn(move || {
        loop {
            thread::sleep(pause);
            if look() {
                flag.store(true, Ordering::Relaxed);
            }
        }
    })?;
    Ok(changed)
}

fn enter(mouse: bool) -> Result<Screen, Error> {
    // Without this, crossterm resets all attributes wherever NO_COLOR hides a colour; the theme keeps colours out.
    force_color_output(true);
    ENTERED.store(true, Ordering::Relaxed);
    modes::enable_raw_mode()?;
    let mut out = BufWriter::with_capacity(1 << 16, io::stdout());
    execute!(out, EnterAlternateScreen, Clear(ClearType::All), EnableBracketedPaste, Hide)?;
    if mouse {
        execute!(out, EnableMouseCapture)?;
    }
    Ok(Terminal::new(CrosstermBackend::new(out))?)
}

/// Gives the terminal back as it was. Safe to call from anywhere, any number of times.
fn leave() {
    if !ENTERED.swap(false, Ordering::Relaxed) {
        return;
    }
    // Not through stdout: the thread that draws may hold its lock, and we may be a signal's thread.
    let written = std::fs::OpenOptions::new().write(true).open("/dev/tty").and_then(|mut tty| reset(&mut tty));
    if written.is_err() {
        drop(reset(&mut io::stdout()));
    }
    drop(modes::disable_raw_mode());
}

fn reset(out: &mut impl Write) -> io::Result<()> {
    let mut bytes = Vec::new();
    queue!(
        bytes,
        EndSynchronizedUpdate,
        DisableBracketedPaste,
        DisableMouseCapture,
        ResetColor,
        LeaveAlternateScreen,
        Show
    )?;
    out.write_all(&bytes)?;
    out.flush()
}

/// Panics on the screen's thread leave the terminal first. Those of the debugger's threads become sentences on the
/// screen, which their text must not tear.
fn restore_on_panic() {
    static HOOK: Once = Once::new();
    *UI_THREAD.lock().unwrap_or_else(PoisonError::into_inner) = Some(thread::current().id());
    HOOK.call_once(|| {
        let hook = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            let ui = *UI_THREAD.lock().unwrap_or_else(PoisonError::into_inner);
            let entered = ENTERED.load(Ordering::Relaxed);
            if entered && ui != Some(thread::current().id()) {
                return;
            }
            leave();
            hook(panic);
        }));
    });
}

/// Signals that end us leave the terminal first; and when the terminal itself goes away, so do we: reading from it
/// would spin for ever.
fn restore_on_signal() -> io::Result<()> {
    static THREADS: Once = Once::new();
    if THREADS.is_completed() {
        return Ok(());
    }
    let mut signals = Signals::new([SIGTERM, SIGHUP, SIGINT, SIGQUIT, SIGCONT])?;
    THREADS.call_once(|| {});
    let end = |status: i32| {
        leave();
        std::process::exit(status);
    };
    thread::Builder::new().name("signals".to_string()).spawn(move || {
        for signal in &mut signals {
            if signal == SIGCONT {
                CONTINUED.store(ENTERED.load(Ordering::Relaxed), Ordering::Relaxed);
            } else {
                end(128 + signal);
            }
        }
    })?;
    thread::Builder::new().name("hangup".to_string()).spawn(move || {
        while std::fs::File::open("/dev/tty").is_ok() {
            thread::sleep(Duration::from_secs(2));
        }
        end(128 + SIGHUP);
    })?;
    Ok(())
}
