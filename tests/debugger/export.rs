//! Exported files, read back: with our own readers, as text, and as pictures.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use crate::support::{Reference, repository};
use layerstep::debugger::export::{KINDS, arguments, export};
use layerstep::debugger::expression::Value;
use layerstep::debugger::heat::{MASKED, SPECIAL, Scale};
use layerstep::debugger::{Command, Debugger, Session};
use layerstep::diagnose::Witnesses;
use layerstep::dump::{Dump, Options};
use layerstep::formats::Archive;
use layerstep::model::Model;
use ndarray::ArrayD;

/// The demo beside its reference, after the last op of the prefill.
fn demo() -> Debugger {
    let model = Arc::new(Model::load(&repository("reference/demo/model")).expect("the demo's model"));
    let path = repository("reference/demo/reference.safetensors");
    let reference = Reference::open(&path);
    let mut dump = Dump::open(&path, &model.graph, &Options::default()).expect("a dump");
    dump.bind(&reference.ids, &reference.steps).expect("its tokens");
    let dumps = Witnesses { reference: Some(Arc::new(dump)), candidate: None };
    let (ids, steps) = (reference.ids.clone(), reference.steps.clone());
    let mut debugger = Debugger::new(Session::new(model, ids, &steps, dumps));
    let goto = Command::Goto("lm_head".into());
    debugger.execute(&goto, &AtomicBool::new(false), &mut |_| {}).expect("it goes there");
    debugger
}

fn values(debugger: &Debugger, text: &str) -> ArrayD<f32> {
    let Ok(Value::Tensor(tensor)) = debugger.evaluate(text, None) else { panic!("{text} is a tensor") };
    tensor.elements.single().into_owned()
}

/// Exports, and reads the only array of the file.
fn read(debugger: &Debugger, text: &str, path: &Path) -> (String, ArrayD<f32>) {
    export(debugger, text, path, false).unwrap_or_else(|error| panic!("{error}"));
    let archive = Archive::open(path).expect("an archive");
    let name = archive.entries()[0].name.clone();
    let values = archive.read(&name).expect("an array").into_f32();
    (name, values)
}

#[test]
fn arrays_are_read_back() {
    let (debugger, folder) = (demo(), tempfile::tempdir().expect("a folder"));
    let path = |name: &str| folder.path().join(name);
    for (index, text) in ["3.q_rope", "ref:3.q_rope[0]", "3.scores", "$[-1]", "2.q_rope[1:3, ::2]"].iter().enumerate() {
        let (_, found) = read(&debugger, text, &path(&format!("{index}.npy")));
        assert_eq!(found, values(&debugger, text), "{text}");
    }
    let named = [
        ("3.q_rope", "model.layers.3.self_attn.q_rope"),
        ("ref:2.block", "model.layers.2"),
        ("$", "lm_head"),
        ("ref:norm@0", "model.norm"),
        ("3.q_rope - ref:3.q_rope", "3.q_rope - ref:3.q_rope"),
    ];
    for (index, (text, expected)) in named.iter().enumerate() {
        let (name, found) = read(&debugger, text, &path(&format!("{index}.safetensors")));
        assert_eq!((name.as_str(), found), (*expected, values(&debugger, text)), "{text}");
    }
    let archive = Archive::open(&path("0.safetensors")).expect("an archive");
    assert_eq!(archive.metadata()["axes"], "head,token,head_dim");
}

#[test]
fn an_exported_activation_can_be_compared() {
    let (debugger, folder) = (demo(), tempfile::tempdir().expect("a folder"));
    let path = folder.path().join("one.safetensors");
    export(&debugger, "3.q_rope", &path, false).expect("it is written");
    let model = Model::load(&repository("reference/demo/model")).expect("the demo's model");
    Dump::open(&path, &model.graph, &Options::default()).expect("a dump");
}

#[test]
fn csv_has_a_line_for_each_row() {
    let (debugger, folder) = (demo(), tempfile::tempdir().expect("a folder"));
    for (index, (text, header)) in
        [("3.scores[:2]", "head,query,0,1,2,"), ("norm", "token,0,1,2,"), ("norm[0]", "0,1,2,")].iter().enumerate()
    {
        let (path, expected) = (folder.path().join(format!("{index}.CSV")), values(&debugger, text));
        export(&debugger, text, &path, false).expect("it is written");
        let written = fs::read_to_string(&path).expect("text");
        let mut lines = written.lines();
        assert!(lines.next().expect("a header").starts_with(header), "{written}");
        let indices = expected.ndim() - 1;
        let mut count = 0;
        for line in lines {
            let fields: Vec<f64> = line.split(',').map(|field| field.parse().expect("a number")).collect();
            let mut place: Vec<usize> = fields[..indices].iter().map(|index| *index as usize).collect();
            place.push(0);
            for (column, value) in fields[indices..].iter().enumerate() {
                place[indices] = column;
                assert_eq!(*value as f32, expected[place.as_slice()], "{text} {place:?}");
                count += 1;
            }
        }
        assert_eq!(count, expected.len(), "{text}");
    }
}

