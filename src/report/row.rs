//! The rows of a report: what a table shows of them, and which of them tell most.

use serde::Serialize;

use super::document::Document;
use super::number::{error, ratio};
use crate::debugger::without_base;
use crate::diagnose::{ActivationRow, Status};

/// What a table shows of an activation; what is not known is empty.
#[derive(Clone, Debug, Serialize)]
pub struct Cells<'a> {
    /// Its name without `model.`, or what else all names of the family begin with.
    pub short: &'a str,
    /// Relative L2 error between the two sides.
    pub error: String,
    /// How far it is from what its own inputs give.
    pub local: String,
    /// How far correct programs of the dump's precision are.
    pub floor: String,
    /// How many times the floor that is.
    pub ratio: String,
    /// What it means: `bad`
    pub status: &'static str,
    /// Where the largest difference is: `token 2 head 1 channel 16`; or how many elements are finite on one side only, and
    /// where the first is.
    pub worst: String,
}

impl<'a> Cells<'a> {
    /// Of a row.
    pub fn of(row: &'a ActivationRow) -> Self {
        let shown = |number: Option<f64>| if number.is_some_and(hides) { "-".into() } else { error(number) };
        Self {
            short: without_base(&row.name),
            error: if row.nonfinite > 0 && row.error.is_nan() { "-".into() } else { shown(row.compared()) },
            local: shown(row.local.map(|local| local.error)),
            // The least number there is stands for no noise at all.
            floor: error(row.local.map(|local| if local.floor > f64::MIN_POSITIVE { local.floor } else { 0.0 })),
            // What is finite may be in order: that is not why the row is bad.
            ratio: match (row.status, row.nonfinite) {
                (Status::Bad, 1..) => "-".into(),
                _ if row.local.is_some_and(|local| hides(local.error)) => "-".into(),
                _ => ratio(row.local.map(|local| local.ratio())),
            },
            status: row.status.name(),
            worst: match row.nonfinite {
                0 if hides(row.error) => format!("the mask differs: {}", row.worst),
                0 => row.worst.to_string(),
                odd => format!("{odd} not finite, first: {}", row.worst),
            },
        }
    }
}

/// Whether an error is that of a masked score, the least number of its type, beside one that is not: no size of an error.
fn hides(error: f64) -> bool {
    error.is_finite() && error > 1e30
}

/// Rows shown before and after the first divergence.
const BEFORE: usize = 7;
const AFTER: usize = 8;

impl Document {
    /// Rows that were compared.
    pub(super) fn compared(&self) -> impl Iterator<Item = &ActivationRow> {
        self.report.activations.iter().filter(|row| row.compared().is_some())
    }

    /// The rows around the first divergence; where there is none, those that stand furthest above their noise.
    pub(super) fn telling(&self) -> Vec<&ActivationRow> {
        let rows: Vec<&ActivationRow> = self.compared().collect();
        let at = self.report.first_divergence().and_then(|first| rows.iter().position(|row| row.name == first.name));
        if let Some(at) = at {
            return rows[at.saturating_sub(BEFORE)..rows.len().min(at + AFTER + 1)].to_vec();
        }
        let mut order: Vec<usize> = (0..rows.len()).filter(|index| rows[*index].local.is_some()).collect();
        if order.is_empty() {
            order = (0..rows.len()).collect();
        }
        let height = |index: &usize| rows[*index].local.map_or(rows[*index].error, |local| local.ratio());
        order.sort_by(|a, b| height(b).total_cmp(&height(a)));
        order.truncate(BEFORE + AFTER);
        order.sort_unstable();
        order.into_iter().map(|index| rows[index]).collect()
    }

    /// The row of the largest error of each layer of the prefill, and of each decode step.
    pub(super) fn worst_of_each(&self) -> Vec<&ActivationRow> {
        let mut worst: Vec<&ActivationRow> = Vec::new();
        let group =
            |row: &ActivationRow| (row.step, if row.step == 0 { row.layer.ok_or(row.name.clone()) } else { Ok(0) });
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
