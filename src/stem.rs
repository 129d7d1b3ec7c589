//! The frozen convolutional stem in int8: EfficientNet-Lite0's first layers, the patch embedding.
//!
//! ```text
//! pixels [size, size, 3] RGB8 -> clamp(pixel - 127) -> 3 x 3 convolution, stride 2, ReLU6
//!   -> inverted residual blocks -> [grid * grid, channels] int8, times output_scale
//! ```
//! Weights are int8 with one scale per output channel, batch norm folded in; activations are int8
//! with one scale per layer. A layer's scales are merged into the multiplier and the bias that turn
//! its integer sums into the next layer's int8, so only the last scale, `output_scale`, is left.
//! An optional extension runs the rest of Lite0's trunk on this output ([`Stem::deep_features`]).

mod extension;
mod layers;
#[cfg(test)]
mod tests;

use crate::config::{BlockShape, CONV_CHANNELS};
use crate::hash::sha256;
use crate::kernels::{self, DepthwiseFilter, Int8Matrix, Requantize};

pub use crate::config::StemConfig;
pub use extension::DeepFeatures;
pub use layers::{ExtensionLayers, NamedTensor};
pub use layers::{GetTensor, StemBlock, StemError, StemLayer, StemLayers, StemTensor};

use extension::Extension;

/// Inputs of the first convolution: 3 x 3 pixels of 3 colors.
const CONV_INPUTS: usize = 27;

/// The stem, ready to run.
#[derive(Debug, Clone)]
pub struct Stem {
    config: StemConfig,
    layers: StemLayers,
    conv: Pointwise,
    blocks: Vec<Block>,
    extension: Option<Extension>,
}

impl Stem {
    /// Builds the stem for `config`; checks the layers and orders them for the kernels.
    ///
    /// # Panics
    ///
    /// If `config` is not valid.
    pub fn from_layers(config: &StemConfig, layers: StemLayers) -> Result<Self, StemError> {
        config.validate().expect("the stem's configuration is checked before its tensors");
        layers.check(config)?;
        let conv = Pointwise::new(&layers.conv, CONV_INPUTS, RELU6);
        let blocks = blocks(&layers.blocks, config.block_shapes());
        Ok(Self { config: *config, conv, blocks, layers, extension: None })
    }

    /// The stem with the rest of Lite0's trunk behind it.
    pub fn with_extension(self, layers: ExtensionLayers) -> Result<Self, StemError> {
        layers.check(&self.config)?;
        Ok(Self { extension: Some(Extension::new(layers, &self.config)), ..self })
    }

    /// Builds the stem from tensors that `get` returns by name and shape.
    ///
    /// # Panics
    ///
    /// If `config` is not valid.
    pub fn from_tensors<E: From<StemError>>(
        config: &StemConfig,
        get: GetTensor<'_, E>,
    ) -> Result<Self, E> {
        Ok(Self::from_layers(config, StemLayers::from_tensors(config, get)?)?)
    }

    /// The stem with an extension of tensors that `get` returns by name and shape.
    pub fn with_extension_tensors<E: From<StemError>>(
        self,
        get: GetTensor<'_, E>,
    ) -> Result<Self, E> {
        let layers = ExtensionLayers::from_tensors(&self.config, get)?;
        Ok(self.with_extension(layers)?)
    }

    /// Every tensor with its name and shape: those of `from_tensors` in that order, then those of
    /// `with_extension_tensors`.
    pub fn tensors(&self) -> Vec<NamedTensor> {
        let mut tensors = self.layers.tensors(&self.config);
        if let Some(extension) = &self.extension {
            tensors.extend(extension.layers().tensors(&self.config));
        }
        tensors
    }

    /// SHA-256 of the names and values of the tensors on which the output of `forward` depends, in
    /// hexadecimal: with or without an extension it is the same.
    pub fn output_sha256(&self) -> String {
        tensors_sha256(&self.layers.tensors(&self.config))
    }

    /// SHA-256 of the names and values of all tensors, in hexadecimal.
    pub fn sha256(&self) -> String {
        tensors_sha256(&self.tensors())
    }

    /// Whether there is an extension.
    pub fn has_extension(&self) -> bool {
        self.extension.is_some()
    }

