//! Routers of mixtures of experts: from logits to the experts of each token, and their weights.
//!
//! A choice compares one number for each expert; what the chosen ones weigh is computed from logits and choice, so that a
//! choice can be taken over from somebody else. Order of operations as in the `*TopKRouter` classes of transformers.

use ndarray::{Array2, ArrayView1, ArrayView2};

use super::real::{Real, Rounding};

/// How experts are chosen and weighted, from a router's logits.
#[expect(clippy::struct_excessive_bools, reason = "they are independent facts")]
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Router {
    /// How many are chosen.
    pub top_k: usize,
    /// What logits become.
    pub score: Score,
    /// Whether the softmax is over the chosen logits only.
    pub softmax_after: bool,
    /// Experts of some groups only can be chosen.
    pub groups: Option<Groups>,
    /// Whether the weights of the chosen ones are divided by their sum.
    pub renormalise: bool,
    /// Added to that sum.
    pub eps: f64,
    /// What weights are multiplied by at last.
    pub factor: f64,
    /// Whether weights are rounded to the dtype of the logits.
    pub rounded: bool,
    /// Whether the bias that experts are compared with counts in their weights, too: ports only.
    pub weighs_bias: bool,
}

/// What logits become before they weigh.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Score {
    /// Their softmax.
    Softmax,
    /// `σ(x)` of each.
    Sigmoid,
    /// Of the first chosen the softmax of all that are nearly as large, and of each next one the same without those before:
    /// `sparsemixer` of transformers (Liu et al., arXiv 2409.12136) when it does not train.
    Mixer {
        /// A logit is nearly as large when it is less by no more than twice this share of its size.
        jitter: f64,
    },
}

/// Experts side by side make a group; a token chooses among the best groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Groups {
    /// How many there are.
    pub count: usize,
    /// How many are kept.
    pub kept: usize,
    /// A group is as good as so many of its best experts together.
    pub best: usize,
}

/// The places of numbers, the largest first; of equals the first.
fn falling<T: Real>(numbers: &[T]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..numbers.len()).collect();
    order.sort_by(|a, b| numbers[*b].wide().total_cmp(&numbers[*a].wide()).then(a.cmp(b)));
    order
}

impl Router {
    /// As most models have it.
    pub fn new(top_k: usize) -> Self {
        let (score, softmax_after, groups) = (Score::Softmax, false, None);
        Self {
            top_k,
            score,
            softmax_after,
            groups,
            renormalise: false,
            eps: 0.0,
            factor: 1.0,
            rounded: true,
            weighs_bias: false,
        }
    }

    /// What experts are compared by: logits, unless a bias or a sum over a group is of their scores.
    pub fn keys<T: Real>(&self, logits: ArrayView1<T>, bias: Option<ArrayView1<f32>>) -> Vec<T> {
        if bias.is_none() && self.groups.is_none() {
            return logits.to_vec();
        }
        let mut keys = self.scores(logits);
        if let Some(bias) = bias {
            keys.iter_mut().zip(bias).for_each(|(key, bias)| *key += T::of(*bias));
        }
        keys
    }

    /// By how much a key moves at most, where every logit moves by one.
    pub fn steepness(&self, has_bias: bool) -> f64 {
        match self.score {
            _ if !has_bias && self.groups.is_none() => 1.0,
            Score::Sigmoid => 0.25,
            Score::Softmax | Score::Mixer { .. } => 0.5,
        }
    }

    /// The experts that are chosen by their keys, by rising number.
    pub fn choose<T: Real>(&self, keys: &[T]) -> Vec<usize> {
        let mut order = falling(keys);
        if let Some(Groups { count, kept, best }) = self.groups {
            let size = (keys.len() / count.max(1)).max(1);
            let good = |group: &[T]| -> T {
                let of_best = falling(group).into_iter().take(best);
                of_best.fold(T::zero(), |sum, expert| sum + group[expert])
            };
            let groups: Vec<T> = keys.chunks(size).map(good).collect();
            let kept = &falling(&groups)[..kept.min(groups.len())];
            order.retain(|expert| kept.contains(&(expert / size)));
        }
        order.truncate(self.top_k);
        order.sort_unstable();
        order
    }

    /// The weight of each expert, 0 for those that are not `chosen`.
    pub fn weights<T: Real>(&self, logits: ArrayView1<T>, chosen: &[usize], rounding: Rounding) -> Vec<T> {
        self.weighed(logits, None, chosen, rounding)
    }

    fn weighed<T: Real>(
        &self,
        logits: ArrayView1<T>,
        bias: Option<ArrayView1<f32>>,
        chosen: &[usize],
        rounding: Rounding,
    ) -> Vec<T> {
        let rounding = if self.rounded { rounding } else { Rounding::None };
        let mut weights = vec![T::zero(); logits.len()];
        if let Score::Mixer { jitter } = self.score {
            mix(logits, chosen, jitter, rounding, &mut weights);
        } else {
            let mut scores = if self.softmax_after { softmax(logits, chosen) } else { self.scores(logits) };
            for (score, bias) in scores.iter_mut().zip(bias.into_iter().flatten()) {
                *score += T::of(*bias);
            }
            let share: f64 = if self.renormalise {
                chosen.iter().map(|expert| scores[*expert].wide()).sum::<f64>() + self.eps
            } else {
                1.0
            };
            for expert in chosen {
                weights[*expert] = scores[*expert] / T::from_f64(share);
            }
        }
        if self.factor != 1.0 {
            let factor = T::from_f64(self.factor);
            for weight in &mut weights {
                *weight *= factor;
            }
        }
        rounding.round(&mut weights);
        weights
    }

