//! A directory of dump files: usually one array per file, named by the file.

use std::{
    cmp::Ordering,
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
};

use super::{Contents, Error, contents, error::escape, extension, source::Source, stem};

const EXTENSIONS: [&str; 6] = ["npy", "bin", "npz", "safetensors", "pt", "pth"];

pub(super) fn open(path: &Path) -> Result<Contents, Error> {
    let (mut files, mut others, mut folders) = (Vec::new(), 0, 0);
    for entry in fs::read_dir(path).map_err(Error::io(path, "open"))? {
        let file = entry.map_err(Error::io(path, "read"))?.path();
        let hidden = file.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        match fs::metadata(&file) {
            _ if hidden => {}
            Ok(found) if found.is_dir() => folders += 1,
            _ if EXTENSIONS.contains(&extension(&file).as_str()) => files.push(file),
            _ => others += 1,
        }
    }
    if files.is_empty() {
        let problem = format!(
            "expected .npy, .bin, .npz, .safetensors or .pt files directly in this directory, found {others} other files and {folders} directories"
        );
        return Err(Error::Empty { path: path.to_owned(), problem });
    }
    files.sort_by(|a, b| natural(&a.to_string_lossy(), &b.to_string_lossy()));
    let mut all = Contents { format: "directory", ..Contents::default() };
    let parts = files.iter().map(|file| contents(&Source::open(file)?)).collect::<Result<Vec<_>, _>>()?;
    let stems = stems(&files, &parts);
    for ((file, part), renamed) in files.iter().zip(parts).zip(stems) {
        let mut slots = part.slots;
        if let [slot] = slots.as_mut_slice()
            && renamed
        {
            slot.entry.name = stem(file);
        }
        all.slots.append(&mut slots);
        all.notes.extend(part.notes);
        all.metadata.extend(part.metadata);
    }
    if others + folders > 0 {
        let at = escape(&path.to_string_lossy());
        all.notes.push(format!("{at}: {others} other files and {folders} directories were not looked at"));
    }
    Ok(all)
}

/// Which files give their one array their own name: where the name inside says nothing, or where files share it.
fn stems(files: &[PathBuf], parts: &[Contents]) -> Vec<bool> {
    let mut times: HashMap<&str, usize> = HashMap::new();
    for slot in parts.iter().flat_map(|part| &part.slots) {
        *times.entry(&slot.entry.name).or_default() += 1;
    }
    let renamed = |(file, part): (&PathBuf, &Contents)| match part.slots.as_slice() {
        [slot] => {
            let name = slot.entry.name.as_str();
            name != stem(file) && (matches!(name, "data" | "arr_0") || times.get(name).is_some_and(|n| *n > 1))
        }
        _ => false,
    };
    files.iter().zip(parts).map(renamed).collect()
}

/// Text order with whole numbers compared as numbers: `layer_2` before `layer_10`.
fn natural(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (a, b);
    loop {
        let (x, y) = (number(&mut a), number(&mut b));
        let numbers = x.len().cmp(&y.len()).then_with(|| x.cmp(y));
        if numbers != Ordering::Equal {
            return numbers;
        }
        let (mut left, mut right) = (a.chars(), b.chars());
        match (left.next(), right.next()) {
            (Some(x), Some(y)) if x == y => (a, b) = (left.as_str(), right.as_str()),
            (x, y) => return x.cmp(&y),
        }
    }
}

/// Takes the digits at the start, without leading zeros.
fn number<'a>(text: &mut &'a str) -> &'a str {
    let (digits, rest) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
    *text = rest;
    digits.trim_start_matches('0')
}
