//! Where one array's elements lie, and how they become numbers: a run of bytes in a file or in a compressed zip member,
//! little or big-endian, in C order or strided. Nothing is allocated before it was checked against the file's size.

use std::{
    io::{self, Read, Seek, SeekFrom},
    sync::Arc,
};

use half::{bf16, f16};
use ndarray::{ArrayD, IxDyn};
use zip::ZipArchive;

use super::{
    Array, Dtype, Entry, Error,
    source::{Source, Window},
};

/// An entry and the way to its values.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) entry: Entry,
    pub(super) place: Place,
    pub(super) big_endian: bool,
    /// In elements; none means C order.
    pub(super) strides: Option<Vec<usize>>,
}

/// Where the bytes of an array are: from its first element to the last that could belong to it.
#[derive(Debug, Clone)]
pub(super) enum Place {
    Range {
        source: Arc<Source>,
        start: u64,
        end: u64,
    },
    /// A compressed zip member: `start` and `end` count its unpacked bytes.
    Packed {
        zip: ZipArchive<Window>,
        source: Arc<Source>,
        index: usize,
        start: u64,
        end: u64,
    },
    /// Read already: a list of whole numbers in a pickle.
    Inline(Vec<i64>),
}

impl Place {
    /// The same place without its first `bytes`.
    pub(super) fn advanced(mut self, bytes: u64) -> Place {
        if let Place::Range { start, .. } | Place::Packed { start, .. } = &mut self {
            *start = start.saturating_add(bytes);
        }
        self
    }

    /// The same place, ending after `bytes`.
    pub(super) fn shortened(mut self, bytes: u64) -> Place {
        if let Place::Range { start, end, .. } | Place::Packed { start, end, .. } = &mut self {
            *end = (*end).min(start.saturating_add(bytes));
        }
        self
    }

    pub(super) fn len(&self) -> u64 {
        match self {
            Place::Range { start, end, .. } | Place::Packed { start, end, .. } => end.saturating_sub(*start),
            Place::Inline(values) => 8 * values.len() as u64,
        }
    }
}

/// Most axes an array may have.
pub(super) const AXES: usize = 32;

/// An array that takes more memory than this must not be larger than [`EXPANSION`] times its file.
const ALLOWANCE: u64 = 64 << 20;
const EXPANSION: u64 = 16;

/// The number of elements, if the shape is one that can exist.
pub(super) fn elements(shape: &[usize]) -> Option<usize> {
    let limit = |n: &usize| *n <= isize::MAX as usize / 16;
    // Zeros are left out of the first product: [2^62, 2^62, 0] overflows on the way to zero.
    let extent = shape.iter().filter(|n| **n > 0).try_fold(1usize, |all, n| all.checked_mul(*n)).filter(limit)?;
    (shape.len() <= AXES).then_some(if shape.contains(&0) { 0 } else { extent })
}

/// Elements from the first to the last one touched, counting both; 0 for an empty array.
pub(super) fn span(shape: &[usize], strides: &[usize]) -> Option<usize> {
    if shape.contains(&0) {
        return Some(0);
    }
    let steps = shape.iter().zip(strides).map(|(n, stride)| (n - 1).checked_mul(*stride));
    steps.into_iter().try_fold(1usize, |all, step| all.checked_add(step?))
}

/// The strides of C order, or with `reverse` those of Fortran order.
pub(super) fn packed_strides(shape: &[usize], reverse: bool) -> Vec<usize> {
    let mut strides = vec![1usize; shape.len()];
    let axes: Vec<usize> = if reverse { (0..shape.len()).collect() } else { (0..shape.len()).rev().collect() };
    for pair in axes.windows(2) {
        strides[pair[1]] = strides[pair[0]].saturating_mul(shape[pair[0]]);
    }
    strides
}

impl Slot {
    pub(super) fn new(entry: Entry, place: Place) -> Slot {
        Slot { entry, place, big_endian: false, strides: None }
    }

    /// Gives strides, unless they are those of C order anyway.
    pub(super) fn with_strides(mut self, mut strides: Vec<usize>) -> Slot {
        let shape = &self.entry.shape;
        let usual = packed_strides(shape, false);
        for axis in (0..strides.len()).filter(|axis| shape[*axis] < 2) {
            strides[axis] = usual[axis]; // never stepped along, so any number may stand here
        }
        self.strides = (strides != usual && !shape.contains(&0)).then_some(strides);
        self
    }

