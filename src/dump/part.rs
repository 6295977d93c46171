//! The piece of a stored tensor that is one activation: an array of a stack, or columns of what was stored side by side.

use std::fmt;

use ndarray::{ArrayD, Axis};

/// A piece of a tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// One of the arrays along an axis, which goes.
    Of { axis: usize, index: usize },
    /// Runs of columns of the last axis, the first of them from `first` on, each of `length`, one in every `every`.
    Columns { first: usize, length: usize, every: usize },
}

impl Part {
    /// The shape of the piece; none where a tensor of this shape has no such piece.
    pub(super) fn shape(self, stored: &[usize]) -> Option<Vec<usize>> {
        let mut shape = stored.to_vec();
        match self {
            Self::Of { axis, index } => {
                let all = if axis < shape.len() { shape.remove(axis) } else { 0 };
                (index < all).then_some(shape)
            }
            Self::Columns { first, length, every } => {
                let last = shape.last_mut()?;
                let fits = length > 0 && first + length <= every && every <= *last && last.is_multiple_of(every);
                *last = last.checked_div(every)? * length;
                fits.then_some(shape)
            }
        }
    }

    /// The values of the piece; none where there is no such piece.
    pub(super) fn of(self, values: &ArrayD<f32>) -> Option<ArrayD<f32>> {
        self.shape(values.shape())?;
        Some(match self {
            Self::Of { axis, index } => values.index_axis(Axis(axis), index).to_owned(),
            Self::Columns { first, length, every } => {
                let last = Axis(values.ndim().checked_sub(1)?);
                let all = 0..values.len_of(last);
                let columns: Vec<usize> = all.filter(|at| (first..first + length).contains(&(at % every))).collect();
                values.select(last, &columns)
            }
        })
    }

    /// Reads `NAME[3]`, `NAME[:, 3]`, `NAME[..., 0:576]` and, of interleaved columns, `NAME[..., 1::2]`: the name and the
    /// piece. `width` is not known here: columns to `b` are runs of the whole row, see [`Part::shape`].
    pub(super) fn split(pattern: &str) -> Option<(&str, Slice)> {
        let (name, inside) = pattern.strip_suffix(']')?.rsplit_once('[')?;
        let number = |text: &str| text.trim().parse::<usize>().ok();
        let (before, last) =
            inside.rsplit_once(',').map_or(("", inside), |(before, last)| (before.trim(), last.trim()));
        let slice = match before {
            "..." => {
                let mut bounds = last.split(':');
                let (from, to, step) = (bounds.next()?, bounds.next()?, bounds.next());
                match step {
                    None => Slice::Columns { from: number(from)?, to: number(to)? },
                    Some(step) if to.trim().is_empty() => Slice::Every { first: number(from)?, step: number(step)? },
                    Some(_) => return None,
                }
            }
            _ if before.split(',').all(|axis| axis.trim() == ":" || before.is_empty()) => {
                let axis = if before.is_empty() { 0 } else { before.split(',').count() };
                Slice::Of { axis, index: number(last)? }
            }
            _ => return None,
        };
        Some((name, slice))
    }
}

/// A piece as a map says it, for tensors of whatever width.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Slice {
    /// One of the arrays along an axis.
    Of { axis: usize, index: usize },
    /// Columns of the last axis.
    Columns { from: usize, to: usize },
    /// Every `step`-th column.
    Every { first: usize, step: usize },
}

impl Slice {
    /// The piece of a tensor of this shape, if it has one.
    pub(super) fn of(self, stored: &[usize]) -> Option<Part> {
        let part = match self {
            Self::Of { axis, index } => Part::Of { axis, index },
            Self::Columns { from, to } => {
                Part::Columns { first: from, length: to.checked_sub(from)?, every: *stored.last()? }
            }
            Self::Every { first, step } => Part::Columns { first, length: 1, every: step },
        };
        part.shape(stored).map(|_| part)
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Of { axis, index } => write!(f, "[{}{index}]", ":, ".repeat(*axis)),
            Self::Columns { first, length: 1, every } => write!(f, "[..., {first}::{every}]"),
            Self::Columns { first, length, every } => write!(f, "[..., {first}:{} of every {every}]", first + length),
        }
    }
}

impl Part {
    /// As a map writes it, of a tensor of this shape; none where it has no word for it.
    pub(super) fn in_a_map(self, stored: &[usize]) -> Option<String> {
        match self {
            Self::Columns { first, length, every } if stored.last() == Some(&every) => {
                Some(format!("[..., {first}:{}]", first + length))
            }
            Self::Columns { length, .. } if length > 1 => None,
            other => Some(other.to_string()),
        }
    }
}
