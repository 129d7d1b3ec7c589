//! RMSNorm (Zhang and Sennrich 2019) and the per-channel LayerScale (Touvron et al. 2021).

#[cfg(feature = "train")]
mod backward;

use candle_core::{Result, Shape, Tensor};

use super::fused::{apply2, with_values, FusedOp};
use crate::weights::{Init, ModelError, Weights};

/// Keeps an all-zero row finite.
const EPSILON: f32 = 1e-5;

/// `y = gain * x / rms(x)`, row by row.
#[derive(Debug, Clone)]
pub struct RmsNorm {
    gain: Tensor,
}

impl RmsNorm {
    /// The norm of rows `size` wide, its gain 1 when fresh.
    pub fn new(weights: &Weights, size: usize) -> std::result::Result<Self, ModelError> {
        Ok(Self { gain: weights.tensor("weight", &[size], Init::Constant(1.0))? })
    }

    /// `[rows, size]` to the same shape.
    pub fn forward(&self, rows: &Tensor) -> Result<Tensor> {
        apply2(rows, &self.gain, RmsNormOp)
    }

    /// [`forward`](Self::forward) on plain numbers, into `out`.
    pub(super) fn apply(&self, rows: &[f32], out: &mut Vec<f32>) -> Result<()> {
        out.resize(rows.len(), 0.0);
        with_values(&self.gain, |gain| normalize(rows, gain, out))
    }
}

/// `y = gain * x` with one gain a channel, starting small so that a block begins near the identity.
#[derive(Debug, Clone)]
pub struct ScaleChannels {
    gain: Tensor,
}

impl ScaleChannels {
    /// The scale of rows `size` wide, `initial` in every channel when fresh.
    pub fn new(
        weights: &Weights,
        size: usize,
        initial: f32,
    ) -> std::result::Result<Self, ModelError> {
        Ok(Self { gain: weights.tensor("gamma", &[size], Init::Constant(initial))? })
    }

    /// `[rows, size]` to the same shape.
    pub fn forward(&self, rows: &Tensor) -> Result<Tensor> {
        apply2(rows, &self.gain, ScaleOp)
    }
}

struct RmsNormOp;

impl FusedOp<2> for RmsNormOp {
    const NAME: &'static str = "rms_norm";

    fn forward(
        &self,
        [x, gain]: [&[f32]; 2],
        [shape, _]: [&Shape; 2],
    ) -> Result<(Vec<f32>, Shape)> {
        let mut y = vec![0.0; x.len()];
        normalize(x, gain, &mut y);
        Ok((y, shape.clone()))
    }
}

fn normalize(x: &[f32], gain: &[f32], y: &mut [f32]) {
    for (x, y) in x.chunks_exact(gain.len()).zip(y.chunks_exact_mut(gain.len())) {
        let inverse = inverse_rms(x);
        for ((y, x), gain) in y.iter_mut().zip(x).zip(gain) {
            *y = x * inverse * gain;
        }
    }
}

fn inverse_rms(x: &[f32]) -> f32 {
    let lanes = sum_of_squares(x);
    (lanes / x.len() as f32 + EPSILON).sqrt().recip()
}

/// Eight partial sums, so that the compiler may use vector registers: it may not reorder one sum.
fn sum_of_squares(x: &[f32]) -> f32 {
    let mut lanes = [0.0f32; 8];
    let chunks = x.chunks_exact(8);
    let rest: f32 = chunks.remainder().iter().map(|x| x * x).sum();
    for chunk in chunks {
        for (lane, x) in lanes.iter_mut().zip(chunk) {
            *lane += x * x;
        }
    }
    lanes.iter().sum::<f32>() + rest
}

struct ScaleOp;

impl FusedOp<2> for ScaleOp {
    const NAME: &'static str = "scale_channels";

    fn forward(
        &self,
        [x, gain]: [&[f32]; 2],
        [shape, _]: [&Shape; 2],
    ) -> Result<(Vec<f32>, Shape)> {
        let rows = x.chunks_exact(gain.len());
        let y = rows.flat_map(|row| row.iter().zip(gain).map(|(x, g)| x * g)).collect();
        Ok((y, shape.clone()))
    }
}