    /// One of the arrays along the first axis.
    pub(super) fn part(&self, part: usize) -> Option<Slot> {
        let (count, rest) = self.entry.shape.split_first().filter(|(count, _)| part < **count)?;
        let usual = packed_strides(&self.entry.shape, false);
        let strides = self.strides.as_ref().unwrap_or(&usual);
        let (step, strides) = strides.split_first()?;
        let skipped = (part * step).checked_mul(self.entry.dtype.size())?;
        let place = match &self.place {
            Place::Inline(values) => {
                let each = values.len() / count;
                Place::Inline(values.get(part * each..(part + 1) * each)?.to_vec())
            }
            place => place.clone().advanced(skipped as u64),
        };
        let entry = Entry { shape: rest.to_vec(), ..self.entry.clone() };
        Some(Slot { big_endian: self.big_endian, ..Slot::new(entry, place) }.with_strides(strides.to_vec()))
    }

    /// Reads the values.
    pub(super) fn read(&self) -> Result<Array, Error> {
        let Entry { name, dtype, shape, file, .. } = &self.entry;
        self.values().map_err(|problem| Error::tensor(file, name, format!("{problem} ({} {shape:?})", dtype.name())))
    }

    fn values(&self) -> Result<Array, String> {
        let Entry { dtype, shape, .. } = &self.entry;
        let unreadable = |e: io::Error| match e.kind() {
            io::ErrorKind::InvalidData => {
                format!("is damaged ({e}): its bytes are not those that were written; write it again")
            }
            io::ErrorKind::UnexpectedEof => "ends too early: the file was cut off; write it again".into(),
            _ => format!("cannot be read: {e}"),
        };
        let spanned = self.spanned()?;
        let count = elements(shape).unwrap_or(0);
        match &self.place {
            Place::Inline(values) => Ok(Array::Int(shaped(shape, values.clone())?)),
            Place::Range { source, start, .. } => {
                self.afford(count.max(spanned), source.len)?;
                let mut window = source.window();
                window.seek(SeekFrom::Start(*start)).map_err(unreadable)?;
                let flat = Flat::read(&mut window, *dtype, self.big_endian, spanned).map_err(unreadable)?;
                flat.shaped(shape, self.strides.as_deref(), count)
            }
            Place::Packed { zip, source, index, start, .. } => {
                self.afford(count.max(spanned), source.len)?;
                let mut zip = zip.clone();
                let mut member = zip.by_index(*index).map_err(|e| unreadable(e.into()))?;
                io::copy(&mut (&mut member).take(*start), &mut io::sink()).map_err(unreadable)?;
                let flat = Flat::read(&mut member, *dtype, self.big_endian, spanned).map_err(unreadable)?;
                // The checksum of a member is verified at its end, which must be where it was declared to be.
                let rest = self.place.len() - (spanned * dtype.size()) as u64;
                if io::copy(&mut member.take(rest + 1), &mut io::sink()).map_err(unreadable)? != rest {
                    return Err("its zip member is not as long as declared".into());
                }
                flat.shaped(shape, self.strides.as_deref(), count)
            }
        }
    }

    /// Refuses an array that does not lie inside its file.
    pub(super) fn fits(&self) -> Result<(), Error> {
        let fail = |problem| Error::tensor(&self.entry.file, &self.entry.name, problem);
        self.spanned().map(|_| ()).map_err(fail)
    }

    /// Elements from the first to the last one stored, all of which lie inside the file.
    fn spanned(&self) -> Result<usize, String> {
        let Entry { dtype, shape, .. } = &self.entry;
        let count = elements(shape).ok_or_else(|| format!("shape {shape:?} is too large for any file"))?;
        let spanned = match &self.strides {
            None => count,
            Some(strides) => span(shape, strides).ok_or_else(|| format!("strides {strides:?} are too large"))?,
        };
        let (needed, there) = ((spanned as u64).checked_mul(dtype.size() as u64), self.place.len());
        if needed.is_none_or(|needed| needed > there) {
            let kind = dtype.name();
            return Err(format!("shape {shape:?} needs {spanned} elements of {kind}, and {there} bytes are there"));
        }
        Ok(spanned)
    }

    /// Whether reading takes no more than a small multiple of the file.
    fn afford(&self, count: usize, file: u64) -> Result<(), String> {
        let wanted = (count as u64).saturating_mul(self.entry.dtype.widened_size() as u64);
        if wanted <= ALLOWANCE.max(file.saturating_mul(EXPANSION)) {
            return Ok(());
        }
        Err(format!(
            "a file of {file} bytes would unfold to {wanted} bytes in memory; if that is right, save it contiguous and uncompressed"
        ))
    }
}

