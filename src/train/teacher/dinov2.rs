//! DINOv2 (Oquab et al. 2023) in float, with the weights of `facebook/dinov2-small`: a teacher of
//! the vision encoder.
//!
//! `[size, size, 3]` RGB8 -> patches of 14 x 14 pixels, `[(size/14)^2, hidden]`, plus positions ->
//! pre-norm blocks over `[1 + patches, hidden]` -> norm -> the CLS vector `[hidden]` and the patch
//! tokens `[patches, hidden]`.
//!
//! It is written on candle-core, because the `dinov2` module of candle-transformers 0.11 computes
//! another function: it approximates GELU by tanh, normalizes with epsilon 1e-5 instead of 1e-6,
//! resizes the positions by nearest neighbor, and requires a classifier that this file does not
//! have.

mod source;
#[cfg(test)]
pub(super) mod tests;

use candle_core::{Device, Result, Tensor, D};
use safetensors::SafeTensors;
use source::Source;

/// Side of a patch, in pixels.
const PATCH: usize = 14;
/// Width of an attention head, in every size of DINOv2.
const HEAD_DIM: usize = 64;
/// Epsilon of every LayerNorm.
const NORM_EPSILON: f64 = 1e-6;
/// ImageNet's mean and standard deviation of each color, for values from 0 to 1.
const MEAN: [f32; 3] = [0.485, 0.456, 0.406];
const DEVIATION: [f32; 3] = [0.229, 0.224, 0.225];

/// Why a file was refused as weights of a DINOv2.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Dinov2Error {
    /// The file is not safetensors.
    #[error("not a safetensors file: {0}")]
    Container(#[from] safetensors::SafeTensorError),
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
    /// A tensor holds values that are not f16, bf16 or f32, or not finite.
    #[error("tensor {name} does not hold finite f16, bf16 or f32 values")]
    BadValues {
        /// Its name.
        name: String,
    },
    /// The file holds a tensor that this network does not have.
    #[error("unknown tensor {name}")]
    UnknownTensor {
        /// Its name.
        name: String,
    },
}

/// The network for photos of one size.
#[derive(Debug)]
pub struct Dinov2 {
    size: usize,
    patch_embed: Linear,
    /// CLS token with its position, `[1, hidden]`.
    cls: Tensor,
    /// `[patches, hidden]`
    positions: Tensor,
    blocks: Vec<Block>,
    norm: LayerNorm,
}

/// The output tokens for a photo, after the last norm.
#[derive(Debug, Clone, PartialEq)]
pub struct Tokens {
    /// `[hidden]`
    pub cls: Vec<f32>,
    /// `[patches, hidden]` in row-major order.
    pub patches: Vec<f32>,
}

#[derive(Debug)]
struct Linear {
    /// `[in, out]`
    weight: Tensor,
    bias: Tensor,
}

#[derive(Debug)]
struct LayerNorm {
    weight: Tensor,
    bias: Tensor,
}

#[derive(Debug)]
struct Block {
    norm1: LayerNorm,
    query: Linear,
    key: Linear,
    value: Linear,
    proj: Linear,
    layer_scale1: Tensor,
    norm2: LayerNorm,
    fc1: Linear,
    fc2: Linear,
    layer_scale2: Tensor,
}

impl Dinov2 {
    /// Loads a safetensors file with the tensor names of `facebook/dinov2-small`, for photos of
    /// `size * size` pixels. If the file's position embeddings are for another grid than the
    /// photo's (they are for 37 x 37 patches of 518 pixels), [`resize_positions`] adapts them as
    /// the original implementation does.
    ///
    /// # Errors
    ///
    /// If the file is damaged or holds another network.
    ///
    /// # Panics
    ///
    /// If `size` is not a multiple of 14.
    pub fn load(bytes: &[u8], size: usize) -> std::result::Result<Self, Dinov2Error> {
        assert!(
            size > 0 && size.is_multiple_of(PATCH),
            "{size} pixels are not a multiple of {PATCH}"
        );
        let mut source = Source::new(SafeTensors::deserialize(bytes)?);
        let hidden = source.hidden_size()?;
        let (cls, positions) = source.embeddings(hidden, size / PATCH)?;
        let net = Self {
            size,
            patch_embed: source.patch_embed(hidden)?,
            cls,
            positions,
            blocks: (0..source.num_layers())
                .map(|layer| source.block(layer, hidden))
                .collect::<std::result::Result<_, _>>()?,
            norm: source.norm("layernorm", hidden)?,
        };
        source.expect_empty()?;
        Ok(net)
    }

    /// Width of a token.
    pub fn hidden_size(&self) -> usize {
        self.cls.elem_count()
    }

    /// Patches along a side of the photo.
    pub fn grid(&self) -> usize {
        self.size / PATCH
    }

    /// Runs the network on `pixels`, `[size, size, 3]` RGB8.
    ///
    /// # Panics
    ///
    /// If `pixels` has another length.
    pub fn forward(&self, pixels: &[u8]) -> Tokens {
        assert_eq!(
            pixels.len(),
            3 * self.size * self.size,
            "expected {0} x {0} RGB pixels",
            self.size
        );
        self.tokens(pixels).expect("every shape was checked when the weights were loaded")
    }

