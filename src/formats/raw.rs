//! .bin: f32 words and nothing else, or an int32 count before them. There is no shape on disk.

use std::sync::Arc;

use super::{
    Contents, Dtype, Entry, Error,
    place::{Place, Slot},
    source::Source,
};

/// Bytes of the count before the numbers of a file of `len` bytes that starts with `head`, if it has one.
pub(super) fn counted(head: &[u8], len: u64) -> bool {
    let count = head.first_chunk().map(|bytes| i32::from_le_bytes(*bytes));
    count.and_then(|n| u64::try_from(n).ok()).is_some_and(|n| len == 4 + 4 * n)
}

pub(super) fn open(source: &Arc<Source>, name: String) -> Result<Contents, Error> {
    let fail = |problem: String| Err(Error::format(&source.path, "bin", problem));
    if source.len == 0 {
        return fail("it is empty".into());
    }
    if !source.len.is_multiple_of(4) {
        let len = source.len;
        return fail(format!(
            "its {len} bytes are no whole number of f32; expected an int32 count and f32, or f32 alone"
        ));
    }
    let start = if counted(&source.read_up_to(0, 4)?, source.len) { 4 } else { 0 };
    let shape = vec![((source.len - start) / 4) as usize];
    let entry = Entry { name, dtype: Dtype::F32, shape, flat: true, file: source.path.clone() };
    let slot = Slot::new(entry, Place::Range { source: source.clone(), start, end: source.len });
    Ok(Contents { format: "bin", slots: vec![slot], ..Contents::default() })
}
