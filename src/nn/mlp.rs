//! The gated feed-forward layer of BitNet b1.58 2B4T: `down(subnorm(relu(gate)^2 * up))`.

#[cfg(feature = "train")]
mod backward;

use candle_core::{Result, Shape, Tensor};

use super::fused::{apply2, FusedOp};
use super::{BitLinear, RmsNorm};
use crate::weights::{ModelError, Weights};

/// `[rows, size]` to the same shape through `hidden` gated channels.
pub struct Mlp {
    pub(super) gate: BitLinear,
    pub(super) up: BitLinear,
    pub(super) sub_norm: RmsNorm,
    pub(super) down: BitLinear,
}

impl Mlp {
    /// The layer for rows `size` wide.
    pub fn new(
        weights: &Weights,
        size: usize,
        hidden: usize,
    ) -> std::result::Result<Self, ModelError> {
        Ok(Self {
            gate: BitLinear::new(&weights.pp("gate_proj"), size, hidden)?,
            up: BitLinear::new(&weights.pp("up_proj"), size, hidden)?,
            sub_norm: RmsNorm::new(&weights.pp("sub_norm"), hidden)?,
            down: BitLinear::new(&weights.pp("down_proj"), hidden, size)?,
        })
    }

    /// `rows` must be normalized already.
    pub fn forward(&self, rows: &Tensor) -> Result<Tensor> {
        let hidden = apply2(&self.gate.forward(rows)?, &self.up.forward(rows)?, GatedReluOp)?;
        self.down.forward(&self.sub_norm.forward(&hidden)?)
    }
}

/// `g = relu(g)^2 * u`.
pub(super) fn gate(g: &mut [f32], u: &[f32]) {
    for (g, u) in g.iter_mut().zip(u) {
        // Not `max`, for which WebAssembly calls a function.
        let open = if *g > 0.0 { *g } else { 0.0 };
        *g = open * open * u;
    }
}

/// `relu(g)^2 * u`.
struct GatedReluOp;

impl FusedOp<2> for GatedReluOp {
    const NAME: &'static str = "gated_relu";

    fn forward(&self, [g, u]: [&[f32]; 2], [shape, _]: [&Shape; 2]) -> Result<(Vec<f32>, Shape)> {
        let mut gated = g.to_vec();
        gate(&mut gated, u);
        Ok((gated, shape.clone()))
    }
}
