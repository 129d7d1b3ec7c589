//! Rotary positions (Su et al. 2021): pairs of channels are rotated by angles proportional to the
//! position of their row.

/// Cosines and sines of rotary positions, `dim / 2` angles for each position.
#[derive(Debug)]
pub(super) struct Rotations {
    pub(super) cosines: Vec<f32>,
    pub(super) sines: Vec<f32>,
}

impl Rotations {
    pub(super) fn new(positions: &[u32], dim: usize) -> Self {
        let frequencies = frequencies(dim);
        let angles = positions
            .iter()
            .flat_map(|&position| frequencies.iter().map(move |f| f64::from(position) * f));
        #[allow(clippy::cast_possible_truncation, reason = "rounded to the nearest")]
        let rotations = angles.map(f64::sin_cos).map(|(sine, cosine)| (sine as f32, cosine as f32));
        let (sines, cosines) = rotations.unzip();
        Self { cosines, sines }
    }

    /// Rotates every head of `values`, `[rows, heads * dim]`, by its row's position.
    pub(super) fn apply(&self, values: &mut [f32], dim: usize) {
        let half = dim / 2;
        let rows = self.cosines.len() / half;
        let rotations = self.cosines.chunks_exact(half).zip(self.sines.chunks_exact(half));
        for (row, (cosines, sines)) in values.chunks_exact_mut(values.len() / rows).zip(rotations) {
            for head in row.chunks_exact_mut(dim) {
                let (first, second) = head.split_at_mut(half);
                for i in 0..half {
                    let (a, b) = (first[i], second[i]);
                    first[i] = a * cosines[i] - b * sines[i];
                    second[i] = b * cosines[i] + a * sines[i];
                }
            }
        }
    }
}

/// Channel i is rotated with channel i + dim/2 by `10000^(-2i/dim)` per position. Angles, sines and
/// cosines are computed in double precision: systems differ in the last digit, and rounding to
/// single precision makes the results equal everywhere.
fn frequencies(dim: usize) -> Vec<f64> {
    const BASE: f64 = 10_000.0;
    (0..dim / 2).map(|i| BASE.powf(-2.0 * i as f64 / dim as f64)).collect()
}
