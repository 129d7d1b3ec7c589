//! What one decoder layer remembers of a text: a fixed part that is never evicted (the attention sinks,
//! the fused prefix, the recalled captions) and a ring of the most recent tokens (StreamingLLM, Xiao et
//! al. 2024). Constant memory for any length.
//!
//! Positions are cache positions: after evictions the fixed keys stand directly before the ring's. Ring
//! keys stay rotated at their true position t and the fixed keys are re-rotated by the number of evicted
//! tokens, which leaves every difference of positions as it would be in a cache counted from 0.

use std::collections::VecDeque;
use std::sync::Arc;

use super::attention::{add_scaled, dot, rotate, softmax, Heads};

/// Keys and values of one layer.
#[derive(Debug, Clone)]
pub struct KvCache {
    fixed: Arc<Fixed>,
    /// The fixed keys rotated to where they stand now.
    fixed_keys: Arc<Vec<f32>>,
    ring_keys: VecDeque<Vec<f32>>,
    ring_values: VecDeque<Vec<f32>>,
    window: usize,
    evicted: usize,
    heads: Heads,
}

#[derive(Debug)]
struct Fixed {
    keys: Vec<f32>,
    values: Vec<f32>,
}

impl KvCache {
    /// A cache whose fixed part holds `keys` (not rotated) and `values`, `[rows, heads.keys * dim]`
    /// each, at positions 0, 1, ..; at most `window` tokens follow.
    pub fn new(keys: Vec<f32>, values: Vec<f32>, window: usize, heads: Heads) -> Self {
        assert_eq!(keys.len(), values.len(), "one value a key");
        let fixed_keys = Arc::new(rotated_from(&keys, heads, 0));
        Self {
            fixed: Arc::new(Fixed { keys, values }),
            fixed_keys,
            ring_keys: VecDeque::with_capacity(window),
            ring_values: VecDeque::with_capacity(window),
            window,
            evicted: 0,
            heads,
        }
    }

    /// Rows held, fixed and recent.
    pub fn len(&self) -> usize {
        self.fixed.keys.len() / self.key_width() + self.ring_keys.len()
    }

    /// Whether nothing is held.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The true position of the next token.
    pub fn next_position(&self) -> usize {
        self.len() + self.evicted
    }

    /// Adds a token and returns what `query` (`[heads.queries * dim]`, not rotated) reads, itself seen.
    pub fn attend(&mut self, query: &mut [f32], mut key: Vec<f32>, value: Vec<f32>) -> Vec<f32> {
        if self.ring_keys.len() == self.window {
            self.ring_keys.pop_front();
            self.ring_values.pop_front();
            self.evicted += 1;
            self.fixed_keys = Arc::new(rotated_from(&self.fixed.keys, self.heads, self.evicted));
        }
        let position = self.next_position() as f32;
        rotate(&mut key, self.heads.dim, position);
        rotate(query, self.heads.dim, position);
        self.ring_keys.push_back(key);
        self.ring_values.push_back(value);
        self.read(query)
    }

    fn read(&self, query: &[f32]) -> Vec<f32> {
        let Heads { queries, keys, dim } = self.heads;
        let width = self.key_width();
        let mut out = vec![0.0; queries * dim];
        let mut weights = Vec::with_capacity(self.len());
        for head in 0..queries {
            let offset = head / (queries / keys) * dim;
            let query = &query[head * dim..][..dim];
            let key_rows = self.fixed_keys.chunks_exact(width);
            let key_rows = key_rows.chain(self.ring_keys.iter().map(Vec::as_slice));
            weights.clear();
            weights.extend(key_rows.map(|key| dot(query, &key[offset..][..dim])));
            softmax(&mut weights, (dim as f32).sqrt().recip());
            let out = &mut out[head * dim..][..dim];
            let value_rows = self.fixed.values.chunks_exact(width);
            let value_rows = value_rows.chain(self.ring_values.iter().map(Vec::as_slice));
            for (weight, value) in weights.iter().zip(value_rows) {
                add_scaled(out, *weight, &value[offset..][..dim]);
            }
        }
        out
    }

    fn key_width(&self) -> usize {
        self.heads.keys * self.heads.dim
    }
}

fn rotated_from(keys: &[f32], heads: Heads, first: usize) -> Vec<f32> {
    let mut keys = keys.to_vec();
    for (i, row) in keys.chunks_exact_mut(heads.keys * heads.dim).enumerate() {
        rotate(row, heads.dim, (first + i) as f32);
    }
    keys
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADS: Heads = Heads { queries: 2, keys: 1, dim: 32 };

    fn numbers(seed: u64, len: usize) -> Vec<f32> {
        let mut random = crate::random::Random::new(seed);
        (0..len).map(|_| random.normal()).collect()
    }

    /// Attention over the rows a cache must hold, counted from position 0.
    fn reference(keys: &[Vec<f32>], values: &[Vec<f32>], query: &[f32]) -> Vec<f32> {
        let keys = keys.concat();
        let mut cache = KvCache::new(keys, values.concat(), 1, HEADS);
        let mut query = query.to_vec();
        rotate(&mut query, HEADS.dim, (cache.len() - 1) as f32);
        cache.window = 0;
        cache.read(&query)
    }

    #[test]
    fn eviction_equals_a_cache_of_the_surviving_rows() {
        let (fixed, window) = (3, 8);
        let keys: Vec<Vec<f32>> = (0..40).map(|i| numbers(i, 32)).collect();
        let values: Vec<Vec<f32>> = (0..40).map(|i| numbers(100 + i, 32)).collect();
        let mut cache =
            KvCache::new(keys[..fixed].concat(), values[..fixed].concat(), window, HEADS);
        for t in fixed..40 {
            let mut query = numbers(200 + t as u64, 64);
            let expected_query = query.clone();
            let out = cache.attend(&mut query, keys[t].clone(), values[t].clone());
            let first = (t + 1).saturating_sub(window).max(fixed);
            let held: Vec<usize> = (0..fixed).chain(first..=t).collect();
            let pick =
                |rows: &[Vec<f32>]| held.iter().map(|&i| rows[i].clone()).collect::<Vec<_>>();
            let expected = reference(&pick(&keys), &pick(&values), &expected_query);
            let error = out.iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(error < 1e-4, "token {t}: {error}");
        }
    }

    #[test]
    fn the_cache_keeps_its_size_over_ten_thousand_tokens() {
        let mut cache = KvCache::new(numbers(0, 32 * 4), numbers(1, 32 * 4), 8, HEADS);
        for t in 0..10_000 {
            let mut query = numbers(t, 64);
            let out = cache.attend(&mut query, numbers(t + 1, 32), numbers(t + 2, 32));
            assert!(out.iter().all(|v| v.is_finite()));
            assert!(cache.len() <= 12);
        }
    }
}