    /// The configuration.
    pub fn config(&self) -> &StemConfig {
        &self.config
    }

    /// The scale that turns the output of `forward` into Lite0's activations.
    pub fn output_scale(&self) -> f32 {
        self.layers.output_scale
    }

    /// Runs the stem on `pixels`, `[size, size, 3]` RGB8; returns `[grid * grid, channels]`.
    ///
    /// # Panics
    ///
    /// If `pixels` is not `[size, size, 3]`.
    pub fn forward(&self, pixels: &[u8]) -> Vec<i8> {
        let size = self.config.input_size;
        assert_eq!(pixels.len(), 3 * size * size, "expected {size} x {size} RGB pixels");
        let mut buffers = Buffers::default();
        let mut side = size.div_ceil(2);
        let mut hidden = Vec::with_capacity(side * side * CONV_CHANNELS);
        self.conv.forward(&conv_patches(pixels, size), &mut hidden);
        for block in &self.blocks {
            side = block.forward(&mut hidden, side, &mut buffers);
        }
        hidden
    }

    /// Runs the extension on `features`, the output of `forward`; `None` without an extension.
    ///
    /// # Panics
    ///
    /// If `features` is not `[grid * grid, channels]`.
    pub fn deep_features(&self, features: &[i8]) -> Option<DeepFeatures> {
        let (side, channels) = (self.config.output_grid(), self.config.output_channels());
        assert_eq!(features.len(), side * side * channels, "expected the stem's output");
        Some(self.extension.as_ref()?.forward(features.to_vec(), side))
    }
}

fn tensors_sha256(tensors: &[NamedTensor]) -> String {
    let mut bytes = Vec::new();
    for (name, _, tensor) in tensors {
        bytes.extend(name.as_bytes());
        match tensor {
            StemTensor::I8(values) => {
                bytes.extend(values.iter().map(|value| value.cast_unsigned()))
            }
            StemTensor::F32(values) => {
                bytes.extend(values.iter().flat_map(|value| value.to_le_bytes()));
            }
        }
    }
    sha256(&bytes)
}

/// The int8 range of activations after ReLU6, whose scale maps at most 6 to 127.
const RELU6: (i8, i8) = (0, 127);
/// The int8 range of a block's output.
const LINEAR: (i8, i8) = (-127, 127);

/// A convolution over the channels of a pixel.
#[derive(Debug, Clone)]
struct Pointwise {
    matrix: Int8Matrix,
    requantize: Requantize,
}

/// An inverted residual block.
#[derive(Debug, Clone)]
struct Block {
    expand: Option<Pointwise>,
    filter: DepthwiseFilter,
    requantize: Requantize,
    project: Pointwise,
    residual_scale: Option<f32>,
}

/// The maps inside a block, reused from block to block.
#[derive(Default)]
struct Buffers {
    expanded: Vec<i8>,
    filtered: Vec<i8>,
    sums: Vec<i32>,
}

impl Pointwise {
    fn new(layer: &StemLayer, inputs: usize, limits: (i8, i8)) -> Self {
        let matrix = Int8Matrix::from_weights(layer.bias.len(), inputs, &layer.weight);
        Self { matrix, requantize: requantize(layer, limits) }
    }

    fn forward(&self, pixels: &[i8], out: &mut Vec<i8>) {
        out.resize(self.output_len(pixels), 0);
        kernels::pointwise(&self.matrix, pixels, &self.requantize, out);
    }

    fn output_len(&self, pixels: &[i8]) -> usize {
        pixels.len() / self.matrix.cols() * self.matrix.rows()
    }

    /// `hidden = clamp(round(forward + hidden * residual_scale))`, rounded once.
    fn forward_onto(
        &self,
        pixels: &[i8],
        residual_scale: f32,
        sums: &mut Vec<i32>,
        hidden: &mut [i8],
    ) {
        sums.resize(self.output_len(pixels), 0);
        kernels::int8_matmul(&self.matrix, pixels, sums);
        let channels = self.matrix.rows();
        let (low, high) = (f32::from(self.requantize.low), f32::from(self.requantize.high));
        for (sums, hidden) in sums.chunks_exact(channels).zip(hidden.chunks_exact_mut(channels)) {
            let parameters = self.requantize.multiplier.iter().zip(&self.requantize.bias);
            for ((hidden, &sum), (multiplier, bias)) in hidden.iter_mut().zip(sums).zip(parameters)
            {
                let value = sum as f32 * multiplier + bias + f32::from(*hidden) * residual_scale;
                *hidden = round_to_int8(value, low, high);
            }
        }
    }
}

