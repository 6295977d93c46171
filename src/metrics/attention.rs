//! What an attention pattern does, in numbers: how spread it is, and how much of it goes to a few places that matter.
//!
//! Entropies of heads as in Clark et al., arXiv 1906.04341; the first key as a sink, Xiao et al., arXiv 2309.17453; heads
//! that look at the token before, Elhage et al., "A Mathematical Framework for Transformer Circuits" (2021); at the token
//! behind an earlier occurrence of the query's, Olsson et al., "In-context Learning and Induction Heads" (2022); at the
//! occurrence itself, Wang et al., arXiv 2211.00593.

use ndarray::{ArrayView1, ArrayView2};

use crate::ops::Mask;

/// One head. All are means over the queries that have a choice, those that see two keys or more; NaN where there are none.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct HeadNumbers {
    /// `-Σ p ln p`, in nats.
    pub entropy: f64,
    /// The entropy over `ln n`, the most that it can be with `n` keys seen: 0 is one key, 1 is all of them alike.
    pub spread: f64,
    /// The probability of key 0, over the queries that see it.
    pub sink: f64,
    /// The probability of the query's own token.
    pub own: f64,
    /// The probability of the token before it.
    pub previous: f64,
    /// The probability of earlier tokens that are the same as the query's, over the queries that see one.
    pub duplicate: f64,
    /// The probability of the tokens behind earlier ones that are the same as the query's, over the queries that see one.
    pub induction: f64,
}

/// The numbers of one head, from its probabilities `[query, key]`; `rows` are the queries to look at, `ids` the tokens by
/// position. A number that is no probability, NaN or less than zero, makes them NaN.
pub fn head_numbers(probs: ArrayView2<f32>, rows: &[usize], mask: Mask, ids: &[u32]) -> HeadNumbers {
    let keys = probs.ncols();
    let (mut entropy, mut spread) = (Mean::default(), Mean::default());
    let (mut sink, mut own, mut previous) = (Mean::default(), Mean::default(), Mean::default());
    let (mut duplicate, mut induction) = (Mean::default(), Mean::default());
    for row in rows.iter().copied().filter(|row| *row < probs.nrows()) {
        let (position, seen) = (mask.first + row, mask.seen(row, keys));
        if seen.len() < 2 {
            continue;
        }
        let values = probs.row(row);
        let inside = values.slice(ndarray::s![seen.clone()]);
        let hidden = [values.slice(ndarray::s![..seen.start]), values.slice(ndarray::s![seen.end..])];
        // What a mask has let through counts as well; as a rule it is all zeros, which are quick to see.
        let leaks = hidden.iter().any(|hidden| with_slice(*hidden, |hidden| !is_zero(hidden)));
        let nats = with_slice(if leaks { values } else { inside }, row_entropy);
        entropy.add(nats);
        spread.add(nats / (seen.len() as f64).ln());
        let mass = |mean: &mut Mean, key: usize| {
            if seen.contains(&key) {
                mean.add(f64::from(values[key]));
            }
        };
        mass(&mut sink, 0);
        mass(&mut own, position);
        mass(&mut previous, position.wrapping_sub(1));
        let before = &ids[..position.min(ids.len())];
        let same = || before.iter().enumerate().filter(|(_, id)| ids.get(position) == Some(id)).map(|(key, _)| key);
        let all = |mean: &mut Mean, keys: &mut dyn Iterator<Item = usize>| {
            let of_each = keys.filter(|key| *key < position && seen.contains(key)).map(|key| f64::from(values[key]));
            let (sum, count) = of_each.fold((0.0, 0), |(sum, count), p| (sum + p, count + 1));
            if count > 0 {
                mean.add(sum);
            }
        };
        all(&mut duplicate, &mut same());
        all(&mut induction, &mut same().map(|key| key + 1));
    }
    HeadNumbers {
        entropy: entropy.of(),
        spread: spread.of(),
        sink: sink.of(),
        own: own.of(),
        previous: previous.of(),
        duplicate: duplicate.of(),
        induction: induction.of(),
    }
}

/// The largest `|a - b|` of two planes of one shape, with its row and column; `rows` are those to look at. Equal
/// infinities are no difference; what is not a number on one side only differs without bound. `None`: there is none.
///
/// # Panics
/// When the shapes differ.
pub fn largest_difference(a: ArrayView2<f32>, b: ArrayView2<f32>, rows: &[usize]) -> Option<(f64, (usize, usize))> {
    assert_eq!(a.dim(), b.dim(), "compared planes have one shape");
    let mut largest = None;
    let mut most = 0.0f64;
    for row in rows.iter().copied().filter(|row| *row < a.nrows()) {
        let (a, b) = (a.row(row), b.row(row));
        let here = with_slice(a, |a| with_slice(b, |b| largest_of(a, b)));
        if here > most {
            most = here;
            let column = a.iter().zip(b).position(|(a, b)| distance(*a, *b) == here);
            largest = column.map(|column| (here, (row, column)));
        }
    }
    largest
}

