//! Files that no honest program writes: each is refused with a reason, and none makes the program panic, run what the
//! file says, or take more memory than the file justifies.

use std::{fs, io::Write, path::Path};

use layerstep::formats::Archive;
use zip::{CompressionMethod, ZipWriter, write::SimpleFileOptions};

use super::fixtures;

fn safetensors(header: &str, data: usize) -> Vec<u8> {
    let mut out = (header.len() as u64).to_le_bytes().to_vec();
    out.extend(header.as_bytes());
    out.extend(vec![0; data]);
    out
}

fn one(dtype: &str, shape: &str, offsets: &str) -> String {
    format!(r#"{{"a":{{"dtype":"{dtype}","shape":{shape},"data_offsets":{offsets}}}}}"#)
}

pub(super) fn npy(descr: &str, shape: &str, data: usize) -> Vec<u8> {
    npy_header(&format!("{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}\n"), data)
}

fn npy_header(header: &str, data: usize) -> Vec<u8> {
    let mut out = b"\x93NUMPY\x02\x00".to_vec();
    out.extend((header.len() as u32).to_le_bytes());
    out.extend(header.as_bytes());
    out.extend(vec![0; data]);
    out
}

fn zip(members: &[(&str, &[u8])], method: CompressionMethod) -> Vec<u8> {
    let mut out = ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, bytes) in members {
        out.start_file(*name, SimpleFileOptions::default().compression_method(method)).expect("started");
        out.write_all(bytes).expect("packed");
    }
    out.finish().expect("finished").into_inner()
}

/// A .pt whose root is `pickle`, with one storage of 16 bytes called 0.
pub(super) fn pt(pickle: &[u8]) -> Vec<u8> {
    zip(&[("x/data.pkl", pickle), ("x/data/0", &[0; 16])], CompressionMethod::Stored)
}

