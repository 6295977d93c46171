//! What one array looks like.

use ndarray::ArrayViewD;
use rayon::iter::ParallelIterator;
use rayon::slice::ParallelSlice;

use super::compare::index_of_lane;

/// Statistics of the finite elements, and a count of the others.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Summary {
    /// Number of elements.
    pub count: usize,
    /// Number of finite ones, which all figures below are about.
    pub finite: usize,
    /// Smallest.
    pub min: f64,
    /// Largest.
    pub max: f64,
    /// Mean.
    pub mean: f64,
    /// Root mean square.
    pub rms: f64,
    /// Largest absolute value, with its index.
    pub absmax: Option<(f64, Vec<usize>)>,
    /// Elements that are NaN.
    pub nan: usize,
    /// Elements that are +inf.
    pub positive_infinite: usize,
    /// Elements that are -inf: masked scores.
    pub negative_infinite: usize,
}

/// Elements handled by one task: fixed, so that the sums do not depend on the number of threads.
const CHUNK: usize = 1 << 16;

/// Partial sums kept side by side: the same sums on every machine.
const LANES: usize = 16;

/// Describes an array.
///
/// # Panics
/// When the array has no axes.
pub fn summarise(values: ArrayViewD<f32>) -> Summary {
    let shape = values.shape().to_vec();
    let values = values.as_standard_layout();
    let values = values.as_slice().expect("standard layout");
    // To wake another thread takes longer than to describe one chunk.
    let parts: Vec<Part> = match values.len() {
        ..=CHUNK => vec![Part::of(values)],
        _ => values.par_chunks(CHUNK).map(Part::of).collect(),
    };
    let all = parts.iter().fold(Part::default(), Part::and);
    let infinite = all.positive_infinite + all.negative_infinite;
    let finite = values.len() - all.nan - infinite;
    let counts = Summary {
        count: values.len(),
        finite,
        nan: all.nan,
        positive_infinite: all.positive_infinite,
        negative_infinite: all.negative_infinite,
        ..Summary::default()
    };
    if finite == 0 {
        return Summary { min: f64::NAN, max: f64::NAN, mean: f64::NAN, rms: f64::NAN, ..counts };
    }
    let largest = all.magnitude();
    // The first of several.
    let chunk = parts.iter().position(|part| part.magnitude() == largest).unwrap_or_default();
    let within = values.chunks(CHUNK).nth(chunk).and_then(|values| values.iter().position(|v| v.abs() == largest));
    let place = chunk * CHUNK + within.unwrap_or_default();
    let columns = shape.last().copied().unwrap_or(1);
    Summary {
        min: f64::from(all.least),
        max: f64::from(all.largest),
        mean: all.sum / finite as f64,
        rms: (all.squares / finite as f64).sqrt(),
        absmax: Some((f64::from(largest), index_of_lane(place / columns, place % columns, &shape))),
        ..counts
    }
}

/// What is known of some elements.
#[derive(Clone, Copy)]
struct Part {
    sum: f64,
    squares: f64,
    least: f32,
    largest: f32,
    nan: usize,
    positive_infinite: usize,
    negative_infinite: usize,
}

impl Default for Part {
    fn default() -> Self {
        let (least, largest) = (f32::INFINITY, f32::NEG_INFINITY);
        Self { sum: 0.0, squares: 0.0, least, largest, nan: 0, positive_infinite: 0, negative_infinite: 0 }
    }
}

