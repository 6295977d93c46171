//! The files of a session by their names: what may be written there; opening it, packed or not; and one file to send,
//! `NAME.session.zip`, that holds both.

use std::borrow::Cow;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use tempfile::TempDir;
use zip::{CompressionMethod, DateTime, ZipArchive, ZipWriter, write::SimpleFileOptions};

use super::Error;
use super::error::shown;
use super::file::{MOST, Text};
use super::redact::{Redaction, User};
use super::values::{is_one, rewrite};
use crate::formats::{escape, write_file};

/// How the name of a session ends.
pub const SESSION: &str = ".session";
/// How the name of its values ends.
pub const VALUES: &str = ".safetensors";
/// How the name of a packed session ends.
pub const PACKED: &str = ".session.zip";

/// Largest values file that is unpacked, in bytes.
const MOST_VALUES: u64 = 1 << 30;

/// A session that was opened.
#[derive(Debug)]
pub struct Opened {
    /// Its name, without folder and extension.
    pub name: String,
    /// The session.
    pub text: Text,
    /// The folder that paths in it are relative to; none where it is packed.
    pub folder: Option<PathBuf>,
    /// The file of values, if the session has one and it is there. It stays as long as this.
    pub values: Option<PathBuf>,
    /// Where the values were unpacked to; removed with this.
    unpacked: Option<TempDir>,
}

/// What was packed.
#[derive(Debug)]
pub struct Packed {
    /// The names in the zip file, with their sizes in bytes.
    pub members: Vec<(String, u64)>,
    /// Size of the zip file.
    pub bytes: u64,
    /// What was taken out of the session.
    pub redaction: Redaction,
}

/// The file that a user means by `NAME`, `NAME.session` or `NAME.session.zip`.
///
/// # Errors
/// One sentence: there is none.
pub fn find(path: &Path) -> Result<PathBuf, Error> {
    let places = [path.to_owned(), with(path, SESSION), with(path, PACKED)];
    let found = places.iter().find(|place| place.is_file()).or_else(|| places.iter().find(|place| place.exists()));
    found.cloned().ok_or_else(|| Error::None { path: shown(path) })
}

/// Opens a session by its file, its name, or the zip file it was packed into.
///
/// # Errors
/// One sentence.
pub fn open(path: &Path) -> Result<Opened, Error> {
    let path = find(path)?;
    if is_zip(&path)? {
        return unpack(&path);
    }
    let text = Text::read(&path)?;
    let name = name_of(&path, SESSION);
    let folder = path.parent().unwrap_or(Path::new("")).to_owned();
    let values = match &text.header.values {
        None => None,
        Some(values) if !is_bare(&values.file) => {
            return Err(Error::Reaching { file: shown(&path), found: escape(&values.file) });
        }
        // By the name it was saved under; or by that of the session, where both were renamed.
        Some(values) => [values.file.clone(), format!("{name}{VALUES}")]
            .iter()
            .map(|file| folder.join(file))
            .find(|file| file.is_file()),
    };
    Ok(Opened { name, text, folder: Some(folder), values, unpacked: None })
}

/// The same path with this behind it.
pub(super) fn with(path: &Path, end: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(end);
    name.into()
}

/// Where the values of the session that is being replaced are meanwhile.
pub(super) fn before(values: &Path) -> PathBuf {
    with(values, ".before")
}

/// The values of a session lie beside it.
pub(super) fn values_of(session: &Path) -> PathBuf {
    session.with_extension("safetensors")
}

/// Whether a session may be written there. Another session is replaced only where that was asked for, and what is no
/// session never: NAME may be that of weights or of a dump.
///
/// # Errors
/// One sentence: what is there; `how` it is replaced.
pub(super) fn free(session: &Path, replace: bool, how: &str) -> Result<(), String> {
    if session.exists() && !replace {
        return Err(format!("{} is there already: {how}", shown(session)));
    }
    let values = values_of(session);
    if values.exists() && !is_one(&values) {
        return Err(format!("{} is there already and holds no session: choose another name", shown(&values)));
    }
    Ok(())
}

fn is_zip(path: &Path) -> Result<bool, Error> {
    let mut head = Vec::new();
    if fs::metadata(path).is_ok_and(|about| about.is_file()) {
        let file = File::open(path).map_err(Error::io(path, "read"))?;
        file.take(2).read_to_end(&mut head).map_err(Error::io(path, "read"))?;
    }
    Ok(head == b"PK")
}

/// The file name without its end.
fn name_of(path: &Path, end: &str) -> String {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    name.strip_suffix(end).unwrap_or(&name).to_owned()
}

/// Whether it names a file here, and nowhere else on any system.
fn is_bare(name: &str) -> bool {
    !name.is_empty() && name != "." && name != ".." && !name.contains(['/', '\\', ':', '\0'])
}

