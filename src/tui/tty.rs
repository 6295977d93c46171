//! The terminal: entered, and left as it was found, whether by quitting, panic or signal.

use std::io::{self, BufWriter, Stdout, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, Once, PoisonError};
use std::thread;
use std::time::Duration;

use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;
use ratatui::crossterm::cursor::{Hide, Show};
use ratatui::crossterm::event::{DisableBracketedPaste, DisableMouseCapture, EnableBracketedPaste, EnableMouseCapture};
use ratatui::crossterm::style::{ResetColor, force_color_output};
use ratatui::crossterm::terminal::{
    self as modes, Clear, ClearType, EndSynchronizedUpdate, EnterAlternateScreen, LeaveAlternateScreen,
};
use ratatui::crossterm::{execute, queue};
use signal_hook::consts::{SIGCONT, SIGHUP, SIGINT, SIGQUIT, SIGTERM};
use signal_hook::iterator::Signals;

/// What is drawn on.
pub(crate) type Screen = Terminal<CrosstermBackend<BufWriter<Stdout>>>;

/// Set while the terminal is ours.
static ENTERED: AtomicBool = AtomicBool::new(false);
/// Set when somebody else may have drawn on the terminal: the shell, after we were stopped.
static CONTINUED: AtomicBool = AtomicBool::new(false);
/// The thread that draws. Panics elsewhere are caught and shown by the screen.
static UI_THREAD: Mutex<Option<thread::ThreadId>> = Mutex::new(None);

/// Whether somebody else may have drawn on the terminal since this was last asked.
pub(crate) fn was_continued() -> bool {
    CONTINUED.swap(false, Ordering::Relaxed)
}

/// Takes the terminal, and listens to the mouse.
pub(crate) fn enter(mouse: bool) -> io::Result<Screen> {
    // Without this, crossterm resets all attributes wherever NO_COLOR hides a colour; the theme keeps colours out.
    force_color_output(true);
    ENTERED.store(true, Ordering::Relaxed);
    modes::enable_raw_mode()?;
    let mut out = BufWriter::with_capacity(1 << 16, io::stdout());
    execute!(out, EnterAlternateScreen, Clear(ClearType::All), EnableBracketedPaste, Hide)?;
    if mouse {
        execute!(out, EnableMouseCapture)?;
    }
    Terminal::new(CrosstermBackend::new(out))
}

/// Gives the terminal back as it was. Safe to call from anywhere, any number of times.
pub(crate) fn leave() {
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
pub(crate) fn restore_on_panic() {
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
pub(crate) fn restore_on_signal() -> io::Result<()> {
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
