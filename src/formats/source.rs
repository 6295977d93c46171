//! The bytes of one file, or of an array built into the program. Files are opened for each read, not kept open (a dump
//! directory may hold thousands) and not mapped (a mapped file that shrinks kills the process); a file that changed
//! between two reads is an error instead of a mixture of old and new.

use std::{
    fs::{self, File},
    io::{self, Read, Seek, SeekFrom},
    path::{Path, PathBuf},
    sync::Arc,
    time::SystemTime,
};

use super::Error;

/// Where bytes come from.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) path: PathBuf,
    pub(super) len: u64,
    modified: Option<SystemTime>,
    embedded: Option<&'static [u8]>,
}

impl Source {
    pub(super) fn open(path: &Path) -> Result<Arc<Source>, Error> {
        let found = fs::metadata(path).map_err(Error::io(path, "open"))?;
        if !found.is_file() {
            // Opening a pipe would wait for a writer.
            return Err(Error::Unknown { path: path.to_owned(), found: "it is not a regular file".into() });
        }
        let modified = found.modified().ok();
        Ok(Arc::new(Source { path: path.to_owned(), len: found.len(), modified, embedded: None }))
    }

    pub(super) fn embedded(name: &str, bytes: &'static [u8]) -> Arc<Source> {
        Arc::new(Source { path: name.into(), len: bytes.len() as u64, modified: None, embedded: Some(bytes) })
    }

    pub(super) fn window(self: &Arc<Self>) -> Window {
        Window { source: self.clone(), file: None, at: 0, buffer: Vec::new(), buffer_at: 0 }
    }

    /// At most `len` bytes from `start`: fewer only at the end of the file.
    pub(super) fn read_up_to(self: &Arc<Self>, start: u64, len: usize) -> Result<Vec<u8>, Error> {
        let rest = self.len.saturating_sub(start);
        let mut out = vec![0; len.min(usize::try_from(rest).unwrap_or(usize::MAX))];
        let mut window = self.window();
        window.at = start;
        window.read_exact(&mut out).map_err(Error::io(&self.path, "read"))?;
        Ok(out)
    }

    fn reopen(&self) -> io::Result<File> {
        let file = File::open(&self.path)?;
        let now = file.metadata()?;
        if now.len() != self.len || now.modified().ok() != self.modified {
            return Err(io::Error::other("the file has changed since it was opened; open it again"));
        }
        Ok(file)
    }
}

/// A seekable reader over a source. Its clones have a file handle of their own, opened at their first read.
#[derive(Debug)]
pub(super) struct Window {
    source: Arc<Source>,
    file: Option<File>,
    at: u64,
    buffer: Vec<u8>,
    buffer_at: u64,
}

/// Reads shorter than this are buffered: a zip directory is read a few bytes at a time.
const BUFFER: usize = 16 << 10;

impl Clone for Window {
    fn clone(&self) -> Self {
        Window { at: self.at, ..self.source.window() }
    }
}

impl Window {
    fn read_through(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.file.is_none() {
            self.file = Some(self.source.reopen()?);
        }
        let Some(file) = &mut self.file else { return Ok(0) };
        file.seek(SeekFrom::Start(self.at))?;
        file.read(out)
    }
}

impl Read for Window {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let read = if let Some(bytes) = self.source.embedded {
            bytes.get(usize::try_from(self.at).unwrap_or(usize::MAX)..).unwrap_or_default().read(out)?
        } else if out.len() >= BUFFER {
            self.read_through(out)?
        } else {
            let behind = self.at.checked_sub(self.buffer_at).and_then(|n| usize::try_from(n).ok());
            if behind.is_none_or(|n| n >= self.buffer.len()) {
                let mut buffer = std::mem::take(&mut self.buffer);
                buffer.resize(BUFFER, 0);
                let read = self.read_through(&mut buffer)?;
                buffer.truncate(read);
                (self.buffer, self.buffer_at) = (buffer, self.at);
            }
            let behind = (self.at - self.buffer_at) as usize;
            self.buffer.get(behind..).unwrap_or_default().read(out)?
        };
        self.at += read as u64;
        Ok(read)
    }
}

impl Seek for Window {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let target = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::End(by) => self.source.len.checked_add_signed(by),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
        };
        self.at = target.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "seek outside the file"))?;
        Ok(self.at)
    }
}
