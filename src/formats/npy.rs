//! `NumPy`'s own formats: .npy, one array, and .npz, a zip file of them. Python objects in them are never unpickled.

use std::sync::Arc;

use npyz::{DType, Endianness, NpyHeader, Order, TypeChar};

use super::{
    Contents, Dtype, Entry, Error,
    error::escape,
    members::Members,
    place::{Place, Slot, elements, packed_strides},
    source::Source,
};

/// Longest header read; `numpy`'s own limit is 10000.
const HEADER: usize = 64 << 10;
/// What every .npy begins with.
pub(super) const MAGIC: &[u8] = b"\x93NUMPY";

/// An array as its header describes it.
struct Layout {
    dtype: Dtype,
    big_endian: bool,
    shape: Vec<usize>,
    fortran: bool,
    /// Bytes before the first element.
    start: usize,
    /// It was written as |V2.
    raw: bool,
}

/// Why a header gives no layout.
enum Problem {
    File(Error),
    /// It is wrong.
    Damaged(String),
    /// It is right, but elements of its type are not numbers read here.
    Type(String),
}

impl Problem {
    fn into_error(self, source: &Source) -> Error {
        match self {
            Problem::File(error) => error,
            Problem::Damaged(problem) | Problem::Type(problem) => Error::format(&source.path, "npy", problem),
        }
    }
}

pub(super) fn open(source: &Arc<Source>, name: String) -> Result<Contents, Error> {
    let layout = layout(|limit| source.read_up_to(0, limit)).map_err(|problem| problem.into_error(source))?;
    let place = Place::Range { source: source.clone(), start: layout.start as u64, end: source.len };
    let mut notes = Vec::new();
    let slot = slot(layout, name, source, place, &mut notes)?;
    Ok(Contents { format: "npy", slots: vec![slot], notes, ..Contents::default() })
}

pub(super) fn open_npz(source: &Arc<Source>, members: &Members) -> Result<Contents, Error> {
    let mut contents = Contents { format: "npz", ..Contents::default() };
    for member in &members.list {
        let Some(name) = member.name.strip_suffix(".npy") else {
            contents.notes.push(format!("skipped {}: not a .npy", escape(&member.name)));
            continue;
        };
        match layout(|limit| members.head(member, limit)) {
            Ok(layout) => {
                let place = members.place(member)?.advanced(layout.start as u64);
                contents.slots.push(slot(layout, name.to_owned(), source, place, &mut contents.notes)?);
            }
            Err(Problem::Type(problem)) => contents.notes.push(format!("skipped {}: {problem}", escape(name))),
            Err(Problem::Damaged(problem)) => return Err(Error::tensor(&source.path, name, problem)),
            Err(Problem::File(error)) => return Err(error),
        }
    }
    Ok(contents)
}

fn slot(layout: Layout, name: String, source: &Source, place: Place, notes: &mut Vec<String>) -> Result<Slot, Error> {
    if layout.raw {
        notes.push(format!("{}: type V2 (ml_dtypes saves bfloat16 so) read as bf16", escape(&name)));
    }
    let Layout { dtype, big_endian, shape, fortran, .. } = layout;
    let strides = packed_strides(&shape, fortran);
    let entry = Entry { name, dtype, shape, flat: false, file: source.path.clone() };
    let slot = Slot { big_endian, ..Slot::new(entry, place) }.with_strides(strides);
    slot.fits()?;
    Ok(slot)
}

