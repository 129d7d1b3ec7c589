//! The pre-norm transformer block every encoder and decoder is made of.

use candle_core::{Result, Tensor};

use super::attention::Heads;
use super::dropout::dropout;
use super::fused::with_values;
use super::step::RowModulation;
use super::{Attention, AttentionLayout, Mlp, RmsNorm, ScaleChannels};
use crate::weights::{ModelError, Weights};

/// Sizes of a block.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BlockSizes {
    /// Width of a row.
    pub hidden: usize,
    /// Hidden width of the feed-forward layer.
    pub mlp: usize,
    /// The attention heads.
    pub heads: Heads,
    /// Start of the LayerScale of vision blocks; text blocks have none.
    pub layer_scale: Option<f32>,
}

/// Per-row scale and shift of a block's first norm: how the memory conditions the decoder.
pub struct Modulation {
    /// `[rows, hidden]`, multiplies the normalized rows.
    pub scale: Tensor,
    /// `[rows, hidden]`, added to them.
    pub shift: Tensor,
}

impl Modulation {
    /// Applies it to normalized rows.
    pub fn apply(&self, rows: &Tensor) -> Result<Tensor> {
        rows.mul(&self.scale)?.add(&self.shift)
    }

    /// That of the first row, as plain numbers.
    pub(crate) fn of_first_row(&self) -> Result<RowModulation> {
        let width = self.scale.dim(1)?;
        let first = |values: &[f32]| values[..width].to_vec();
        let (scale, shift) = (with_values(&self.scale, first)?, with_values(&self.shift, first)?);
        Ok(RowModulation { scale, shift })
    }
}

/// `x += ls1(attn(norm1(x)))`, `x += ls2(mlp(norm2(x)))`.
pub struct Block {
    pub(super) norm1: RmsNorm,
    pub(super) attn: Attention,
    pub(super) ls1: Option<ScaleChannels>,
    pub(super) norm2: RmsNorm,
    pub(super) mlp: Mlp,
    pub(super) ls2: Option<ScaleChannels>,
}

impl Block {
    /// A block of the given sizes.
    pub fn new(weights: &Weights, sizes: BlockSizes) -> std::result::Result<Self, ModelError> {
        let scale = |name: &str| {
            let scale = sizes.layer_scale;
            scale.map(|s| ScaleChannels::new(&weights.pp(name), sizes.hidden, s)).transpose()
        };
        Ok(Self {
            norm1: RmsNorm::new(&weights.pp("norm1"), sizes.hidden)?,
            attn: Attention::new(&weights.pp("attn"), sizes.hidden, sizes.heads)?,
            ls1: scale("ls1")?,
            norm2: RmsNorm::new(&weights.pp("norm2"), sizes.hidden)?,
            mlp: Mlp::new(&weights.pp("mlp"), sizes.hidden, sizes.mlp)?,
            ls2: scale("ls2")?,
        })
    }

    /// Self-attention over `rows`.
    pub fn forward(&self, rows: &Tensor, layout: &AttentionLayout) -> Result<Tensor> {
        let normed = self.norm1.forward(rows)?;
        self.finish(rows, &self.attn.forward(&normed, &normed, layout)?)
    }

    /// Attention from `rows` to the normalized rows of `context`.
    pub fn forward_cross(
        &self,
        rows: &Tensor,
        context: &Tensor,
        layout: &AttentionLayout,
    ) -> Result<Tensor> {
        let normed = self.norm1.forward(rows)?;
        self.finish(rows, &self.attn.forward(&normed, context, layout)?)
    }

    /// The modulated first norm of a conditioned block.
    pub fn modulated(&self, rows: &Tensor, modulation: &Modulation) -> Result<Tensor> {
        modulation.apply(&self.norm1.forward(rows)?)
    }

    /// The attention layer, for callers that keep its keys and values.
    pub fn attn(&self) -> &Attention {
        &self.attn
    }

    /// The rest of the block, once the attention's output is known.
    pub fn finish(&self, rows: &Tensor, attended: &Tensor) -> Result<Tensor> {
        let rows = rows.add(&dropout(&scaled(&self.ls1, attended)?)?)?;
        let hidden = self.mlp.forward(&self.norm2.forward(&rows)?)?;
        rows.add(&dropout(&scaled(&self.ls2, &hidden)?)?)
    }
}

fn scaled(scale: &Option<ScaleChannels>, rows: &Tensor) -> Result<Tensor> {
    match scale {
        Some(scale) => scale.forward(rows),
        None => Ok(rows.clone()),
    }
}
