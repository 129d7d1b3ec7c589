//! What one decoder layer remembers of a text: a fixed part that is never evicted (the attention
//! sinks, the fused prefix, the recalled captions) and a ring of the most recent tokens
//! (StreamingLLM, Xiao et al. 2024). Constant memory for any length.
//!
//! Positions are cache positions: after evictions the fixed keys stand directly before the ring's.
//! Ring keys stay rotated at their true position t and the fixed keys are re-rotated by the number
//! of evicted tokens, which leaves every difference of positions as it would be in a cache counted
//! from 0.

use std::sync::Arc;

use super::attention::Heads;
use super::rotary::Rotations;
use super::vector::{add_scaled, dot, softmax};

/// Keys and values of one layer. Clones share the fixed part.
#[derive(Debug, Clone)]
pub struct KvCache {
    fixed: Arc<Fixed>,
    /// The fixed keys rotated to where they stand now.
    fixed_keys: Arc<Vec<f32>>,
    /// The most recent tokens, one row each; once full, the oldest is row `evicted % window`.
    ring_keys: Vec<f32>,
    ring_values: Vec<f32>,
    window: usize,
    evicted: usize,
    heads: Heads,
}

/// Room for the weights of one head; observed, it adds up what all of them give to the fixed rows.
#[derive(Default)]
pub(crate) struct HeadWeights {
    head: Vec<f32>,
    pub(crate) observed: Option<Vec<f32>>,
}

#[derive(Debug)]
struct Fixed {
    keys: Vec<f32>,
    values: Vec<f32>,
    /// Where the rows stand; some may stand side by side.
    positions: Vec<u32>,
    /// Where the first token stands.
    first: usize,
}

impl KvCache {
    /// A cache whose fixed part holds `keys` (not rotated) and `values`, `[rows, heads.keys * dim]`
    /// each, at `positions`; at most `window` tokens follow, the first one at position `first`.
    ///
    /// # Panics
    ///
    /// If keys, values and positions differ in number, or `window` is 0.
    pub fn new(
        keys: Vec<f32>,
        values: Vec<f32>,
        positions: Vec<u32>,
        first: usize,
        window: usize,
        heads: Heads,
    ) -> Self {
        assert_eq!(keys.len(), values.len(), "one value a key");
        assert_eq!(keys.len(), positions.len() * heads.keys * heads.dim, "one position a key");
        assert!(window > 0, "a token sees itself");
        let fixed_keys = Arc::new(rotated(&keys, heads, &positions));
        Self {
            fixed: Arc::new(Fixed { keys, values, positions, first }),
            fixed_keys,
            ring_keys: Vec::new(),
            ring_values: Vec::new(),
            window,
            evicted: 0,
            heads,
        }
    }

    /// Rows held, fixed and recent.
    pub fn len(&self) -> usize {
        (self.fixed.keys.len() + self.ring_keys.len()) / self.key_width()
    }

    /// Whether nothing is held.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The true position of the next token.
    pub fn next_position(&self) -> usize {
        self.fixed.first + self.ring_keys.len() / self.key_width() + self.evicted
    }

    /// How the next token is turned: the same in every layer.
    pub(super) fn next_rotation(&self) -> Rotations {
        let position = u32::try_from(self.next_position()).expect("a text has few tokens");
        Rotations::new(&[position], self.heads.dim)
    }

    /// Adds a token and writes what `query` reads, itself seen, to `out`: `query` and `out` are
    /// `[heads.queries * dim]`, `key` and `value` `[heads.keys * dim]`. Query and key are turned by
    /// `rotation`, that of the next token.
    pub(super) fn attend(
        &mut self,
        rotation: &Rotations,
        query: &mut [f32],
        key: &mut [f32],
        value: &[f32],
        weights: &mut HeadWeights,
        out: &mut [f32],
    ) {
        rotation.apply(key, self.heads.dim);
        rotation.apply(query, self.heads.dim);
        self.push(key, value);
        self.read(query, weights, out);
    }

