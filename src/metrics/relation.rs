//! How an array of weights is related to another that should be the same: in fewer bits, transposed, with its rows in another
//! order, scaled. What converters do to weights, and what they do wrong.

use ndarray::{ArrayView2, ArrayViewD, Axis, Ix2};

use super::relative_error;
use crate::ops::{Pairs, Rounding};

/// Two arrays that are nearer than this, relative to their size, are one, but for the bits they are kept in.
const NEAR: f64 = 1e-2;

/// Arrays that are farther apart than this have nothing to do with each other, so that quantising is no explanation.
const RELATED: f64 = 0.7;

/// What the one array is to the other.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Relation {
    /// The same numbers.
    Equal,
    /// The one is the other, rounded to the format of 16 bits of this name.
    Rounded(&'static str),
    /// It has another shape, which is not the reverse.
    Shape,
    /// `[in, out]` where the other is `[out, in]`.
    Transposed,
    /// The rows of each head stand in the order that rotates these pairs.
    Reordered(Pairs),
    /// Every number is multiplied by this.
    Scaled(f64),
    /// Every number is larger by this.
    Shifted(f64),
    /// Each row is multiplied by a number of its own.
    RowsScaled,
    /// Each column is multiplied by a number of its own.
    ColumnsScaled,
    /// Zeros from a row or column on.
    ZeroFrom {
        /// 0 for rows, 1 for columns.
        axis: usize,
        /// The first that is zero.
        from: usize,
    },
    /// It stands on a grid of so many bits, one for each block of numbers of a row.
    Quantised {
        /// Bits of a number.
        bits: u32,
        /// Numbers that share a scale.
        block: usize,
        /// Relative error.
        error: f64,
    },
    /// None of these: the relative error.
    Differs(f64),
}

impl Relation {
    /// What `other` is to `own`; `head_dim` where rows are those of heads that are rotated.
    pub fn of(own: &ArrayViewD<f32>, other: &ArrayViewD<f32>, head_dim: Option<usize>) -> Self {
        let matrices = own.view().into_dimensionality::<Ix2>().ok().zip(other.view().into_dimensionality::<Ix2>().ok());
        if own.shape() != other.shape() {
            let transposed = matrices.is_some_and(|(own, other)| {
                own.dim() == (other.ncols(), other.nrows()) && apart(own.t(), other) < NEAR
            });
            return if transposed { Self::Transposed } else { Self::Shape };
        }
        if own == other {
            return Self::Equal;
        }
        let rounded = [(Rounding::Bf16, "bf16"), (Rounding::F16, "f16")].into_iter().find(|(format, _)| {
            let is = |from: &ArrayViewD<f32>, to: &ArrayViewD<f32>| {
                from.iter().zip(to).all(|(from, to)| {
                    let mut word = [*from];
                    format.round(&mut word);
                    word[0].to_bits() == to.to_bits()
                })
            };
            is(own, other) || is(other, own)
        });
        if let Some((_, name)) = rounded {
            return Self::Rounded(name);
        }
        let error = relative_error(other, own);
        if let Some(pairs) = head_dim.filter(|_| error > NEAR).and_then(|width| reordered(own, other, width)) {
            return Self::Reordered(pairs);
        }
        let of_matrices = matrices.and_then(|(own, other)| of_matrices(own, other, error));
        of_matrices.or_else(|| linear(own, other, error)).unwrap_or(Self::Differs(error))
    }

    /// Whether nothing is wrong: it is the same, as well as the formats allow.
    pub fn agrees(self) -> bool {
        matches!(self, Self::Equal | Self::Rounded(_))
    }
}

/// The relative distance of two matrices of one shape.
fn apart(own: ArrayView2<f32>, other: ArrayView2<f32>) -> f64 {
    relative_error(other, own)
}

/// The pairs whose channels stand beside each other in the one as those of the other pairs do in the other.
fn reordered(own: &ArrayViewD<f32>, other: &ArrayViewD<f32>, width: usize) -> Option<Pairs> {
    let (rows, half) = (own.len_of(Axis(0)), width / 2);
    if half == 0 || !width.is_multiple_of(2) || !rows.is_multiple_of(width) {
        return None;
    }
    [Pairs::Adjacent, Pairs::Halves].into_iter().find(|pairs| {
        let from = |row: usize| match pairs {
            Pairs::Adjacent => row % 2 * half + row / 2,
            Pairs::Halves => row % half * 2 + row / half,
        };
        let order: Vec<usize> = (0..rows).map(|row| row / width * width + from(row % width)).collect();
        relative_error(other, &own.select(Axis(0), &order)) < NEAR
    })
}

