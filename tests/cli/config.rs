//! The configuration file: what it may hold, what is wrong with it and where, and what comes of it on a terminal.

use std::fs;
use std::path::Path;

use crate::pty::Pty;
use assert_cmd::Command;

/// What `layerstep config` prints in a place of its own, and whether it could.
fn printed(home: &Path, arguments: &[&str]) -> (bool, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_layerstep"))
        .arg("config")
        .args(arguments)
        .env("XDG_CONFIG_HOME", home)
        .output()
        .expect("the binary starts");
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8(text).expect("text"))
}

/// A place with a configuration file in it.
fn place(text: &str) -> tempfile::TempDir {
    let home = tempfile::tempdir().expect("a folder");
    fs::create_dir(home.path().join("layerstep")).expect("a folder");
    fs::write(home.path().join("layerstep/config.toml"), text).expect("written");
    home
}

/// A line that is printed, or the error behind the name of the file.
fn check(text: &str, expected: &str) {
    let home = place(text);
    let (read, printed) = printed(home.path(), &[]);
    if let Some(error) = expected.strip_prefix("line ") {
        let sentence = format!("layerstep/config.toml, line {error}");
        assert!(!read && printed.contains(&sentence), "{text}\nshould be: {sentence}\n{printed}");
    } else {
        assert!(read && printed.lines().any(|line| line == expected), "{text}\nshould have {expected}\n{printed}");
    }
}

#[test]
fn settings_are_taken_and_mistakes_have_lines() {
    for (text, expected) in [
        ("", "theme = \"auto\""),
        ("", "memory = \"4 GB\""),
        ("", "session = \"64 MB\""),
        ("", "history = 1000"),
        ("", "# \"s\" = \"step\""),
        ("[keys]\nx = 'break *.probs if nan'", "\"x\" = \"break *.probs if nan\""),
        ("[keys]\n's' = ''", "\"s\" = \"\""),
        ("[keys]\n'C-x' = 'set theme light'", "\"C-x\" = \"set theme light\""),
        ("[screen]\ntheme = \"high-contrast\"", "theme = \"high-contrast\""),
        ("[screen]\ncolors = \"16\"", "colors = \"16\""),
        ("[screen]\nascii = true", "ascii = true"),
        ("[screen]\nascii = \"auto\"", "ascii = \"auto\""),
        ("[screen]\nmouse = false\nlayout = \"attention\"", "layout = \"attention\""),
        ("[limits]\nmemory = \"500 MB\"", "memory = \"500 MB\""),
        ("[limits]\nsession = \"1 GB\"", "session = \"1 GB\""),
        ("[limits]\nhistory = 0", "history = 0"),
        ("[screen]\n\ncolour = \"16\"", "line 3: there is no setting colour: is it colors?"),
        ("[screen]\nzzz = 1", "line 2: there is no setting zzz: there are theme, colors, ascii, mouse and layout"),
        (
            "[screen]\ntheme = \"drak\"",
            "line 2: theme takes \"auto\", \"dark\", \"light\" or \"high-contrast\", not \"drak\"",
        ),
        ("[screen]\ntheme = 3", "line 2: theme takes \"auto\", \"dark\", \"light\" or \"high-contrast\", not 3"),
        ("[screen]\nmouse = \"off\"", "line 2: mouse takes true or false, not \"off\""),
        ("[screen]\nascii = \"yes\"", "line 2: ascii takes \"auto\", true or false, not \"yes\""),
        ("[screen]\ncolors = 256", "line 2: colors takes \"auto\", \"none\", \"16\", \"256\" or \"full\", not 256"),
        ("[limits]\nmemory = 4", "line 2: memory takes a size: \"4 GB\", \"500 MB\", not 4"),
        ("[limits]\nsession = \"big\"", "line 2: session takes a size: \"4 GB\", \"500 MB\", not \"big\""),
        ("[limits]\nhistory = -1", "line 2: history takes a number of lines, 1000000 at most, not -1"),
        ("[limits]\nlines = 5", "line 2: there is no limit lines: there are memory, session and history"),
        ("[screens]\n", "line 1: there is no section screens: is it screen?"),
        ("# mine\n\nscreen = 5", "line 3: screen is a section: write [screen]"),
        ("mouse = false", "line 1: mouse belongs below [screen]"),
        ("history = 3", "line 1: history belongs below [limits]"),
        ("[keys]\nhyper = \"step\"", "line 2: there is no key hyper: keys are called"),
        ("[keys]\nx = \"step\"\ny = \"stpe\"", "line 3: there is no command stpe: is it step?"),
        ("[keys]\nx = \"step x\"", "line 2: step takes a number, not x: step [N]"),
        ("[keys]\nx = 5", "line 2: x takes a command in quotes, or \"\" for none, not 5"),
        ("[keys]\nx = \"# nothing\"", "line 2: # nothing is not a command"),
        ("[keys]\n5 = \"step\"", "line 2: 5 begins a number, as in 5s, and cannot be bound"),
        ("[keys]\nC-m = \"step\"", "line 2: terminals send ret for C-m: bind that"),
        ("[keys]\nx = 'step'\nx = 'next'", "line 3: no TOML: duplicate key"),
        ("[screen]\ntheme = dark", "line 2: no TOML:"),
        ("[screen]\n\"a\\u001b[2Jb\" = 1", "line 2: there is no setting a\\u{1b}[2Jb: there are"),
    ] {
        check(text, expected);
    }
}