    fn push(&mut self, key: &[f32], value: &[f32]) {
        let width = self.key_width();
        if self.ring_keys.len() < self.window * width {
            self.ring_keys.extend_from_slice(key);
            self.ring_values.extend_from_slice(value);
            return;
        }
        let oldest = self.evicted % self.window * width;
        self.ring_keys[oldest..][..width].copy_from_slice(key);
        self.ring_values[oldest..][..width].copy_from_slice(value);
        self.evicted += 1;
        let evicted = u32::try_from(self.evicted).expect("a text has few tokens");
        let positions: Vec<u32> = self.fixed.positions.iter().map(|p| p + evicted).collect();
        self.fixed_keys = Arc::new(rotated(&self.fixed.keys, self.heads, &positions));
    }

    fn read(&self, query: &[f32], weights: &mut HeadWeights, out: &mut [f32]) {
        let Heads { queries, keys, dim } = self.heads;
        let width = self.key_width();
        let heads = query.chunks_exact(dim).zip(out.chunks_exact_mut(dim));
        for (head, (query, out)) in heads.enumerate() {
            let offset = head / (queries / keys) * dim;
            let key_rows = self.fixed_keys.chunks_exact(width);
            let key_rows = key_rows.chain(self.ring_keys.chunks_exact(width));
            let HeadWeights { head: weights, observed } = weights;
            weights.clear();
            weights.extend(key_rows.map(|key| dot(query, &key[offset..][..dim])));
            softmax(weights, (dim as f32).sqrt().recip());
            if let Some(sums) = observed {
                let fixed = self.fixed.keys.len() / width;
                sums.resize(fixed, 0.0);
                add_scaled(sums, 1.0, &weights[..fixed]);
            }
            let value_rows = self.fixed.values.chunks_exact(width);
            let value_rows = value_rows.chain(self.ring_values.chunks_exact(width));
            out.fill(0.0);
            for (weight, value) in weights.iter().zip(value_rows) {
                add_scaled(out, *weight, &value[offset..][..dim]);
            }
        }
    }

    fn key_width(&self) -> usize {
        self.heads.keys * self.heads.dim
    }
}

