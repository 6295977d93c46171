//! Dumps on disk: what Python wrote is read as Python reads it, what we write comes back, and bad files are refused.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use layerstep::formats::{Archive, Array, Error, write_npy, write_npz, write_safetensors, write_safetensors_with};
use ndarray::{ArrayD, IxDyn};
use proptest::prelude::*;

mod hostile;
mod random;

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/formats")
}

/// Bits as f64, all NaN alike.
fn bits(value: f64) -> u64 {
    if value.is_nan() { f64::NAN.to_bits() } else { value.to_bits() }
}

/// Compares every array of one archive with what Python found there.
fn check(archive: &Archive, arrays: &serde_json::Map<String, serde_json::Value>) {
    let path = archive.path();
    let mut names: Vec<_> = archive.entries().iter().map(|entry| entry.name.as_str()).collect();
    let mut expected: Vec<_> = arrays.keys().map(String::as_str).collect();
    names.sort_unstable();
    expected.sort_unstable();
    assert_eq!(names, expected, "names of {}, notes {:?}", path.display(), archive.notes());
    for entry in archive.entries() {
        let at = format!("{} {}", path.display(), entry.name);
        let wanted = &arrays[&entry.name];
        assert_eq!(entry.dtype.name(), wanted["dtype"], "{at}");
        assert_eq!(serde_json::json!(entry.shape), wanted["shape"], "{at}");
        let array = archive.read(&entry.name).unwrap_or_else(|e| panic!("{at}: {e}"));
        assert_eq!(array.shape(), entry.shape, "{at}");
        let texts: Vec<&str> =
            wanted["values"].as_array().expect("values").iter().map(|v| v.as_str().expect("text")).collect();
        if let Some(integers) = array.as_int() {
            let found: Vec<String> = integers.iter().map(i64::to_string).collect();
            assert_eq!(found, texts, "{at}");
        } else {
            let found: Vec<u64> = array.into_f64().iter().map(|x| bits(*x)).collect();
            let numbers: Vec<u64> = texts.iter().map(|t| bits(t.parse().expect("a number"))).collect();
            assert_eq!(found, numbers, "{at}");
        }
    }
}

#[test]
fn fixtures_read_as_in_python() {
    let text = fs::read_to_string(fixtures().join("expected.json")).expect("expected.json");
    let files: BTreeMap<String, serde_json::Map<_, _>> = serde_json::from_str(&text).expect("JSON");
    for (file, arrays) in &files {
        let path = fixtures().join(file);
        let archive = Archive::open(&path).unwrap_or_else(|e| panic!("{e}"));
        check(&archive, arrays);
        let flat = matches!(file.as_str(), "counted.bin" | "headerless.bin");
        assert!(archive.entries().iter().all(|entry| entry.flat == flat && entry.file == path), "{file}");
    }
    assert!(files.len() > 35);
}

#[test]
fn formats_and_notes() {
    for (file, format, notes) in [
        ("all.safetensors", "safetensors", "skipped f8: its type F8_E4M3 is not read here"),
        ("bf16_v2.npy", "npy", "bf16_v2: type V2 (ml_dtypes saves bfloat16 so) read as bf16"),
        ("plain.npz", "npz", "skipped text: elements of type '<U12' are not read here"),
        ("counted.bin", "bin", ""),
        ("really_torch.bin", "pt", ""),
        ("legacy_bare.bin", "pt", ""),
        (
            "nested.pt",
            "pt",
            "skipped prompt: text; skipped layers.0.k.1: None; skipped meta: a dictionary of 2 values; skipped device: no tensor; \
             skipped dtype: a type; skipped complex: a tensor of a type that is not read here",
        ),
    ] {
        let archive = Archive::open(&fixtures().join(file)).unwrap_or_else(|e| panic!("{e}"));
        assert_eq!((archive.format(), archive.notes().join("; ").as_str()), (format, notes), "{file}");
    }
    let archive = Archive::open(&fixtures().join("all.safetensors")).expect("opens");
    assert_eq!(archive.metadata().get("input_ids").map(String::as_str), Some("[1, 2]"));
    assert!(matches!(archive.read("f64"), Ok(Array::F64(_))));
    assert!(matches!(archive.read("bf16"), Ok(Array::F32(_))));
    assert!(matches!(archive.read("f8"), Err(Error::Missing { .. })));
}

