//! BitLinear, the ternary linear layer of BitNet b1.58 (Ma et al. 2024): the only caller of the
//! ternary kernels.
//!
//! `[rows, inputs]` to `[rows, outputs]`. Per row, `x_q = round(x * 127 / max|x|)`; per matrix,
//! `T = round(W / mean|W|)`, clipped to -1..1; the product is exact in integers and scaled once:
//! `y = (x_q . T^T) * weight_scale * max|x| / 127`. Training runs the same integers forward and a
//! straight-through gradient back: `dx = dy . What`, `dW = dy^T . xhat`.

use candle_core::{Device, Result, Shape, Tensor};

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
        }
    }

    /// [`forward`](Self::forward) of rows that were quantised already, `[rows, outputs]` into `out`.
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
        }
        Ok(())
    }
}

/// Rows quantised once for all layers that read them. Kept from one token to the next, it allocates nothing.
#[derive(Default)]
pub(super) struct QuantizedRows {
    values: Vec<i8>,
    scales: Vec<f32>,
    sums: Vec<i32>,
}

impl QuantizedRows {
    /// Takes other rows, each `width` wide.
    pub(super) fn quantize(&mut self, rows: &[f32], width: usize) {
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

    fn backward(&self, _: [&Tensor; 1], _: &Tensor) -> Result<[Option<Tensor>; 1]> {
        candle_core::bail!("packed weights cannot be trained")
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

    fn backward(&self, [x, w]: [&Tensor; 2], dy: &Tensor) -> Result<[Option<Tensor>; 2]> {
        let (weight, rows) = (quantized_weight(w)?, quantized_rows(x)?);
        let dx = dy.matmul(&weight)?;
        let dw = dy.t()?.matmul(&rows)?;
        Ok([Some(dx), Some(dw)])
    }
}

/// `[tokens, inputs]` by a matrix `[outputs, inputs]`, quantising each row on the way.
fn product(matrix: &TernaryMatrix, weight_scale: f32, x: &[f32]) -> Vec<f32> {
    let (inputs, outputs) = (matrix.cols(), matrix.rows());
    let tokens = x.len() / inputs;
    let mut values = vec![0i8; x.len()];
    let scales: Vec<f32> = x
        .chunks_exact(inputs)
        .zip(values.chunks_exact_mut(inputs))
        .map(|(row, values)| quantize_row(row, values) * weight_scale)
        .collect();
    let mut sums = vec![0i32; tokens * outputs];
    ternary_matmul(matrix, &values, &mut sums);
    let rows = sums.chunks_exact(outputs).zip(&scales);
    rows.flat_map(|(row, scale)| row.iter().map(move |&sum| sum as f32 * scale)).collect()
}

/// `weight_scale * T` of latent weights.
pub(crate) fn quantized_weight(latent: &Tensor) -> Result<Tensor> {
    let values = with_values(latent, |latent| {
        let mut codes = vec![0i8; latent.len()];
        let scale = ternarize(latent, &mut codes);
        codes.into_iter().map(|code| f32::from(code) * scale).collect::<Vec<f32>>()
    })?;
    Tensor::from_vec(values, latent.shape(), &Device::Cpu)
}

/// Every row as its int8 quantisation reads it.
pub(crate) fn quantized_rows(rows: &Tensor) -> Result<Tensor> {
    let width = rows.dim(candle_core::D::Minus1)?;
    let values = with_values(rows, |rows| {
        let mut values = vec![0i8; width];
        let mut out = Vec::with_capacity(rows.len());
        for row in rows.chunks_exact(width) {
            let scale = quantize_row(row, &mut values);
            out.extend(values.iter().map(|&v| f32::from(v) * scale));
        }
        out
    })?;
    Tensor::from_vec(values, rows.shape(), &Device::Cpu)
}

fn shape_with_width(shape: &Shape, width: usize) -> Shape {
    let mut dims = shape.dims().to_vec();
    *dims.last_mut().expect("rows have at least one dimension") = width;
    Shape::from(dims)
}