#[derive(Default)]
struct Mean {
    sum: f64,
    count: usize,
}

impl Mean {
    fn add(&mut self, value: f64) {
        self.sum += value;
        self.count += 1;
    }

    fn of(&self) -> f64 {
        self.sum / self.count as f64
    }
}

/// `work` on the numbers of a lane, copied where they do not lie side by side.
fn with_slice<R>(lane: ArrayView1<f32>, work: impl FnOnce(&[f32]) -> R) -> R {
    match lane.as_slice() {
        Some(slice) => work(slice),
        None => work(&lane.to_vec()),
    }
}

fn is_zero(values: &[f32]) -> bool {
    // Without the sign: -0 is zero, too.
    pulp::Arch::new().dispatch(
        #[inline(always)]
        || values.iter().fold(0, |all, value| all | (value.to_bits() << 1)) == 0,
    )
}

/// Partial sums kept side by side: the same sums on every machine.
const LANES: usize = 16;

/// Terms that wait to be added up: computed in one loop and added in another, both become vector code.
const TERMS: usize = 256;

/// `-Σ p ln p`, the terms in f32, as precise as the probabilities are, and their sum in f64.
fn row_entropy(values: &[f32]) -> f64 {
    pulp::Arch::new().dispatch(
        #[inline(always)]
        || {
            let (mut sums, mut last) = ([0.0f64; LANES], 0.0f64);
            let mut terms = [0.0f32; TERMS];
            for values in values.chunks(TERMS) {
                let terms = &mut terms[..values.len()];
                for (term, p) in terms.iter_mut().zip(values) {
                    *term = surprise(*p);
                }
                let (blocks, rest) = terms.as_chunks::<LANES>();
                for block in blocks {
                    for lane in 0..LANES {
                        sums[lane] += f64::from(block[lane]);
                    }
                }
                last += rest.iter().map(|term| f64::from(*term)).sum::<f64>();
            }
            sums.iter().sum::<f64>() + last
        },
    )
}

/// `-p ln p`, 0 for 0 and NaN below, to 4e-7 of it; without branches, for vector code. The argument is `2^k m` with `m`
/// between the roots of 1/2 and 2, and `ln m = 2 artanh((m - 1) / (m + 1))`.
#[inline(always)]
fn surprise(p: f32) -> f32 {
    const ROOT_OF_HALF: u32 = 0x3f35_04f3;
    let bits = p.to_bits().wrapping_add(0x3f80_0000 - ROOT_OF_HALF);
    let exponent = (bits >> 23).cast_signed().wrapping_sub(127) as f32;
    let m = f32::from_bits((bits & 0x007f_ffff).wrapping_add(ROOT_OF_HALF));
    let s = (m - 1.0) / (m + 1.0);
    let z = s * s;
    let series = [1.0 / 7.0, 1.0 / 5.0, 1.0 / 3.0, 1.0];
    let artanh = s * series.iter().fold(1.0 / 9.0, |sum, factor| sum * z + factor);
    let ln = exponent * std::f32::consts::LN_2 + 2.0 * artanh;
    let p = if p < 0.0 { f32::NAN } else { p };
    -p * ln
}

fn largest_of(a: &[f32], b: &[f32]) -> f64 {
    pulp::Arch::new().dispatch(
        #[inline(always)]
        || {
            let mut largest = [0.0f64; LANES];
            let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<LANES>(), b.as_chunks::<LANES>());
            let larger = |a: f64, b: f64| if b > a { b } else { a };
            for (a, b) in a.iter().zip(b) {
                for lane in 0..LANES {
                    largest[lane] = larger(largest[lane], distance(a[lane], b[lane]));
                }
            }
            let rest = a_rest.iter().zip(b_rest).map(|(a, b)| distance(*a, *b));
            largest.iter().copied().chain(rest).fold(0.0, larger)
        },
    )
}

