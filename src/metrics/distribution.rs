//! Logits as a distribution: probabilities, entropy, divergence. In nats.

/// What a softmax of logits needs to be known of all of them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Softmax {
    /// `ln Σ exp z`
    pub log_sum: f64,
    /// `-Σ p ln p`: 0 when sure, `ln n` when all `n` are alike.
    pub entropy: f64,
}

impl Softmax {
    /// Of these logits. NaN where one is NaN or +inf, or where all are -inf.
    pub fn of(logits: &[f32]) -> Self {
        let largest = f64::from(logits.iter().copied().fold(f32::NEG_INFINITY, f32::max));
        let (mut sum, mut weighted) = (0.0, 0.0);
        for logit in logits {
            let below = f64::from(*logit) - largest;
            let weight = below.exp();
            sum += weight;
            // What has no weight adds nothing, though it lies infinitely far below.
            weighted += if weight == 0.0 { 0.0 } else { weight * below };
        }
        Self { log_sum: largest + sum.ln(), entropy: sum.ln() - weighted / sum }
    }

    /// The probability of a logit.
    pub fn probability(&self, logit: f32) -> f64 {
        (f64::from(logit) - self.log_sum).exp()
    }

    /// The probabilities of these logits.
    pub fn probabilities(&self, logits: &[f32]) -> Vec<f64> {
        logits.iter().map(|logit| self.probability(*logit)).collect()
    }
}

/// `KL(p || q) = Σ p (ln p - ln q)`: what is lost where `q` is taken for `p`; infinite where `q` rules out what `p` has.
/// `p` is given by its logits and probabilities, `q` by its logits.
///
/// # Panics
/// When the lengths differ.
pub fn divergence(p: (&[f32], Softmax, &[f64]), q: (&[f32], Softmax)) -> f64 {
    let (p_logits, p_softmax, probabilities) = p;
    let (q_logits, q_softmax) = q;
    assert!(p_logits.len() == q_logits.len() && p_logits.len() == probabilities.len(), "distributions over one set");
    let terms = p_logits.iter().zip(q_logits).zip(probabilities);
    let apart = terms.map(|((a, b), p)| if *p == 0.0 { 0.0 } else { p * (f64::from(*a) - f64::from(*b)) });
    // Rounding can leave less than nothing of two that are alike.
    let sum = apart.sum::<f64>() - p_softmax.log_sum + q_softmax.log_sum;
    if sum < 0.0 { 0.0 } else { sum }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(a: f64, b: f64) {
        assert!((a - b).abs() < 1e-7, "{a} and {b}");
    }

    #[test]
    fn distributions_calculated_by_hand() {
        // Probabilities 1/2, 1/4, 1/4; a constant in all logits changes nothing.
        let ln2 = 2.0f64.ln();
        let logits: Vec<f32> = [0.0, -ln2, -ln2].map(|logit| (logit + 30.0) as f32).to_vec();
        let softmax = Softmax::of(&logits);
        assert!((softmax.entropy - 1.5 * ln2).abs() < 1e-5, "{softmax:?}");
        assert!((softmax.probability(logits[0]) - 0.5).abs() < 1e-5);
        let flat = Softmax::of(&[7.0; 3]);
        close(flat.entropy, 3.0f64.ln());
        close(flat.log_sum, 7.0 + 3.0f64.ln());
        let probabilities = softmax.probabilities(&logits);
        // 1/2 ln(3/2) + 1/2 ln(3/4)
        let expected = 0.5 * 1.5f64.ln() + 0.5 * 0.75f64.ln();
        let found = divergence((&logits, softmax, &probabilities), (&[7.0; 3], flat));
        assert!((found - expected).abs() < 1e-5, "{found} {expected}");
        assert!(divergence((&logits, softmax, &probabilities), (&logits, softmax)) < 1e-12);
    }

    #[test]
    fn what_is_ruled_out() {
        let hidden = [0.0, f32::NEG_INFINITY, 0.0];
        let softmax = Softmax::of(&hidden);
        close(softmax.entropy, 2.0f64.ln());
        assert_eq!(softmax.probability(f32::NEG_INFINITY), 0.0);
        let flat = Softmax::of(&[0.0; 3]);
        close(divergence((&hidden, softmax, &softmax.probabilities(&hidden)), (&[0.0; 3], flat)), 1.5f64.ln());
        let other = divergence((&[0.0; 3], flat, &[1.0 / 3.0; 3]), (&hidden, softmax));
        assert_eq!(other, f64::INFINITY);
        for wrong in [f32::NAN, f32::INFINITY] {
            assert!(Softmax::of(&[0.0, wrong]).entropy.is_nan());
        }
        assert!(Softmax::of(&[]).entropy.is_nan() && Softmax::of(&[f32::NEG_INFINITY]).entropy.is_nan());
    }
}
