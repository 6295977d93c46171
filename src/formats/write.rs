//! Writing dumps, always as little-endian f32. A file appears whole or not at all: it is written beside its place, forced
//! to the disk, and only then renamed. Arrays are handed over one at a time.

use std::{
    collections::{BTreeMap, HashSet},
    fs,
    io::{self, BufWriter, Seek, Write},
    path::{Path, PathBuf},
};

use ndarray::{ArrayD, ArrayViewD};
use npyz::WriterBuilder as _;
use tempfile::NamedTempFile;
use zip::{CompressionMethod, DateTime, ZipWriter, write::SimpleFileOptions};

use super::Error;

/// Writes named arrays and text metadata as one .safetensors file.
pub fn write_safetensors(
    path: &Path,
    tensors: &[(String, ArrayViewD<'_, f32>)],
    metadata: &BTreeMap<String, String>,
) -> Result<(), Error> {
    let shapes: Vec<_> = tensors.iter().map(|(name, array)| (name.clone(), array.shape().to_vec())).collect();
    let header = safetensors_header(path, &shapes, metadata)?;
    atomically(path, |out| {
        out.write_all(&header)?;
        tensors.iter().try_for_each(|(_, array)| write_values(out, array))
    })
}

/// Writes one .safetensors file whose arrays are made when their turn comes: `values(k)` gives the k-th, of the shape
/// that was announced. Only one of them is in memory at a time.
pub fn write_safetensors_with(
    path: &Path,
    shapes: &[(String, Vec<usize>)],
    metadata: &BTreeMap<String, String>,
    mut values: impl FnMut(usize) -> Result<ArrayD<f32>, Error>,
) -> Result<(), Error> {
    let header = safetensors_header(path, shapes, metadata)?;
    let mut failed = None;
    let written = atomically(path, |out| {
        out.write_all(&header)?;
        for (k, (name, shape)) in shapes.iter().enumerate() {
            let array = values(k).map_err(|e| {
                failed = Some(e);
                io::Error::other("an array could not be made")
            })?;
            if array.shape() != shape {
                let problem = format!("announced as {shape:?}, then given as {:?}", array.shape());
                failed = Some(Error::tensor(path, name, problem));
                return Err(io::Error::other("an array had another shape than announced"));
            }
            write_values(out, &array.view())?;
        }
        Ok(())
    });
    failed.map_or(written, Err)
}

/// Writes one array as .npy.
pub fn write_npy(path: &Path, array: &ArrayViewD<'_, f32>) -> Result<(), Error> {
    atomically(path, |out| write_npy_to(out, array))
}

/// Writes named arrays as one .npz, packed as `numpy.savez_compressed` does or plain as `numpy.savez`.
pub fn write_npz(path: &Path, tensors: &[(String, ArrayViewD<'_, f32>)], compressed: bool) -> Result<(), Error> {
    distinct(path, tensors.iter().map(|(name, _)| name))?;
    let method = if compressed { CompressionMethod::Deflated } else { CompressionMethod::Stored };
    let options = SimpleFileOptions::default().compression_method(method).last_modified_time(DateTime::default());
    atomically(path, |out| {
        let mut zip = ZipWriter::new(out);
        for (name, array) in tensors {
            // Beyond 4 GiB a member needs the long form of its header.
            let large = array.len() >= (1 << 30) - (1 << 10);
            zip.start_file(format!("{name}.npy"), options.large_file(large))?;
            write_npy_to(&mut zip, array)?;
        }
        zip.finish()?;
        Ok(())
    })
}

/// Writes a file of any kind: `fill` gives its bytes.
pub fn write_file(path: &Path, fill: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<(), Error> {
    atomically(path, |out| fill(out))
}

/// Whether a file could be written, before the work begins whose result it is to hold: nothing is left behind.
pub fn check_writable(path: &Path) -> Result<(), Error> {
    beside(&through_links(path)).map(drop).map_err(Error::io(path, "write"))
}

fn write_npy_to(out: &mut impl Write, array: &ArrayViewD<'_, f32>) -> io::Result<()> {
    let shape: Vec<u64> = array.shape().iter().map(|n| *n as u64).collect();
    let options =
        npyz::WriteOptions::<f32>::new().dtype(npyz::DType::new_scalar("<f4".parse().map_err(io::Error::other)?));
    let mut npy = options.shape(&shape).writer(out).begin_nd()?;
    npy.extend(array.iter().copied())?;
    npy.finish()
}

/// The eight bytes of length, and the header padded to a multiple of eight. Names keep their order, so that equal dumps
/// are equal files.
fn safetensors_header(
    path: &Path,
    shapes: &[(String, Vec<usize>)],
    metadata: &BTreeMap<String, String>,
) -> Result<Vec<u8>, Error> {
    distinct(path, shapes.iter().map(|(name, _)| name))?;
    let mut header = serde_json::Map::new();
    if !metadata.is_empty() {
        header.insert("__metadata__".into(), serde_json::json!(metadata));
    }
    let mut end = 0;
    for (name, shape) in shapes {
        let start = end;
        end += 4 * shape.iter().product::<usize>();
        header
            .insert(name.clone(), serde_json::json!({ "dtype": "F32", "shape": shape, "data_offsets": [start, end] }));
    }
    let mut text = serde_json::Value::Object(header).to_string().into_bytes();
    text.resize(text.len().next_multiple_of(8), b' ');
    let mut out = (text.len() as u64).to_le_bytes().to_vec();
    out.append(&mut text);
    Ok(out)
}

fn distinct<'a>(path: &Path, names: impl Iterator<Item = &'a String>) -> Result<(), Error> {
    let mut seen = HashSet::new();
    for name in names {
        if name == "__metadata__" || !seen.insert(name) {
            return Err(Error::tensor(path, name, "this name is taken; every array needs one of its own"));
        }
    }
    Ok(())
}

fn write_values(out: &mut impl Write, array: &ArrayViewD<'_, f32>) -> io::Result<()> {
    array.iter().try_for_each(|value| out.write_all(&value.to_le_bytes()))
}

/// Runs `fill` on a temporary file in the target's folder, and puts it in the target's place when all went well.
fn atomically(path: &Path, fill: impl FnOnce(&mut BufWriter<&mut fs::File>) -> io::Result<()>) -> Result<(), Error> {
    place(&through_links(path), fill).map_err(Error::io(path, "write"))
}

/// Through a link: the file it points to is replaced, not the link.
fn through_links(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| path.to_owned())
}

/// A temporary file in the folder of a file that is to be written.
fn beside(target: &Path) -> io::Result<NamedTempFile> {
    if fs::metadata(target).is_ok_and(|found| !found.is_file()) {
        return Err(io::Error::other("it exists and is not a regular file"));
    }
    let mut builder = tempfile::Builder::new();
    builder.prefix(".layerstep-");
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666)); // less the umask, as for any new file
    builder.tempfile_in(folder_of(target))
}

/// The folder that a file lies in.
fn folder_of(target: &Path) -> &Path {
    target.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn place(target: &Path, fill: impl FnOnce(&mut BufWriter<&mut fs::File>) -> io::Result<()>) -> io::Result<()> {
    let mut file = beside(target)?;
    let mut out = BufWriter::with_capacity(1 << 20, file.as_file_mut());
    fill(&mut out)?;
    out.flush()?;
    drop(out);
    file.as_file_mut().rewind()?;
    file.as_file().sync_all()?;
    file.persist(target)?;
    #[cfg(unix)]
    drop(fs::File::open(folder_of(target)).and_then(|folder| folder.sync_all())); // the rename itself, where the system can
    Ok(())
}
