//! How the numbers of an array are distributed: bins, powers of two, percentiles. All are exact, in three passes.

use ndarray::ArrayViewD;
use rayon::iter::ParallelIterator;
use rayon::slice::ParallelSlice;

/// The shares whose percentiles are taken.
pub const SHARES: [f64; 7] = [0.0, 0.01, 0.25, 0.5, 0.75, 0.99, 1.0];

/// More bins than this are not made.
const MOST_BINS: usize = 1024;

/// The distribution of an array's numbers.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Histogram {
    /// Elements.
    pub count: usize,
    /// Elements that are 0.
    pub zeros: usize,
    /// Elements that are NaN.
    pub nan: usize,
    /// Elements that are +inf.
    pub positive_infinite: usize,
    /// Elements that are -inf: masked scores.
    pub negative_infinite: usize,
    /// Finite elements per bin, from the least to the largest; one bin where all are the same.
    pub counts: Vec<usize>,
    /// Bin `i` is from `edges[i]` to below `edges[i + 1]`, the last one to its end.
    pub edges: Vec<f64>,
    /// Finite elements other than 0 per bin of their magnitudes.
    pub magnitudes: Vec<usize>,
    /// Bin `i` is from `2^exponents[i]` to below `2^exponents[i + 1]`; -127 stands for all that is below `2^-126`.
    pub exponents: Vec<i32>,
    /// Of the finite elements, at [`SHARES`]: element `round(share (n - 1))` in their order. `None` where there are none.
    pub percentiles: Option<[f64; 7]>,
}

/// The distribution of `values` in at most `bins` bins.
pub fn histogram(values: ArrayViewD<f32>, bins: usize) -> Histogram {
    let values = values.as_standard_layout();
    let values = values.as_slice().expect("standard layout");
    let bins = bins.min(MOST_BINS);
    let extremes = values.par_chunks(CHUNK).map(Extremes::of).reduce(Extremes::default, Extremes::and);
    let Extremes { least, largest, zeros, nan, infinite: [positive_infinite, negative_infinite] } = extremes;
    let mut made =
        Histogram { count: values.len(), zeros, nan, positive_infinite, negative_infinite, ..Histogram::default() };
    let finite = made.count - nan - positive_infinite - negative_infinite;
    if finite == 0 {
        return made;
    }
    let (least, largest) = (f64::from(least), f64::from(largest));
    let bins_made = if least < largest { bins } else { bins.min(1) };
    let scale = if least < largest { bins_made as f64 / (largest - least) } else { 0.0 };
    let bin = |value: f32| (((f64::from(value) - least) * scale) as usize).min(bins_made - 1);
    let count = |(mut linear, mut buckets): (Vec<usize>, Vec<usize>), values: &[f32]| {
        // Zeros are counted already; in a row, as under a mask, each would wait for the one before.
        for value in values.iter().filter(|value| **value != 0.0) {
            buckets[(order(*value) >> 16) as usize] += 1;
            if value.is_finite() && bins_made > 0 {
                linear[bin(*value)] += 1;
            }
        }
        (linear, buckets)
    };
    let none = || (vec![0; bins_made], vec![0; BUCKETS]);
    let both = |a: (Vec<usize>, Vec<usize>), b: (Vec<usize>, Vec<usize>)| (sum(a.0, &b.0), sum(a.1, &b.1));
    let (mut linear, mut buckets) = values.par_chunks(CHUNK).fold(none, count).reduce(none, both);
    if zeros > 0 {
        buckets[(order(0.0) >> 16) as usize] += zeros;
        if bins_made > 0 {
            linear[bin(0.0)] += zeros;
        }
    }
    made.counts = linear;
    if bins_made > 0 {
        let edge =
            |bin: usize| if bin == bins_made { largest } else { least + bin as f64 / scale.max(f64::MIN_POSITIVE) };
        made.edges = if scale > 0.0 { (0..=bins_made).map(edge).collect() } else { vec![least, largest] };
    }
    (made.exponents, made.magnitudes) = octaves(&buckets, zeros, bins);
    made.percentiles = Some(percentiles(values, &buckets, zeros, finite, [least, largest]));
    made
}

/// Elements handled by one task: fixed, and so many that adding up the tasks' counts is nothing beside them.
const CHUNK: usize = 1 << 20;

/// Numbers that share their upper 16 bits are in one bucket.
const BUCKETS: usize = 1 << 16;

/// A number that is in the order of the values: -NaN, -inf, ... -0, 0, ... inf, NaN.
fn order(value: f32) -> u32 {
    let bits = value.to_bits();
    if bits >> 31 == 0 { bits | (1 << 31) } else { !bits }
}

