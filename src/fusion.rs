//! Cross-modal fusion: the text rows (queries) attend to the patch rows (keys and values) of their
//! photo.

use candle_core::{Result, Tensor};

use crate::config::Config;
use crate::nn::{AttentionLayout, Block, RmsNorm};
use crate::text::text_sizes;
use crate::weights::{ModelError, Weights};

/// Text rows and patch rows to fused rows of the text's shape.
pub struct CrossModalFusion {
    patch_norm: RmsNorm,
    blocks: Vec<Block>,
    norm: RmsNorm,
}

impl CrossModalFusion {
    /// The fusion of `config`.
    pub fn new(weights: &Weights, config: &Config) -> std::result::Result<Self, ModelError> {
        let blocks = (0..config.fusion_layers)
            .map(|i| Block::new(&weights.pp("blocks").pp(i), text_sizes(config)))
            .collect::<std::result::Result<_, _>>()?;
        Ok(Self {
            patch_norm: RmsNorm::new(&weights.pp("patch_norm"), config.hidden_size)?,
            blocks,
            norm: RmsNorm::new(&weights.pp("norm"), config.hidden_size)?,
        })
    }

    /// What rows are behind the fusion if there is no photo to attend to.
    pub fn without_photo(&self, rows: &Tensor) -> Result<Tensor> {
        self.norm.forward(rows)
    }

    /// `queries` `[rows, hidden_size]` attend to `patches` as `layout` says. Returns the fused rows
    /// and the normalized patches.
    pub fn forward(
        &self,
        queries: &Tensor,
        patches: &Tensor,
        layout: &AttentionLayout,
    ) -> Result<(Tensor, Tensor)> {
        let patches = self.patch_norm.forward(patches)?;
        let mut rows = queries.clone();
        for block in &self.blocks {
            rows = block.forward_cross(&rows, &patches, layout)?;
        }
        Ok((self.norm.forward(&rows)?, patches))
    }
}
