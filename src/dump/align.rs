//! Puts a stored tensor into the layout of the activation table, and lets the values decide what its shape leaves open.

use std::ops::Range;

use ndarray::{ArrayD, ArrayViewD, Axis, IxDyn, Slice};

use super::shape::{Frame, Kind, Reading, Role, Rows, Wanted};

/// A reading is taken before the table's own layout only when its error is this many times smaller.
const CLEARLY: f64 = 4.0;

/// Values whose error is above this agree with nothing.
const RELATED: f64 = 0.5;

/// Channels compared when rows are looked for.
const SAMPLE: usize = 512;

/// A tensor in the table's layout.
#[derive(Clone, Debug)]
pub(super) struct Laid {
    /// `[row, channel]`, `[head, row, head_dim]`, `[row, head * head_dim]`, `[row, slot, channel]` or `[head, row, key]`.
    pub(super) values: ArrayD<f32>,
    /// Key position of the first column.
    pub(super) first_key: usize,
    /// Whether repeated key and value heads were not all alike.
    pub(super) heads_differ: bool,
}

/// The axis of the rows in the table's layout.
pub(super) fn row_axis(wanted: &Wanted) -> Axis {
    Axis(usize::from(matches!(wanted.kind, Kind::PerHead | Kind::Scores)))
}

/// The stored rows of `reading` that belong to the forward; all that are stored when the values must tell.
pub(super) fn stored_rows(reading: &Reading, frame: Frame) -> Range<usize> {
    match reading.holds {
        Rows::All | Rows::Padded => 0..frame.tokens,
        Rows::Joined | Rows::Cache => frame.first..frame.first + frame.tokens,
        Rows::Some | Rows::Last => 0..reading.rows,
    }
}

/// Applies a reading. `None` when the values are not those that the reading was made for.
pub(super) fn lay_out(values: &ArrayViewD<f32>, reading: &Reading, wanted: &Wanted, frame: Frame) -> Option<Laid> {
    let mut values = values.as_standard_layout();
    if let Some((pick, of)) = reading.batch {
        let rest = values.len().checked_div(of)?;
        values = values.into_shape_with_order(IxDyn(&[of, rest])).ok()?.index_axis_move(Axis(0), pick).into_dyn();
    }
    let sizes: Vec<usize> = reading.order.iter().map(|(_, length)| *length).collect();
    let mut values = values.into_shape_with_order(IxDyn(&sizes)).ok()?;
    let place = |role: &Role| reading.order.iter().position(|(stored, _)| stored == role);
    let places = wanted.target().iter().map(place).collect::<Option<Vec<usize>>>()?;
    values = values.permuted_axes(IxDyn(&places));

    let axis = |role: Role| wanted.target().iter().position(|target| *target == role).map(Axis);
    let rows = stored_rows(reading, frame);
    values.slice_axis_inplace(axis(Role::Token)?, Slice::from(rows));
    let mut heads_differ = false;
    if reading.heads > wanted.heads {
        let (head, each) = (axis(Role::Head)?, reading.heads / wanted.heads);
        for offset in 1..each {
            let (mut first, mut other) = (values.view(), values.view());
            first.slice_axis_inplace(head, Slice::new(0, None, each.cast_signed()));
            other.slice_axis_inplace(head, Slice::new(offset.cast_signed(), None, each.cast_signed()));
            heads_differ |= first != other;
        }
        values.slice_axis_inplace(head, Slice::new(0, None, each.cast_signed()));
    }
    let mut first_key = 0;
    if let Some(key) = axis(Role::Key) {
        let seen = frame.first + frame.tokens;
        first_key = seen.saturating_sub(reading.keys);
        values.slice_axis_inplace(key, Slice::from(0..reading.keys.min(seen)));
    }
    let mut values = values.as_standard_layout().into_owned();
    if wanted.kind == Kind::Merged {
        let rows = values.shape().first().copied()?;
        values = values.into_shape_with_order(IxDyn(&[rows, wanted.heads * wanted.channels])).ok()?;
    }
    Some(Laid { values, first_key, heads_differ })
}

