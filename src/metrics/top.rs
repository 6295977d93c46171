//! The largest of many numbers, and the rank of one.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// The places of the `count` largest of `values`, largest first; of equal ones the earlier. NaN is passed over.
pub fn top(values: &[f32], count: usize) -> Vec<usize> {
    // The least of those kept stands first: nearly every value is refused by one comparison.
    let mut kept: BinaryHeap<Reverse<(Ordered, Reverse<usize>)>> = BinaryHeap::new();
    let mut least = f32::NEG_INFINITY;
    for (place, value) in values.iter().enumerate() {
        let full = kept.len() >= count;
        if count == 0 || value.is_nan() || (full && *value <= least) {
            continue;
        }
        if full {
            kept.pop();
        }
        kept.push(Reverse((Ordered(*value), Reverse(place))));
        least = kept.peek().map_or(least, |Reverse((Ordered(value), _))| *value);
    }
    kept.into_sorted_vec().into_iter().map(|Reverse((_, Reverse(place)))| place).collect()
}

/// The rank of the number at `place`: one more than there are larger ones.
pub fn rank(values: &[f32], place: usize) -> usize {
    let value = values[place];
    1 + values.iter().filter(|other| **other > value).count()
}

/// A number that is not NaN, and zeros of either sign are one.
#[derive(Clone, Copy, PartialEq)]
struct Ordered(f32);

impl Eq for Ordered {}

impl PartialOrd for Ordered {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Ordered {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.partial_cmp(&other.0).unwrap_or(std::cmp::Ordering::Equal)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_come_first() {
        let values = [3.0, f32::NAN, 5.0, -1.0, 5.0, f32::NEG_INFINITY, 0.0, -0.0];
        assert_eq!(top(&values, 3), [2, 4, 0]);
        assert_eq!(top(&values, 5), [2, 4, 0, 6, 7]);
        assert_eq!(top(&values, usize::MAX), [2, 4, 0, 6, 7, 3, 5]);
        assert_eq!(top(&values, 0), Vec::<usize>::new());
        assert_eq!((rank(&values, 2), rank(&values, 4), rank(&values, 0), rank(&values, 5)), (1, 1, 3, 7));
    }

    #[test]
    fn as_a_sort_has_it() {
        let values: Vec<f32> = (0..500u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 26) as f32 - 30.0).collect();
        let mut sorted: Vec<usize> = (0..values.len()).collect();
        sorted.sort_by(|a, b| values[*b].total_cmp(&values[*a]).then(a.cmp(b)));
        for count in [1, 2, 7, 100, 500] {
            assert_eq!(top(&values, count), sorted[..count], "{count}");
        }
    }
}
