//! The extension of the stem: the rest of EfficientNet-Lite0's trunk, in the same int8.
//!
//! ```text
//! stem's output [grid * grid, channels] int8 -> the other inverted residual blocks
//!   -> [cells, 320] int8, times grid_scale -> head convolution, ReLU6 -> mean of the cells [1280]
//! ```

use super::{blocks, Block, Buffers, ExtensionLayers, Pointwise, RELU6};
use crate::config::{StemConfig, HEAD_CHANNELS};

/// What the whole trunk of Lite0 sees in a photo.
#[derive(Debug, Clone, PartialEq)]
pub struct DeepFeatures {
    /// The last block's output, `[cells, 320]`.
    pub grid: Vec<i8>,
    /// The scale that turns `grid` into Lite0's activations.
    pub grid_scale: f32,
    /// The mean of the head convolution's output over the cells, `[1280]`, as Lite0's classifier
    /// reads it.
    pub pooled: Vec<f32>,
}

/// The extension, ready to run.
#[derive(Debug, Clone)]
pub(super) struct Extension {
    layers: ExtensionLayers,
    blocks: Vec<Block>,
    head: Pointwise,
}

impl Extension {
    pub(super) fn new(layers: ExtensionLayers, config: &StemConfig) -> Self {
        let blocks = blocks(&layers.blocks, config.extension_shapes());
        let head = &layers.head;
        let head = Pointwise::new(head, head.weight.len() / HEAD_CHANNELS, RELU6);
        Self { layers, blocks, head }
    }

    pub(super) fn layers(&self) -> &ExtensionLayers {
        &self.layers
    }

    /// Runs the blocks and the head on the stem's output, a map of `side * side` cells.
    pub(super) fn forward(&self, mut hidden: Vec<i8>, mut side: usize) -> DeepFeatures {
        let mut buffers = Buffers::default();
        for block in &self.blocks {
            side = block.forward(&mut hidden, side, &mut buffers);
        }
        let mut head = Vec::new();
        self.head.forward(&hidden, &mut head);
        let mut sums = vec![0i32; HEAD_CHANNELS];
        for cell in head.chunks_exact(HEAD_CHANNELS) {
            sums.iter_mut().zip(cell).for_each(|(sum, &value)| *sum += i32::from(value));
        }
        // The sums are exact and each is rounded once, so every machine gets the same features.
        let factor = self.layers.head_scale / (side * side) as f32;
        let pooled = sums.into_iter().map(|sum| sum as f32 * factor).collect();
        DeepFeatures { grid: hidden, grid_scale: self.layers.grid_scale, pooled }
    }
}
