//! `torch.save` files: a pickle of containers and tensors, and beside it the storages that the tensors are views of.
//! The pickle is only written down (see `pickle`); here the few calls that mean a tensor are recognised, and a file that
//! names any other global is refused.

use std::sync::Arc;

use super::{
    Contents, Error,
    error::escape,
    members::{Member, Members},
    pickle::{self, Pickle},
    place::Place,
    source::Source,
};

mod legacy;
mod tensors;
mod types;

pub(super) use legacy::{is_legacy, open_legacy};
use tensors::Finder;

/// Longest pickle read; the numbers are not in it.
const PICKLE: usize = 16 << 20;

/// The bytes of a storage, found by its key.
trait Storages {
    fn find(&self, key: &str) -> Result<Option<Place>, Error>;
}

/// The member that says what a .pt holds.
pub(super) fn root(members: &Members) -> Option<&Member> {
    members.list.iter().find(|member| member.name == "data.pkl" || member.name.ends_with("/data.pkl"))
}

/// Lists the tensors of a zip file whose root pickle is `pickle`; `name` is what a lone tensor is called.
pub(super) fn open(source: &Arc<Source>, members: &Members, pickle: &Member, name: String) -> Result<Contents, Error> {
    let prefix = pickle.name.trim_end_matches("data.pkl");
    let big_endian = match members.find(&format!("{prefix}byteorder")) {
        Some(order) => members.head(order, 3)? == b"big",
        None => false,
    };
    if pickle.len > PICKLE as u64 {
        let problem = format!("its pickle is {} bytes long, more than the {PICKLE} allowed", pickle.len);
        return Err(Error::format(&source.path, "pt", problem));
    }
    let bytes = members.head(pickle, PICKLE)?;
    let parsed = parse(source, &bytes)?;
    let mut contents = Finder::new(&parsed, source, &Zipped { members, prefix }, name).all()?;
    contents.slots.iter_mut().for_each(|slot| slot.big_endian = big_endian);
    Ok(contents)
}

/// Storages of a zip file are its members.
struct Zipped<'a> {
    members: &'a Members,
    prefix: &'a str,
}

impl Storages for Zipped<'_> {
    fn find(&self, key: &str) -> Result<Option<Place>, Error> {
        self.members.find(&format!("{}data/{key}", self.prefix)).map(|member| self.members.place(member)).transpose()
    }
}

/// Writes a pickle down, and refuses it when it names a global that is not known to be harmless.
fn parse<'a>(source: &Source, bytes: &'a [u8]) -> Result<Pickle<'a>, Error> {
    const SHOWN: usize = 5;
    let parsed = pickle::parse(bytes);
    let named = match &parsed {
        Ok(pickle) => &pickle.globals,
        Err(failed) => &failed.globals,
    };
    let mut refused: Vec<String> = Vec::new();
    for (module, name) in named.iter().filter(|(module, name)| !types::is_known(module, name)) {
        let name = format!("{module}.{name}");
        if refused.len() < SHOWN && !refused.contains(&name) {
            refused.push(name);
        }
    }
    if !refused.is_empty() {
        return Err(Error::Global { path: source.path.clone(), globals: refused });
    }
    parsed.map_err(|failed| Error::format(&source.path, "pt", escape(&failed.problem)))
}
