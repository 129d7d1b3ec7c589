//! The bidirectional ternary text encoder: prompts (query tokens and hint) for the fusion; whole
//! captions for the alignment, the memory's episodes and the captions it recalls. It never sees a
//! token that is being predicted.

use std::ops::Range;

use candle_core::{Result, Tensor};

use crate::config::Config;
use crate::nn::{AttentionLayout, Block, BlockSizes, Heads, RmsNorm, Segment};
use crate::weights::{ModelError, Weights};

/// Token rows to contextual rows of the same shape, `[tokens, hidden_size]`.
pub struct TextEncoder {
    blocks: Vec<Block>,
    norm: RmsNorm,
}

impl TextEncoder {
    /// The encoder of `config`.
    pub fn new(weights: &Weights, config: &Config) -> std::result::Result<Self, ModelError> {
        let sizes = text_sizes(config);
        let blocks = (0..config.text_layers)
            .map(|i| Block::new(&weights.pp("blocks").pp(i), sizes))
            .collect::<std::result::Result<_, _>>()?;
        Ok(Self { blocks, norm: RmsNorm::new(&weights.pp("norm"), config.hidden_size)? })
    }

    /// Encodes the texts whose rows are `ranges` of `rows`; each sees only itself.
    pub fn forward(&self, rows: &Tensor, ranges: &[Range<usize>]) -> Result<Tensor> {
        let segments = ranges.iter().map(|range| Segment {
            queries: range.clone(),
            keys: vec![range.clone()],
            causal: false,
        });
        let mut positions = vec![0; rows.dim(0)?];
        for range in ranges {
            for (position, row) in range.clone().enumerate() {
                positions[row] =
                    u32::try_from(position).expect("a text has fewer than 2^32 tokens");
            }
        }
        let layout = AttentionLayout::with_positions(segments.collect(), positions);
        let mut rows = rows.clone();
        for block in &self.blocks {
            rows = block.forward(&rows, &layout)?;
        }
        self.norm.forward(&rows)
    }
}

/// Sizes of a text, fusion or decoder block.
pub(crate) fn text_sizes(config: &Config) -> BlockSizes {
    BlockSizes {
        hidden: config.hidden_size,
        mlp: config.mlp_size,
        heads: Heads { queries: config.num_heads, keys: config.num_kv_heads, dim: config.head_dim },
        layer_scale: None,
    }
}

/// The row ranges of texts of these lengths lying one after the other from `first`.
pub(crate) fn consecutive(first: usize, lengths: impl Iterator<Item = usize>) -> Vec<Range<usize>> {
    let mut start = first;
    lengths
        .map(|length| {
            start += length;
            start - length..start
        })
        .collect()
}