/// The value of an [`order`].
fn value(order: u32) -> f32 {
    f32::from_bits(if order >> 31 == 0 { !order } else { order & !(1 << 31) })
}

fn sum(mut a: Vec<usize>, b: &[usize]) -> Vec<usize> {
    a.iter_mut().zip(b).for_each(|(a, b)| *a += b);
    a
}

/// What has to be known before bins can be made.
struct Extremes {
    least: f32,
    largest: f32,
    zeros: usize,
    nan: usize,
    infinite: [usize; 2],
}

impl Default for Extremes {
    fn default() -> Self {
        Self { least: f32::INFINITY, largest: f32::NEG_INFINITY, zeros: 0, nan: 0, infinite: [0; 2] }
    }
}

impl Extremes {
    fn of(values: &[f32]) -> Self {
        let mut found = Self::default();
        // Counts of 32 bits are enough for a chunk, and as wide as the values: a loop that becomes vector code.
        let [mut zeros, mut nan, mut positive, mut negative] = [0u32; 4];
        pulp::Arch::new().dispatch(
            #[inline(always)]
            || {
                for value in values.iter().copied() {
                    let finite = value.abs() < f32::INFINITY;
                    let (low, high) = if finite { (value, value) } else { (f32::INFINITY, f32::NEG_INFINITY) };
                    found.least = if low < found.least { low } else { found.least };
                    found.largest = if high > found.largest { high } else { found.largest };
                    zeros = zeros.wrapping_add(u32::from(value == 0.0));
                    nan = nan.wrapping_add(u32::from(value.is_nan()));
                    positive = positive.wrapping_add(u32::from(value == f32::INFINITY));
                    negative = negative.wrapping_add(u32::from(value == f32::NEG_INFINITY));
                }
            },
        );
        (found.zeros, found.nan) = (zeros as usize, nan as usize);
        found.infinite = [positive as usize, negative as usize];
        found
    }

    fn and(self, other: Self) -> Self {
        Self {
            least: self.least.min(other.least),
            largest: self.largest.max(other.largest),
            zeros: self.zeros + other.zeros,
            nan: self.nan + other.nan,
            infinite: [self.infinite[0] + other.infinite[0], self.infinite[1] + other.infinite[1]],
        }
    }
}

/// Powers of two in at most `bins` bins of one width, from the least to the largest that there is.
fn octaves(buckets: &[usize], zeros: usize, bins: usize) -> (Vec<i32>, Vec<usize>) {
    // Sign, exponent and seven bits more make a bucket; the last exponent is that of infinity and NaN.
    let mut octaves = vec![0usize; 255];
    for (bucket, count) in buckets.iter().enumerate() {
        let exponent = (value((bucket as u32) << 16).to_bits() >> 23 & 0xff) as usize;
        if let Some(octave) = octaves.get_mut(exponent) {
            *octave += count;
        }
    }
    octaves[0] -= zeros;
    let there = |octave: &usize| *octave > 0;
    let (Some(first), Some(last)) = (octaves.iter().position(there), octaves.iter().rposition(there)) else {
        return Default::default();
    };
    if bins == 0 {
        return Default::default();
    }
    let width = (last + 1 - first).div_ceil(bins);
    let magnitudes: Vec<usize> = octaves[first..=last].chunks(width).map(|octaves| octaves.iter().sum()).collect();
    let edge = |bin: usize| (first + bin * width).cast_signed() as i32 - 127;
    ((0..=magnitudes.len()).map(edge).collect(), magnitudes)
}