/// Sorts the slots of every row by the expert that each is of. `chosen` are experts by row, in the order of the slots.
/// `None` when they are not of these rows.
pub(super) fn by_expert(laid: &mut Laid, chosen: &ArrayViewD<i64>, stored: Range<usize>) -> Option<()> {
    let width = chosen.shape().last().copied().filter(|width| *width > 0)?;
    let chosen = chosen.to_shape((chosen.len() / width, width)).ok()?;
    let slots = laid.values.shape().get(1).copied().filter(|slots| *slots <= width)?;
    if chosen.nrows() < stored.end || stored.len() != laid.values.len_of(Axis(0)) {
        return None;
    }
    for (mut row, experts) in laid.values.outer_iter_mut().zip(chosen.outer_iter().skip(stored.start)) {
        let mut order: Vec<usize> = (0..slots).collect();
        order.sort_by_key(|slot| experts[*slot]);
        let sorted = row.select(Axis(0), &order);
        row.assign(&sorted);
    }
    Some(())
}

/// Our values with the key columns of `laid` only.
pub(super) fn same_keys<'a>(ours: &ArrayViewD<'a, f32>, laid: &Laid, wanted: &Wanted) -> Option<ArrayViewD<'a, f32>> {
    let mut ours = ours.clone();
    if wanted.kind == Kind::Scores {
        let keys = laid.values.shape().last().copied()?;
        if ours.ndim() != 3 || ours.len_of(Axis(2)) < laid.first_key + keys {
            return None;
        }
        ours.slice_axis_inplace(Axis(2), Slice::from(laid.first_key..laid.first_key + keys));
    }
    Some(ours)
}

/// Relative error over what is finite in `ours`; infinite when the shapes differ.
pub(super) fn error(values: &ArrayViewD<f32>, ours: &ArrayViewD<f32>) -> f64 {
    if values.shape() != ours.shape() {
        return f64::INFINITY;
    }
    let (error, norm) = sums(values, ours, 1);
    if norm > 0.0 { (error / norm).sqrt() } else { 0.0 }
}

/// Squared difference and squared size, over every `step`-th value that is finite in `ours`.
fn sums(values: &ArrayViewD<f32>, ours: &ArrayViewD<f32>, step: usize) -> (f64, f64) {
    values.iter().zip(ours).step_by(step).filter(|(_, b)| b.is_finite()).fold((0.0, 0.0), |(error, norm), (a, b)| {
        let (a, b) = (f64::from(*a), f64::from(*b));
        let difference = if a.is_finite() { a - b } else { b };
        (error + difference * difference, norm + b * b)
    })
}

/// Which rows of ours a tensor of fewer rows holds.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Chosen {
    /// Rows of the forward, ascending.
    pub(super) rows: Vec<usize>,
    /// Relative error of this choice.
    pub(super) error: f64,
    /// Whether the values left no doubt.
    pub(super) clear: bool,
    /// The stored row that is the first of them, where they lie in a ring.
    pub(super) begin: usize,
}

impl Chosen {
    /// Stored rows in the order of their positions.
    pub(super) fn in_order(&self, values: ArrayD<f32>, axis: Axis) -> ArrayD<f32> {
        let stored = values.len_of(axis);
        let order: Vec<usize> = (0..stored).map(|row| (row + self.begin) % stored).collect();
        if self.begin == 0 { values } else { values.select(axis, &order) }
    }
}

/// The rows of a cache that is a ring: the last ones, each where its position modulo the length of the ring is. `None` where
/// the values are not those.
pub(super) fn choose_ring(values: &ArrayViewD<f32>, ours: &ArrayViewD<f32>, axis: Axis) -> Option<Chosen> {
    let (stored, all) = (values.len_of(axis), ours.len_of(axis));
    let begin = all.checked_rem(stored).filter(|begin| *begin > 0 && stored < all)?;
    let rows: Vec<usize> = (all - stored..all).collect();
    let found = Chosen { rows, error: f64::INFINITY, clear: true, begin };
    let turned = found.in_order(values.to_owned(), axis);
    let error = error(&turned.view(), &ours.slice_axis(axis, Slice::from(all - stored..all)));
    (error < RELATED).then_some(Chosen { error, ..found })
}

