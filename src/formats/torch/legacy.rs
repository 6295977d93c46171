//! `torch.save(..., _use_new_zipfile_serialization=False)`, and everything before torch 1.6: five pickles in a row
//! (a magic number, a version, the machine, the object, the storage keys), then the storages.

use std::{collections::HashMap, sync::Arc};

use super::{PICKLE, Storages, parse, tensors};
use crate::formats::{
    Contents, Error,
    pickle::{Node, Pickle, Value},
    place::Place,
    source::Source,
};

/// The magic number 0x1950a86a20f9469cfc6c as a pickle holds it.
const MAGIC: &[u8] = b"\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19";

/// Whether a file that starts with `head` is one.
pub(in crate::formats) fn is_legacy(head: &[u8]) -> bool {
    head.first() == Some(&0x80) && head.windows(MAGIC.len()).take(16).any(|window| window == MAGIC)
}

/// Lists its tensors; `name` is what a lone tensor is called.
pub(in crate::formats) fn open_legacy(source: &Arc<Source>, name: String) -> Result<Contents, Error> {
    let fail = |problem: &str| Error::format(&source.path, "pt", problem);
    let bytes = source.read_up_to(0, PICKLE)?;
    let mut at = 0;
    let mut next = || -> Result<Pickle, Error> {
        let pickle = parse(source, &bytes[at..])?;
        at += pickle.length;
        Ok(pickle)
    };
    let (_magic, version, machine, object, keys) = (next()?, next()?, next()?, next()?, next()?);
    if version.root != Value::Int(1001) {
        return Err(fail("it is of an unknown version; save it again with a current torch"));
    }
    let Some(Node::List(keys)) = keys.node(keys.root) else { return Err(fail("its list of storages is missing")) };
    let storages = Storage::list(source, &object, keys, at as u64)?;
    let mut contents = tensors::Finder::new(&object, source, &storages, name).all()?;
    let big_endian = is_big_endian(&machine);
    contents.slots.iter_mut().for_each(|slot| slot.big_endian = big_endian);
    Ok(contents)
}

fn is_big_endian(machine: &Pickle) -> bool {
    let Some(Node::Dict(items)) = machine.node(machine.root) else { return false };
    items.iter().any(|(key, value)| *key == Value::Text("little_endian") && *value == Value::Bool(false))
}

/// One storage: its bytes follow a count of its elements.
struct Storage {
    start: u64,
    end: u64,
}

struct List<'a> {
    source: &'a Arc<Source>,
    by_key: HashMap<String, Storage>,
}

impl Storage {
    fn list<'a>(source: &'a Arc<Source>, object: &Pickle, keys: &[Value], mut at: u64) -> Result<List<'a>, Error> {
        let fail = |problem: String| Error::format(&source.path, "pt", problem);
        let mut described = HashMap::new();
        for node in &object.nodes {
            if let Node::Persistent(id) = node
                && let Some((key, elements, count)) = tensors::storage(object, *id)
            {
                described.insert(key, tensors::bytes(elements, count));
            }
        }
        let mut by_key = HashMap::new();
        for key in keys {
            let Value::Text(key) = key else { return Err(fail("a storage has no key".into())) };
            let Some(Some(bytes)) = described.get(key).copied() else {
                return Err(fail(format!("storage {} is not described", key.escape_debug())));
            };
            let start = at + 8;
            let end = start.checked_add(bytes).filter(|end| *end <= source.len);
            at = end.ok_or_else(|| fail(format!("it ends inside storage {}", key.escape_debug())))?;
            by_key.insert((*key).to_owned(), Storage { start, end: at });
        }
        Ok(List { source, by_key })
    }
}

impl Storages for List<'_> {
    fn find(&self, key: &str) -> Result<Option<Place>, Error> {
        let found = self.by_key.get(key);
        Ok(found.map(|Storage { start, end }| Place::Range { source: self.source.clone(), start: *start, end: *end }))
    }
}
