//! A directory of dump files: usually one array per file, named by the file.

use std::{
    cmp::Ordering,
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
};

use super::folder::{Holds, Numbered, forwards, holds};
use super::{Contents, Error, contents, error::escape, extension, source::Source, stem};

const EXTENSIONS: [&str; 6] = ["npy", "bin", "npz", "safetensors", "pt", "pth"];

/// Folders inside folders that are looked into.
const DEPTH: usize = 8;

/// A file of arrays below the directory.
struct Found {
    file: PathBuf,
    /// What the folders on the way to it put before its names.
    prefix: String,
    /// The forward that its folder, or it itself, is named after.
    of: Option<Numbered>,
}

/// What lies below a directory.
#[derive(Default)]
struct Below {
    files: Vec<Found>,
    others: usize,
    folders: usize,
}

/// Lists the arrays of a directory: those of its files, and of the folders in it whose names tell what they are of.
pub(super) fn open(path: &Path) -> Result<Contents, Error> {
    let mut below = Below::default();
    look_into(path, "", None, DEPTH, &mut below)?;
    let Below { mut files, others, folders } = below;
    if files.is_empty() {
        let problem = format!(
            "expected .npy, .bin, .npz, .safetensors or .pt files in this directory, or in folders named step0, prefill, \
             decode_1 or layer_3, found {others} other files and {folders} directories"
        );
        return Err(Error::Empty { path: path.to_owned(), problem });
    }
    files.sort_by(|a, b| natural(&a.file.to_string_lossy(), &b.file.to_string_lossy()));
    let mut all = Contents { format: "directory", ..Contents::default() };
    let parts = files.iter().map(|found| contents(&Source::open(&found.file)?)).collect::<Result<Vec<_>, _>>()?;
    let forwards = of_forwards(&mut files, &parts);
    let stems = stems(&files, &parts);
    for (((found, part), renamed), forward) in files.iter().zip(parts).zip(stems).zip(forwards) {
        let numbered = |name: &str| if forward > 0 { format!("{name}@{forward}") } else { name.to_owned() };
        let mut slots = part.slots;
        if let [slot] = slots.as_mut_slice()
            && renamed
        {
            slot.entry.name = stem(&found.file);
        }
        for slot in &mut slots {
            slot.entry.name = numbered(&format!("{}{}", found.prefix, slot.entry.name));
        }
        all.slots.append(&mut slots);
        all.notes.extend(part.notes);
        all.metadata.extend(part.metadata.into_iter().map(|(key, value)| (numbered(&key), value)));
    }
    if others + folders > 0 {
        let at = escape(&path.to_string_lossy());
        all.notes.push(format!("{at}: {others} other files and {folders} directories were not looked at"));
    }
    Ok(all)
}

/// Gathers the files of arrays in a folder, and in those of its folders whose names say what they hold.
fn look_into(path: &Path, prefix: &str, of: Option<Numbered>, depth: usize, below: &mut Below) -> Result<(), Error> {
    for entry in fs::read_dir(path).map_err(Error::io(path, "open"))? {
        let file = entry.map_err(Error::io(path, "read"))?.path();
        let name = file.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        match fs::metadata(&file) {
            _ if name.starts_with('.') => {}
            Ok(found) if found.is_dir() => match holds(&name).filter(|_| depth > 0) {
                Some(Holds::Forward(inner)) if of.is_none() => {
                    look_into(&file, prefix, Some(inner), depth - 1, below)?;
                }
                Some(Holds::Part) => look_into(&file, &format!("{prefix}{name}/"), of, depth - 1, below)?,
                // The rest of a name, whatever it is.
                None if depth > 0 && !prefix.is_empty() => {
                    look_into(&file, &format!("{prefix}{name}/"), of, depth - 1, below)?;
                }
                _ => below.folders += 1,
            },
            _ if EXTENSIONS.contains(&extension(&file).as_str()) => {
                below.files.push(Found { file, prefix: prefix.to_owned(), of });
            }
            _ => below.others += 1,
        }
    }
    Ok(())
}

/// The forward of every file. A file of many arrays may be named after one itself; where arrays lie beside what is named
/// after forwards, they are those of the first.
fn of_forwards(files: &mut [Found], parts: &[Contents]) -> Vec<usize> {
    for (found, part) in files.iter_mut().zip(parts) {
        if let Some(Holds::Forward(of)) = holds(&stem(&found.file)).filter(|_| part.slots.len() > 1) {
            found.of.get_or_insert(of);
        }
    }
    let values = |part: &Contents| part.slots.iter().any(|slot| slot.entry.dtype.is_float());
    let beside = files.iter().zip(parts).any(|(found, part)| found.of.is_none() && values(part));
    forwards(&files.iter().map(|found| found.of).collect::<Vec<_>>(), beside)
}

fn folder(found: &Found) -> &Path {
    found.file.parent().unwrap_or(Path::new(""))
}

/// Which files give their one array their own name: where the name inside says nothing, or where files share it.
fn stems(files: &[Found], parts: &[Contents]) -> Vec<bool> {
    let mut times: HashMap<(&Path, &str), usize> = HashMap::new();
    for (found, slot) in
        files.iter().zip(parts).flat_map(|(found, part)| part.slots.iter().map(move |slot| (found, slot)))
    {
        *times.entry((folder(found), &slot.entry.name)).or_default() += 1;
    }
    let renamed = |(found, part): (&Found, &Contents)| match part.slots.as_slice() {
        [slot] => {
            let name = slot.entry.name.as_str();
            let shared = times.get(&(folder(found), name)).is_some_and(|n| *n > 1);
            name != stem(&found.file) && (matches!(name, "data" | "arr_0") || shared)
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