fn rotated(keys: &[f32], heads: Heads, positions: &[u32]) -> Vec<f32> {
    let mut keys = keys.to_vec();
    if !positions.is_empty() {
        Rotations::new(positions, heads.dim).apply(&mut keys, heads.dim);
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

    /// A cache whose fixed rows stand one after the other, before the first token.
    fn cache(keys: Vec<f32>, values: Vec<f32>, window: usize) -> KvCache {
        let rows = keys.len() / HEADS.dim;
        let positions = (0..u32::try_from(rows).unwrap()).collect();
        KvCache::new(keys, values, positions, rows, window, HEADS)
    }

    /// What a query reads of rows that all stand in the fixed part, counted from position 0.
    fn reference(keys: &[Vec<f32>], values: &[Vec<f32>], query: &[f32]) -> Vec<f32> {
        let cache = cache(keys.concat(), values.concat(), 1);
        let mut query = query.to_vec();
        let last = u32::try_from(cache.len() - 1).unwrap();
        Rotations::new(&[last], HEADS.dim).apply(&mut query, HEADS.dim);
        let mut out = vec![0.0; query.len()];
        cache.read(&query, &mut HeadWeights::default(), &mut out);
        out
    }

    fn attend(cache: &mut KvCache, query: &[f32], key: &[f32], value: &[f32]) -> Vec<f32> {
        let mut out = vec![0.0; query.len()];
        let (mut query, mut key) = (query.to_vec(), key.to_vec());
        let rotation = cache.next_rotation();
        cache.attend(&rotation, &mut query, &mut key, value, &mut HeadWeights::default(), &mut out);
        out
    }

    #[test]
    fn a_query_reads_the_softmax_weighted_mean_of_the_values() {
        let (keys, values, query) = (numbers(1, 5 * 32), numbers(2, 5 * 32), numbers(3, 64));
        let cache = cache(keys, values.clone(), 1);
        let mut found = vec![0.0; 64];
        cache.read(&query, &mut HeadWeights::default(), &mut found);
        for (head, query) in query.chunks_exact(32).enumerate() {
            let score = |key: &[f32]| -> f64 {
                let products = query.iter().zip(key).map(|(q, k)| f64::from(*q) * f64::from(*k));
                (products.sum::<f64>() / 32f64.sqrt()).exp()
            };
            let scores: Vec<f64> = cache.fixed_keys.chunks_exact(32).map(score).collect();
            for channel in 0..32 {
                let weighted = scores.iter().zip(values.chunks_exact(32));
                let weighted: f64 = weighted.map(|(s, v)| s * f64::from(v[channel])).sum();
                let expected = weighted / scores.iter().sum::<f64>();
                assert!((f64::from(found[head * 32 + channel]) - expected).abs() < 1e-5);
            }
        }
    }

    #[test]
    fn clones_share_the_fixed_part_and_nothing_else() {
        let mut cache = cache(numbers(0, 32 * 4), numbers(1, 32 * 4), 8);
        let mut other = cache.clone();
        attend(&mut cache, &numbers(2, 64), &numbers(3, 32), &numbers(4, 32));
        assert_eq!((cache.len(), other.len()), (5, 4));
        attend(&mut other, &numbers(2, 64), &numbers(5, 32), &numbers(6, 32));
        assert!(Arc::ptr_eq(&cache.fixed, &other.fixed));
        assert!(Arc::ptr_eq(&cache.fixed_keys, &other.fixed_keys));
        assert_ne!(cache.ring_keys, other.ring_keys);
    }

    #[test]
    fn eviction_equals_a_cache_of_the_surviving_rows() {
        let (fixed, window) = (3, 8);
        let keys: Vec<Vec<f32>> = (0..40).map(|i| numbers(i, 32)).collect();
        let values: Vec<Vec<f32>> = (0..40).map(|i| numbers(100 + i, 32)).collect();
        let mut cache = cache(keys[..fixed].concat(), values[..fixed].concat(), window);
        for t in fixed..40 {
            let query = numbers(200 + t as u64, 64);
            let out = attend(&mut cache, &query, &keys[t], &values[t]);
            let first = (t + 1).saturating_sub(window).max(fixed);
            let held: Vec<usize> = (0..fixed).chain(first..=t).collect();
            let pick =
                |rows: &[Vec<f32>]| held.iter().map(|&i| rows[i].clone()).collect::<Vec<_>>();
            let expected = reference(&pick(&keys), &pick(&values), &query);
            let error = out.iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(error < 1e-4, "token {t}: {error}");
        }
    }

    #[test]
    fn the_cache_keeps_its_size_over_ten_thousand_tokens() {
        let mut cache = cache(numbers(0, 32 * 4), numbers(1, 32 * 4), 8);
        for t in 0..10_000 {
            let out = attend(&mut cache, &numbers(t, 64), &numbers(t + 1, 32), &numbers(t + 2, 32));
            assert!(out.iter().all(|v| v.is_finite()));
            assert!(cache.len() <= 12);
        }
    }

    #[test]
    fn fixed_rows_may_stand_beside_the_tokens_and_keep_their_distance() {
        // Row 2 stands where the first token does: the same scores as with every position 7 higher.
        let (keys, values) = (numbers(0, 32 * 3), numbers(1, 32 * 3));
        let mut near = KvCache::new(keys.clone(), values.clone(), vec![0, 1, 2], 2, 8, HEADS);
        let mut far = KvCache::new(keys.clone(), values.clone(), vec![7, 8, 9], 9, 8, HEADS);
        let mut behind = KvCache::new(keys, values, vec![0, 1, 2], 3, 8, HEADS);
        for t in 0..20 {
            let (query, key, value) = (numbers(t, 64), numbers(t + 1, 32), numbers(t + 2, 32));
            let out = attend(&mut near, &query, &key, &value);
            let error = |other: &[f32]| {
                out.iter().zip(other).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
            };
            let same = error(&attend(&mut far, &query, &key, &value));
            let other = error(&attend(&mut behind, &query, &key, &value));
            assert!(same < 1e-4 && other > 1e-3, "token {t}: {same} {other}");
        }
    }
}