/// Elements in the order of the file.
enum Flat {
    F32(Vec<f32>),
    F64(Vec<f64>),
    Int(Vec<i64>),
}

impl Flat {
    fn read(r: &mut dyn Read, dtype: Dtype, big: bool, n: usize) -> io::Result<Flat> {
        Ok(match dtype {
            Dtype::F64 => Flat::F64(widen(r, big, n, |b| Ok(f64::from_le_bytes(b)))?),
            Dtype::F32 => Flat::F32(widen(r, big, n, |b| Ok(f32::from_le_bytes(b)))?),
            Dtype::F16 => Flat::F32(widen(r, big, n, |b| Ok(f16::from_le_bytes(b).to_f32()))?),
            Dtype::Bf16 => Flat::F32(widen(r, big, n, |b| Ok(bf16::from_le_bytes(b).to_f32()))?),
            Dtype::I64 => Flat::Int(widen(r, big, n, |b| Ok(i64::from_le_bytes(b)))?),
            Dtype::I32 => Flat::Int(widen(r, big, n, |b| Ok(i32::from_le_bytes(b).into()))?),
            Dtype::I16 => Flat::Int(widen(r, big, n, |b| Ok(i16::from_le_bytes(b).into()))?),
            Dtype::I8 => Flat::Int(widen(r, big, n, |b| Ok(i8::from_le_bytes(b).into()))?),
            Dtype::U64 => Flat::Int(widen(r, big, n, |b| {
                let value = u64::from_le_bytes(b);
                i64::try_from(value).map_err(|_| io::Error::other(format!("{value} is beyond the largest i64")))
            })?),
            Dtype::U32 => Flat::Int(widen(r, big, n, |b| Ok(u32::from_le_bytes(b).into()))?),
            Dtype::U16 => Flat::Int(widen(r, big, n, |b| Ok(u16::from_le_bytes(b).into()))?),
            Dtype::U8 => Flat::Int(widen(r, big, n, |b| Ok(u8::from_le_bytes(b).into()))?),
            Dtype::Bool => Flat::Int(widen(r, big, n, |b: [u8; 1]| Ok((b[0] != 0).into()))?),
        })
    }

    fn shaped(self, shape: &[usize], strides: Option<&[usize]>, count: usize) -> Result<Array, String> {
        Ok(match self {
            Flat::F32(v) => Array::F32(shaped(shape, gather(v, shape, strides, count)?)?),
            Flat::F64(v) => Array::F64(shaped(shape, gather(v, shape, strides, count)?)?),
            Flat::Int(v) => Array::Int(shaped(shape, gather(v, shape, strides, count)?)?),
        })
    }
}

fn shaped<T>(shape: &[usize], values: Vec<T>) -> Result<ArrayD<T>, String> {
    ArrayD::from_shape_vec(IxDyn(shape), values).map_err(|e| format!("shape {shape:?}: {e}"))
}

/// Reads `n` elements of `N` bytes each, a block at a time.
fn widen<const N: usize, T>(
    r: &mut dyn Read,
    big: bool,
    n: usize,
    number: impl Fn([u8; N]) -> io::Result<T>,
) -> io::Result<Vec<T>> {
    const BLOCK: usize = 64 << 10;
    let mut out = reserve(n).map_err(io::Error::other)?;
    let mut block = vec![0; BLOCK.min(n.saturating_mul(N))];
    while out.len() < n {
        let bytes = &mut block[..BLOCK.min((n - out.len()) * N)];
        r.read_exact(bytes)?;
        for word in bytes.as_chunks_mut::<N>().0 {
            if big {
                word.reverse();
            }
            out.push(number(*word)?);
        }
    }
    Ok(out)
}

fn reserve<T>(n: usize) -> Result<Vec<T>, String> {
    let mut out = Vec::new();
    out.try_reserve_exact(n).map_err(|_| format!("not enough memory for {n} elements"))?;
    Ok(out)
}

/// Puts strided elements in C order.
fn gather<T: Copy>(values: Vec<T>, shape: &[usize], strides: Option<&[usize]>, count: usize) -> Result<Vec<T>, String> {
    let Some(strides) = strides else { return Ok(values) };
    let mut out = reserve(count)?;
    let mut index = vec![0; shape.len()];
    let mut at = 0;
    while out.len() < count {
        out.push(*values.get(at).ok_or("strides lead outside the storage")?);
        for axis in (0..shape.len()).rev() {
            index[axis] += 1;
            at += strides[axis];
            if index[axis] < shape[axis] {
                break;
            }
            at -= strides[axis] * shape[axis];
            index[axis] = 0;
        }
    }
    Ok(out)
}