/// A tensor over storage 0, said to hold `count` f32, in pickle opcodes.
fn tensor(key: &str, count: u8, offset: u8, size: &[u8], stride: &[u8]) -> Vec<u8> {
    let mut out = b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n((X\x07\0\0\0storagectorch\nFloatStorage\nX".to_vec();
    out.extend((key.len() as u32).to_le_bytes());
    out.extend(key.as_bytes());
    out.extend(b"X\x03\0\0\0cpuK");
    out.extend([count, b't', b'Q', b'K', offset]);
    for axes in [size, stride] {
        out.push(b'(');
        out.extend(axes.iter().flat_map(|n| [b'K', *n]));
        out.push(b't');
    }
    out.extend(b"\x89NtR.");
    out
}

/// Lists and reads everything; the first error, if any.
pub(super) fn read_all(path: &Path) -> Result<(), String> {
    let archive = Archive::open(path).map_err(|e| e.to_string())?;
    archive.entries().iter().try_for_each(|entry| archive.read(&entry.name).map(drop)).map_err(|e| e.to_string())
}

/// Writes the bytes as `name`, and expects them to be refused for a reason that contains `reason`.
fn check(name: &str, bytes: &[u8], reason: &str) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join(name);
    fs::write(&path, bytes).expect("written");
    let error = read_all(&path).expect_err(&format!("{name} should be refused: {reason}"));
    assert!(error.contains(reason), "{name}: {error}\nshould contain: {reason}");
    assert!(error.contains(name) && error.len() < 800, "{name}: {error}");
    assert!(error.chars().all(|c| !c.is_control()), "{error:?}");
}

#[test]
fn bad_safetensors() {
    let file = "a.safetensors";
    let long = format!("{{{}}}", " ".repeat(17 << 20));
    let many: Vec<String> =
        (0..100_001).map(|k| format!(r#""{k}":{{"dtype":"F32","shape":[0],"data_offsets":[0,0]}}"#)).collect();
    let twice =
        one("F32", "[1]", "[0,4]").replace('}', "") + r#"},"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}"#;
    for (bytes, reason) in [
        (b"\x01\x02".to_vec(), "it ends after 2 bytes, before its header"),
        (u64::MAX.to_le_bytes().to_vec(), "its header should be 18446744073709551615 bytes long, and only 0 follow"),
        (safetensors(&long, 0), "more than the 16777216 allowed"),
        (safetensors("{\"a\":", 0), "its header is wrong: EOF"),
        (safetensors("[]", 0), "expected an object of tensors"),
        (safetensors("{}", 0), "the safetensors file is empty"),
        (safetensors(&"[".repeat(100_000), 0), "its header is wrong"),
        (safetensors(&one("F32", "[2]", "[0,8]"), 4), "its tensors cover 8 bytes, and 4 follow the header"),
        (safetensors(&one("F32", "[2]", "[0,4]"), 4), "shape and type do not fill its data_offsets"),
        (safetensors(&one("F32", "[2]", "[4,12]"), 12), "tensor \"a\" does not start where the one before it ends"),
        (safetensors(&one("F32", "[2]", "[8,0]"), 8), "does not start where"),
        (safetensors(&one("Q7", "[2]", "[0,8]"), 8), "tensor \"a\" has the unknown type Q7"),
        (safetensors(&one("F32", "[4194305,4194305,211106198978564]", "[0,4]"), 4), "too large for any file"),
        (safetensors(&one("F32", "[-1]", "[0,4]"), 4), "invalid value: integer `-1`"),
        (safetensors(&one("F32", &format!("[{}1]", "1,".repeat(40)), "[0,4]"), 4), "has 41 axes, more than 32"),
        (safetensors(&twice, 8), "\"a\" comes twice"),
        (safetensors(&format!("{{{}}}", many.join(",")), 0), "more than 100000 tensors"),
        (safetensors(&one("\\u001b]52;c;x", "[2]", "[0,8]"), 8), "unknown type \\u{1b}]52;c;x"),
    ] {
        check(file, &bytes, reason);
    }
}

#[test]
fn bad_numpy() {
    let deep = format!("{{'descr': '<f4', 'x': {}, 'fortran_order': False, 'shape': (1,), }}", "(".repeat(50_000));
    let object = npy("'|O'", "(1,)", 64);
    for (bytes, reason) in [
        (b"\x93NUMPY\x01\x00\x76".to_vec(), "it ends inside its header"),
        (b"\x93NUMPY\x09\x00\x76\x00\x00\x00\x00".to_vec(), "or is of an unknown version"),
        (b"\x93NUMPY\x02\x00\xff\xff\xff\xff\x00".to_vec(), "its header is 4294967295 bytes long, more than the 65536"),
        (object.clone(), "it holds pickled Python objects, which are never run"),
        (npy("'<f4'", "(9223372036854775807, 9223372036854775807)", 4), "the shape is too large for any file"),
        (npy("'<f4'", "(4611686018427387904, 4611686018427387904, 0)", 4), "the shape is too large for any file"),
        (npy("'<f4'", "(2, 3)", 20), "shape [2, 3] needs 6 elements of f32, and 20 bytes are there"),
        (npy("'<f4'", "(-2, 3)", 24), "expected a shape of whole numbers"),
        (npy("'<f4'", "3", 12), "expected a shape like (2, 3)"),
        (npy("'<c8'", "(1,)", 8), "elements of type '<c8' are not read here"),
        (npy("'<f16'", "(1,)", 16), "elements of type '<f16' are not read here"),
        (npy("[('a', '<f4')]", "(1,)", 4), "structured elements are not read here"),
        (
            npy_header("{'descr': '<f4', 'shape': (1,), 'shape': (9, 9), 'fortran_order': False}", 4),
            "one descr and one shape",
        ),
        (npy_header("{'descr': '<f4', 'shape': (1,), 'sh\\x61pe': (9, 9)}", 4), "expected one descr and one shape"),
        (npy_header(&deep, 4), "its header is wrong"),
        (npy_header("\u{1b}[31m", 4), "\\u{1b}[31m"),
        (npy("'<u8'", "(1,)", 0).into_iter().chain([255; 8]).collect(), "is beyond the largest i64"),
        (b"hello, world".to_vec(), "it is text, \"hello, world\"; expected .safetensors, .npy"),
        (b"GGUF\x03\0\0\0\0\0\0\0".to_vec(), "it is a GGUF model"),
    ] {
        check("a.npy", &bytes, reason);
    }
    let stored = CompressionMethod::Stored;
    let whole = zip(&[("a.npy", &npy("'<f4'", "(4,)", 16))], CompressionMethod::Deflated);
    let mut lying = whole.clone();
    let size = npy("'<f4'", "(4,)", 16).len() as u32;
    let last = lying.windows(4).rposition(|w| w == size.to_le_bytes()).expect("the size in the directory");
    lying[last..last + 4].copy_from_slice(&(size - 1).to_le_bytes());
    let mut broken = whole.clone();
    broken[60] ^= 0x10;
    let mut unlike = whole.clone();
    let directory = unlike.windows(4).position(|w| w == b"PK\x01\x02").expect("a directory");
    unlike[directory + 16] ^= 1; // its checksum
    for (bytes, reason) in [
        (zip(&[("a.npy", &object)], stored), "no arrays here: skipped a: it holds pickled Python objects"),
        (zip(&[("a.txt", b"x")], stored), "no arrays here: skipped a.txt: not a .npy"),
        (zip(&[("a.npy", &npy("'<f4'", "(4,)", 15))], stored), "tensor \"a\": shape [4] needs 4 elements of f32"),
        (zip(&[("../\u{1b}c.npy", b"x")], stored), "tensor \"../\\u{1b}c\": it does not start with"),
        (whole[..whole.len() - 30].to_vec(), "it was cut off, or is still being written; write it again"),
        (lying, "and 15 bytes are there"),
        (broken, "its member \"a.npy\": corrupt deflate stream"),
        (unlike, "Invalid checksum"),
        (
            zip(&[("a.npy", &npy("'<f4'", "(20971520,)", 80 << 20))], CompressionMethod::Deflated),
            "would unfold to 83886080 bytes in memory",
        ),
    ] {
        check("a.npz", &bytes, reason);
    }
}

#[test]
fn bad_torch() {
    let folder = tempfile::tempdir().expect("a folder");
    let canary = folder.path().join("canary");
    let command = format!("touch {}", canary.display());
    let mut system = b"\x80\x02cos\nsystem\nX".to_vec();
    system.extend((command.len() as u32).to_le_bytes());
    system.extend(command.as_bytes());
    let unfinished = system.clone();
    system.extend(b"\x85R.");
    let evals = b"\x80\x04\x8c\x08builtins\x8c\x04eval\x93\x94\x8c\x041+1\n\x85R.".to_vec();
    let mut old = fs::read(fixtures().join("legacy.pt")).expect("a fixture");
    old.truncate(old.len() - 5);
    let deep = [b"\x80\x02".to_vec(), b"]".repeat(500_000), b"a".repeat(499_999), b".".to_vec()].concat();
    let doubling: Vec<u8> = std::iter::once(b"\x80\x02N\x85q\x00".to_vec())
        .chain((0..40).map(|_| b"h\x00h\x00\x86q\x000".to_vec()))
        .chain([b"h\x00.".to_vec()])
        .flatten()
        .collect();
    // A name of 64 levels of one long key, and one list of numbers held 300 times.
    let key = [b"X\0\x10\0\0".to_vec(), b"k".repeat(4096), b"q\x000".to_vec()].concat();
    let names = [b"\x80\x02".to_vec(), key, b"}h\x00".repeat(9), b"N".to_vec(), b"s".repeat(9), b".".to_vec()].concat();
    let list =
        [b"\x80\x02](".to_vec(), b"K\x01".repeat(2000), b"eq\x000](".to_vec(), b"h\x00".repeat(300), b"e.".to_vec()];
    let itself = b"\x80\x02]q\x00h\x00a.".to_vec();
    for (pickle, reason) in [
        (system, "unknown global os.system: pickle code is never run here"),
        (unfinished, "unknown global os.system"),
        (evals, "unknown global builtins.eval"),
        (b"\x80\x02cos\n\x1b]0;x\x07\n.".to_vec(), "unknown global os.\\u{1b}]0;x\\u{7}"),
        (b"\x80\x02".to_vec(), "its pickle is wrong at byte 2: it ends in the middle"),
        (b"\x80\x02.".to_vec(), "its stack is empty"),
        (b"\x80\x02(.".to_vec(), "its stack is empty"),
        (b"\x80\x02}X\x01\0\0\0aNNu.".to_vec(), "a mark is missing"),
        (b"\x80\x02}(Nu.".to_vec(), "a value is missing"),
        (b"\x80\x02K\x01K\x02a.".to_vec(), "it changes something that is no container"),
        (b"\x80\x02h\x07.".to_vec(), "it refers to nothing"),
        (b"\x80\x02X\xff\xff\xff\xffa.".to_vec(), "it ends in the middle"),
        (b"\x80\x04\x8d\xff\xff\xff\xff\xff\xff\xff\xffa.".to_vec(), "it ends in the middle"),
        (b"\x80\x02\x82\x01.".to_vec(), "opcode 0x82 is not one that torch.save writes"),
        (deep, "nests deeper than 64"),
        (doubling, "more than 100000 tensors or 524288 values"),
        (itself, "nests deeper than 64"),
        (names, "or makes a name longer than 4096"),
        (list.concat(), "holds more than 100000 tensors or 524288 values"),
        (b"N".repeat(2 << 20), "more than 1048576 values"),
        (b"\x80\x02}.".to_vec(), "no arrays here: skipped the root: a dictionary of 0 values"),
        (tensor("1", 4, 0, &[4], &[1]), "tensor \"a\": its storage 1 is not in the file"),
        (tensor("0", 5, 0, &[4], &[1]), "its storage should hold 5 elements, and 16 bytes are there"),
        (tensor("0", 4, 1, &[4], &[1]), "shape [4] needs 4 elements of f32, and 12 bytes are there"),
        (tensor("0", 4, 200, &[4], &[1]), "shape [4] needs 4 elements of f32, and 0 bytes are there"),
        (tensor("0", 4, 0, &[2, 2], &[3, 1]), "shape [2, 2] needs 5 elements of f32"),
        (tensor("0", 4, 0, &[2, 2], &[1]), "2 axes, and strides for 1"),
        (tensor("0", 4, 0, &[200; 12], &[0; 12]), "is too large for any file"),
        (tensor("0", 4, 0, &[200; 4], &[0; 4]), "would unfold to 6400000000 bytes in memory"),
        (tensor("../../etc/passwd", 4, 0, &[4], &[1]), "its storage ../../etc/passwd is not in the file"),
    ] {
        check("a.pt", &pt(&pickle), reason);
    }
    check("a.pt", &old, "it ends inside storage");
    check("a.pt", b"\x80\x02}q\x00.", "it is a Python pickle that torch.save did not write");
    check("a.bin", b"12345", "its 5 bytes are no whole number of f32");
    check("a.bin", b"", "it is empty");
    assert!(!canary.exists(), "a pickle was run");
}

#[test]
fn bad_directories() {
    let bad = b"\x93NUMPY".as_slice();
    for (files, reason) in [
        (
            &[][..],
            "expected .npy, .bin, .npz, .safetensors or .pt files in this directory, or in folders named step0, prefill, \
             decode_1 or layer_3, found 0 other files",
        ),
        (&[("a.txt", bad)], "found 1 other files and 0 directories"),
        (&[("a.bin", b"1234"), ("b.npy", bad)], "b.npy: not a readable npy file"),
        (&[("a.bin", b"1234"), ("a.BIN", b"1234")], "two arrays are named \"a\""),
    ] {
        let folder = tempfile::tempdir().expect("a folder");
        for (name, bytes) in files {
            fs::write(folder.path().join(name), bytes).expect("written");
        }
        let error = read_all(folder.path()).expect_err(reason);
        assert!(error.contains(reason), "{error}");
    }
    let error = read_all(Path::new("/nowhere\u{202e}/a.npy")).expect_err("no such file");
    assert!(error.starts_with("/nowhere\\u{202e}/a.npy: cannot open: No such file"), "{error}");
}