#[inline(always)]
#[expect(clippy::inline_always, reason = "inside `dispatch` it becomes vector code only when inlined")]
fn distance(a: f32, b: f32) -> f64 {
    let apart = (f64::from(a) - f64::from(b)).abs();
    let same = a == b || (a.is_nan() && b.is_nan());
    let apart = if apart.is_nan() { f64::INFINITY } else { apart };
    if same { 0.0 } else { apart }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::{Array2, array};

    fn close(a: f64, b: f64) -> bool {
        (a - b).abs() < 1e-6
    }

    #[test]
    fn numbers_calculated_by_hand() {
        let probs = array![[1.0f32, 0.0, 0.0], [0.5, 0.5, 0.0], [0.25, 0.5, 0.25]];
        let numbers = head_numbers(probs.view(), &[0, 1, 2], Mask::causal(0, None), &[]);
        // The first query has no choice: ln 2 and 1.5 ln 2 are left.
        let ln2 = 2.0f64.ln();
        assert!(close(numbers.entropy, 1.25 * ln2), "{numbers:?}");
        assert!(close(numbers.spread, f64::midpoint(1.0, 1.5 * ln2 / 3.0f64.ln())), "{numbers:?}");
        assert_eq!((numbers.sink, numbers.own, numbers.previous), (0.375, 0.375, 0.5));
        let last = head_numbers(probs.view(), &[2], Mask::causal(0, None), &[]);
        assert_eq!((last.sink, last.own, last.previous), (0.25, 0.25, 0.5));
        let none = head_numbers(probs.view(), &[0], Mask::causal(0, None), &[]);
        assert!(none.entropy.is_nan() && none.sink.is_nan());
    }

    #[test]
    fn tokens_that_come_again() {
        // a b a b: the third looks back at the first a (0.5) and at what came after it (0.25), the fourth at the first b and
        // at the a behind it.
        let probs =
            array![[1.0f32, 0.0, 0.0, 0.0], [0.5, 0.5, 0.0, 0.0], [0.5, 0.25, 0.25, 0.0], [0.0, 0.25, 0.75, 0.0]];
        let numbers = head_numbers(probs.view(), &[0, 1, 2, 3], Mask::causal(0, None), &[7, 8, 7, 8]);
        assert_eq!((numbers.duplicate, numbers.induction), (0.375, 0.5));
        let none = head_numbers(probs.view(), &[0, 1, 2, 3], Mask::causal(0, None), &[1, 2, 3, 4]);
        assert!(none.duplicate.is_nan() && none.induction.is_nan());
        // Behind a token that comes twice in a row stands only the query itself.
        let twice = head_numbers(probs.view(), &[0, 1], Mask::causal(0, None), &[7, 7]);
        assert!(twice.duplicate == 0.5 && twice.induction.is_nan());
    }

    #[test]
    fn a_window_and_earlier_positions() {
        // One query at position 3 that sees keys 2 and 3.
        let probs = array![[0.0f32, 0.0, 0.75, 0.25]];
        let numbers = head_numbers(probs.view(), &[0], Mask::causal(3, Some(2)), &[]);
        assert!(numbers.sink.is_nan() && numbers.own == 0.25 && numbers.previous == 0.75);
        let nats = 0.75 * (4.0f64 / 3.0).ln() + 0.25 * 4.0f64.ln();
        assert!(close(numbers.entropy, nats) && close(numbers.spread, nats / 2.0f64.ln()));
    }

    #[test]
    fn what_a_mask_lets_through_counts_and_no_probability_is_nan() {
        let mask = Mask::causal(1, None);
        let all = head_numbers(array![[0.25f32, 0.25, 0.25, 0.25]].view(), &[0], mask, &[]);
        assert!(close(all.entropy, 4.0f64.ln()) && close(all.spread, 2.0), "{all:?}");
        for wrong in [f32::NAN, -0.5] {
            assert!(head_numbers(array![[0.5, wrong, 0.0]].view(), &[0], mask, &[]).entropy.is_nan());
        }
    }

    #[test]
    fn surprise_is_that_of_the_logarithm() {
        for n in 0..100_000u32 {
            let p = f32::from_bits(n * 10_650);
            let expected = -f64::from(p) * f64::from(p).ln();
            let apart = (f64::from(surprise(p)) - expected).abs();
            assert!(p < 1e-30 || apart <= 4e-7 * expected.abs(), "{p:e}: {apart:e}");
        }
        assert_eq!((surprise(0.0), surprise(1.0), surprise(-0.0)), (0.0, 0.0, 0.0));
        for length in [1, 16, 37, 256, 700] {
            let expected = length as f64 * 0.1 * 10.0f64.ln();
            assert!((row_entropy(&vec![0.1f32; length]) - expected).abs() < 1e-6 * expected, "{length}");
        }
    }

    #[test]
    fn differences_with_and_without_numbers() {
        let (inf, nan) = (f32::INFINITY, f32::NAN);
        let a = array![[1.0f32, -inf, nan], [0.5, 2.0, 3.0]];
        let b = array![[1.0f32, -inf, nan], [0.25, 2.0, 3.5]];
        assert_eq!(largest_difference(a.view(), b.view(), &[0]), None);
        assert_eq!(largest_difference(a.view(), b.view(), &[0, 1]), Some((0.5, (1, 2))));
        let c = array![[1.0f32, 0.0, nan], [0.5, 2.0, 3.0]];
        assert_eq!(largest_difference(a.view(), c.view(), &[0, 1]), Some((f64::INFINITY, (0, 1))));
        let mut long = Array2::zeros((2, 100));
        long[[1, 77]] = -3.0;
        assert_eq!(largest_difference(long.view(), Array2::zeros((2, 100)).view(), &[0, 1]), Some((3.0, (1, 77))));
    }
}