    fn tokens(&self, pixels: &[u8]) -> Result<Tokens> {
        let patches = self.patch_embed.forward(&self.patches(pixels)?)?;
        let mut x = Tensor::cat(&[&self.cls, &(patches + &self.positions)?], 0)?;
        for block in &self.blocks {
            x = block.forward(&x)?;
        }
        let mut cls = self.norm.forward(&x)?.flatten_all()?.to_vec1::<f32>()?;
        let patches = cls.split_off(self.hidden_size());
        Ok(Tokens { cls, patches })
    }

    /// The standardized pixels of each patch, `[patches, 3 * 14 * 14]`, with the color as the
    /// slowest axis, as in the weights.
    fn patches(&self, pixels: &[u8]) -> Result<Tensor> {
        let grid = self.grid();
        let mut values = Vec::with_capacity(pixels.len());
        for patch in 0..grid * grid {
            let (top, left) = (patch / grid * PATCH, patch % grid * PATCH);
            for color in 0..3 {
                for pixel in 0..PATCH * PATCH {
                    let (y, x) = (top + pixel / PATCH, left + pixel % PATCH);
                    let value = f32::from(pixels[3 * (y * self.size + x) + color]) / 255.0;
                    values.push((value - MEAN[color]) / DEVIATION[color]);
                }
            }
        }
        Tensor::from_vec(values, (grid * grid, 3 * PATCH * PATCH), &Device::Cpu)
    }
}

impl Block {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let attended = self.attention(&self.norm1.forward(x)?)?;
        let x = (x + attended.broadcast_mul(&self.layer_scale1)?)?;
        let hidden = self.fc1.forward(&self.norm2.forward(&x)?)?.gelu_erf()?;
        &x + self.fc2.forward(&hidden)?.broadcast_mul(&self.layer_scale2)?
    }

    fn attention(&self, x: &Tensor) -> Result<Tensor> {
        let (rows, hidden) = x.dims2()?;
        let heads = |linear: &Linear| -> Result<Tensor> {
            let heads = linear.forward(x)?.reshape((rows, hidden / HEAD_DIM, HEAD_DIM))?;
            heads.transpose(0, 1)?.contiguous() // [heads, rows, 64]
        };
        let (q, k, v) = (heads(&self.query)?, heads(&self.key)?, heads(&self.value)?);
        let scores = (q.matmul(&k.t()?)? * (HEAD_DIM as f64).sqrt().recip())?;
        let weights = scores.broadcast_sub(&scores.max_keepdim(D::Minus1)?)?.exp()?;
        let weights = weights.broadcast_div(&weights.sum_keepdim(D::Minus1)?)?;
        self.proj.forward(&weights.matmul(&v)?.transpose(0, 1)?.reshape((rows, hidden))?)
    }
}

impl Linear {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        x.matmul(&self.weight)?.broadcast_add(&self.bias)
    }
}

impl LayerNorm {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let x = x.broadcast_sub(&x.mean_keepdim(D::Minus1)?)?;
        let deviation = (x.sqr()?.mean_keepdim(D::Minus1)? + NORM_EPSILON)?.sqrt()?;
        x.broadcast_div(&deviation)?.broadcast_mul(&self.weight)?.broadcast_add(&self.bias)
    }
}

/// Resizes position embeddings `[old * old, hidden]` to `[new * new, hidden]` by PyTorch's bicubic
/// interpolation without antialiasing, at the points `(i + 0.5) * old / (new + 0.1) - 0.5`. The 0.1
/// is that of the original implementation (`interpolate_pos_encoding`); transformers has since
/// dropped it.
pub fn resize_positions(positions: &[f32], old: usize, new: usize) -> Vec<f32> {
    if old == new {
        return positions.to_vec();
    }
    let hidden = positions.len() / (old * old);
    let taps: Vec<[(usize, f32); 4]> = (0..new).map(|to| bicubic_taps(to, old, new)).collect();
    let mut out = Vec::with_capacity(new * new * hidden);
    for (vertical, horizontal) in taps.iter().flat_map(|v| taps.iter().map(move |h| (v, h))) {
        let mut sums = vec![0.0; hidden];
        for (y, x) in vertical.iter().flat_map(|y| horizontal.iter().map(move |x| (y, x))) {
            let weight = y.1 * x.1;
            let row = &positions[(y.0 * old + x.0) * hidden..][..hidden];
            sums.iter_mut().zip(row).for_each(|(sum, value)| *sum += weight * value);
        }
        out.extend(sums);
    }
    out
}

/// The four old points around the new point `to`, clamped to the grid, and the weight of each by
/// the cubic convolution of Keys (1981) with a = -0.75.
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "points clamped to the grid"
)]
fn bicubic_taps(to: usize, old: usize, new: usize) -> [(usize, f32); 4] {
    const A: f64 = -0.75;
    let at = (to as f64 + 0.5) * old as f64 / (new as f64 + 0.1) - 0.5;
    [-1.0, 0.0, 1.0, 2.0].map(|step| {
        let tap = at.floor() + step;
        let x = (at - tap).abs();
        let weight = if x <= 1.0 {
            ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0
        } else {
            ((A * x - 5.0 * A) * x + 8.0 * A) * x - 4.0 * A
        };
        (tap.clamp(0.0, (old - 1) as f64) as usize, weight as f32)
    })
}