#[test]
fn embedded_safetensors() {
    static BYTES: &[u8] = include_bytes!("../fixtures/formats/all.safetensors");
    let embedded = Archive::from_safetensors_bytes("demo", BYTES).expect("opens");
    let file = Archive::open(&fixtures().join("all.safetensors")).expect("opens");
    assert_eq!(embedded.path(), Path::new("demo"));
    let values = |archive: &Archive| format!("{:?}", archive.read("f32").map(Array::into_f32));
    assert_eq!(values(&embedded), values(&file));
}

/// Files to make, names to find in this order.
#[test]
fn directories() {
    for (files, names) in [
        (&["c_f4.npy>h_10.npy", "c_f4.npy>h_9.npy", "counted.bin>h_9b.bin"][..], &["h_9", "h_9b", "h_10"][..]),
        (&["bare.pt>x.1.pt", "counted.bin>x.0.bin", "i4.npy>ids.NPY"], &["ids", "x.0", "x.1"]),
        (&["list.pt>a.pt", "c_f4.npy>notes.txt", "c_f4.npy>.hidden.npy"], &["0", "1"]),
        (&["module.pt>a.pt", "plain.npz>b.npz"], &["weight", "bias", "a", "layers.0/b", "c"]),
        // Folders of forwards, counted from 0 or from 1, of layers, and of neither.
        (&["c_f4.npy>step0/a.npy", "c_f4.npy>step3/a.npy", "c_f4.npy>plots/b.npy"], &["a", "a@3"]),
        (&["c_f4.npy>Forward_1/a.npy", "c_f4.npy>Forward_2/a.npy", "i4.npy>ids.npy"], &["a", "a@1", "ids"]),
        (&["c_f4.npy>prefill/a.npy", "c_f4.npy>decode_0/a.npy", "c_f4.npy>decode_1/a.npy"], &["a@1", "a@2", "a"]),
        (&["c_f4.npy>prefill/a.npy", "c_f4.npy>decode_1/a.npy"], &["a@1", "a"]),
        (&["c_f4.npy>a.npy", "c_f4.npy>step1/a.npy"], &["a", "a@1"]),
        (&["plain.npz>step0.npz", "plain.npz>step1.npz"], &["a", "layers.0/b", "c", "a@1", "layers.0/b@1", "c@1"]),
        (&["bare.pt>layers/0/q.pt", "bare.pt>layers/1/q.pt", "c_f4.npy>x.npy"], &["layers/0/q", "layers/1/q", "x"]),
    ] {
        let folder = tempfile::tempdir().expect("a folder");
        for file in files {
            let (from, to) = file.split_once('>').expect("from > to");
            fs::create_dir_all(folder.path().join(to).parent().expect("a folder")).expect("made");
            fs::copy(fixtures().join(from), folder.path().join(to)).expect("copied");
        }
        let archive = Archive::open(folder.path()).unwrap_or_else(|e| panic!("{e}"));
        let found: Vec<_> = archive.entries().iter().map(|entry| entry.name.as_str()).collect();
        assert_eq!((found.as_slice(), archive.format()), (names, "directory"));
        for entry in archive.entries() {
            assert_eq!(archive.read(&entry.name).expect("read").shape(), entry.shape);
            assert!(entry.file.starts_with(folder.path()));
        }
    }
}

#[test]
fn one_array_per_file_takes_the_file_name_where_the_inner_name_says_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let one = ArrayD::from_elem(IxDyn(&[2]), 1.0);
    for (file, name) in
        [("q.safetensors", "data"), ("r.safetensors", "h"), ("s.safetensors", "h"), ("t.safetensors", "k")]
    {
        write_safetensors(&folder.path().join(file), &[(name.into(), one.view())], &BTreeMap::new()).expect("written");
    }
    let archive = Archive::open(folder.path()).expect("opens");
    let names: Vec<_> = archive.entries().iter().map(|entry| entry.name.as_str()).collect();
    assert_eq!(names, ["q", "r", "s", "k"]);
}