/// Finds the rows: the ascending choice with the smallest error if that is clear, else the last ones.
pub(super) fn choose_rows(values: &ArrayViewD<f32>, ours: &ArrayViewD<f32>, axis: Axis) -> Chosen {
    let (stored, all) = (values.len_of(axis), ours.len_of(axis));
    let last: Vec<usize> = (all.saturating_sub(stored)..all).collect();
    let mut costs = vec![vec![f64::INFINITY; all]; stored];
    let mut total = 0.0;
    for (cost, row) in costs.iter_mut().zip(values.axis_iter(axis)) {
        let step = (row.len() / SAMPLE).max(1);
        for (cost, other) in cost.iter_mut().zip(ours.axis_iter(axis)) {
            if row.shape() == other.shape() {
                let (error, norm) = sums(&row, &other, step);
                *cost = if norm > 0.0 { error / norm } else { 0.0 };
            }
        }
        total += 1.0;
    }
    let at = |rows: &[usize]| -> f64 {
        let sum: f64 =
            rows.iter().zip(&costs).map(|(row, cost)| cost.get(*row).copied().unwrap_or(f64::INFINITY)).sum();
        (sum / f64::max(total, 1.0)).sqrt()
    };
    let best = cheapest(&costs);
    let (best_error, last_error) = (at(&best), at(&last));
    // Another choice that fits as well means that the values do not tell: equal ids have equal embeddings.
    let rivals = first_fitting(&costs, &best) != Some(best.clone());
    if best_error < RELATED && (best_error * CLEARLY < last_error || best == last) {
        Chosen { rows: best, error: best_error, clear: !rivals, begin: 0 }
    } else {
        Chosen { rows: last, error: last_error, clear: false, begin: 0 }
    }
}

/// The first ascending choice of columns that fit as well as those of `best`, which is the last.
fn first_fitting(costs: &[Vec<f64>], best: &[usize]) -> Option<Vec<usize>> {
    let mut begin = 0;
    let place = |(cost, own): (&Vec<f64>, &usize)| {
        let limit = cost.get(*own)? * CLEARLY * CLEARLY;
        let found = begin + cost.get(begin..)?.iter().position(|cost| *cost <= limit)?;
        begin = found + 1;
        Some(found)
    };
    costs.iter().zip(best).map(place).collect()
}

/// The ascending choice of one column per row with the smallest sum; of equal ones the last.
fn cheapest(costs: &[Vec<f64>]) -> Vec<usize> {
    let columns = costs.first().map_or(0, Vec::len);
    // best[r][c]: the cheapest way to place the first r rows in the first c columns.
    let mut best = vec![vec![0.0; columns + 1]];
    for cost in costs {
        let mut row = vec![f64::INFINITY; columns + 1];
        let before = best.last().cloned().unwrap_or_default();
        for (column, cost) in cost.iter().enumerate() {
            let placed = before.get(column).copied().unwrap_or(f64::INFINITY) + cost;
            let skipped = row.get(column).copied().unwrap_or(f64::INFINITY);
            if let Some(cell) = row.get_mut(column + 1) {
                *cell = placed.min(skipped);
            }
        }
        best.push(row);
    }
    let (mut rows, mut column) = (Vec::new(), columns);
    for placed in (1..best.len()).rev() {
        let cell =
            |row: usize, column: usize| best.get(row).and_then(|r| r.get(column)).copied().unwrap_or(f64::INFINITY);
        let cost = |column: usize| costs.get(placed - 1).and_then(|r| r.get(column)).copied().unwrap_or(f64::INFINITY);
        while column > placed && cell(placed - 1, column - 1) + cost(column - 1) > cell(placed, column) {
            column -= 1;
        }
        column = column.saturating_sub(1);
        rows.push(column);
    }
    rows.reverse();
    rows
}

/// The place of the best of several errors: the first, unless another is clearly smaller; and whether it is clear.
pub(super) fn clearly_smallest(errors: &[f64]) -> (usize, bool) {
    let mut best = (0, f64::INFINITY);
    for (at, error) in errors.iter().enumerate() {
        if *error < best.1 {
            best = (at, *error);
        }
    }
    let rival =
        errors.iter().enumerate().filter(|(at, _)| *at != best.0).map(|(_, e)| *e).fold(f64::INFINITY, f64::min);
    let clear = best.1 < RELATED && best.1 * CLEARLY < rival;
    if clear { (best.0, true) } else { (0, false) }
}
