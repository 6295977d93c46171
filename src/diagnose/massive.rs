//! Massive activations: a few channels a hundred to ten thousand times the median, usually at the first token. They
//! dominate every norm, cosine included, so errors are said without them, too.
//!
//! Sun et al., *Massive Activations in Large Language Models*, arXiv 2402.17762.

use super::part::Part;

/// What was seen of them in the blocks' outputs.
#[derive(Clone, Debug, Default)]
pub struct Massive {
    blocks: usize,
    /// The block with the largest one.
    largest: Option<Largest>,
}

#[derive(Clone, Debug)]
struct Largest {
    name: String,
    size: f64,
    token: usize,
    channel: usize,
    /// Relative L2 error of the block, with them and without.
    errors: [f64; 2],
}

impl Massive {
    /// Looks at one block's output `[token, hidden]`, whose elements are massive above `limit`. `first` is the position of
    /// the forward's first token.
    pub fn look(&mut self, name: &str, first: usize, values: &Part, expected: &Part, limit: f64) {
        if values.values.shape() != expected.values.shape() || !limit.is_finite() {
            return;
        }
        let (mut apart, mut size) = ([0.0f64; 2], [0.0f64; 2]);
        let mut top = (0.0f64, 0, 0);
        for ((row, a), b) in values.values.outer_iter().enumerate().zip(expected.values.outer_iter()) {
            for (channel, (a, b)) in a.iter().zip(&b).enumerate().filter(|(_, (a, b))| a.is_finite() && b.is_finite()) {
                let (a, b) = (f64::from(*a), f64::from(*b));
                let kinds = if b.abs() > limit { &[0][..] } else { &[0, 1] };
                for kind in kinds {
                    apart[*kind] += (a - b) * (a - b);
                    size[*kind] += b * b;
                }
                if b.abs() > top.0 {
                    top = (b.abs(), first + expected.rows[row], channel);
                }
            }
        }
        if top.0 <= limit {
            return;
        }
        self.blocks += 1;
        if self.largest.as_ref().is_none_or(|largest| top.0 > largest.size) {
            let error = |kind: usize| if apart[kind] == 0.0 { 0.0 } else { (apart[kind] / size[kind]).sqrt() };
            let (size, token, channel) = top;
            self.largest = Some(Largest { name: name.into(), size, token, channel, errors: [error(0), error(1)] });
        }
    }

    /// One sentence; `None` when there are none.
    pub fn describe(&self) -> Option<String> {
        let Largest { name, size, token, channel, errors: [with, without] } = self.largest.as_ref()?;
        let blocks = if self.blocks == 1 { "one block".into() } else { format!("{} blocks", self.blocks) };
        Some(format!(
            "massive activations in {blocks}, up to {size:.0} (token {token}, channel {channel}, {name}): its error is \
             {with:.1e} with them, {without:.1e} without"
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::Array2;

    #[test]
    fn one_large_element_hides_the_error_of_all_others() {
        let values = Array2::from_shape_fn((2, 50), |(t, c)| if (t, c) == (0, 7) { 5000.0 } else { 1.0 });
        let part =
            |values: Array2<f32>| Part { values: values.into_dyn().into_shared(), rows: vec![0, 1], first_key: 0 };
        let mut off = values.clone();
        off.mapv_inplace(|v| if v == 1.0 { 1.1 } else { v });
        let mut massive = Massive::default();
        massive.look("model.layers.3", 0, &part(off), &part(values), 100.0);
        let sentence = massive.describe().expect("one was seen");
        assert!(sentence.contains("up to 5000 (token 0, channel 7, model.layers.3)"), "{sentence}");
        assert!(sentence.contains("2.0e-4 with them, 1.0e-1 without"), "{sentence}");
        assert_eq!(Massive::default().describe(), None);
    }
}
