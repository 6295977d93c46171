//! What has been seen in one forward: every activation with its comparison, in program order.

use crate::diagnose::walk::Compared;
use crate::diagnose::{Judge, Judgement};
use crate::engine::Value;

/// One op that has been computed.
#[derive(Clone, Debug)]
pub(super) struct Record {
    /// Its activation; `None` when the memory budget was used up.
    pub(super) value: Option<Value>,
    /// Its comparison with the dumps.
    pub(super) compared: Compared,
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
    pub(super) fn push(&mut self, value: &Value, compared: Compared) {
        let bytes = value.len() * size_of::<f32>();
        let kept = self.bytes + bytes <= BUDGET_BYTES;
        self.bytes += if kept { bytes } else { 0 };
        let record = Record { value: kept.then(|| value.clone()), compared };
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

    /// What the judge says of each op of the current forward; `None` where nothing was compared. Earlier forwards count
    /// as what came before.
    pub(super) fn judgements(&self) -> Vec<Option<Judgement>> {
        let mut judge = Judge::default();
        let mut judged = Vec::new();
        for forward in &self.forwards {
            judged.clear();
            for record in forward {
                let error = record.compared.error.as_ref().map(|(comparison, _)| comparison.error);
                judged.push(error.map(|error| judge.judge(error, record.compared.precision())));
            }
        }
        judged
    }
}
