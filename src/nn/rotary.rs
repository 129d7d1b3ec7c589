//! Rotary positions (Su et al. 2021): pairs of channels turn with the position of their row.

/// Cosines and sines of rotary positions, one row of `dim / 2` angles for each.
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
        let turns = angles.map(f64::sin_cos).map(|(sine, cosine)| (sine as f32, cosine as f32));
        let (sines, cosines) = turns.unzip();
        Self { cosines, sines }
    }

    /// Turns every head of `values`, `[rows, heads * dim]`, to the position of its row.
    pub(super) fn apply(&self, values: &mut [f32], dim: usize) {
        let half = dim / 2;
        let rows = self.cosines.len() / half;
        let turns = self.cosines.chunks_exact(half).zip(self.sines.chunks_exact(half));
        for (row, (cosines, sines)) in values.chunks_exact_mut(values.len() / rows).zip(turns) {
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

/// Channel i turns with channel i + dim/2 by `10000^(-2i/dim)` a position. In double precision, as
/// the sines and cosines: what systems compute differs in the last place, and rounded to single
/// precision it is the same everywhere.
fn frequencies(dim: usize) -> Vec<f64> {
    const BASE: f64 = 10_000.0;
    (0..dim / 2).map(|i| BASE.powf(-2.0 * i as f64 / dim as f64)).collect()
}