    /// From logits `[token, expert]` to weights `[token, expert]`.
    pub fn route<T: Real>(
        &self,
        logits: ArrayView2<T>,
        bias: Option<ArrayView1<f32>>,
        rounding: Rounding,
    ) -> Array2<T> {
        let mut routing = Array2::zeros(logits.dim());
        for (logits, mut weights) in logits.rows().into_iter().zip(routing.rows_mut()) {
            let chosen = self.choose(&self.keys(logits, bias));
            let weighing = bias.filter(|_| self.weighs_bias);
            weights.assign(&ArrayView1::from(&self.weighed(logits, weighing, &chosen, rounding)));
        }
        routing
    }

    fn scores<T: Real>(&self, logits: ArrayView1<T>) -> Vec<T> {
        match self.score {
            Score::Sigmoid => logits.iter().map(|x| T::one() / (T::one() + (-*x).exponential())).collect(),
            Score::Softmax | Score::Mixer { .. } => softmax(logits, &(0..logits.len()).collect::<Vec<_>>()),
        }
    }
}

/// The softmax of some logits; 0 for the others.
fn softmax<T: Real>(logits: ArrayView1<T>, of: &[usize]) -> Vec<T> {
    let largest = logits.iter().copied().fold(T::neg_infinity(), T::max);
    let mut scores = vec![T::zero(); logits.len()];
    for place in of {
        scores[*place] = (logits[*place] - largest).exponential();
    }
    let sum: f64 = scores.iter().map(|score| score.wide()).sum();
    let scale = T::from_f64(1.0 / sum);
    for score in &mut scores {
        *score *= scale;
    }
    scores
}

/// [`Score::Mixer`]: every step is rounded.
fn mix<T: Real>(logits: ArrayView1<T>, chosen: &[usize], jitter: f64, rounding: Rounding, weights: &mut [T]) {
    let rounded = |number: T| {
        let mut words = [number];
        rounding.round(&mut words);
        words[0]
    };
    let most = rounded(T::from_f64(2.0 * jitter));
    let mut rest: Vec<usize> = (0..logits.len()).collect();
    let mut falling: Vec<usize> = chosen.to_vec();
    falling.sort_by(|a, b| logits[*b].wide().total_cmp(&logits[*a].wide()).then(a.cmp(b)));
    for expert in falling {
        let own = logits[expert];
        let is_near = |other: &usize| {
            let size = logits[*other].abs().max(own);
            rounded(rounded(own - logits[*other]) / size) <= most
        };
        let near: Vec<usize> = rest.iter().copied().filter(is_near).collect();
        weights[expert] = softmax(logits, &near)[expert];
        rest.retain(|other| *other != expert);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::{Array1, array};

    /// The weights of experts whose logits are the logarithms of these numbers.
    fn check(router: Router, powers: &[f32], bias: Option<&[f32]>, expected: &[f32]) {
        let logits: Array1<f32> = powers.iter().map(|power| power.ln()).collect();
        let bias = bias.map(ArrayView1::from);
        let found = router.route(logits.view().insert_axis(ndarray::Axis(0)), bias, Rounding::None);
        assert!(found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-6), "{router:?}: {found} not {expected:?}");
    }

    #[test]
    fn the_largest_logits_are_chosen_and_weighted() {
        let two = Router::new(2);
        let powers = [1.0, 4.0, 2.0, 1.0];
        check(two, &powers, None, &[0.0, 0.5, 0.25, 0.0]);
        check(Router { renormalise: true, ..two }, &powers, None, &[0.0, 2.0 / 3.0, 1.0 / 3.0, 0.0]);
        check(Router { softmax_after: true, ..two }, &powers, None, &[0.0, 2.0 / 3.0, 1.0 / 3.0, 0.0]);
        let sigmoid = Router { score: Score::Sigmoid, factor: 3.0, ..two };
        check(sigmoid, &powers, None, &[0.0, 2.4, 2.0, 0.0]);
    }

    #[test]
    fn a_bias_chooses_and_does_not_weigh() {
        let two = Router { score: Score::Sigmoid, ..Router::new(2) };
        check(two, &[1.0, 4.0, 2.0, 1.0], Some(&[0.0, 0.0, 0.0, 0.2]), &[0.0, 0.8, 0.0, 0.5]);
    }

    #[test]
    fn experts_of_the_best_groups_are_chosen() {
        let two = Router { score: Score::Sigmoid, ..Router::new(2) };
        let groups = |best| Some(Groups { count: 2, kept: 1, best });
        let powers = [1.0, 1.0, 3.0, 1.0 / 3.0];
        check(Router { groups: groups(1), ..two }, &powers, None, &[0.0, 0.0, 0.75, 0.25]);
        check(Router { groups: groups(2), ..two }, &[1.0, 1.0, 3.0, 0.1], None, &[0.5, 0.5, 0.0, 0.0]);
    }

    #[test]
    fn what_is_nearly_as_large_shares() {
        let mixer = Router { score: Score::Mixer { jitter: 0.1 }, ..Router::new(2) };
        let logits = array![[4.0f32, 1.0, 3.5, 2.9]];
        let found = mixer.route(logits.view(), None, Rounding::None);
        let share = |a: f32, b: f32| a.exp() / (a.exp() + b.exp());
        let expected = [share(4.0, 3.5), 0.0, share(3.5, 2.9), 0.0];
        assert!(found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-6), "{found} not {expected:?}");
    }
}
