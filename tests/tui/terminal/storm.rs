//! Keys that nobody would press in this order, and terminals of every size.

use std::thread;
use std::time::Duration;

use layerstep::debugger::COMMANDS;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::started;
use crate::pty::Pty;

/// How many keys are pressed.
const KEYS: usize = 10_000;
/// As many as are typed at once, and how long it then takes: keys that wait for too many others are dropped.
const BURST: usize = 25;
const PAUSE: Duration = Duration::from_millis(15);

/// Not keys of ours: mouse, paste, focus, numbers, letters of other alphabets, sequences that nobody knows.
const OTHERS: &[&str] = &[
    "\x1b[<0;10;5M",
    "\x1b[<64;20;10M",
    "\x1b[<65;90;12M",
    "\x1b[<0;999;999M",
    "\x1b[200~rope\r\x1b[201~",
    "\x1b[I",
    "\x1b[O",
    "\x1b[99~",
    "\x1b[1;5C",
    "\x1b[3~",
    "\x7f",
    "é",
    "漢",
    "🦀",
    "2",
    "7",
    "0",
    ".",
    "x",
];

/// What a terminal sends for a key.
fn bytes(key: &str) -> String {
    let known = [
        ("ret", "\r"),
        ("tab", "\t"),
        ("backtab", "\x1b[Z"),
        ("space", " "),
        ("esc", "\x1b"),
        ("up", "\x1b[A"),
        ("down", "\x1b[B"),
        ("right", "\x1b[C"),
        ("left", "\x1b[D"),
        ("home", "\x1b[H"),
        ("end", "\x1b[F"),
        ("pgup", "\x1b[5~"),
        ("pgdn", "\x1b[6~"),
        ("F1", "\x1bOP"),
    ];
    if let Some((_, bytes)) = known.iter().find(|(name, _)| *name == key) {
        return (*bytes).to_string();
    }
    let control = |letter: &str| char::from(letter.as_bytes()[0] & 0x1f).to_string();
    match (key.strip_prefix("C-"), key.strip_prefix("M-")) {
        (Some(letter), _) => control(letter),
        (_, Some(letter)) => format!("\x1b{letter}"),
        _ => key.to_string(),
    }
}

/// Every bound key but those that leave, and what else a terminal may send.
fn alphabet() -> Vec<String> {
    let keys = COMMANDS.iter().flat_map(|spec| spec.keys);
    let stays = keys.filter(|key| !["quit", "suspend", "interrupt"].contains(&key.line));
    stays.map(|key| bytes(key.key)).chain(OTHERS.iter().map(|other| (*other).to_string())).collect()
}

/// Closes whatever is open; a pause tells the key from the beginning of a sequence.
fn close_all(pty: &mut Pty) {
    for _ in 0..4 {
        pty.keys("\x1b");
        thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn ten_thousand_random_keys_leave_a_program_that_obeys() {
    let alphabet = alphabet();
    assert!(alphabet.len() > 60);
    let mut random = ChaCha8Rng::seed_from_u64(7);
    let mut pty = started(100, 30);
    for _ in 0..KEYS / BURST {
        let burst: String = (0..BURST).map(|_| alphabet[random.random_range(0..alphabet.len())].as_str()).collect();
        pty.keys(&burst);
        thread::sleep(PAUSE);
    }
    close_all(&mut pty);
    pty.keys("r").wait("not started");
    assert!(!pty.text().contains("this is a bug"), "{}", pty.text());
    assert_eq!(pty.keys("q").end().exit_code(), 0);
    let output = String::from_utf8_lossy(&pty.bytes()).into_owned();
    assert!(!output.contains("this is a bug") && !output.contains("panicked"), "the debugger's thread has panicked");
}

#[test]
fn every_pane_is_drawn_in_every_size() {
    let mut pty = started(132, 40);
    pty.keys("c").wait("DIVERGED here");
    for (turn, key) in (0u16..).zip(["a", "L", "K", "H", "o", "m", "e", "d", "i", "?", "w", "w", "z"]) {
        pty.keys(key);
        for step in 0..20u16 {
            pty.resize(1 + (turn * 7 + step * 37) % 210, 1 + (turn * 5 + step * 23) % 70);
            pty.keys(["j", "]", "t", "}", "l", "\t", "G", "k"][usize::from(step) % 8]);
            thread::sleep(Duration::from_millis(2));
        }
    }
    pty.resize(132, 40);
    close_all(&mut pty);
    pty.keys("r").wait("not started");
    assert_eq!(pty.keys("q").end().exit_code(), 0);
    let output = String::from_utf8_lossy(&pty.bytes()).into_owned();
    assert!(!output.contains("this is a bug"), "the debugger's thread has panicked");
}

#[test]
fn a_terminal_of_one_cell_grows() {
    let mut pty = Pty::start(1, 1, &[]);
    pty.wait_until("something is drawn", |pty| pty.bytes().windows(8).any(|bytes| bytes == b"\x1b[?2026l"));
    pty.keys("s");
    pty.resize(80, 24);
    pty.wait("at embed_tokens").keys("S").wait("not started").keys("s").wait("at embed_tokens");
    pty.resize(1, 1);
    pty.resize(80, 24);
    pty.wait("at embed_tokens");
    assert_eq!(pty.keys("q").end().exit_code(), 0);
}