#[test]
fn the_file_has_its_place_and_another_can_be_given() {
    let home = place("[screen]\ntheme = \"light\"\n");
    let file = home.path().join("layerstep/config.toml");
    let (_, text) = printed(home.path(), &[]);
    assert_eq!(text.lines().next(), Some(format!("# {}", file.display()).as_str()));
    assert_eq!(printed(home.path(), &["--path"]), (true, format!("{}\n", file.display())));

    // What is printed says the same again, in the usual place as in another.
    let other = home.path().join("other.toml");
    fs::write(&other, &text).expect("written");
    let (read, again) = printed(home.path(), &["--config", other.to_str().expect("a name")]);
    assert!(read);
    assert_eq!(again.lines().skip(1).collect::<Vec<_>>(), text.lines().skip(1).collect::<Vec<_>>());

    let nowhere = home.path().join("nowhere");
    let (read, text) = printed(&nowhere, &[]);
    assert!(read && text.contains("# There is no such file yet: these are the defaults."), "{text}");
    let (read, text) = printed(home.path(), &["--config", nowhere.to_str().expect("a name")]);
    assert!(!read && text.contains("nowhere cannot be read"), "{text}");
}

#[test]
fn debug_reads_it_before_anything_else() {
    let home = place("[limits]\nhistry = 3\n");
    let other = home.path().join("mine.toml");
    fs::write(&other, "[limits]\nmemory = \"1 B\"\n").expect("written");
    let other = other.to_str().expect("a name");
    for (arguments, error) in [
        (&["debug", "--batch", "-c", "step 3"][..], "line 2: there is no limit histry: is it history?"),
        (&["debug", "--batch", "-c", "step 3", "--config", "nowhere.toml"], "nowhere.toml cannot be read"),
        (&["--config", other, "debug", "--batch"], "layerstep debug --config FILE"),
        (&["debug", "--config", other, "--batch", "-c", "step 3"], ""),
        (&["diff", "--help"], ""),
    ] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_layerstep"));
        let output = command.args(arguments).env("XDG_CONFIG_HOME", home.path()).output().expect("the binary starts");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.success(), error.is_empty(), "{arguments:?}: {said}");
        assert!(said.contains(error), "{arguments:?}: {said}");
    }
}

/// Whether the program has told the terminal to report the mouse, or to stop.
fn mouse(pty: &Pty, on: bool) -> bool {
    String::from_utf8_lossy(&pty.bytes()).contains(if on { "\x1b[?1000h" } else { "\x1b[?1000l" })
}

fn started(text: &str, environment: &[(&str, &str)]) -> Pty {
    let home = place(text);
    let variable = [("XDG_CONFIG_HOME", home.path().to_str().expect("a name"))];
    let mut pty = Pty::start(80, 24, &[&variable[..], environment].concat());
    pty.wait("not started");
    pty
}

#[test]
fn keys_are_bound_and_taken_away() {
    let mut pty = started("[keys]\nx = \"step 3\"\nF5 = \"next\"\ns = \"\"\n", &[]);
    pty.keys("sx")
        .wait("at 0.q_proj")
        .keys("\x1b[15~")
        .wait("at 1.q_proj")
        .keys("?")
        .wait("The signs")
        .keys("5j")
        .wait("F5")
        .keys("qq");
    assert_eq!(pty.end().exit_code(), 0);
}

#[test]
fn the_mouse_is_left_alone_when_it_is_off() {
    let mut pty = started("[screen]\nmouse = false\n", &[]);
    assert!(!mouse(&pty, true));
    pty.keys(":set mouse on\r").wait("mouse is on");
    pty.wait_until("the mouse is reported", |pty| mouse(pty, true));
    assert!(!mouse(&pty, false));
    pty.keys(":set mo of\r").wait("mouse is off");
    pty.wait_until("the mouse is not reported", |pty| mouse(pty, false));
    // Coming back to the terminal does not switch it on again.
    pty.keys("\x1a");
    pty.wait_until("the process is stopped", |pty| pty.state() == 'T');
    let before = pty.bytes().len();
    pty.signal("CONT");
    pty.keys("s").wait("at embed_tokens").keys("q").end();
    assert!(!String::from_utf8_lossy(&pty.bytes()[before..]).contains("\x1b[?1000h"));
    let mut pty = started("", &[]);
    assert!(mouse(&pty, true));
    pty.keys("q").end();
}

#[test]
fn what_the_file_says_is_stronger_than_the_environment() {
    let white = "38;5;231";
    let colored = |text: &str, environment: &[(&str, &str)], color: &str| {
        let mut pty = started(text, environment);
        pty.keys("c").wait("DIVERGED here").keys("q").end();
        let bytes = pty.bytes();
        String::from_utf8_lossy(&bytes).contains(color)
    };
    let (orange, dark_orange) = ("38;5;172", "38;5;130");
    let no_color = &[("NO_COLOR", "1")];
    assert!(colored("", &[], orange));
    assert!(!colored("", no_color, orange));
    assert!(!colored("[screen]\ntheme = \"dark\"", no_color, orange), "a look is no wish for colours");
    assert!(colored("[screen]\ncolors = \"256\"", no_color, orange));
    assert!(!colored("[screen]\ncolors = \"none\"", &[], orange));
    assert!(colored("", &[("COLORFGBG", "0;15")], dark_orange));
    assert!(colored("[screen]\ntheme = \"dark\"", &[("COLORFGBG", "0;15")], orange));
    assert!(colored("[screen]\ntheme = \"high-contrast\"", &[], white));
}

#[test]
fn settings_change_while_it_runs() {
    let mut pty = started("", &[]);
    pty.keys(":set ascii on\r").wait("ascii is on").keys("c").wait("DIVERGED here");
    pty.wait_until("only ASCII is shown", |pty| pty.text().is_ascii());
    pty.keys(":set theme blue\r").wait("theme takes auto, dark, high-contrast or light, not blue");
    pty.keys(":set layout com\t\r").wait("layout is comparing");
    pty.keys("q").end();
}
