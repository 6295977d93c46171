//! Elements of a tensor by their indices, as numpy takes them.

use ndarray::{ArcArray, Axis, IxDyn, Slice};

use super::tree::Part;
use super::value::{Elements, Tensor};

/// Some elements of a tensor. The error is what the tensor has not; the tensor is to be named before it.
pub(super) fn slice(tensor: Tensor, parts: &[Part]) -> Result<Tensor, String> {
    let count = tensor.axes.len();
    let written = parts.iter().filter(|part| **part != Part::Rest).count();
    if written > count {
        let axes = if count == 1 { "axis" } else { "axes" };
        return Err(format!("has {count} {axes}, and {written} indices are given"));
    }
    let rest = parts.iter().position(|part| *part == Part::Rest).unwrap_or(parts.len());
    let first = parts[..rest].iter().enumerate().map(|(axis, part)| (axis, *part));
    let last = parts[rest..].iter().skip(1).rev().enumerate().map(|(back, part)| (count - 1 - back, *part));
    let mut wanted: Vec<(usize, Part)> = first.chain(last).collect();
    // From the last axis on, so that the numbers of those before it stay.
    wanted.sort_by_key(|(axis, _)| std::cmp::Reverse(*axis));
    let Tensor { mut elements, mut axes } = tensor;
    for (axis, part) in wanted {
        let length = elements.shape()[axis];
        match part {
            Part::At(index) => {
                let at = place(index, length);
                let at = at.ok_or_else(|| format!("has no {} {index}: there are {length}", axes[axis]))?;
                elements = cut(elements, Axis(axis), Ok(at));
                axes.remove(axis);
            }
            Part::Range(first, last, step) => {
                let clamp = |index: i64| match index.unsigned_abs() as usize {
                    back if index < 0 => length.saturating_sub(back),
                    at => at.min(length),
                };
                let (first, last) = (first.map_or(0, clamp), last.map_or(length, clamp));
                let step = isize::try_from(step).unwrap_or(isize::MAX);
                let range = Slice::new(first.cast_signed(), Some(last.max(first).cast_signed()), step);
                elements = cut(elements, Axis(axis), Err(range));
            }
            Part::Rest => {}
        }
    }
    Ok(Tensor { elements, axes })
}

/// The place that an index means; negative ones count from the end.
pub(super) fn place(index: i64, length: usize) -> Option<usize> {
    let size = usize::try_from(index.unsigned_abs()).ok()?;
    let at = if index < 0 { length.checked_sub(size)? } else { size };
    (at < length).then_some(at)
}

fn cut(elements: Elements, axis: Axis, taken: Result<usize, Slice>) -> Elements {
    fn along<T>(mut values: ArcArray<T, IxDyn>, axis: Axis, taken: Result<usize, Slice>) -> ArcArray<T, IxDyn> {
        match taken {
            Ok(index) => values.index_axis_move(axis, index),
            Err(range) => {
                values.slice_axis_inplace(axis, range);
                values
            }
        }
    }
    match elements {
        Elements::Single(values) => Elements::Single(along(values, axis, taken)),
        Elements::Double(values) => Elements::Double(along(values, axis, taken)),
    }
}
