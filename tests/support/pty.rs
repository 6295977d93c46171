//! The binary on a real terminal: keys in, what a terminal shows out.

use std::fmt::Write as _;
use std::io::{Read, Write};
use std::num::NonZeroU16;
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use portable_pty::{Child, CommandBuilder, ExitStatus, MasterPty, PtySize, native_pty_system};

/// How long anything may take; a test that waits this long fails.
const PATIENCE: Duration = Duration::from_secs(60);

/// A terminal with the binary running on it.
pub struct Pty {
    master: Box<dyn MasterPty + Send>,
    keys: Box<dyn Write + Send>,
    child: Box<dyn Child + Send + Sync>,
    shown: Arc<Mutex<Shown>>,
    /// The modes of the line as they were before.
    modes: String,
    /// Where the program keeps its state, unless the test says where: never the user's own.
    _state: tempfile::TempDir,
}

struct Shown {
    parser: vt100::Parser,
    bytes: Vec<u8>,
}

impl Pty {
    /// Starts the demo on a terminal of so many columns and rows.
    pub fn start(columns: u16, rows: u16, environment: &[(&str, &str)]) -> Self {
        Self::start_with(&[], columns, rows, environment)
    }

    /// Starts the binary with arguments.
    pub fn start_with(arguments: &[&str], columns: u16, rows: u16, environment: &[(&str, &str)]) -> Self {
        let size = PtySize { rows, cols: columns, pixel_width: 0, pixel_height: 0 };
        let pair = native_pty_system().openpty(size).expect("there is a pty");
        let modes = format!("{:?}", pair.master.get_termios());
        let state = tempfile::tempdir().expect("a folder");
        let mut command = CommandBuilder::new(env!("CARGO_BIN_EXE_layerstep"));
        command.args(arguments);
        command.env_remove("NO_COLOR");
        command.env_remove("COLORFGBG");
        // Not the configuration of whoever runs the tests.
        command.env("XDG_CONFIG_HOME", concat!(env!("CARGO_TARGET_TMPDIR"), "/no-configuration"));
        for (name, value) in [("TERM", "xterm-256color"), ("COLORTERM", "truecolor"), ("LC_ALL", "C.UTF-8")] {
            command.env(name, value);
        }
        command.env("XDG_STATE_HOME", state.path());
        command.env("XDG_CONFIG_HOME", state.path());
        // A backtrace would scroll the message of a panic off the screen.
        command.env("RUST_BACKTRACE", "0");
        for (name, value) in environment {
            command.env(name, value);
        }
        let child = pair.slave.spawn_command(command).expect("the binary starts");
        let parser = vt100::Parser::new(nonzero(rows), nonzero(columns), 0);
        let shown = Arc::new(Mutex::new(Shown { parser, bytes: Vec::new() }));
        let mut output = pair.master.try_clone_reader().expect("a pty can be read");
        let sink = Arc::clone(&shown);
        thread::spawn(move || {
            let mut buffer = vec![0; 1 << 16];
            while let Ok(count @ 1..) = output.read(&mut buffer) {
                let mut shown = sink.lock().unwrap_or_else(PoisonError::into_inner);
                shown.parser.process(&buffer[..count]);
                shown.bytes.extend_from_slice(&buffer[..count]);
            }
        });
        let keys = pair.master.take_writer().expect("a pty can be written");
        Self { master: pair.master, keys, child, shown, modes, _state: state }
    }

    /// Types.
    pub fn keys(&mut self, keys: &str) -> &mut Self {
        self.keys.write_all(keys.as_bytes()).and_then(|()| self.keys.flush()).expect("keys can be typed");
        self
    }

    /// Waits until the screen contains the text.
    pub fn wait(&mut self, text: &str) -> &mut Self {
        self.wait_until(&format!("{text:?} is shown"), |pty| pty.text().contains(text));
        self
    }

    /// Waits until something is so.
    pub fn wait_until(&mut self, what: &str, mut so: impl FnMut(&mut Self) -> bool) {
        let start = Instant::now();
        while !so(self) {
            let gone = matches!(self.child.try_wait(), Ok(Some(_))) && start.elapsed() > PATIENCE / 20;
            if gone || start.elapsed() > PATIENCE {
                let bytes = self.bytes();
                let tail = String::from_utf8_lossy(&bytes[bytes.len().saturating_sub(500)..]).into_owned();
                panic!("not in time: {what}\n{}\n{tail:?}", self.text());
            }
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// What the terminal shows.
    pub fn text(&self) -> String {
        self.with(|shown| shown.parser.screen().contents())
    }

    /// Bytes written so far.
    pub fn bytes(&self) -> Vec<u8> {
        self.with(|shown| shown.bytes.clone())
    }

    /// Changes the size of the terminal.
    pub fn resize(&mut self, columns: u16, rows: u16) {
        self.with(|shown| shown.parser.screen_mut().set_size(nonzero(rows), nonzero(columns)));
        let size = PtySize { rows, cols: columns, pixel_width: 0, pixel_height: 0 };
        self.master.resize(size).expect("a pty can be resized");
    }

    /// Sends a signal: `TERM`, `CONT`.
    pub fn signal(&mut self, name: &str) {
        let sent = Command::new("kill").arg(format!("-{name}")).arg(self.id().to_string()).status();
        assert!(sent.is_ok_and(|status| status.success()), "kill -{name}");
    }

    /// The letter for what the process does: `S` sleeps, `T` is stopped.
    pub fn state(&self) -> char {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.id())).unwrap_or_default();
        stat.rsplit(')').next().and_then(|rest| rest.trim_start().chars().next()).unwrap_or('?')
    }

    /// Clock ticks of processor time used so far.
    pub fn ticks(&self) -> u64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.id())).unwrap_or_default();
        let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
        fields.skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum()
    }

    /// Waits for the end of the process; it must leave the terminal as it found it.
    pub fn end(&mut self) -> ExitStatus {
        let mut status = None;
        self.wait_until("the program ends", |pty| {
            status = pty.child.try_wait().expect("the child can be waited for");
            status.is_some()
        });
        self.wait_until("the terminal is as it was", |pty| pty.left_over().is_empty());
        status.expect("it has just ended")
    }

    /// The modes of the terminal that are not as they were before.
    pub fn left_over(&self) -> String {
        let mut left = String::new();
        self.with(|shown| {
            let screen = shown.parser.screen();
            let modes = [
                ("alternate screen", screen.alternate_screen()),
                ("hidden cursor", screen.hide_cursor()),
                ("bracketed paste", screen.bracketed_paste()),
                ("mouse", screen.mouse_protocol_mode() != vt100::MouseProtocolMode::None),
            ];
            for (name, _) in modes.into_iter().filter(|(_, on)| *on) {
                let _ = write!(left, "{name} ");
            }
        });
        if format!("{:?}", self.master.get_termios()) != self.modes {
            left.push_str("modes of the line");
        }
        left
    }

    fn id(&self) -> u32 {
        self.child.process_id().expect("a child has an id")
    }

    fn with<T>(&self, look: impl FnOnce(&mut Shown) -> T) -> T {
        look(&mut self.shown.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for Pty {
    fn drop(&mut self) {
        // Only after a failed test is there anything left to end.
        let _ = self.child.kill();
    }
}

fn nonzero(value: u16) -> NonZeroU16 {
    NonZeroU16::new(value).unwrap_or(NonZeroU16::MIN)
}