#[test]
fn archives_go_from_thread_to_thread() {
    fn shared<T: Send + Sync>() {}
    shared::<Archive>();
    shared::<Error>();
}

#[test]
fn a_file_that_changed_is_not_read_on() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("a.npy");
    write_npy(&path, &ArrayD::from_elem(IxDyn(&[2]), 1.0).view()).expect("written");
    let archive = Archive::open(&path).expect("opens");
    write_npy(&path, &ArrayD::from_elem(IxDyn(&[3]), 2.0).view()).expect("written again");
    let error = archive.read("a").expect_err("changed").to_string();
    assert!(error.contains("the file has changed since it was opened; open it again"), "{error}");
}

#[test]
fn writing_refuses_and_leaves_no_traces() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("a.safetensors");
    let one = ArrayD::from_elem(IxDyn(&[2]), 1.0);
    let none = BTreeMap::new();
    let twice = [("x".to_owned(), one.view()), ("x".to_owned(), one.view())];
    let shapes = [("x".to_owned(), vec![3])];
    let missing = |_| Err(Error::Missing { path: "elsewhere".into(), name: "x".into() });
    for (error, text) in [
        (write_safetensors(&path, &twice, &none), "tensor \"x\": this name is taken"),
        (write_npz(&path, &twice, true), "tensor \"x\": this name is taken"),
        (write_safetensors_with(&path, &shapes, &none, |_| Ok(one.clone())), "announced as [3], then given as [2]"),
        (write_safetensors_with(&path, &shapes, &none, missing), "elsewhere: no array is named \"x\""),
        (write_npy(&folder.path().join("no/a.npy"), &one.view()), "cannot write"),
        (write_npy(folder.path(), &one.view()), "it exists and is not a regular file"),
    ] {
        let error = error.expect_err(text).to_string();
        assert!(error.contains(text), "{error}");
    }
    assert_eq!(fs::read_dir(folder.path()).expect("listed").count(), 0);
}

fn arrays() -> impl Strategy<Value = Vec<ArrayD<f32>>> {
    let array = prop::collection::vec(0..4usize, 0..4).prop_flat_map(|shape| {
        let values = prop::collection::vec(any::<u32>(), shape.iter().product::<usize>());
        values.prop_map(move |words| {
            let floats = words.into_iter().map(f32::from_bits).collect();
            ArrayD::from_shape_vec(IxDyn(&shape), floats).expect("as many values as the shape has")
        })
    });
    prop::collection::vec(array, 1..4)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn what_is_written_comes_back(arrays in arrays(), transposed: bool, name in "\\PC{0,8}", text in any::<String>()) {
        let folder = tempfile::tempdir().expect("a folder");
        let view = |array: &'_ ArrayD<f32>| if transposed { array.t().to_owned() } else { array.clone() };
        let owned: Vec<_> = arrays.iter().map(view).collect();
        let named: Vec<_> = owned.iter().enumerate().map(|(k, array)| (format!("{name}{k}"), array.view())).collect();
        let metadata = BTreeMap::from([("text".to_owned(), text)]);
        let path = |end: &str| folder.path().join(format!("file.{end}"));
        write_safetensors(&path("safetensors"), &named, &metadata).expect("written");
        write_npz(&path("npz"), &named, false).expect("written");
        write_npz(&path("packed.npz"), &named, true).expect("written");
        for end in ["safetensors", "npz", "packed.npz"] {
            let archive = Archive::open(&path(end)).expect("opens");
            prop_assert_eq!(archive.entries().len(), named.len());
            if end == "safetensors" {
                prop_assert_eq!(archive.metadata(), &metadata);
            }
            for (name, array) in &named {
                let back = archive.read(name).expect("read").into_f32();
                prop_assert_eq!(back.shape(), array.shape());
                prop_assert!(back.iter().zip(array).all(|(x, y)| x.to_bits() == y.to_bits()));
            }
        }
        write_npy(&path("npy"), &named[0].1).expect("written");
        let back = Archive::open(&path("npy")).expect("opens").read("file").expect("read").into_f32();
        prop_assert!(back.iter().zip(&named[0].1).all(|(x, y)| x.to_bits() == y.to_bits()));
    }
}