/// Writes both files of a session as one. Absolute paths are taken out of it; equal sessions give equal bytes.
///
/// # Errors
/// One sentence; then nothing was written.
pub fn pack(session: &Path, output: &Path, user: &User) -> Result<Packed, Error> {
    let path = find(session)?;
    if is_zip(&path)? {
        return Err(Error::Zip { file: shown(&path), problem: "it is packed already".into() });
    }
    let Opened { name, mut text, values, .. } = open(&path)?;
    if let (Some(missing), None) = (&text.header.values, &values) {
        return Err(Error::NoValues { file: shown(&path), values: escape(&missing.file) });
    }
    let mut redaction = user.redact(&mut text);
    if let Some(values) = &mut text.header.values {
        values.file = format!("{name}{VALUES}");
    }
    let text = text.to_string();
    let mut members = vec![(format!("{name}{SESSION}"), text.len() as u64)];
    let mut rewritten = None;
    if let Some(values) = &values {
        let bytes = fs::metadata(values).map_err(Error::io(values, "read"))?.len();
        if bytes > MOST_VALUES {
            let (file, what) = (shown(values), "the values file");
            return Err(Error::TooLarge { file, what, found: bytes, most: MOST_VALUES });
        }
        let bytes = fs::read(values).map_err(Error::io(values, "read"))?;
        let bytes = rewrite(&bytes, &shown(values), &mut |text| user.cut(text, &mut redaction.cut))?;
        members.push((format!("{name}{VALUES}"), bytes.len() as u64));
        rewritten = Some(bytes);
    }
    // The time of packing would make each zip file another one.
    let options = SimpleFileOptions::default()
        .compression_method(CompressionMethod::Deflated)
        .last_modified_time(DateTime::default())
        .unix_permissions(0o644);
    write_file(output, |out| {
        let mut zip = ZipWriter::new_stream(out);
        zip.start_file(members[0].0.as_str(), options)?;
        zip.write_all(text.as_bytes())?;
        if let Some(bytes) = &rewritten {
            zip.start_file(members[1].0.as_str(), options)?;
            zip.write_all(bytes)?;
        }
        zip.finish()?;
        Ok(())
    })?;
    let bytes = fs::metadata(output).map_err(Error::io(output, "read"))?.len();
    Ok(Packed { members, bytes, redaction })
}

/// Opens a packed session. Names in it are labels: nothing is written under them, and sizes are what is really unpacked.
fn unpack(path: &Path) -> Result<Opened, Error> {
    let fail = |problem: String| Error::Zip { file: shown(path), problem: escape(&problem) };
    let bytes = fs::metadata(path).map_err(Error::io(path, "read"))?.len();
    if bytes > MOST + MOST_VALUES {
        let (file, what) = (shown(path), "the zip file");
        return Err(Error::TooLarge { file, what, found: bytes, most: MOST + MOST_VALUES });
    }
    let file = File::open(path).map_err(Error::io(path, "read"))?;
    let mut zip = ZipArchive::new(file).map_err(|cause| fail(format!("it is damaged: {cause}")))?;
    let names: Result<Vec<String>, _> = zip.file_names().map(|name| name.map(Cow::into_owned)).collect();
    let names = names.map_err(|cause| fail(format!("it is damaged: {cause}")))?;
    let expected = "one file .session and at most one .safetensors were expected";
    if zip.len() > 2 || zip.has_duplicate_names() {
        return Err(fail(format!("it holds {} files, and {expected}", zip.len())));
    }
    let of_kind = |end: &str| names.iter().filter(|name| name.ends_with(end) && is_bare(name)).collect::<Vec<_>>();
    let (sessions, values) = (of_kind(SESSION), of_kind(VALUES));
    let [session] = sessions[..] else {
        return Err(fail(format!("it holds {}, and {expected}", names.join(", "))));
    };
    if 1 + values.len() != names.len() || values.len() > 1 {
        return Err(fail(format!("it holds {}, and {expected}", names.join(", "))));
    }
    let mut member = |name: &str, most: u64, out: &mut dyn Write| {
        let damaged = |cause: &dyn std::fmt::Display| fail(format!("{name} in it is damaged: {cause}"));
        let member = zip.by_name(name).map_err(|cause| damaged(&cause))?;
        let copied = io::copy(&mut member.take(most + 1), out).map_err(|cause| damaged(&cause))?;
        if copied > most {
            let problem = format!("{name} in it is longer than {most} bytes, the most that is unpacked");
            return Err(fail(problem));
        }
        Ok(())
    };
    let mut text = Vec::new();
    member(session, MOST, &mut text)?;
    let text = Text::from_bytes(&text, &format!("{session} in {}", path.to_string_lossy()))?;
    let name = name_of(Path::new(session), SESSION);
    let mut opened = Opened { name, text, folder: None, values: None, unpacked: None };
    match (&opened.text.header.values, values.first()) {
        (Some(_), Some(values)) => {
            let folder =
                tempfile::Builder::new().prefix("layerstep-").tempdir().map_err(Error::io(path, "unpacked"))?;
            let place = folder.path().join("values.safetensors");
            let mut file = File::create(&place).map_err(Error::io(&place, "written"))?;
            member(values, MOST_VALUES, &mut file)?;
            opened.values = Some(place);
            opened.unpacked = Some(folder);
            Ok(opened)
        }
        (Some(values), None) => Err(fail(format!("{} is not in it", values.file))),
        (None, Some(values)) => Err(fail(format!("its session has no values, and {values} is in it"))),
        (None, None) => Ok(opened),
    }
}