#[test]
fn pictures_show_each_element() {
    let (debugger, folder) = (demo(), tempfile::tempdir().expect("a folder"));
    for (index, text) in ["3.q_rope[1]", "3.scores[0]", "3.probs[0]", "abs(norm)", "norm - ref:norm"].iter().enumerate()
    {
        let (path, plane) = (folder.path().join(format!("{index}.png")), values(&debugger, text));
        let sentence = export(&debugger, text, &path, false).expect("it is written");
        assert!(sentence.contains("colours from "), "{sentence}");
        let file = std::io::BufReader::new(fs::File::open(&path).expect("a file"));
        let mut reader = png::Decoder::new(file).read_info().expect("a PNG");
        let mut pixels = vec![0; reader.output_buffer_size().expect("a size")];
        let info = reader.next_frame(&mut pixels).expect("a frame");
        let (rows, columns) = (plane.shape()[0], plane.shape()[1]);
        let scale = 512 / rows.max(columns);
        assert_eq!((info.width as usize, info.height as usize), (columns * scale, rows * scale), "{text}");
        let mut finite: Vec<f32> = plane.iter().copied().filter(|value| value.is_finite()).collect();
        finite.sort_by(f32::total_cmp);
        let at = |share: f64| finite[((finite.len() - 1) as f64 * share).round() as usize];
        let colors = Scale::between(at(0.01), at(0.99));
        for row in 0..rows {
            for column in 0..columns {
                let pixel = ((row * scale + scale / 2) * columns * scale + column * scale + scale / 2) * 3;
                assert_eq!(pixels[pixel..pixel + 3], colors.color(plane[[row, column]]), "{text} {row} {column}");
            }
        }
    }
}

#[test]
fn a_wide_plane_is_pooled() {
    let (debugger, folder) = (demo(), tempfile::tempdir().expect("a folder"));
    let path = folder.path().join("logits.svg");
    let sentence = export(&debugger, "lm_head", &path, false).expect("it is written");
    assert!(sentence.contains("a cell is the largest magnitude of 1 x "), "{sentence}");
    let svg = fs::read_to_string(&path).expect("text");
    assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n") && svg.contains("<title>lm_head</title>"));
    assert_eq!(svg.matches("<text").count(), svg.matches("</text>").count());

    let path = folder.path().join("scores.svg");
    export(&debugger, "3.scores[0] * (3.scores[0] < 99)", &path, false).expect("it is written");
    let svg = fs::read_to_string(&path).expect("text");
    let color = |[r, g, b]: [u8; 3]| format!("fill=\"#{r:02x}{g:02x}{b:02x}\"");
    assert!(svg.contains("3.scores[0] * (3.scores[0] &lt; 99)"), "{svg}");
    assert!(svg.contains(&color(MASKED)) && !svg.contains(&color(SPECIAL)));
}

#[test]
fn what_is_not_written_says_why() {
    let (debugger, folder) = (demo(), tempfile::tempdir().expect("a folder"));
    let path = |name: &str| folder.path().join(name);
    let there = path("there.npy");
    fs::write(&there, "mine").expect("a file");
    let table = [
        ("norm", "there.npy", "DIR/there.npy exists: export! replaces it"),
        (
            "norm",
            "a.txt",
            "DIR/a.txt: nothing is written to such a file; they end in .npy, .safetensors, .csv, .png, .svg",
        ),
        ("norm", "a", "DIR/a: nothing is written to such a file; they end in .npy, .safetensors, .csv, .png, .svg"),
        ("max(norm)", "a.npy", "max(norm) is no tensor, there is nothing to export: print shows it"),
        ("nrm", "a.npy", "column 1: nothing is called nrm: is it norm?"),
        ("cand:norm", "a.npy", "column 1: there is no candidate: give its dump as --candidate"),
        ("3.q_rope", "a.png", "3.q_rope has 3 axes: [0] takes a plane of it"),
        ("norm[:0]", "a.svg", "norm[:0] has no element: there is nothing to see"),
        ("norm", "no/such/a.npy", "DIR/no/such/a.npy: cannot write: "),
        ("norm", "no/such/a.png", "DIR/no/such/a.png: cannot write: "),
    ];
    for (text, name, expected) in table {
        let error = export(&debugger, text, &path(name), false).expect_err("it is refused");
        let error = error.replace(&*folder.path().to_string_lossy(), "DIR");
        assert!(if expected.ends_with(' ') { error.starts_with(expected) } else { error == expected }, "{error}");
    }
    assert_eq!(fs::read(&there).expect("a file"), b"mine");
    assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 1, "nothing else is left there");
    export(&debugger, "norm", &there, true).expect("it is replaced");
    assert_eq!(read(&debugger, "norm", &path("again.npy")).1, values(&debugger, "norm"));
    assert_ne!(fs::read(&there).expect("a file"), b"mine");
}

#[test]
fn empty_tensors_are_files_too() {
    let (debugger, folder) = (demo(), tempfile::tempdir().expect("a folder"));
    for kind in KINDS.iter().filter(|kind| !matches!(kind.extension, "png" | "svg")) {
        let path = folder.path().join("empty").with_extension(kind.extension);
        export(&debugger, "norm[:0]", &path, false).unwrap_or_else(|error| panic!("{}: {error}", kind.extension));
    }
}

#[test]
fn the_file_is_the_last_word() {
    let table = [
        ("3.q_rope q.npy", Ok(("3.q_rope", "q.npy"))),
        (" $ - ref:$   a/b.png ", Ok(("$ - ref:$", "a/b.png"))),
        ("norm \"my file.csv\"", Ok(("norm", "my file.csv"))),
        ("norm", Err(())),
        ("", Err(())),
        ("norm \"\"", Err(())),
        ("\"a.npy\"", Err(())),
    ];
    for (text, expected) in table {
        assert_eq!(arguments(text).map_err(|_| ()), expected, "{text}");
    }
}