impl Part {
    fn of(values: &[f32]) -> Self {
        let (mut sum, mut squares) = ([0.0f64; LANES], [0.0f64; LANES]);
        let (mut least, mut largest) = ([f32::INFINITY; LANES], [f32::NEG_INFINITY; LANES]);
        // Counts of 32 bits are enough for a chunk, and as wide as the values: a loop that becomes vector code.
        let [mut nan, mut positive, mut negative] = [[0u32; LANES]; 3];
        pulp::Arch::new().dispatch(
            #[inline(always)]
            || {
                let mut add = |lane: usize, value: f32| {
                    let finite = value.abs() < f32::INFINITY;
                    let (low, high) = if finite { (value, value) } else { (f32::INFINITY, f32::NEG_INFINITY) };
                    let exact = f64::from(if finite { value } else { 0.0 });
                    sum[lane] += exact;
                    squares[lane] += exact * exact;
                    least[lane] = if low < least[lane] { low } else { least[lane] };
                    largest[lane] = if high > largest[lane] { high } else { largest[lane] };
                    nan[lane] += u32::from(value.is_nan());
                    positive[lane] += u32::from(value == f32::INFINITY);
                    negative[lane] += u32::from(value == f32::NEG_INFINITY);
                };
                // Of a length that is known, a row of lanes becomes a few vectors.
                let (rows, rest) = values.as_chunks::<LANES>();
                for row in rows {
                    for (lane, value) in row.iter().enumerate() {
                        add(lane, *value);
                    }
                }
                for (lane, value) in rest.iter().enumerate() {
                    add(lane, *value);
                }
            },
        );
        let count = |lanes: [u32; LANES]| lanes.iter().map(|count| *count as usize).sum();
        Self {
            sum: sum.iter().sum(),
            squares: squares.iter().sum(),
            least: least.iter().copied().fold(f32::INFINITY, f32::min),
            largest: largest.iter().copied().fold(f32::NEG_INFINITY, f32::max),
            nan: count(nan),
            positive_infinite: count(positive),
            negative_infinite: count(negative),
        }
    }

    fn and(self, other: &Self) -> Self {
        Self {
            sum: self.sum + other.sum,
            squares: self.squares + other.squares,
            least: self.least.min(other.least),
            largest: self.largest.max(other.largest),
            nan: self.nan + other.nan,
            positive_infinite: self.positive_infinite + other.positive_infinite,
            negative_infinite: self.negative_infinite + other.negative_infinite,
        }
    }

    /// The largest magnitude of what is finite; -inf where nothing is.
    fn magnitude(&self) -> f32 {
        self.largest.max(-self.least)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    #[test]
    fn specials_are_counted_apart() {
        let s = summarise(array![[3.0f32, f32::NAN], [f32::NEG_INFINITY, -4.0]].into_dyn().view());
        assert_eq!((s.count, s.finite, s.nan, s.negative_infinite), (4, 2, 1, 1));
        assert_eq!((s.min, s.max, s.mean), (-4.0, 3.0, -0.5));
        assert_eq!(s.rms, 12.5f64.sqrt());
        assert_eq!(s.absmax, Some((4.0, vec![1, 1])));
    }

    #[test]
    fn large_arrays_are_summarised_as_by_hand() {
        let value =
            |i: usize| [0.5, -2.0, 0.0, 1.25, f32::NAN][i % 5] * if i == 130_001 || i == 140_001 { 2.0 } else { 1.0 };
        let values = ndarray::Array3::from_shape_fn((3, 500, 101), |(a, b, c)| value((a * 500 + b) * 101 + c));
        let finite: Vec<f64> = values.iter().filter(|v| v.is_finite()).map(|v| f64::from(*v)).collect();
        let s = summarise(values.view().into_dyn());
        assert_eq!((s.count, s.finite, s.nan), (151_500, finite.len(), 30_300));
        assert_eq!((s.min, s.max), (-4.0, 1.25));
        assert_eq!(s.mean, finite.iter().sum::<f64>() / finite.len() as f64);
        assert_eq!(s.rms, (finite.iter().map(|v| v * v).sum::<f64>() / finite.len() as f64).sqrt());
        // The first of two.
        assert_eq!(s.absmax, Some((4.0, vec![2, 287, 14])));
        let turned = summarise(values.view().permuted_axes([2, 1, 0]).into_dyn());
        assert_eq!((turned.rms, turned.absmax), (s.rms, Some((4.0, vec![14, 287, 2]))));
    }

    #[test]
    fn an_empty_array_has_no_figures() {
        let s = summarise(ndarray::ArrayD::zeros(vec![0, 3]).view());
        assert!(s.mean.is_nan() && s.absmax.is_none());
    }
}
