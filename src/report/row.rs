//! The rows of a report, and which of them tell most.

use serde::Serialize;

use super::clean::Cleaner;
use super::document::Document;
use crate::debugger::without_base;
use crate::diagnose::{ActivationRow, Status};

/// One activation.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Row {
    /// Canonical name; decode steps carry `@1`, `@2`, ...
    pub name: String,
    /// The same without `model.`, or what else all names of the family begin with.
    pub short: String,
    /// Its layer.
    pub layer: Option<usize>,
    /// Which forward: 0 is the prefill.
    pub step: usize,
    /// Relative L2 error between the two sides; none where it is missing.
    pub error: Option<f64>,
    /// How far it is from what its own inputs give.
    pub local: Option<f64>,
    /// How far correct programs of the dump's precision are.
    pub floor: Option<f64>,
    /// The one over the other.
    pub ratio: Option<f64>,
    /// Largest absolute difference.
    pub max_abs: Option<f64>,
    /// Where that is: `token 2 head 1 channel 16`
    pub worst: String,
    /// The head of that place.
    pub head: Option<usize>,
    /// `ok`, `rounding`, `equivalent`, `bad`, `propagated` or `missing`.
    pub status: String,
}

/// Rows shown before and after the first divergence.
const BEFORE: usize = 7;
const AFTER: usize = 8;

impl Row {
    pub(super) fn of(row: &ActivationRow, cleaner: &Cleaner) -> Self {
        let compared = |value| (row.status != Status::Missing).then_some(value);
        let name = cleaner.clean(&row.name);
        Self {
            short: without_base(&name).to_string(),
            name,
            layer: row.layer,
            step: row.step,
            error: compared(row.error),
            local: row.local.map(|local| local.error),
            floor: row.local.map(|local| local.floor),
            ratio: row.local.map(|local| local.ratio()),
            max_abs: compared(row.max_abs),
            worst: row.worst.to_string(),
            head: row.worst.head,
            status: row.status.name().into(),
        }
    }

    /// Whether there is something to see.
    pub(super) fn is_compared(&self) -> bool {
        self.error.is_some()
    }

    /// The error, if two sides were compared that may not differ.
    fn weight(&self) -> Option<f64> {
        self.error.filter(|_| self.status != "equivalent")
    }
}

impl Document {
    /// Rows that were compared.
    pub(super) fn compared(&self) -> impl Iterator<Item = &Row> {
        self.rows.iter().filter(|row| row.is_compared())
    }

    /// The rows around the first divergence; where there is none, those that stand furthest above their noise.
    pub(super) fn telling(&self) -> Vec<&Row> {
        let rows: Vec<&Row> = self.compared().collect();
        let at = self.first().and_then(|first| rows.iter().position(|row| row.name == first.name));
        if let Some(at) = at {
            return rows[at.saturating_sub(BEFORE)..rows.len().min(at + AFTER + 1)].to_vec();
        }
        let mut order: Vec<usize> = (0..rows.len()).filter(|index| rows[*index].ratio.is_some()).collect();
        if order.is_empty() {
            order = (0..rows.len()).collect();
        }
        let height = |index: &usize| rows[*index].ratio.or(rows[*index].error).unwrap_or_default();
        order.sort_by(|a, b| height(b).total_cmp(&height(a)));
        order.truncate(BEFORE + AFTER);
        order.sort_unstable();
        order.into_iter().map(|index| rows[index]).collect()
    }

    /// The row of the largest error of each layer of the prefill, and of each decode step.
    pub(super) fn worst_of_each(&self) -> Vec<&Row> {
        let mut worst: Vec<&Row> = Vec::new();
        let group = |row: &Row| (row.step, if row.step == 0 { row.layer.ok_or(row.name.clone()) } else { Ok(0) });
        for row in self.compared() {
            match worst.last_mut().filter(|last| group(last) == group(row)) {
                Some(last) => {
                    let larger = row.weight().zip(last.weight()).map(|(new, old)| new.total_cmp(&old).is_gt());
                    if larger.unwrap_or(last.weight().is_none()) {
                        *last = row;
                    }
                }
                None => worst.push(row),
            }
        }
        worst
    }
}