/// Rounds to the nearest integer, ties to even, and clamps to integers `low..=high` inside `i8`;
/// written so that compilers vectorize it.
fn round_to_int8(value: f32, low: f32, high: f32) -> i8 {
    /// `1.5 * 2^23`: floats of this size are integers, so the addition rounds, and the lowest byte
    /// of the sum is that of the rounded integer.
    const ROUND: f32 = 12_582_912.0;
    // Not `max` and `min`: WebAssembly has no instruction for their treatment of NaN.
    let value = if value > low { value } else { low };
    let value = if value < high { value } else { high };
    (value + ROUND).to_bits().to_le_bytes()[0].cast_signed()
}

/// The blocks of these layers and shapes, in their order.
fn blocks(layers: &[StemBlock], shapes: impl Iterator<Item = BlockShape>) -> Vec<Block> {
    layers.iter().zip(shapes).map(|(block, shape)| Block::new(block, shape)).collect()
}

fn requantize(layer: &StemLayer, (low, high): (i8, i8)) -> Requantize {
    Requantize { multiplier: layer.multiplier.clone(), bias: layer.bias.clone(), low, high }
}

impl Block {
    fn new(block: &StemBlock, shape: BlockShape) -> Self {
        let BlockShape { inputs, hidden, filter_size, stride, .. } = shape;
        Self {
            expand: block.expand.as_ref().map(|layer| Pointwise::new(layer, inputs, RELU6)),
            filter: DepthwiseFilter::new(hidden, filter_size, stride, &block.depthwise.weight),
            requantize: requantize(&block.depthwise, RELU6),
            project: Pointwise::new(&block.project, hidden, LINEAR),
            residual_scale: block.residual_scale,
        }
    }

    /// Replaces `hidden`, a map of `side * side` pixels, by the block's output; returns the new
    /// side.
    fn forward(&self, hidden: &mut Vec<i8>, side: usize, buffers: &mut Buffers) -> usize {
        let Buffers { expanded, filtered, sums } = buffers;
        let input = match &self.expand {
            Some(expand) => {
                expand.forward(hidden, expanded);
                &*expanded
            }
            None => &*hidden,
        };
        let out_side = self.filter.output_size(side);
        filtered.resize(out_side * out_side * self.filter.channels(), 0);
        kernels::depthwise(&self.filter, input, side, side, &self.requantize, filtered);
        match self.residual_scale {
            Some(scale) => self.project.forward_onto(filtered, scale, sums, hidden),
            None => self.project.forward(filtered, hidden),
        }
        out_side
    }
}

/// The 3 x 3 patches that the first convolution reads, `[size/2 * size/2, 27]`. With stride 2 and
/// an even side, TensorFlow's "SAME" pads after the image only; pixels outside are 0.
fn conv_patches(pixels: &[u8], size: usize) -> Vec<i8> {
    let (out_side, row_len) = (size / 2, 3 * (size + 1));
    let mut padded = vec![0; row_len * (size + 1)];
    for (padded, row) in padded.chunks_exact_mut(row_len).zip(pixels.chunks_exact(3 * size)) {
        for (padded, &pixel) in padded.iter_mut().zip(row) {
            *padded = centered(pixel);
        }
    }
    let mut patches = vec![0; out_side * out_side * CONV_INPUTS];
    for (index, patch) in patches.chunks_exact_mut(CONV_INPUTS).enumerate() {
        let start = index / out_side * 2 * row_len + index % out_side * 6;
        for (y, row) in patch.chunks_exact_mut(9).enumerate() {
            row.copy_from_slice(&padded[start + y * row_len..][..9]);
        }
    }
    patches
}

/// Lite0's input `(pixel - 127) / 128` in steps of 1/128; 255 is clamped to 127.
fn centered(pixel: u8) -> i8 {
    pixel.min(254).wrapping_sub(127).cast_signed()
}
