//! A plane of numbers in few cells, and the range of its colours.

use ndarray::{ArrayView2, Axis};

/// The plane in at most `cells` (rows, columns): each cell is the value of largest magnitude among those it stands for;
/// NaN and infinity win, -inf (masked) loses. With it, the elements per cell: rows, columns.
pub fn pool(plane: ArrayView2<f32>, cells: (usize, usize)) -> ((usize, usize), Vec<Vec<f32>>) {
    if plane.is_empty() || cells.0 == 0 || cells.1 == 0 {
        return ((1, 1), Vec::new());
    }
    let per_cell = (plane.nrows().div_ceil(cells.0), plane.ncols().div_ceil(cells.1));
    // Down the columns first: one long loop, whatever the width of a cell.
    let mut loudest = vec![0u32; plane.ncols()];
    let mut pooled = Vec::with_capacity(cells.0.min(plane.nrows()));
    for band in plane.axis_chunks_iter(Axis(0), per_cell.0) {
        loudest.fill(0);
        for row in band.rows() {
            match row.as_slice() {
                Some(row) => louder(&mut loudest, row),
                None => louder(&mut loudest, &row.to_vec()),
            }
        }
        pooled.push(loudest.chunks(per_cell.1).map(|cell| value(cell.iter().copied().fold(0, u32::max))).collect());
    }
    (per_cell, pooled)
}

/// The values that 98 % of the finite numbers lie between, from at most 65536 of them.
pub fn middle_range<'a>(values: impl ExactSizeIterator<Item = &'a f32>) -> (f32, f32) {
    let stride = values.len().div_ceil(1 << 16).max(1);
    let mut values: Vec<f32> = values.step_by(stride).copied().filter(|v| v.is_finite()).collect();
    if values.is_empty() {
        return (0.0, 0.0);
    }
    let last = (values.len() - 1) as f64;
    let mut at = |share: f64| *values.select_nth_unstable_by((last * share).round() as usize, f32::total_cmp).1;
    (at(0.01), at(0.99))
}

/// -inf, turned as [`loudness`] turns bits.
const HIDDEN: u32 = f32::NEG_INFINITY.to_bits().rotate_left(1);

/// A number that is larger for what is louder: with the sign moved to the end, bits are in the order of magnitudes, then
/// come the infinities and NaN.
#[inline(always)]
#[expect(clippy::inline_always, reason = "inside `dispatch` it becomes vector code only when inlined")]
fn loudness(value: f32) -> u32 {
    let turned = value.to_bits().rotate_left(1);
    if turned == HIDDEN { 0 } else { turned.min(u32::MAX - 1).wrapping_add(1) }
}

/// The value of a loudness.
fn value(loudness: u32) -> f32 {
    loudness.checked_sub(1).map_or(f32::NEG_INFINITY, |turned| f32::from_bits(turned.rotate_right(1)))
}

fn louder(loudest: &mut [u32], row: &[f32]) {
    pulp::Arch::new().dispatch(
        #[inline(always)]
        || {
            for (loudest, value) in loudest.iter_mut().zip(row) {
                *loudest = (*loudest).max(loudness(*value));
            }
        },
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::{Array2, array};

    #[test]
    fn a_cell_is_the_loudest_of_its_values() {
        let plane = array![[1.0f32, -3.0, 0.5], [2.0, -2.0, 0.0], [0.0, -0.25, f32::NEG_INFINITY]];
        assert_eq!(pool(plane.view(), (2, 2)), ((2, 2), vec![vec![-3.0, 0.5], vec![-0.25, f32::NEG_INFINITY]]));
        assert_eq!(pool(plane.view(), (9, 9)).1, [[1.0, -3.0, 0.5], [2.0, -2.0, 0.0], [0.0, -0.25, f32::NEG_INFINITY]]);
        // Along the other axis, where rows are not contiguous.
        assert_eq!(pool(plane.t(), (1, 3)), ((3, 1), vec![vec![-3.0, -2.0, -0.25]]));
        assert!(pool(plane.view(), (0, 4)).1.is_empty() && pool(Array2::zeros((0, 3)).view(), (4, 4)).1.is_empty());
    }

    #[test]
    fn nan_wins_then_infinity_and_masked_loses() {
        let loudest = |values: &[f32]| {
            let plane = Array2::from_shape_vec((1, values.len()), values.to_vec()).expect("one row");
            pool(plane.view(), (1, 1)).1[0][0]
        };
        let (nan, inf) = (f32::NAN, f32::INFINITY);
        assert!(loudest(&[inf, nan, 1e30]).is_nan() && loudest(&[f32::from_bits(u32::MAX), inf]).is_nan());
        assert_eq!(loudest(&[inf, -1e30, -inf]), inf);
        assert_eq!((loudest(&[-inf, 0.0]), loudest(&[-inf, 1e-45]), loudest(&[-inf, -inf])), (0.0, 1e-45, -inf));
    }

    #[test]
    fn the_middle_leaves_the_ends_out() {
        let mut values: Vec<f32> = (0..=100).map(|v| v as f32).collect();
        values.extend([f32::NAN, f32::INFINITY]);
        assert_eq!(middle_range(values.iter()), (1.0, 99.0));
        assert_eq!(middle_range([f32::NAN].iter()), (0.0, 0.0));
    }
}
