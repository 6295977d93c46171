//! The journal of a session that runs: a session file that grows by one write for each command, so that nothing is lost
//! when the process is killed. It is locked while its process lives; one that nobody holds was left behind.

use std::cmp::Reverse;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::Error;
use super::file::{Line, Text, read_bounded};
use super::header::Header;

/// How the name of a journal ends.
pub const EXTENSION: &str = "journal";

/// A journal that is written.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    tail: Tail<File>,
}

impl Journal {
    /// Begins a journal in a new file, and locks it.
    ///
    /// # Errors
    /// One sentence; then there is no journal.
    pub fn create(path: &Path, header: &Header) -> Result<Self, Error> {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(Error::io(path, "written"))?;
        }
        let file = private().open(path).map_err(Error::io(path, "written"))?;
        // Locked before anything is in it: an empty journal is nobody's loss, and is not taken for one left behind.
        let begun = file.try_lock().map_err(io::Error::from).and_then(|()| {
            let mut tail = Tail { file, length: 0, pending: String::new(), torn: false, failing: false };
            tail.append(&Text { header: header.clone(), lines: Vec::new() }.to_string())?;
            Ok(Self { path: path.to_owned(), tail })
        });
        begun.map_err(|cause| {
            drop(fs::remove_file(path));
            Error::io(path, "written")(cause)
        })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Adds a command and its answers. What cannot be written, as the disk is full, is written with the next command.
    ///
    /// # Errors
    /// One sentence, the first time; then again only after it has gone well.
    pub fn append(&mut self, line: &Line) -> Result<(), Error> {
        self.tail.append(&line.to_string()).map_err(Error::io(&self.path, "written"))
    }

    /// The session is over and needs no journal: removes it.
    ///
    /// # Errors
    /// One sentence: it is still there.
    pub fn finish(self) -> Result<(), Error> {
        fs::remove_file(&self.path).map_err(Error::io(&self.path, "removed"))
    }

    /// What a journal holds. A last line that was cut off is dropped.
    ///
    /// # Errors
    /// One sentence: anything else is wrong with it.
    pub fn recover(path: &Path) -> Result<Text, Error> {
        let mut bytes = read_bounded(path)?;
        let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1);
        bytes.truncate(whole);
        Text::from_bytes(&bytes, &path.to_string_lossy())
    }
}

/// A new file that only its user reads: what was typed may be nobody else's business.
fn private() -> fs::OpenOptions {
    let mut options = File::options();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

/// The end of a file that grows by whole pieces.
#[derive(Debug)]
struct Tail<F> {
    file: F,
    /// How long the file is, as far as it is whole.
    length: u64,
    /// What should be in it and is not yet.
    pending: String,
    /// Whether part of a piece may stand behind `length`.
    torn: bool,
    /// Whether the last write failed, and somebody was told.
    failing: bool,
}

/// A file that can be made shorter; what is written next stands behind that.
trait Cut: Write {
    fn cut(&mut self, length: u64) -> io::Result<()>;
}

impl Cut for File {
    fn cut(&mut self, length: u64) -> io::Result<()> {
        self.set_len(length)?;
        io::Seek::seek(self, io::SeekFrom::Start(length)).map(drop)
    }
}

impl<F: Cut> Tail<F> {
    fn append(&mut self, piece: &str) -> io::Result<()> {
        self.pending.push_str(piece);
        let written = self.write();
        let told = self.failing;
        self.failing = written.is_err();
        if told { Ok(()) } else { written }
    }

    fn write(&mut self) -> io::Result<()> {
        if self.torn {
            self.file.cut(self.length)?;
            self.torn = false;
        }
        if let Err(cause) = self.file.write_all(self.pending.as_bytes()) {
            self.torn = self.file.cut(self.length).is_err();
            return Err(cause);
        }
        self.length += self.pending.len() as u64;
        self.pending.clear();
        Ok(())
    }
}

/// The journals in a folder that nobody holds, since their process is no more; the one written last first.
pub fn left_behind(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut left: Vec<(Reverse<SystemTime>, PathBuf)> =
        entries.filter_map(|entry| Some((Reverse(left_since(&entry.path())?), entry.path()))).collect();
    left.sort();
    left.into_iter().map(|(_, path)| path).collect()
}

/// When a journal that nobody holds was written last.
fn left_since(path: &Path) -> Option<SystemTime> {
    let about = fs::symlink_metadata(path).ok()?;
    if !about.is_file() || about.len() == 0 || path.extension().is_none_or(|extension| extension != EXTENSION) {
        return None;
    }
    // Shared, so that two who look at once both see it.
    let file = File::open(path).ok()?;
    file.try_lock_shared().ok()?;
    match Journal::recover(path) {
        // Killed while it began, with nothing typed; or no journal.
        Err(Error::CutOff { .. } | Error::NotASession { .. }) => None,
        _ => about.modified().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A disk with so much room, which writes what fits; one that is jammed cannot even be cut.
    struct Disk {
        bytes: Vec<u8>,
        room: usize,
        jammed: bool,
    }

    impl Write for Disk {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let fits = bytes.len().min(self.room - self.bytes.len());
            self.bytes.extend_from_slice(&bytes[..fits]);
            if fits == 0 { Err(io::ErrorKind::StorageFull.into()) } else { Ok(fits) }
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Cut for Disk {
        fn cut(&mut self, length: u64) -> io::Result<()> {
            if self.jammed {
                return Err(io::ErrorKind::StorageFull.into());
            }
            self.bytes.truncate(length as usize);
            Ok(())
        }
    }

    #[test]
    fn a_full_disk_is_told_once_and_loses_nothing() {
        for jammed in [false, true] {
            let disk = Disk { bytes: Vec::new(), room: 12, jammed };
            let mut tail = Tail { file: disk, length: 0, pending: String::new(), torn: false, failing: false };
            assert!(tail.append("step 1\n").is_ok());
            let error = tail.append("step 2\n").expect_err("full");
            assert_eq!(error.kind(), io::ErrorKind::StorageFull);
            assert!(tail.append("step 3\n").is_ok(), "told already");
            let on_disk: &[u8] = if jammed { b"step 1\nstep " } else { b"step 1\n" };
            assert_eq!(tail.file.bytes, on_disk, "jammed: {jammed}");
            (tail.file.room, tail.file.jammed) = (30, false);
            assert!(tail.append("step 4\n").is_ok());
            assert_eq!(tail.file.bytes, b"step 1\nstep 2\nstep 3\nstep 4\n");
            assert!(tail.append("step 5\n").is_err(), "full again");
        }
    }
}
