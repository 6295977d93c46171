//! Finds the tensors in a recorded pickle: nested containers become dotted names, and everything else becomes a note.

use std::{collections::BTreeMap, sync::Arc};

use super::{
    Storages,
    types::{self, Call, Elements},
};
use crate::formats::{
    Contents, Dtype, Entry, Error,
    error::escape,
    pickle::{Node, Pickle, Value},
    place::{Place, Slot},
    source::Source,
};

/// Deepest nesting of containers, most values looked at (a pickle may hold one list a million times), most tensors.
const DEPTH: usize = 64;
const VISITS: usize = 1 << 19;
const TENSORS: usize = 100_000;
const NOTES: usize = 100;
/// Longest name: one that is used by every level of a nested dictionary adds up.
const NAME: usize = 4096;

pub(super) struct Finder<'a> {
    pickle: &'a Pickle<'a>,
    source: &'a Arc<Source>,
    storages: &'a dyn Storages,
    /// What a tensor is called that is in no container.
    alone: String,
    visits: usize,
    slots: Vec<Slot>,
    notes: Vec<String>,
}

impl<'a> Finder<'a> {
    pub(super) fn new(
        pickle: &'a Pickle<'a>,
        source: &'a Arc<Source>,
        storages: &'a dyn Storages,
        alone: String,
    ) -> Self {
        Finder { pickle, source, storages, alone, visits: 0, slots: Vec::new(), notes: Vec::new() }
    }

    /// All tensors.
    pub(super) fn all(mut self) -> Result<Contents, Error> {
        self.visit(String::new(), self.pickle.root, 0)?;
        if self.notes.len() > NOTES {
            self.notes.truncate(NOTES);
            self.notes.push("more entries were skipped".to_owned());
        }
        Ok(Contents { format: "pt", slots: self.slots, metadata: BTreeMap::new(), notes: self.notes })
    }

    fn visit(&mut self, name: String, value: Value<'a>, depth: usize) -> Result<(), Error> {
        self.visits += 1;
        if depth > DEPTH || self.visits > VISITS || self.slots.len() > TENSORS || name.len() > NAME {
            let problem = format!(
                "it nests deeper than {DEPTH}, holds more than {TENSORS} tensors or {VISITS} values, or makes a name longer than {NAME}"
            );
            return Err(Error::format(&self.source.path, "pt", problem));
        }
        let (slots, notes) = (self.slots.len(), self.notes.len());
        let what = match self.pickle.node(value) {
            None => scalar(value).to_owned(),
            Some(Node::Set(items)) => format!("a set of {}", items.len()),
            Some(Node::Persistent(_)) => "a storage".to_owned(),
            Some(Node::List(items) | Node::Tuple(items)) => {
                if let Some(numbers) = numbers(items) {
                    self.visits += numbers.len();
                    // A plain list of whole numbers is an array, too: token ids are often kept so.
                    let name = if name.is_empty() { self.alone.clone() } else { name };
                    let (shape, file) = (vec![numbers.len()], self.source.path.clone());
                    let entry = Entry { name, dtype: Dtype::I64, shape, flat: false, file };
                    self.slots.push(Slot::new(entry, Place::Inline(numbers)));
                    return Ok(());
                }
                for (k, item) in items.iter().enumerate() {
                    self.visit(joined(&name, &k.to_string()), *item, depth + 1)?;
                }
                format!("a list of {} values", items.len())
            }
            Some(Node::Dict(items)) => self.dictionary(&name, items, depth)?,
            Some(Node::Call { callee, args, items }) => match self.call(*callee) {
                Some(Call::Dict) => self.dictionary(&name, items, depth)?,
                Some(Call::Tensor) => return self.tensor(name, *args, None),
                Some(Call::TypedTensor) => {
                    let dtype = self.pickle.tuple(*args).and_then(|args| args.get(6));
                    return self.tensor(name, *args, dtype.copied());
                }
                Some(Call::Parameter) => match self.pickle.tuple(*args).and_then(|args| args.first()) {
                    Some(tensor) => return self.visit(name, *tensor, depth + 1),
                    None => return Err(self.wrong(&name, "it is a parameter without a tensor")),
                },
                Some(Call::Other) => "no tensor".to_owned(),
                None => "an object".to_owned(),
            },
        };
        if self.slots.len() == slots {
            // One note for a container without tensors, not one for each of its values.
            self.notes.truncate(notes);
            let name = if name.is_empty() { "the root".to_owned() } else { escape(&name) };
            self.note(format!("skipped {name}: {what}"));
        }
        Ok(())
    }

    fn dictionary(&mut self, name: &str, items: &[(Value<'a>, Value<'a>)], depth: usize) -> Result<String, Error> {
        for (key, value) in items {
            match key {
                Value::Text(key) => self.visit(joined(name, key), *value, depth + 1)?,
                Value::Int(key) => self.visit(joined(name, &key.to_string()), *value, depth + 1)?,
                _ => self.note(format!("skipped an entry of {}: its key is no text", escape(name))),
            }
        }
        Ok(format!("a dictionary of {} values", items.len()))
    }

