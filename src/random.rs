//! Seeded random numbers: the same on every machine, and small enough to go into a checkpoint.

use serde::{Deserialize, Serialize};

/// SplitMix64 (Steele, Lea and Flood 2014): one word of state, equidistributed, seedable by
/// anything.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Random {
    state: u64,
}

impl Random {
    /// The sequence of `seed`.
    pub fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// The sequence that belongs to `name` under `seed`.
    pub fn named(seed: u64, name: &str) -> Self {
        // FNV-1a spreads the name over the word; SplitMix64 does the rest.
        let hash = name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |h, b| {
            (h ^ u64::from(b)).wrapping_mul(0x100_0000_01b3)
        });
        Self::new(seed ^ hash)
    }

    /// The next 64 bits.
    pub fn next_u64(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Uniform in 0..1.
    pub fn uniform(&mut self) -> f32 {
        // 24 bits fill an f32's mantissa.
        (self.next_u64() >> 40) as f32 / (1u32 << 24) as f32
    }

    /// Uniform in `0..end`.
    pub fn below(&mut self, end: usize) -> usize {
        assert!(end > 0, "no number lies below zero");
        let product = u128::from(self.next_u64()) * end as u128;
        usize::try_from(product >> 64).expect("below end, which is a usize")
    }

    /// Standard normal (Box-Muller).
    pub fn normal(&mut self) -> f32 {
        let radius = (-2.0 * (1.0 - self.uniform()).ln()).sqrt();
        radius * (std::f32::consts::TAU * self.uniform()).cos()
    }

    /// Puts `items` in random order.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last + 1));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_sequence() {
        let (mut a, mut b) = (Random::named(1, "x"), Random::named(1, "x"));
        assert!((0..100).all(|_| a.next_u64() == b.next_u64()));
    }

    #[test]
    fn normal_numbers_have_mean_zero_and_variance_one() {
        let mut random = Random::new(7);
        let n = 100_000;
        let values: Vec<f32> = (0..n).map(|_| random.normal()).collect();
        let mean = values.iter().sum::<f32>() / n as f32;
        let variance = values.iter().map(|v| v * v).sum::<f32>() / n as f32;
        assert!(mean.abs() < 0.02 && (variance - 1.0).abs() < 0.02, "{mean} {variance}");
    }

    #[test]
    fn below_reaches_every_number_and_none_beyond() {
        let mut random = Random::new(3);
        let mut seen = [false; 7];
        (0..1000).for_each(|_| seen[random.below(7)] = true);
        assert!(seen.iter().all(|&s| s));
    }
}
