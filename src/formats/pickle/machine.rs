//! The machine that follows the opcodes of a pickle. Every store it fills is bounded, and nothing it does takes longer
//! than the bytes it has read.

use std::collections::HashMap;

use super::{Failed, Node, Pairs, Pickle, Value};

/// Most steps of one pickle, and most values in any of the machine's stores.
const STEPS: usize = 4 << 20;
const VALUES: usize = 1 << 20;

pub(super) fn record(bytes: &[u8]) -> Result<Pickle<'_>, Failed<'_>> {
    let mut machine =
        Machine { bytes, at: 0, stack: vec![], marks: vec![], memo: HashMap::new(), nodes: vec![], globals: vec![] };
    match machine.run() {
        Ok(root) => Ok(Pickle { root, nodes: machine.nodes, globals: machine.globals, length: machine.at }),
        Err(problem) => {
            let problem = format!("its pickle is wrong at byte {}: {problem}", machine.at);
            Err(Failed { problem, globals: machine.globals })
        }
    }
}

struct Machine<'a> {
    bytes: &'a [u8],
    at: usize,
    stack: Vec<Value<'a>>,
    /// Heights of the stack.
    marks: Vec<usize>,
    memo: HashMap<u64, Value<'a>>,
    nodes: Vec<Node<'a>>,
    globals: Vec<(&'a str, &'a str)>,
}

type Step<T> = Result<T, String>;