/// What only matrices can be.
fn of_matrices(own: ArrayView2<f32>, other: ArrayView2<f32>, error: f64) -> Option<Relation> {
    if error > NEAR && own.nrows() == own.ncols() && apart(own.t(), other) < NEAR {
        return Some(Relation::Transposed);
    }
    for axis in [0, 1] {
        let is_zero = |at: usize| other.index_axis(Axis(axis), at).iter().all(|value| *value == 0.0);
        let length = other.len_of(Axis(axis));
        let from = (0..length).rev().take_while(|at| is_zero(*at)).last();
        if let Some(from) = from.filter(|from| *from > 0) {
            let kept = |array: ArrayView2<f32>| array.slice_axis(Axis(axis), (..from).into()).to_owned();
            if apart(kept(own).view(), kept(other).view()) < NEAR {
                return Some(Relation::ZeroFrom { axis, from });
            }
        }
    }
    if let Some(found) = linear(&own.into_dyn(), &other.into_dyn(), error) {
        return Some(found);
    }
    for (axis, found) in [(0, Relation::RowsScaled), (1, Relation::ColumnsScaled)] {
        let lines = own.axis_iter(Axis(axis)).zip(other.axis_iter(Axis(axis)));
        let left: f64 = lines.map(|(own, other)| scale(own.iter().zip(&other)).1).sum();
        let size: f64 = other.iter().map(|value| f64::from(*value).powi(2)).sum();
        if error > NEAR && own.len_of(Axis(1 - axis)) > 1 && (left / size).sqrt() < NEAR {
            return Some(found);
        }
    }
    grid(other).filter(|_| error < RELATED).map(|(bits, block)| Relation::Quantised { bits, block, error })
}

/// One factor, or one number added, for all.
fn linear(own: &ArrayViewD<f32>, other: &ArrayViewD<f32>, error: f64) -> Option<Relation> {
    let (factor, left) = scale(own.iter().zip(other.iter()));
    let size: f64 = other.iter().map(|value| f64::from(*value).powi(2)).sum();
    if error > NEAR && size > 0.0 && (left / size).sqrt() < NEAR {
        return Some(Relation::Scaled(factor));
    }
    let count = own.len().max(1) as f64;
    let shift = own.iter().zip(other).map(|(own, other)| f64::from(*other) - f64::from(*own)).sum::<f64>() / count;
    let left: f64 =
        own.iter().zip(other).map(|(own, other)| (f64::from(*other) - f64::from(*own) - shift).powi(2)).sum();
    (error > NEAR && size > 0.0 && (left / size).sqrt() < NEAR).then_some(Relation::Shifted(shift))
}

/// The factor from the one to the other, and the squares that are left.
fn scale<'a>(pairs: impl Iterator<Item = (&'a f32, &'a f32)>) -> (f64, f64) {
    let (mut dot, mut own_size, mut size) = (0.0, 0.0, 0.0);
    for (own, other) in pairs {
        let (own, other) = (f64::from(*own), f64::from(*other));
        dot += own * other;
        own_size += own * own;
        size += other * other;
    }
    let factor = if own_size > 0.0 { dot / own_size } else { 0.0 };
    (factor, (size - factor * dot).max(0.0))
}

/// The bits and the block of a grid that the numbers stand on: of the fewest bits, the longest block.
fn grid(values: ArrayView2<f32>) -> Option<(u32, usize)> {
    const MOST: usize = 256;
    const BITS: [u32; 7] = [2, 3, 4, 5, 6, 7, 8];
    let width = values.ncols();
    let blocks = [width, 256, 128, 64, 32].into_iter().filter(|block| width.is_multiple_of(*block) && *block >= 16);
    let blocks: Vec<usize> = blocks.collect();
    let fits = |bits: u32, block: usize| {
        let rows =
            values.outer_iter().flat_map(|row| row.to_vec().chunks(block).map(<[f32]>::to_vec).collect::<Vec<_>>());
        let blocks: Vec<Vec<f32>> = rows.take(MOST).collect();
        !blocks.is_empty() && blocks.iter().all(|block| stands_on(block, bits))
    };
    BITS.iter().find_map(|bits| Some((*bits, blocks.iter().copied().find(|block| fits(*bits, *block))?)))
}

