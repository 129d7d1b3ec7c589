//! The token table, int8 with one scale per token, tied to the output head.
//!
//! Text in: `[tokens]` ids to `[tokens, hidden_size]`, scaled by `sqrt(hidden_size)` (Vaswani et
//! al. 2017, section 3.4). Text out: `[rows, hidden_size]` to logits `[rows, vocab_size]`, both
//! factors int8 and the sum exact. Training quantizes the same way and passes the gradient straight
//! through.

#[cfg(feature = "train")]
mod backward;

use std::sync::Arc;

use candle_core::{Device, Result, Shape, Tensor};

use super::bit_linear::Int8Rows;
use super::fused::{apply1, apply2, FusedOp};
use crate::kernels::{int8_matmul, Int8Matrix};
use crate::weights::{Init, ModelError, Weights};

/// The token table and output head.
pub struct TokenEmbedding {
    table: Table,
    hidden_size: usize,
}

enum Table {
    Latent(Tensor),
    Int8(Arc<Int8Table>),
}

struct Int8Table {
    matrix: Int8Matrix,
    scales: Vec<f32>,
    /// The same codes for look-ups: unpacking the matrix for one row would be wasteful.
    rows: Vec<i8>,
}

/// The table, quantized once per training step and shared by look-ups and the head.
pub struct QuantizedTable(Option<Tensor>);

impl TokenEmbedding {
    /// The table for `vocab_size` tokens.
    pub fn new(
        weights: &Weights,
        vocab_size: usize,
        hidden_size: usize,
    ) -> std::result::Result<Self, ModelError> {
        let shape = [vocab_size, hidden_size];
        let table = if weights.is_file() {
            let rows = weights.take_i8("weight", &shape)?;
            let scales = weights.take_f32("weight_scale", &[vocab_size])?;
            let matrix = Int8Matrix::from_weights(vocab_size, hidden_size, &rows);
            Table::Int8(Arc::new(Int8Table { matrix, scales, rows }))
        } else {
            Table::Latent(weights.latent_embedding(vocab_size, hidden_size, Init::Normal(0.02))?)
        };
        Ok(Self { table, hidden_size })
    }

    /// Quantizes the table once for a forward pass.
    pub fn quantize(&self) -> Result<QuantizedTable> {
        match &self.table {
            Table::Latent(latent) => Ok(QuantizedTable(Some(apply1(latent, QuantizeRowsOp)?))),
            Table::Int8(_) => Ok(QuantizedTable(None)),
        }
    }

    /// The rows of `ids`: `[ids.len(), hidden_size]`.
    pub fn look_up(&self, table: &QuantizedTable, ids: &[u32]) -> Result<Tensor> {
        let factor = (self.hidden_size as f32).sqrt();
        match (&self.table, &table.0) {
            (Table::Latent(_), Some(quantized)) => {
                let ids = Tensor::from_slice(ids, ids.len(), &Device::Cpu)?;
                quantized.index_select(&ids, 0)? * f64::from(factor)
            }
            (Table::Int8(table), _) => {
                let rows = ids.iter().flat_map(|&id| {
                    let id = id as usize;
                    let scale = table.scales[id] * factor;
                    table.rows[id * self.hidden_size..][..self.hidden_size]
                        .iter()
                        .map(move |&code| f32::from(code) * scale)
                });
                Tensor::from_vec(rows.collect(), (ids.len(), self.hidden_size), &Device::Cpu)
            }
            (Table::Latent(_), None) => unreachable!("the table was quantized by `quantize`"),
        }
    }

    /// Logits `[rows, vocab_size]` of normalized rows.
    pub fn head(&self, table: &QuantizedTable, rows: &Tensor) -> Result<Tensor> {
        match (&self.table, &table.0) {
            (Table::Latent(_), Some(quantized)) => apply2(rows, quantized, LatentHeadOp),
            (Table::Int8(table), _) => apply1(rows, Int8HeadOp(table.clone())),
            (Table::Latent(_), None) => unreachable!("the table was quantized by `quantize`"),
        }
    }
}

/// Rounds every row to int8 and back, with a straight-through gradient.
struct QuantizeRowsOp;

impl FusedOp<1> for QuantizeRowsOp {
    const NAME: &'static str = "quantize_rows";

    fn forward(&self, [x]: [&[f32]; 1], [shape]: [&Shape; 1]) -> Result<(Vec<f32>, Shape)> {
        let (_, width) = shape.dims2()?;
        Ok((Int8Rows::new(x, width).dequantized(), shape.clone()))
    }
}

/// The head in training: product of `[rows, hidden_size]` with a quantized table
/// `[vocab_size, hidden_size]`.
struct LatentHeadOp;

impl FusedOp<2> for LatentHeadOp {
    const NAME: &'static str = "latent_head";

    fn forward(
        &self,
        [x, table]: [&[f32]; 2],
        [shape, table_shape]: [&Shape; 2],
    ) -> Result<(Vec<f32>, Shape)> {
        let (vocab_size, width) = table_shape.dims2()?;
        // Quantizing a row again gives the same integers and scale.
        let table = Int8Rows::new(table, width);
        let matrix = Int8Matrix::from_weights(vocab_size, width, &table.values);
        Ok((logits(&matrix, &table.scales, x), Shape::from((shape.dims2()?.0, vocab_size))))
    }
}

/// Product of `[tokens, width]` with an int8 table with one scale per row; quantizes each token
/// first.
fn logits(table: &Int8Matrix, table_scales: &[f32], x: &[f32]) -> Vec<f32> {
    let vocab_size = table.rows();
    let Int8Rows { values, scales } = Int8Rows::new(x, table.cols());
    let mut sums = vec![0i32; scales.len() * vocab_size];
    int8_matmul(table, &values, &mut sums);
    let mut out = vec![0.0; sums.len()];
    let rows = out.chunks_exact_mut(vocab_size).zip(sums.chunks_exact(vocab_size));
    for ((out, sums), scale) in rows.zip(&scales) {
        for ((out, &sum), table_scale) in out.iter_mut().zip(sums).zip(table_scales) {
            *out = sum as f32 * (scale * table_scale);
        }
    }
    out
}

struct Int8HeadOp(Arc<Int8Table>);

impl FusedOp<1> for Int8HeadOp {
    const NAME: &'static str = "int8_head";

    fn forward(&self, [x]: [&[f32]; 1], [shape]: [&Shape; 1]) -> Result<(Vec<f32>, Shape)> {
        let (tokens, _) = shape.dims2()?;
        let out = logits(&self.0.matrix, &self.0.scales, x);
        Ok((out, Shape::from((tokens, self.0.matrix.rows()))))
    }
}