impl<'a> Machine<'a> {
    fn run(&mut self) -> Step<Value<'a>> {
        for _ in 0..STEPS {
            let opcode = self.take(1)?[0];
            if opcode == b'.' {
                return self.pop();
            }
            self.step(opcode)?;
        }
        Err(format!("more than {STEPS} steps"))
    }

    fn step(&mut self, opcode: u8) -> Step<()> {
        match opcode {
            0x80 => self.take(1).map(|_| ()),                       // PROTO
            0x95 => self.take(8).map(|_| ()),                       // FRAME
            b'(' => self.mark(),                                    // MARK
            b'0' => self.pop().map(|_| ()),                         // POP
            b'1' => self.pop_mark().map(|_| ()),                    // POP_MARK
            b'2' => self.top().map(|value| self.stack.push(value)), // DUP
            b'N' => self.push(Value::None),                         // NONE
            0x88 => self.push(Value::Bool(true)),                   // NEWTRUE
            0x89 => self.push(Value::Bool(false)),                  // NEWFALSE
            b'J' => self.fixed().and_then(|b| self.push(Value::Int(i32::from_le_bytes(b).into()))), // BININT
            b'K' => self.unsigned(1).and_then(|n| self.push(Value::Int(n.cast_signed()))), // BININT1
            b'M' => self.unsigned(2).and_then(|n| self.push(Value::Int(n.cast_signed()))), // BININT2
            0x8a => self.unsigned(1).and_then(|n| self.long(n)),    // LONG1
            0x8b => self.unsigned(4).and_then(|n| self.long(n)),    // LONG4
            b'G' => self.take(8).and_then(|_| self.push(Value::Float)), // BINFLOAT
            0x8c => self.unsigned(1).and_then(|n| self.text(n)),    // SHORT_BINUNICODE
            b'X' => self.unsigned(4).and_then(|n| self.text(n)),    // BINUNICODE
            0x8d => self.unsigned(8).and_then(|n| self.text(n)),    // BINUNICODE8
            b'U' => self.unsigned(1).and_then(|n| self.text(n)),    // SHORT_BINSTRING
            b'T' => self.unsigned(4).and_then(|n| self.text(n)),    // BINSTRING
            b'C' => self.unsigned(1).and_then(|n| self.skip(n)),    // SHORT_BINBYTES
            b'B' => self.unsigned(4).and_then(|n| self.skip(n)),    // BINBYTES
            0x8e | 0x96 => self.unsigned(8).and_then(|n| self.skip(n)), // BINBYTES8, BYTEARRAY8
            b')' => self.new_node(Node::Tuple(vec![])),             // EMPTY_TUPLE
            0x85 => self.last(1).and_then(|v| self.new_node(Node::Tuple(v))), // TUPLE1
            0x86 => self.last(2).and_then(|v| self.new_node(Node::Tuple(v))), // TUPLE2
            0x87 => self.last(3).and_then(|v| self.new_node(Node::Tuple(v))), // TUPLE3
            b't' => self.pop_mark().and_then(|v| self.new_node(Node::Tuple(v))), // TUPLE
            b']' => self.new_node(Node::List(vec![])),              // EMPTY_LIST
            b'l' => self.pop_mark().and_then(|v| self.new_node(Node::List(v))), // LIST
            b'a' => self.last(1).and_then(|v| self.extend(v)),      // APPEND
            b'e' | 0x90 => self.pop_mark().and_then(|v| self.extend(v)), // APPENDS, ADDITEMS
            0x8f => self.new_node(Node::Set(vec![])),               // EMPTY_SET
            0x91 => self.pop_mark().and_then(|v| self.new_node(Node::Set(v))), // FROZENSET
            b'}' => self.new_node(Node::Dict(vec![])),              // EMPTY_DICT
            b'd' => self.pop_mark().and_then(|v| self.new_node(Node::Dict(pairs(&v)?))), // DICT
            b's' => self.last(2).and_then(|v| self.set_items(&v)),  // SETITEM
            b'u' => self.pop_mark().and_then(|v| self.set_items(&v)), // SETITEMS
            b'c' => self.global(),                                  // GLOBAL
            0x93 => self.stack_global(),                            // STACK_GLOBAL
            b'R' | 0x81 => self.call(),                             // REDUCE, NEWOBJ
            b'b' => self.build(),                                   // BUILD
            b'Q' => self.pop().and_then(|id| self.new_node(Node::Persistent(id))), // BINPERSID
            b'q' => self.unsigned(1).and_then(|key| self.memoize(key)), // BINPUT
            b'r' => self.unsigned(4).and_then(|key| self.memoize(key)), // LONG_BINPUT
            0x94 => self.memoize(self.memo.len() as u64),           // MEMOIZE
            b'h' => self.unsigned(1).and_then(|key| self.recall(key)), // BINGET
            b'j' => self.unsigned(4).and_then(|key| self.recall(key)), // LONG_BINGET
            _ => Err(format!("opcode {opcode:#04x} is not one that torch.save writes")),
        }
    }

    fn take(&mut self, n: usize) -> Step<&'a [u8]> {
        let end = self.at.checked_add(n).filter(|end| *end <= self.bytes.len());
        let end = end.ok_or_else(|| "it ends in the middle".to_owned())?;
        let bytes = &self.bytes[self.at..end];
        self.at = end;
        Ok(bytes)
    }

    fn fixed<const N: usize>(&mut self) -> Step<[u8; N]> {
        self.take(N)?.try_into().map_err(|_| "it ends in the middle".to_owned())
    }

    fn unsigned(&mut self, bytes: usize) -> Step<u64> {
        Ok(self.take(bytes)?.iter().rev().fold(0, |n, byte| n << 8 | u64::from(*byte)))
    }

    fn counted(&mut self, n: u64) -> Step<&'a [u8]> {
        self.take(usize::try_from(n).unwrap_or(usize::MAX))
    }

    fn long(&mut self, n: u64) -> Step<()> {
        let bytes = self.counted(n)?;
        let negative = bytes.last().is_some_and(|byte| byte & 0x80 != 0);
        let mut word = [if negative { 0xff } else { 0 }; 8];
        match word.get_mut(..bytes.len()) {
            Some(low) => low.copy_from_slice(bytes),
            None => return self.push(Value::Float), // a whole number too large for anything we read
        }
        self.push(Value::Int(i64::from_le_bytes(word)))
    }

    fn text(&mut self, n: u64) -> Step<()> {
        let bytes = self.counted(n)?;
        self.push(std::str::from_utf8(bytes).map_or(Value::Bytes, Value::Text))
    }

    fn skip(&mut self, n: u64) -> Step<()> {
        self.counted(n)?;
        self.push(Value::Bytes)
    }

    fn mark(&mut self) -> Step<()> {
        bounded(&self.marks)?;
        self.marks.push(self.stack.len());
        Ok(())
    }

    fn push(&mut self, value: Value<'a>) -> Step<()> {
        bounded(&self.stack)?;
        self.stack.push(value);
        Ok(())
    }

    fn new_node(&mut self, node: Node<'a>) -> Step<()> {
        bounded(&self.nodes)?;
        let id = self.nodes.len() as u32;
        self.nodes.push(node);
        self.push(Value::Node(id))
    }

    fn last(&mut self, n: usize) -> Step<Vec<Value<'a>>> {
        let floor = self.marks.last().copied().unwrap_or(0);
        let from = self.stack.len().checked_sub(n).filter(|from| *from >= floor);
        Ok(self.stack.split_off(from.ok_or_else(|| "its stack is empty".to_owned())?))
    }

    fn pop(&mut self) -> Step<Value<'a>> {
        Ok(self.last(1)?[0])
    }

    fn top(&self) -> Step<Value<'a>> {
        self.stack.last().copied().ok_or_else(|| "its stack is empty".to_owned())
    }

    fn pop_mark(&mut self) -> Step<Vec<Value<'a>>> {
        let from = self.marks.pop().ok_or_else(|| "a mark is missing".to_owned())?;
        Ok(self.stack.split_off(from.min(self.stack.len())))
    }

    fn top_node(&mut self) -> Step<&mut Node<'a>> {
        let Value::Node(id) = self.top()? else { return Err("it changes something that is no container".into()) };
        self.nodes.get_mut(id as usize).ok_or_else(|| "it refers to nothing".to_owned())
    }

    fn extend(&mut self, mut values: Vec<Value<'a>>) -> Step<()> {
        let (Node::List(items) | Node::Set(items)) = self.top_node()? else {
            return Err("it appends to something that is no list".into());
        };
        items.append(&mut values);
        Ok(())
    }

    fn set_items(&mut self, values: &[Value<'a>]) -> Step<()> {
        let mut values = pairs(values)?;
        let (Node::Dict(items) | Node::Call { items, .. }) = self.top_node()? else {
            return Err("it sets items of something that is no dictionary".into());
        };
        items.append(&mut values);
        Ok(())
    }

    fn global(&mut self) -> Step<()> {
        let (module, name) = (self.line()?, self.line()?);
        self.name(module, name)
    }

    fn line(&mut self) -> Step<&'a str> {
        let rest = &self.bytes[self.at..];
        let n = rest.iter().position(|b| *b == b'\n').ok_or_else(|| "it ends in the middle".to_owned())?;
        let line = self.take(n + 1)?;
        std::str::from_utf8(&line[..n]).map_err(|_| "a global is not text".to_owned())
    }

    fn stack_global(&mut self) -> Step<()> {
        match self.last(2)?[..] {
            [Value::Text(module), Value::Text(name)] => self.name(module, name),
            _ => Err("a global is not text".into()),
        }
    }

    fn name(&mut self, module: &'a str, name: &'a str) -> Step<()> {
        bounded(&self.globals)?;
        let id = self.globals.len() as u32;
        self.globals.push((module, name));
        self.push(Value::Global(id))
    }

    fn call(&mut self) -> Step<()> {
        let call = self.last(2)?;
        self.new_node(Node::Call { callee: call[0], args: call[1], items: vec![] })
    }

    /// State given to an object: not kept, and only for something that was called.
    fn build(&mut self) -> Step<()> {
        self.pop()?;
        match self.top_node()? {
            Node::Call { .. } => Ok(()),
            _ => Err("it gives state to a plain container".into()),
        }
    }

    fn memoize(&mut self, key: u64) -> Step<()> {
        let value = self.top()?;
        if self.memo.len() >= VALUES {
            return Err(format!("more than {VALUES} values"));
        }
        self.memo.insert(key, value);
        Ok(())
    }

    fn recall(&mut self, key: u64) -> Step<()> {
        let value = self.memo.get(&key).copied().ok_or_else(|| "it refers to nothing".to_owned())?;
        self.push(value)
    }
}

fn bounded<T>(store: &[T]) -> Step<()> {
    if store.len() < VALUES { Ok(()) } else { Err(format!("more than {VALUES} values")) }
}

fn pairs<'a>(values: &[Value<'a>]) -> Step<Pairs<'a>> {
    let (pairs, rest) = values.as_chunks::<2>();
    if rest.is_empty() { Ok(pairs.iter().map(|[k, v]| (*k, *v)).collect()) } else { Err("a value is missing".into()) }
}
