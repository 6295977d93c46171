//! The members of a zip file: what .npz and .pt are made of. Names are labels, never paths. A stored member is a range of
//! the file and is read in place; a deflated one is unpacked as far as it is needed.

use std::{
    io::{self, Read},
    sync::Arc,
};

use zip::{
    CompressionMethod, ZipArchive,
    read::{ArchiveOffset, Config},
    result::ZipError,
};

use super::{
    Error,
    error::escape,
    place::Place,
    source::{Source, Window},
};

/// Most members of one file.
const MEMBERS: usize = 100_000;

/// A zip file and its directory.
pub(super) struct Members {
    source: Arc<Source>,
    format: &'static str,
    zip: ZipArchive<Window>,
    pub(super) list: Vec<Member>,
}

/// One member: `len` is its size once unpacked, as declared.
#[derive(Debug, Clone)]
pub(super) struct Member {
    pub(super) name: String,
    pub(super) len: u64,
    index: usize,
    packed: u64,
    method: CompressionMethod,
    encrypted: bool,
}

impl Members {
    /// Reads the directory of the zip file, which the errors call a `format` file.
    pub(super) fn open(source: &Arc<Source>, format: &'static str) -> Result<Members, Error> {
        let fail = |problem: &str| Error::format(&source.path, format, format!("the zip file is damaged: {problem}"));
        // The file begins with its first member, so its offsets count from 0. Looked for from the end, the directory is taken
        // for one that begins later where a header is as long as the records of zip64 behind it: torch writes those always.
        let whole = Config { archive_offset: ArchiveOffset::Known(0) };
        let zip = ZipArchive::with_config(whole, source.window()).map_err(|e| match e {
            // Whatever is wrong there, the list of members at the end of the file cannot be read.
            ZipError::InvalidArchive(_) => Error::format(
                &source.path,
                format,
                format!(
                    "its {} bytes begin like a zip file, and the list of members that ends one is not there: it was cut off, \
                     or is still being written; write it again",
                    source.len
                ),
            ),
            other => fail(&escape(&other.to_string())),
        })?;
        if zip.has_duplicate_names() {
            return Err(fail("two members have the same name"));
        }
        if zip.len() > MEMBERS {
            return Err(fail(&format!("it has {} members, more than {MEMBERS}", zip.len())));
        }
        let mut list = Vec::new();
        for index in 0..zip.len() {
            let entry = zip.by_index_data(index).map_err(|e| fail(&escape(&e.to_string())))?;
            let name = entry.name().map_err(|e| fail(&escape(&e.to_string())))?.into_owned();
            list.push(Member {
                name,
                len: entry.size(),
                index,
                packed: entry.compressed_size(),
                method: entry.compression(),
                encrypted: entry.encrypted(),
            });
        }
        let zip = zip.clone(); // a clone holds no open file
        Ok(Members { source: source.clone(), format, zip, list })
    }

    pub(super) fn find(&self, name: &str) -> Option<&Member> {
        self.zip.index_for_name(name).and_then(|k| self.list.get(k))
    }

    /// Where the unpacked bytes of a member are.
    pub(super) fn place(&self, member: &Member) -> Result<Place, Error> {
        let fail = |problem: String| self.wrong(member, &problem);
        if member.encrypted {
            return Err(fail("it is encrypted".into()));
        }
        let mut zip = self.zip.clone();
        let raw = zip.by_index_raw(member.index).map_err(|e| fail(e.to_string()))?;
        let start = raw.data_start().ok_or_else(|| fail("its data cannot be located".into()))?;
        drop(raw);
        let end = start.checked_add(member.packed).filter(|end| *end <= self.source.len);
        let end = end.ok_or_else(|| fail("it reaches beyond the end of the file".into()))?;
        let source = self.source.clone();
        match member.method {
            CompressionMethod::Stored if member.packed == member.len => Ok(Place::Range { source, start, end }),
            CompressionMethod::Stored => Err(fail(format!("stored in {} bytes, not {}", member.packed, member.len))),
            CompressionMethod::Deflated => {
                Ok(Place::Packed { zip: self.zip.clone(), source, index: member.index, start: 0, end: member.len })
            }
            other => Err(fail(format!("it is packed with {other}; use the default of numpy or torch"))),
        }
    }

    /// At most `limit` bytes from the start of a member.
    pub(super) fn head(&self, member: &Member, limit: usize) -> Result<Vec<u8>, Error> {
        self.place(member)?; // refuses what cannot be read, with a better reason
        let mut zip = self.zip.clone();
        let mut out = Vec::new();
        let read = |zip: &mut ZipArchive<Window>, out: &mut Vec<u8>| -> io::Result<usize> {
            zip.by_index(member.index)?.take(limit as u64).read_to_end(out)
        };
        read(&mut zip, &mut out).map_err(|e| self.wrong(member, &e.to_string()))?;
        Ok(out)
    }

    fn wrong(&self, member: &Member, problem: &str) -> Error {
        let problem = format!("its member \"{}\": {}", escape(&member.name), escape(problem));
        Error::format(&self.source.path, self.format, problem)
    }
}