/// Whether numbers stand on a grid of so many bits, around zero or from their smallest on.
fn stands_on(block: &[f32], bits: u32) -> bool {
    // A scale is kept in 16 bits.
    const OFF: f64 = 0.1;
    let levels = f64::from(2u32.pow(bits - 1));
    let largest = block.iter().fold(0.0, |most: f64, value| most.max(f64::from(value.abs())));
    if largest == 0.0 {
        return true;
    }
    let (low, high) = block
        .iter()
        .fold((f64::MAX, f64::MIN), |(low, high), value| (low.min(f64::from(*value)), high.max(f64::from(*value))));
    let on = |from: f64, step: f64| {
        step > 0.0
            && block.iter().all(|value| {
                let level = (f64::from(*value) - from) / step;
                (level - level.round()).abs() < OFF
            })
    };
    on(0.0, largest / levels) || on(0.0, largest / (levels - 1.0)) || on(low, (high - low) / (2.0 * levels - 1.0))
}

#[cfg(test)]
mod tests {
    use ndarray::{Array2, ArrayD, Axis};

    use super::Relation;
    use crate::ops::{Pairs, Rounding};

    /// Numbers that are not alike.
    fn matrix(rows: usize, columns: usize) -> Array2<f32> {
        Array2::from_shape_fn((rows, columns), |(i, j)| ((i * 131 + j * 29 + i * j) as f32 * 0.7).sin())
    }

    fn of(other: Array2<f32>) -> Relation {
        let own = matrix(64, 64);
        Relation::of(&own.view().into_dyn(), &other.view().into_dyn(), Some(8))
    }

    #[test]
    fn a_matrix_is_told_from_what_converters_make_of_it() {
        let own = matrix(64, 64);
        let narrow = own.mapv(|value| {
            let mut word = [value];
            Rounding::Bf16.round(&mut word);
            word[0]
        });
        let adjacent: Vec<usize> = (0..64).map(|row| row / 8 * 8 + row % 2 * 4 + row % 8 / 2).collect();
        let halves: Vec<usize> = (0..64).map(|row| row / 8 * 8 + row % 4 * 2 + row % 8 / 4).collect();
        let mut zeros = own.clone();
        zeros.slice_axis_mut(Axis(0), (40..).into()).fill(0.0);
        let mut columns = own.clone();
        columns.slice_axis_mut(Axis(1), (48..).into()).fill(0.0);
        let by_row = Array2::from_shape_fn((64, 64), |(i, j)| own[[i, j]] * (1.0 + i as f32));
        let by_column = Array2::from_shape_fn((64, 64), |(i, j)| own[[i, j]] * (1.0 + j as f32));
        let mut few = own.clone();
        for mut row in few.outer_iter_mut() {
            for mut block in row.axis_chunks_iter_mut(Axis(0), 32) {
                let scale = block.iter().fold(0.0f32, |most, value| most.max(value.abs())) / 7.0;
                block.mapv_inplace(|value| (value / scale).round() * scale);
            }
        }
        let cases: [(Array2<f32>, Relation); 10] = [
            (own.clone(), Relation::Equal),
            (narrow, Relation::Rounded("bf16")),
            (own.t().to_owned(), Relation::Transposed),
            (own.select(Axis(0), &adjacent), Relation::Reordered(Pairs::Adjacent)),
            (own.select(Axis(0), &halves), Relation::Reordered(Pairs::Halves)),
            (zeros, Relation::ZeroFrom { axis: 0, from: 40 }),
            (columns, Relation::ZeroFrom { axis: 1, from: 48 }),
            (by_row, Relation::RowsScaled),
            (by_column, Relation::ColumnsScaled),
            (own.slice_axis(Axis(0), (..32).into()).to_owned(), Relation::Shape),
        ];
        for (other, relation) in cases {
            assert_eq!(of(other), relation);
        }
        assert!(matches!(of(own.mapv(|value| value * 1.5)), Relation::Scaled(factor) if (factor - 1.5).abs() < 1e-5));
        assert!(matches!(of(own.mapv(|value| value + 1.0)), Relation::Shifted(by) if (by - 1.0).abs() < 1e-5));
        assert!(matches!(of(few), Relation::Quantised { bits: 4, block: 32, .. }));
        assert!(matches!(of(matrix(64, 64).mapv(|value| (value * 37.0).cos())), Relation::Differs(_)));
    }

    #[test]
    fn norms_and_biases_are_compared_too() {
        let own = ArrayD::from_shape_fn(vec![16], |at| 1.0 + (at[0] as f32 * 0.3).sin());
        let less = own.mapv(|value| value - 1.0);
        let relation = Relation::of(&less.view(), &own.view(), None);
        assert!(matches!(relation, Relation::Shifted(by) if (by - 1.0).abs() < 1e-5), "{relation:?}");
    }
}
