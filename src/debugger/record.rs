//! What has been seen in one forward: every activation, in program order.

use crate::engine::Value;

/// One op that has been computed.
#[derive(Clone, Debug)]
pub(super) struct Record {
    /// Its activation; `None` when the memory budget was used up.
    pub(super) value: Option<Value>,
}

/// The records of every forward, the current one last.
#[derive(Clone, Debug, Default)]
pub(super) struct Trace {
    forwards: Vec<Vec<Record>>,
    bytes: usize,
}

/// Activations kept at once. Stepping back recomputes what was not kept.
const BUDGET_BYTES: usize = 4 << 30;

impl Trace {
    /// Begins the next forward.
    pub(super) fn begin_forward(&mut self) {
        self.forwards.push(Vec::new());
    }

    /// Keeps one more op.
    pub(super) fn push(&mut self, value: &Value) {
        let bytes = value.len() * size_of::<f32>();
        let kept = self.bytes + bytes <= BUDGET_BYTES;
        self.bytes += if kept { bytes } else { 0 };
        let record = Record { value: kept.then(|| value.clone()) };
        self.forwards.last_mut().expect("a forward has begun").push(record);
    }

    /// Forgets what lies after `counter` ops of `forward`.
    pub(super) fn truncate(&mut self, forward: usize, counter: usize) {
        self.forwards.truncate(forward + 1);
        self.forwards[forward].truncate(counter);
        let values = self.forwards.iter().flatten().filter_map(|record| record.value.as_ref());
        self.bytes = values.map(|value| value.len() * size_of::<f32>()).sum();
    }

    /// The records of the current forward.
    pub(super) fn current(&self) -> &[Record] {
        self.forwards.last().map_or(&[], Vec::as_slice)
    }

    /// The records of any forward; none of one that has not begun.
    pub(super) fn forward(&self, index: usize) -> &[Record] {
        self.forwards.get(index).map_or(&[], Vec::as_slice)
    }
}
