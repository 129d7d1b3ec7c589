//! The sizes of the stem: which part of EfficientNet-Lite0 it is.

use serde::{Deserialize, Serialize};

use super::{check, ConfigError};

/// Channels after the first convolution.
pub(crate) const CONV_CHANNELS: usize = 32;
/// Maximum number of blocks of a stem: all of Lite0's.
pub(crate) const MAX_BLOCKS: usize = 16;
/// Channels of Lite0's head convolution.
pub(crate) const HEAD_CHANNELS: usize = 1280;

/// Lite0's stages: blocks, side of the depthwise filters, stride of the first block, expansion,
/// channels.
const STAGES: [(usize, usize, usize, usize, usize); 7] = [
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
];

/// The part of Lite0 that is the stem.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StemConfig {
    /// Side of the square photo it takes, in pixels.
    pub input_size: usize,
    /// Number of inverted residual blocks after the first convolution; 15 turn a 224-pixel photo
    /// into a 7 x 7 grid.
    pub num_blocks: usize,
}

/// The sizes of one inverted residual block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BlockShape {
    pub(crate) inputs: usize,
    /// Channels of the depthwise convolution; equal to `inputs` if the block does not expand.
    pub(crate) hidden: usize,
    pub(crate) outputs: usize,
    pub(crate) filter_size: usize,
    pub(crate) stride: usize,
}

impl StemConfig {
    /// Checks that Lite0 contains such a stem.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let (size, blocks) = (self.input_size, self.num_blocks);
        let fits = (32..=1024).contains(&size) && size % 32 == 0;
        check("stem.input_size", size, fits, "a multiple of 32 between 32 and 1024")?;
        let has_blocks = (1..=MAX_BLOCKS).contains(&blocks);
        check("stem.num_blocks", blocks, has_blocks, "between 1 and 16")
    }

    /// Cells per side of the output grid.
    pub fn output_grid(&self) -> usize {
        let strides = self.block_shapes().map(|shape| shape.stride);
        strides.fold(self.input_size.div_ceil(2), |side, stride| side.div_ceil(stride))
    }

    /// Number of channels of a cell.
    pub fn output_channels(&self) -> usize {
        self.block_shapes().last().map_or(CONV_CHANNELS, |shape| shape.outputs)
    }

    /// The blocks of Lite0 that belong to the stem.
    pub(crate) fn block_shapes(&self) -> impl Iterator<Item = BlockShape> {
        lite0_shapes().take(self.num_blocks)
    }

    /// The blocks of Lite0 behind the stem, which an extension holds.
    pub(crate) fn extension_shapes(&self) -> impl Iterator<Item = BlockShape> {
        lite0_shapes().skip(self.num_blocks)
    }
}

/// All blocks of Lite0.
fn lite0_shapes() -> impl Iterator<Item = BlockShape> {
    let mut inputs = CONV_CHANNELS;
    let all = STAGES.iter().flat_map(|stage| (0..stage.0).map(move |index| (index, stage)));
    all.map(move |(index, &(_, filter_size, stride, expansion, outputs))| {
        let stride = if index == 0 { stride } else { 1 };
        let shape = BlockShape { inputs, hidden: expansion * inputs, outputs, filter_size, stride };
        inputs = outputs;
        shape
    })
}

impl BlockShape {
    pub(crate) fn has_expansion(&self) -> bool {
        self.hidden != self.inputs
    }

    pub(crate) fn has_residual(&self) -> bool {
        self.stride == 1 && self.inputs == self.outputs
    }
}