/// Reads a header; `head` gives at most so many bytes from the start of the array's file.
fn layout(head: impl Fn(usize) -> Result<Vec<u8>, Error>) -> Result<Layout, Problem> {
    let damaged = |problem: &str| Problem::Damaged(problem.into());
    let prefix = head(12).map_err(Problem::File)?;
    if !prefix.starts_with(MAGIC) {
        return Err(damaged("it does not start with \\x93NUMPY"));
    }
    let (fixed, length) = match prefix.as_slice() {
        [_, _, _, _, _, _, 1, _, a, b, ..] => (10, u32::from(u16::from_le_bytes([*a, *b]))),
        [_, _, _, _, _, _, 2 | 3, _, a, b, c, d] => (12, u32::from_le_bytes([*a, *b, *c, *d])),
        _ => return Err(damaged("it ends inside its header, or is of an unknown version")),
    };
    if length as usize > HEADER {
        return Err(Problem::Damaged(format!("its header is {length} bytes long, more than the {HEADER} allowed")));
    }
    let start = fixed + length as usize;
    let bytes = head(start).map_err(Problem::File)?;
    let text = bytes.get(fixed..start).ok_or_else(|| damaged("it ends inside its header"))?;
    let shape = guard(&String::from_utf8_lossy(text))?;
    let header = NpyHeader::from_reader(bytes.as_slice())
        .map_err(|e| Problem::Damaged(escape(&format!("its header is wrong: {e}"))))?;
    if header.shape().iter().ne(shape.iter().map(|n| *n as u64).collect::<Vec<_>>().iter()) {
        return Err(damaged("its header gives two shapes"));
    }
    let (dtype, raw) = element(&header.dtype())?;
    let DType::Plain(kind) = header.dtype() else { return Err(damaged("its type is not plain")) };
    let big_endian = kind.endianness() == Endianness::Big;
    Ok(Layout { dtype, big_endian, shape, fortran: header.order() == Order::Fortran, start, raw })
}

fn element(dtype: &DType) -> Result<(Dtype, bool), Problem> {
    let unread = || Problem::Type(format!("elements of type {} are not read here", escape(&dtype.descr())));
    let DType::Plain(kind) = dtype else { return Err(unread()) };
    let found = match (kind.type_char(), kind.size_field()) {
        (TypeChar::Object, _) => {
            let problem = "it holds pickled Python objects, which are never run; save plain numbers";
            return Err(Problem::Type(problem.into()));
        }
        (TypeChar::Float, 8) => Dtype::F64,
        (TypeChar::Float, 4) => Dtype::F32,
        (TypeChar::Float, 2) => Dtype::F16,
        (TypeChar::RawData, 2) => return Ok((Dtype::Bf16, true)),
        (TypeChar::Int, 8) => Dtype::I64,
        (TypeChar::Int, 4) => Dtype::I32,
        (TypeChar::Int, 2) => Dtype::I16,
        (TypeChar::Int, 1) => Dtype::I8,
        (TypeChar::Uint, 8) => Dtype::U64,
        (TypeChar::Uint, 4) => Dtype::U32,
        (TypeChar::Uint, 2) => Dtype::U16,
        (TypeChar::Uint, 1) => Dtype::U8,
        (TypeChar::Bool, 1) => Dtype::Bool,
        _ => return Err(unread()),
    };
    Ok((found, false))
}

/// The shape, read before npyz sees the header: npyz multiplies it without looking, and its parser is recursive.
fn guard(text: &str) -> Result<Vec<usize>, Problem> {
    let damaged =
        |problem: &str| Problem::Damaged(format!("its header is wrong: {problem}: {}", escape(text.trim_end())));
    let brackets = text.chars().filter(|c| "([{".contains(*c)).count();
    if text.contains('\\') || text.matches("shape").count() != 1 || text.matches("descr").count() != 1 {
        return Err(damaged("expected one descr and one shape"));
    }
    let value = |key: &str| {
        let (_, rest) = text.split_once(key)?;
        Some(rest.strip_prefix(['\'', '"'])?.trim_start().strip_prefix(':')?.trim_start())
    };
    if !value("descr").is_some_and(|descr| descr.starts_with(['\'', '"'])) {
        return Err(Problem::Type("structured elements are not read here".into()));
    }
    let shape = value("shape").and_then(|shape| shape.strip_prefix(['(', '['])?.split_once([')', ']']));
    let (shape, _) = shape.filter(|_| brackets < 8).ok_or_else(|| damaged("expected a shape like (2, 3)"))?;
    let axes: Vec<&str> = shape.split(',').map(str::trim).filter(|axis| !axis.is_empty()).collect();
    let axes: Option<Vec<usize>> = axes.iter().map(|axis| axis.trim_end_matches('L').parse().ok()).collect();
    let axes = axes.ok_or_else(|| damaged("expected a shape of whole numbers"))?;
    elements(&axes).map(|_| axes).ok_or_else(|| damaged("the shape is too large for any file"))
}
