//! BitLinear, the ternary linear layer of BitNet b1.58 (Ma et al. 2024): the only caller of the
//! ternary kernels.
//!
//! `[rows, inputs]` to `[rows, outputs]`. Per row, `x_q = round(x * 127 / max|x|)`; per matrix,
//! `T = round(W / mean|W|)`, clipped to -1..1; the product is exact in integers and scaled once:
//! `y = (x_q . T^T) * weight_scale * max|x| / 127`. Training runs the same integers forward and a
//! straight-through gradient back: `dx = dy . What`, `dW = dy^T . xhat`.

#[cfg(feature = "train")]
pub(super) mod backward;
#[cfg(feature = "train")]
mod float;

use candle_core::{Result, Shape, Tensor};

use super::fused::{apply1, apply2, with_values, FusedOp};
use crate::kernels::{quantize_row, ternarize, ternary_matmul, TernaryMatrix};
use crate::weights::{ModelError, Ternary, Weights};

/// A ternary linear layer without bias.
pub struct BitLinear {
    weight: Weight,
}

enum Weight {
    /// Full-precision weights `[outputs, inputs]` behind a straight-through estimator.
    Latent(Tensor),
    /// Two-bit codes and the factor that multiplies them.
    Packed(std::sync::Arc<Packed>),
    /// Weights `[outputs, inputs]` that stay as they are, for the float twin.
    #[cfg(feature = "train")]
    Float(Tensor),
}

struct Packed {
    matrix: TernaryMatrix,
    scale: f32,
}

impl BitLinear {
    /// The layer that turns rows of `inputs` numbers into rows of `outputs`.
    pub fn new(
        weights: &Weights,
        inputs: usize,
        outputs: usize,
    ) -> std::result::Result<Self, ModelError> {
        let weight = match weights.ternary(outputs, inputs)? {
            Ternary::Latent(latent) => Weight::Latent(latent),
            #[cfg(feature = "train")]
            Ternary::Float(weight) => Weight::Float(weight),
            Ternary::Packed { matrix, scale } => {
                Weight::Packed(std::sync::Arc::new(Packed { matrix, scale }))
            }
        };
        Ok(Self { weight })
    }

    /// `[rows, inputs]` to `[rows, outputs]`.
    pub fn forward(&self, rows: &Tensor) -> Result<Tensor> {
        match &self.weight {
            Weight::Latent(latent) => apply2(rows, latent, LatentOp),
            Weight::Packed(packed) => apply1(rows, PackedOp(packed.clone())),
            #[cfg(feature = "train")]
            Weight::Float(weight) => apply2(rows, weight, float::FloatOp),
        }
    }

    /// [`forward`](Self::forward) of rows that were quantized already, `[rows, outputs]` into
    /// `out`.
    pub(super) fn multiply(&self, rows: &mut QuantizedRows, out: &mut Vec<f32>) -> Result<()> {
        match &self.weight {
            Weight::Packed(packed) => rows.multiply(&packed.matrix, packed.scale, out),
            Weight::Latent(latent) => {
                let (outputs, inputs) = latent.dims2()?;
                let mut codes = vec![0; outputs * inputs];
                let scale = with_values(latent, |latent| ternarize(latent, &mut codes))?;
                let matrix = TernaryMatrix::from_weights(outputs, inputs, &codes);
                rows.multiply(&matrix, scale, out);
            }
            #[cfg(feature = "train")]
            Weight::Float(weight) => *out = float::multiply(&rows.floats, weight)?,
        }
        Ok(())
    }
}

/// Rows quantized once for all layers that read them. Kept from one token to the next, it allocates
/// nothing.
#[derive(Default)]
pub(super) struct QuantizedRows {
    values: Vec<i8>,
    scales: Vec<f32>,
    sums: Vec<i32>,
    /// The rows as they were: the float twin rounds no activations.
    #[cfg(feature = "train")]
    floats: Vec<f32>,
}

