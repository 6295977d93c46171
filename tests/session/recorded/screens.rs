//! A replay shows the screens of the recording: at every mark of every example, computed again and from the recording alone.

use std::path::Path;
use std::sync::{Arc, Mutex};

use layerstep::debugger::{Command, Debugger, Session};
use layerstep::diagnose::Witnesses;
use layerstep::dump::{Dump, Options};
use layerstep::model::{Model, Tokenizer};
use layerstep::session::{Backend, DEFAULT_BUDGET, Places, Recorder, Recording, Text, pack};
use layerstep::tui::{Colors, Palette, Screen, Theme};
use ratatui::buffer::Cell;

use super::{examples, root};

const THEME: Theme = Theme { palette: Palette::Dark, colors: Colors::Full, ascii: false };

/// Rows at the bottom that are the player's while a recording is open: its bar, and what the line says.
const BOTTOM: u16 = 2;

/// The model and the dumps of an example, at the start.
pub(crate) fn debugger(text: &Text) -> Debugger {
    let folder = root().join("sessions");
    let header = &text.header;
    let model = folder.join(header.model.path.as_ref().expect("examples have their model beside them"));
    let tokenizer = Tokenizer::load(&model).expect("a tokenizer").map(Arc::new);
    let model = Arc::new(Model::load(&model).expect("a model"));
    let (ids, steps) = (header.tokens.ids.clone(), header.tokens.steps.clone());
    let dump = |role: &str| {
        let source = header.sources.iter().find(|source| source.role == role)?;
        let mut dump = Dump::open(&folder.join(&source.file), &model.graph, &Options::default()).expect("a dump");
        if dump.ids().is_none() {
            dump.recover_ids(&model).expect("its embedding rows");
        }
        dump.bind(&ids, &steps).expect("it fits");
        Some(Arc::new(dump))
    };
    let dumps = Witnesses { reference: dump("reference"), candidate: dump("candidate") };
    Debugger::new(Session { tokenizer, ..Session::new(model, ids, &steps, dumps) })
}

/// What is on the screen: glyphs and styles, without the rows that are the player's.
fn seen<B: Backend>(screen: &Screen<B>) -> Vec<Cell> {
    let buffer = screen.buffer();
    let rows = buffer.area.height - BOTTOM;
    buffer.content[..usize::from(rows * buffer.area.width)].to_vec()
}

fn text_of<B: Backend>(screen: &Screen<B>) -> String {
    screen.text()
}

/// The rows that differ; in style only, where they look alike.
fn apart(recorded: &str, replayed: &str) -> String {
    let rows = recorded.lines().zip(replayed.lines());
    let rows = rows.filter(|(a, b)| a != b).map(|(a, b)| format!("recorded {a}\nreplayed {b}\n"));
    rows.collect()
}

fn mark(line: &str) -> Option<String> {
    match Command::parse(line) {
        Ok(Some(Command::Mark(text))) => Some(text),
        _ => None,
    }
}

/// Records an example at a size of its own; the screens at its marks.
fn record(session: &Path, (columns, rows): (u16, u16), folder: &Path) -> (Recording, Vec<(String, Vec<Cell>, String)>) {
    let text = pack::open(session).expect("an example").text;
    let recorder = Recorder::new(debugger(&text), Places::default(), DEFAULT_BUDGET);
    let recorder = Arc::new(Mutex::new(recorder));
    let mut screen = Screen::of(Arc::clone(&recorder), (columns, rows), THEME, None);
    let mut marks = Vec::new();
    for line in text.lines.iter().filter(|line| !line.is_comment()) {
        screen.obey(&line.text);
        if let Some(mark) = mark(&line.text) {
            marks.push((mark, seen(&screen), text_of(&screen)));
        }
    }
    let name = folder.join("again");
    let saved = recorder.lock().expect("nobody panicked").save(Some(&name), true, &false.into());
    saved.expect("saved");
    (Recording::of(pack::open(&name).expect("it is there")).expect("it is whole"), marks)
}

fn check(recording: Recording, debugger: Debugger, size: (u16, u16), marks: &[(String, Vec<Cell>, String)], how: &str) {
    let shown = recording.shown(how.into());
    let recorder = Recorder::new(debugger, Places::default(), DEFAULT_BUDGET);
    let replay = Arc::new(Mutex::new(recorder.replaying(recording)));
    let mut screen = Screen::of(Arc::clone(&replay), size, THEME, Some(shown));
    for (mark, cells, text) in marks {
        screen.to_mark(mark);
        assert!(seen(&screen) == *cells, "{how}, {mark}:\n{}", apart(text, &text_of(&screen)));
    }
    // And back again.
    let (first, cells, text) = marks.first().expect("every example has marks");
    screen.to_mark(first);
    assert!(seen(&screen) == *cells, "{how}, back at {first}:\n{}", apart(text, &text_of(&screen)));
    let replay = replay.lock().expect("nobody panicked");
    assert_eq!(replay.tally().differences, Vec::<String>::new(), "{how}");
}

#[test]
fn a_replay_shows_the_screen_of_every_mark() {
    for session in examples("session") {
        for size in [(132, 40), (80, 24)] {
            let folder = tempfile::tempdir().expect("a folder");
            let (recording, marks) = record(&session, size, folder.path());
            assert!(marks.len() >= 2, "{}", session.display());
            let name = session.file_stem().expect("a name").to_string_lossy().into_owned();
            let alone = recording.debugger().expect("the values are there");
            let again = || Recording::of(pack::open(&folder.path().join("again")).expect("there")).expect("whole");
            check(
                recording,
                debugger(&pack::open(&session).expect("an example").text),
                size,
                &marks,
                &format!("{name} again"),
            );
            check(again(), alone, size, &marks, &format!("{name} from the recording alone"));
        }
    }
}