/// The zeros of `values`, of either sign, are where +0 is.
fn percentiles(values: &[f32], buckets: &[usize], zeros: usize, finite: usize, ends: [f64; 2]) -> [f64; 7] {
    // Infinities and NaN have buckets of their own, on both ends.
    let first = (order(f32::NEG_INFINITY) >> 16) as usize + 1;
    let place = |share: &f64| {
        let mut rank = (share * (finite - 1) as f64).round() as usize;
        let mut bucket = first;
        while rank >= buckets[bucket] {
            rank -= buckets[bucket];
            bucket += 1;
        }
        (bucket as u32, rank)
    };
    let places: Vec<(u32, usize)> = SHARES[1..6].iter().map(place).collect();
    let mut wanted: Vec<u32> = places.iter().map(|(bucket, _)| *bucket).collect();
    wanted.dedup();
    // The lower 16 bits of what is in the buckets that are wanted.
    let count = |mut lower: Vec<usize>, values: &[f32]| {
        for order in values.iter().filter(|value| **value != 0.0).map(|value| order(*value)) {
            if let Some(index) = wanted.iter().position(|bucket| *bucket == order >> 16) {
                lower[index * BUCKETS + (order & 0xffff) as usize] += 1;
            }
        }
        lower
    };
    let none = || vec![0; wanted.len() * BUCKETS];
    let mut lower = values.par_chunks(CHUNK).fold(none, count).reduce(none, |a, b| sum(a, &b));
    if let Some(index) = wanted.iter().position(|bucket| *bucket == order(0.0) >> 16) {
        lower[index * BUCKETS + (order(0.0) & 0xffff) as usize] += zeros;
    }
    let exact = |(bucket, rank): (u32, usize)| {
        let mut rank = rank;
        let index = wanted.iter().position(|wanted| *wanted == bucket).unwrap_or_default();
        let mut low = 0;
        while rank >= lower[index * BUCKETS + low] {
            rank -= lower[index * BUCKETS + low];
            low += 1;
        }
        // Without the sign of a zero.
        f64::from(value((bucket << 16) | low as u32)) + 0.0
    };
    let middle: Vec<f64> = places.into_iter().map(exact).collect();
    [ends[0], middle[0], middle[1], middle[2], middle[3], middle[4], ends[1]]
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::{Array1, ArrayD, array};

    #[test]
    fn bins_calculated_by_hand() {
        let values = array![[0.0f32, -1.0, 3.0, 1.0], [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 0.75]].into_dyn();
        let made = histogram(values.view(), 4);
        assert_eq!((made.count, made.zeros, made.nan), (8, 1, 1));
        assert_eq!((made.positive_infinite, made.negative_infinite), (1, 1));
        assert_eq!((made.edges, made.counts), (vec![-1.0, 0.0, 1.0, 2.0, 3.0], vec![1, 2, 1, 1]));
        // 0.75 is in the octave of 2^-1; 1 and -1 in that of 2^0; 3 in that of 2^1.
        assert_eq!((made.exponents, made.magnitudes), (vec![-1, 0, 1, 2], vec![1, 2, 1]));
        assert_eq!(made.percentiles, Some([-1.0, -1.0, 0.0, 0.75, 1.0, 3.0, 3.0]));
        let two = histogram(values.view(), 2);
        assert_eq!((two.exponents, two.magnitudes), (vec![-1, 1, 3], vec![3, 1]));
    }

    #[test]
    fn edges_of_what_can_be_there() {
        let empty = histogram(ArrayD::zeros(vec![0, 3]).view(), 8);
        assert_eq!(empty, Histogram::default());
        let nothing = histogram(array![f32::NAN, f32::NEG_INFINITY].into_dyn().view(), 8);
        assert_eq!((nothing.nan, nothing.counts.len(), nothing.percentiles), (1, 0, None));
        let same = histogram(array![2.5f32, 2.5, 2.5].into_dyn().view(), 8);
        assert_eq!((same.counts, same.edges, same.percentiles), (vec![3], vec![2.5, 2.5], Some([2.5; 7])));
        assert_eq!(histogram(array![1.0f32, 2.0].into_dyn().view(), 0).counts, Vec::<usize>::new());
        let wide = histogram(array![f32::MIN, f32::MAX, 1e-45, -0.0].into_dyn().view(), usize::MAX);
        assert_eq!((wide.counts.len(), wide.counts.iter().sum::<usize>(), wide.zeros), (1024, 4, 1));
        assert_eq!((wide.exponents[0], wide.magnitudes[0], wide.magnitudes.iter().sum::<usize>()), (-127, 1, 3));
    }

    #[test]
    fn percentiles_are_those_of_a_sort() {
        let numbers =
            |seed: u32| (0..30_011u32).map(move |n| (n.wrapping_mul(2_654_435_761) ^ seed) as f32 * 1e-9 - 2.0);
        for (seed, tie) in [(1, false), (7, true)] {
            let values: Array1<f32> = numbers(seed).map(|value| if tie { value.round() } else { value }).collect();
            let mut sorted: Vec<f32> = values.to_vec();
            sorted.sort_by(f32::total_cmp);
            let at = SHARES.map(|share| f64::from(sorted[(share * 30_010.0).round() as usize]));
            let made = histogram(values.into_dyn().view(), 10);
            assert_eq!(made.percentiles, Some(at));
            assert_eq!(made.counts.iter().sum::<usize>(), 30_011);
        }
    }
}