impl QuantizedRows {
    /// Takes other rows, each `width` wide.
    pub(super) fn quantize(&mut self, rows: &[f32], width: usize) {
        #[cfg(feature = "train")]
        {
            self.floats.clear();
            self.floats.extend_from_slice(rows);
        }
        self.values.resize(rows.len(), 0);
        self.scales.clear();
        let rows = rows.chunks_exact(width).zip(self.values.chunks_exact_mut(width));
        self.scales.extend(rows.map(|(row, values)| quantize_row(row, values)));
    }

    fn multiply(&mut self, matrix: &TernaryMatrix, weight_scale: f32, out: &mut Vec<f32>) {
        let outputs = matrix.rows();
        self.sums.resize(self.scales.len() * outputs, 0);
        ternary_matmul(matrix, &self.values, &mut self.sums);
        out.resize(self.sums.len(), 0.0);
        let rows = out.chunks_exact_mut(outputs).zip(self.sums.chunks_exact(outputs));
        for ((out, sums), scale) in rows.zip(&self.scales) {
            let scale = scale * weight_scale;
            for (out, &sum) in out.iter_mut().zip(sums) {
                *out = sum as f32 * scale;
            }
        }
    }
}

struct PackedOp(std::sync::Arc<Packed>);

impl FusedOp<1> for PackedOp {
    const NAME: &'static str = "bit_linear_packed";

    fn forward(&self, [x]: [&[f32]; 1], [shape]: [&Shape; 1]) -> Result<(Vec<f32>, Shape)> {
        let outputs = self.0.matrix.rows();
        Ok((product(&self.0.matrix, self.0.scale, x), shape_with_width(shape, outputs)))
    }
}

struct LatentOp;

impl FusedOp<2> for LatentOp {
    const NAME: &'static str = "bit_linear_latent";

    fn forward(
        &self,
        [x, w]: [&[f32]; 2],
        [x_shape, w_shape]: [&Shape; 2],
    ) -> Result<(Vec<f32>, Shape)> {
        let (outputs, inputs) = w_shape.dims2()?;
        let mut codes = vec![0i8; w.len()];
        let scale = ternarize(w, &mut codes);
        let matrix = TernaryMatrix::from_weights(outputs, inputs, &codes);
        Ok((product(&matrix, scale, x), shape_with_width(x_shape, outputs)))
    }
}

/// Integers with one scale a row.
pub(crate) struct Int8Rows {
    pub(crate) values: Vec<i8>,
    pub(crate) scales: Vec<f32>,
}

impl Int8Rows {
    /// Quantizes every row of `width` numbers.
    pub(crate) fn new(rows: &[f32], width: usize) -> Self {
        let mut values = vec![0i8; rows.len()];
        let pairs = rows.chunks_exact(width).zip(values.chunks_exact_mut(width));
        let scales = pairs.map(|(row, values)| quantize_row(row, values)).collect();
        Self { values, scales }
    }

    /// The numbers the integers stand for.
    pub(crate) fn dequantized(&self) -> Vec<f32> {
        let mut out = vec![0.0; self.values.len()];
        let width = self.values.len() / self.scales.len().max(1);
        let rows = out.chunks_exact_mut(width.max(1)).zip(self.values.chunks_exact(width.max(1)));
        for ((out, values), scale) in rows.zip(&self.scales) {
            for (out, &value) in out.iter_mut().zip(values) {
                *out = f32::from(value) * scale;
            }
        }
        out
    }
}

/// `[tokens, inputs]` by a matrix `[outputs, inputs]`, quantizing each row on the way.
fn product(matrix: &TernaryMatrix, weight_scale: f32, x: &[f32]) -> Vec<f32> {
    let (mut rows, mut out) = (QuantizedRows::default(), Vec::new());
    rows.quantize(x, matrix.cols());
    rows.multiply(matrix, weight_scale, &mut out);
    out
}

fn shape_with_width(shape: &Shape, width: usize) -> Shape {
    let mut dims = shape.dims().to_vec();
    *dims.last_mut().expect("rows have at least one dimension") = width;
    Shape::from(dims)
}
