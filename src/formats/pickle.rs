//! Python pickles, written down instead of executed. The machine below follows the opcodes and records what they would
//! build: lists, dictionaries, and *which* global would be called with what. It imports nothing, calls nothing, and knows
//! no names; whoever asked decides what a recorded call means.

mod machine;

/// A value: small ones stand for themselves, containers are [`Node`]s.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Value<'a> {
    None,
    Bool(bool),
    Int(i64),
    Float,
    Text(&'a str),
    Bytes,
    Global(u32),
    Node(u32),
}

/// Keys and values.
pub(super) type Pairs<'a> = Vec<(Value<'a>, Value<'a>)>;

/// A container, or a call that was not made.
#[derive(Debug)]
pub(super) enum Node<'a> {
    Tuple(Vec<Value<'a>>),
    List(Vec<Value<'a>>),
    Set(Vec<Value<'a>>),
    Dict(Pairs<'a>),
    /// `callee(*args)`, and what was then set as its items.
    Call {
        callee: Value<'a>,
        args: Value<'a>,
        items: Pairs<'a>,
    },
    /// Something kept outside the pickle, by its id.
    Persistent(Value<'a>),
}

/// What a pickle says.
#[derive(Debug)]
pub(super) struct Pickle<'a> {
    pub(super) root: Value<'a>,
    pub(super) nodes: Vec<Node<'a>>,
    /// Every global it names, as (module, name).
    pub(super) globals: Vec<(&'a str, &'a str)>,
    /// Bytes up to its end.
    pub(super) length: usize,
}

impl<'a> Pickle<'a> {
    pub(super) fn node(&self, value: Value<'a>) -> Option<&Node<'a>> {
        if let Value::Node(id) = value { self.nodes.get(id as usize) } else { None }
    }

    pub(super) fn global(&self, value: Value<'a>) -> Option<(&'a str, &'a str)> {
        if let Value::Global(id) = value { self.globals.get(id as usize).copied() } else { None }
    }

    pub(super) fn tuple(&self, value: Value<'a>) -> Option<&[Value<'a>]> {
        if let Some(Node::Tuple(items)) = self.node(value) { Some(items) } else { None }
    }
}

/// Why a pickle was not followed to its end, and the globals it had named until then.
#[derive(Debug)]
pub(super) struct Failed<'a> {
    pub(super) problem: String,
    pub(super) globals: Vec<(&'a str, &'a str)>,
}

/// Records the first pickle in `bytes`.
pub(super) fn parse(bytes: &[u8]) -> Result<Pickle<'_>, Failed<'_>> {
    machine::record(bytes)
}
