//! From logits to the next token.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// How the next token is chosen. The filters apply in transformers' order: repetition penalty, temperature, top-k,
/// top-p, min-p.
#[derive(Clone, Debug, PartialEq)]
pub struct Sampling {
    /// 0 takes the largest logit, whatever the other settings say.
    pub temperature: f32,
    /// Keep this many of the most likely tokens; 0 keeps all.
    pub top_k: usize,
    /// Keep the smallest set of tokens whose probabilities add up to this (Holtzman et al., arXiv 1904.09751).
    pub top_p: f32,
    /// Drop tokens less likely than this times the most likely one (Nguyen et al., arXiv 2407.01082).
    pub min_p: f32,
    /// Divides positive and multiplies negative logits of tokens seen before (Keskar et al., arXiv 1909.05858); 1 is off.
    pub repetition_penalty: f32,
    /// Seed of the random numbers.
    pub seed: u64,
}

impl Default for Sampling {
    fn default() -> Self {
        Self { temperature: 0.0, top_k: 0, top_p: 1.0, min_p: 0.0, repetition_penalty: 1.0, seed: 0 }
    }
}

/// Draws one token after another.
#[derive(Clone, Debug)]
pub struct Sampler {
    sampling: Sampling,
    random: ChaCha8Rng,
}

impl Sampler {
    /// A sampler at the start of its random sequence.
    pub fn new(sampling: Sampling) -> Self {
        let random = ChaCha8Rng::seed_from_u64(sampling.seed);
        Self { sampling, random }
    }

    /// The next token: `logits` `[vocab]`, `seen` every token so far.
    pub fn next(&mut self, logits: &[f32], seen: &[u32]) -> u32 {
        let s = &self.sampling;
        if s.temperature <= 0.0 {
            // The argmax of the logits: no penalty, so that it means the same in every engine.
            return argmax(logits);
        }
        let mut logits = logits.to_vec();
        if s.repetition_penalty != 1.0 {
            let mut seen = seen.to_vec();
            seen.sort_unstable();
            seen.dedup();
            for id in seen {
                let logit = &mut logits[id as usize];
                *logit = if *logit < 0.0 { *logit * s.repetition_penalty } else { *logit / s.repetition_penalty };
            }
        }
        let kept = self.candidates(&logits);
        let total: f64 = kept.iter().map(|(_, p)| p).sum();
        let mut draw = self.random.random::<f64>() * total;
        for (id, p) in &kept {
            draw -= p;
            if draw < 0.0 {
                return *id;
            }
        }
        kept.last().map_or_else(|| argmax(&logits), |(id, _)| *id)
    }

    /// The tokens that pass the filters, most likely first, with unnormalised probabilities.
    fn candidates(&self, logits: &[f32]) -> Vec<(u32, f64)> {
        let s = &self.sampling;
        let maximum = logits.iter().copied().filter(|l| !l.is_nan()).fold(f32::NEG_INFINITY, f32::max);
        let weight = |logit: f32| f64::from((logit - maximum) / s.temperature).exp();
        let mut kept: Vec<(u32, f64)> = logits
            .iter()
            .enumerate()
            .filter(|(_, logit)| !logit.is_nan())
            .map(|(id, logit)| (id as u32, weight(*logit)))
            .collect();
        // Ties go to the lower id, so that a seed means the same everywhere.
        kept.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        if s.top_k > 0 {
            kept.truncate(s.top_k);
        }
        if s.top_p < 1.0 {
            let total: f64 = kept.iter().map(|(_, p)| p).sum();
            let mut mass = 0.0;
            let before = |p: &(u32, f64)| {
                mass += p.1;
                mass - p.1 < f64::from(s.top_p) * total
            };
            let count = kept.iter().map(before).take_while(|inside| *inside).count();
            kept.truncate(count.max(1));
        }
        if s.min_p > 0.0 {
            let least = f64::from(s.min_p) * kept.first().map_or(0.0, |(_, p)| *p);
            kept.retain(|(_, p)| *p >= least);
        }
        kept
    }
}

/// The index of the largest value, the first of equals; NaN never wins.
pub fn argmax(logits: &[f32]) -> u32 {
    let mut best = 0;
    for (index, logit) in logits.iter().enumerate() {
        if logits[best].is_nan() || *logit > logits[best] {
            best = index;
        }
    }
    best as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(sampling: Sampling) -> Vec<u32> {
        let logits: Vec<f32> = [0.1f32, 0.5, 0.15, 0.25].iter().map(|p| p.ln()).collect();
        Sampler::new(sampling).candidates(&logits).into_iter().map(|(id, _)| id).collect()
    }

    #[test]
    fn filters_keep_what_their_papers_say() {
        let on = Sampling { temperature: 1.0, ..Sampling::default() };
        assert_eq!(kept(on.clone()), [1, 3, 2, 0]);
        assert_eq!(kept(Sampling { top_k: 2, ..on.clone() }), [1, 3]);
        assert_eq!(kept(Sampling { top_p: 0.7, ..on.clone() }), [1, 3]);
        assert_eq!(kept(Sampling { top_p: 0.0, ..on.clone() }), [1]);
        assert_eq!(kept(Sampling { min_p: 0.28, ..on }), [1, 3, 2]);
    }

    #[test]
    fn a_temperature_of_zero_is_the_argmax_and_nan_never_wins() {
        let mut greedy = Sampler::new(Sampling { repetition_penalty: 9.0, ..Sampling::default() });
        assert_eq!(greedy.next(&[f32::NAN, 1.0, 3.0, 3.0], &[2]), 2);
    }

    #[test]
    fn draws_follow_the_probabilities_and_repeat_with_the_seed() {
        let logits: Vec<f32> = [0.2f32, 0.8].iter().map(|p| p.ln()).collect();
        let draw = |seed| {
            let mut sampler = Sampler::new(Sampling { temperature: 1.0, seed, ..Sampling::default() });
            (0..2000).map(|_| sampler.next(&logits, &[])).collect::<Vec<u32>>()
        };
        assert_eq!(draw(7), draw(7));
        assert_ne!(draw(7), draw(8));
        let ones = draw(7).into_iter().sum::<u32>();
        assert!((1540..1660).contains(&ones), "{ones} of 2000 where 1600 are expected");
    }

    #[test]
    fn a_penalty_makes_seen_tokens_less_likely() {
        let sampling = Sampling { temperature: 1.0, top_k: 1, repetition_penalty: 2.0, ..Sampling::default() };
        assert_eq!(Sampler::new(sampling.clone()).next(&[3.0, 2.0], &[0]), 1);
        assert_eq!(Sampler::new(sampling).next(&[-3.0, -4.0], &[0]), 1);
    }
}