    fn tensor(&mut self, name: String, args: Value<'a>, dtype: Option<Value<'a>>) -> Result<(), Error> {
        let name = if name.is_empty() { self.alone.clone() } else { name };
        let args = self.pickle.tuple(args).unwrap_or_default();
        let [storage, Value::Int(offset), size, stride, rest @ ..] = args else {
            return Err(self.wrong(&name, "it is not made of a storage, an offset, a size and a stride"));
        };
        let (Some(shape), Some(strides)) = (self.axes(*size), self.axes(*stride)) else {
            return Err(self.wrong(&name, "its size or stride is not a tuple of whole numbers"));
        };
        if shape.len() != strides.len() {
            let problem = format!("{} axes, and strides for {}", shape.len(), strides.len());
            return Err(self.wrong(&name, &problem));
        }
        let flags = rest.get(if dtype.is_some() { 3 } else { 2 });
        if let Some(Node::Dict(items)) = flags.and_then(|flags| self.pickle.node(*flags))
            && !items.is_empty()
        {
            let problem = "it is a conjugated or negated view; save tensor.resolve_conj().resolve_neg()";
            return Err(self.wrong(&name, problem));
        }
        let (key, kept, count) =
            self.storage(*storage).ok_or_else(|| self.wrong(&name, "its storage is not described"))?;
        let wanted = match dtype {
            Some(value) => self.pickle.global(value).and_then(|(module, name)| types::dtype(module, name)),
            None => Some(kept),
        };
        let Some(Elements::Known(dtype)) = wanted else {
            self.note(format!("skipped {}: a tensor of a type that is not read here", escape(&name)));
            return Ok(());
        };
        let place = self.storages.find(key)?;
        let place =
            place.ok_or_else(|| self.wrong(&name, &format!("its storage {} is not in the file", escape(key))))?;
        let bytes = bytes(kept, count).filter(|bytes| *bytes <= place.len());
        let bytes = bytes.ok_or_else(|| {
            self.wrong(&name, &format!("its storage should hold {count} elements, and {} bytes are there", place.len()))
        })?;
        let skipped = u64::try_from(*offset).ok().and_then(|n| n.checked_mul(dtype.size() as u64));
        let skipped = skipped.ok_or_else(|| self.wrong(&name, &format!("offset {offset} is outside its storage")))?;
        let entry = Entry { name, dtype, shape, flat: false, file: self.source.path.clone() };
        let slot = Slot::new(entry, place.shortened(bytes).advanced(skipped)).with_strides(strides);
        slot.fits()?;
        self.slots.push(slot);
        Ok(())
    }

    /// Key, element type and number of elements of `("storage", class, key, location, count)`.
    fn storage(&self, value: Value<'a>) -> Option<(&'a str, Elements, u64)> {
        let Some(Node::Persistent(id)) = self.pickle.node(value) else { return None };
        storage(self.pickle, *id)
    }

    fn axes(&self, value: Value<'a>) -> Option<Vec<usize>> {
        let items = match self.pickle.node(value)? {
            Node::Tuple(items) | Node::List(items) => items,
            // torch.Size((2, 3))
            Node::Call { callee, args, .. } if self.call(*callee) == Some(Call::Other) => {
                self.pickle.tuple(*self.pickle.tuple(*args)?.first()?)?
            }
            _ => return None,
        };
        items.iter().map(|item| if let Value::Int(n) = item { usize::try_from(*n).ok() } else { None }).collect()
    }

    fn call(&self, callee: Value<'a>) -> Option<Call> {
        self.pickle.global(callee).and_then(|(module, name)| types::call(module, name))
    }

    fn note(&mut self, text: String) {
        if self.notes.len() <= NOTES {
            self.notes.push(text);
        }
    }

    fn wrong(&self, name: &str, problem: &str) -> Error {
        Error::tensor(&self.source.path, name, problem)
    }
}

/// The parts of a storage's id.
pub(super) fn storage<'a>(pickle: &Pickle<'a>, id: Value<'a>) -> Option<(&'a str, Elements, u64)> {
    match pickle.tuple(id)? {
        [Value::Text("storage"), class, Value::Text(key), _, Value::Int(count), rest @ ..]
            if rest.iter().all(|view| *view == Value::None) =>
        {
            let (module, name) = pickle.global(*class)?;
            Some((key, types::storage(module, name)?, u64::try_from(*count).ok()?))
        }
        _ => None,
    }
}

/// Bytes of a storage.
pub(super) fn bytes(elements: Elements, count: u64) -> Option<u64> {
    let size = match elements {
        Elements::Known(dtype) => dtype.size(),
        Elements::Bytes => 1,
        Elements::Unread(size) => size,
    };
    count.checked_mul(size as u64)
}

fn numbers(items: &[Value]) -> Option<Vec<i64>> {
    let whole = |item: &Value| if let Value::Int(n) = item { Some(*n) } else { None };
    if items.is_empty() { None } else { items.iter().map(whole).collect() }
}

fn joined(prefix: &str, name: &str) -> String {
    if prefix.is_empty() { name.to_owned() } else { format!("{prefix}.{name}") }
}

fn scalar(value: Value) -> &'static str {
    match value {
        Value::None => "None",
        Value::Bool(_) => "a truth value",
        Value::Int(_) | Value::Float => "a plain number",
        Value::Text(_) => "text",
        Value::Bytes => "bytes",
        Value::Global(_) => "a type",
        Value::Node(_) => "an object",
    }
}
