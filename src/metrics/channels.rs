//! Channels that are far larger than the others.
//!
//! Outlier features, Dettmers et al., arXiv 2208.07339; massive activations, Sun et al., arXiv 2402.17762.

use ndarray::{ArrayView2, ArrayViewD, Axis};
use rayon::iter::{IntoParallelIterator, ParallelIterator};

/// One channel: an index of the last axis.
#[derive(Clone, Debug, PartialEq)]
pub struct Channel {
    /// Which.
    pub channel: usize,
    /// Its value of largest magnitude.
    pub value: f64,
    /// Where that is on the other axes.
    pub place: Vec<usize>,
    /// Its magnitude over that of the median channel: infinite where most channels are 0.
    pub ratio: f64,
}

/// The largest channels of an array, by the largest magnitude of each over all other axes, and the median of these
/// magnitudes. Only finite elements count; channels without any but zeros are not listed.
pub fn loudest_channels(values: ArrayViewD<f32>, count: usize) -> (Vec<Channel>, f64) {
    if values.is_empty() || values.ndim() == 0 {
        return (Vec::new(), f64::NAN);
    }
    let values = values.as_standard_layout();
    let shape = values.shape().to_vec();
    let (columns, rows) = (shape[shape.len() - 1], values.len() / shape[shape.len() - 1]);
    let plane = values.view().into_shape_with_order((rows, columns)).expect("standard layout");
    let largest: Vec<f32> = magnitudes(plane);
    let median = *largest.clone().select_nth_unstable_by((columns - 1) / 2, f32::total_cmp).1;
    let channel = |channel: usize| {
        let column = plane.index_axis(Axis(1), channel);
        let row = column.iter().position(|value| value.abs() == largest[channel]).unwrap_or_default();
        let mut place = super::compare::index_of_lane(row, channel, &shape);
        place.pop();
        let (value, ratio) = (f64::from(column[row]), f64::from(largest[channel]) / f64::from(median));
        Channel { channel, value, place, ratio }
    };
    let loudest = super::top(&largest, count).into_iter().filter(|channel| largest[*channel] > 0.0);
    (loudest.map(channel).collect(), f64::from(median))
}

/// Rows handled by one task.
const ROWS: usize = 64;

/// The largest finite magnitude of each column.
fn magnitudes(plane: ArrayView2<f32>) -> Vec<f32> {
    let none = || vec![0.0f32; plane.ncols()];
    let of = |band: ArrayView2<f32>| {
        let mut largest = none();
        for row in band.rows() {
            let row = row.to_slice().expect("standard layout");
            pulp::Arch::new().dispatch(
                #[inline(always)]
                || {
                    for (largest, value) in largest.iter_mut().zip(row) {
                        let magnitude = value.abs();
                        // False for what is not finite, too.
                        let louder = magnitude > *largest && magnitude < f32::INFINITY;
                        *largest = if louder { magnitude } else { *largest };
                    }
                },
            );
        }
        largest
    };
    let bands: Vec<ArrayView2<f32>> = plane.axis_chunks_iter(Axis(0), ROWS).collect();
    bands.into_par_iter().map(of).reduce(none, |mut a, b| {
        a.iter_mut().zip(b).for_each(|(a, b)| *a = a.max(b));
        a
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::{Array3, ArrayD, array};

    #[test]
    fn channels_calculated_by_hand() {
        let (inf, nan) = (f32::INFINITY, f32::NAN);
        let values = array![[1.0f32, -8.0, nan, 0.5], [-2.0, 4.0, 1.0, -inf]].into_dyn();
        let (loudest, median) = loudest_channels(values.view(), 2);
        assert_eq!(median, 1.0);
        let first = Channel { channel: 1, value: -8.0, place: vec![0], ratio: 8.0 };
        assert_eq!(loudest, [first, Channel { channel: 0, value: -2.0, place: vec![1], ratio: 2.0 }]);
    }

    #[test]
    fn planes_and_long_arrays() {
        let mut values = Array3::zeros((2, 200, 3));
        values[[1, 150, 2]] = -5.0;
        let (loudest, median) = loudest_channels(values.into_dyn().view(), 9);
        assert_eq!(loudest, [Channel { channel: 2, value: -5.0, place: vec![1, 150], ratio: f64::INFINITY }]);
        assert_eq!(median, 0.0);
        let (none, median) = loudest_channels(ArrayD::zeros(vec![0, 3]).view(), 2);
        assert!(none.is_empty() && median.is_nan());
    }
}
