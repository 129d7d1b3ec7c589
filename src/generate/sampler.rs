//! Captions at random.

use super::is_allowed;
use crate::random::Random;

/// Draws tokens at random, repeatably.
#[derive(Debug, Clone)]
pub struct Sampler {
    random: Random,
    temperature: f32,
    top_p: f32,
}

impl Sampler {
    /// Draws from the smallest set of tokens whose probabilities at `temperature` sum to `top_p` (nucleus
    /// sampling, Holtzman et al. 2020).
    ///
    /// # Panics
    ///
    /// If `temperature` is not positive or `top_p` not in 0..=1.
    pub fn new(seed: u64, temperature: f32, top_p: f32) -> Self {
        assert!(temperature > 0.0, "temperature {temperature}");
        assert!((0.0..=1.0).contains(&top_p), "top_p {top_p}");
        Self { random: Random::new(seed), temperature, top_p }
    }

    /// The token to follow `tokens`, [`EOS`](crate::control_tokens::EOS) to end. None if nothing
    /// may follow.
    pub fn next(&mut self, tokens: &[u32], logits: &[f32]) -> Option<u32> {
        let allowed = (0..).zip(logits).filter(|&(token, _)| is_allowed(tokens, token));
        let mut weights: Vec<(u32, f32)> = allowed.map(|(token, &logit)| (token, logit)).collect();
        weights.sort_unstable_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        let largest = weights.first()?.1;
        weights.iter_mut().for_each(|(_, w)| *w = ((*w - largest) / self.temperature).exp());
        let total: f32 = weights.iter().map(|(_, w)| w).sum();
        let mut kept = 0.0;
        let within = |&&(_, w): &&(u32, f32)| {
            let is_within = kept <= self.top_p * total;
            kept += w;
            is_within
        };
        let nucleus = weights.iter().take_while(within).count().max(1);
        let sum: f32 = weights[..nucleus].iter().map(|(_, w)| w).sum();
        let mut left = self.random.uniform() * sum;
        let drawn = weights[..nucleus].iter().find(|(_, w)| {
            left -= w;
            left < 0.0
        });
        // Rounding may leave a rest behind the last weight.
        Some(drawn.unwrap_or(&weights[nucleus - 1]).0)
    }
}
