//! What has been seen in each forward: every activation, in program order.

use crate::engine::Value;

/// The activation of an op that has been computed; `None` when memory was needed for newer ones, or a recording does not
/// know it.
type Record = Option<Value>;

fn bytes(record: &Record) -> usize {
    record.as_ref().map_or(0, |value| value.len() * size_of::<f32>())
}

/// The records of every forward, the current one last.
#[derive(Clone, Debug)]
pub(super) struct Trace {
    forwards: Vec<Vec<Record>>,
    /// What is kept, and how much may be.
    bytes: usize,
    budget: usize,
}

/// Bytes of activations kept at once, where nothing else was said.
pub const DEFAULT_MEMORY: usize = 4_000_000_000;

impl Default for Trace {
    fn default() -> Self {
        Self { forwards: Vec::new(), bytes: 0, budget: DEFAULT_MEMORY }
    }
}

impl Trace {
    /// Keeps so many bytes at most, and the newest activation in any case.
    pub(super) fn limit(&mut self, budget: usize) {
        self.budget = budget;
        self.forget_oldest();
    }

    /// Bytes kept at most.
    pub(super) fn budget(&self) -> usize {
        self.budget
    }

    /// Forgets everything but the limit.
    pub(super) fn clear(&mut self) {
        *self = Self { budget: self.budget, ..Self::default() };
    }

    /// Begins the next forward.
    pub(super) fn begin_forward(&mut self) {
        self.forwards.push(Vec::new());
    }

    /// Keeps one more op.
    pub(super) fn push(&mut self, value: Option<&Value>) {
        let record = value.cloned();
        self.bytes += bytes(&record);
        self.forwards.last_mut().expect("a forward has begun").push(record);
        self.forget_oldest();
    }

    /// Forgets what lies after `counter` ops of `forward`.
    pub(super) fn truncate(&mut self, forward: usize, counter: usize) {
        self.forwards.truncate(forward + 1);
        self.forwards[forward].truncate(counter);
        self.bytes = self.forwards.iter().flatten().map(bytes).sum();
    }

    /// Keeps the activation of the last op again, if it was forgotten.
    pub(super) fn keep_last(&mut self, value: &Value) {
        let last = self.forwards.last_mut().and_then(|records| records.last_mut());
        if let Some(record) = last.filter(|record| record.is_none()) {
            *record = Some(value.clone());
            self.bytes += bytes(record);
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        let count: usize = self.forwards.iter().map(Vec::len).sum();
        let older = self.forwards.iter_mut().flatten().take(count.saturating_sub(1));
        for record in older {
            if self.bytes <= self.budget {
                return;
            }
            self.bytes -= bytes(record);
            *record = None;
        }
    }

    /// The records of a forward; none of one that has not begun.
    pub(super) fn forward(&self, index: usize) -> &[Record] {
        self.forwards.get(index).map_or(&[], Vec::as_slice)
    }
}
