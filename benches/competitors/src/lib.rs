//! One stack of linear layers, computed by bitmar and by candle, for JavaScript to time.
//!
//! A stack is `layers` matrices `[outputs, inputs]` of weights -1, 0, 1; its output for `x`
//! `[rows, inputs]` is the sum of `x W_l^T` over the layers, `[rows, outputs]`. The sum needs every
//! product, and a plain loop can check it: `x (sum of W_l)^T`.

use candle_core::quantized::{GgmlDType, QMatMul, QTensor};
use candle_core::{DType, Device, Module, Tensor};
use kernels::TernaryMatrix;
use wasm_bindgen::prelude::*;

#[allow(dead_code, unused_imports, reason = "the product's kernels, of which two are compared")]
#[path = "../../../src/kernels/mod.rs"]
mod kernels;

/// Name of the kernel backend in use.
#[wasm_bindgen(js_name = kernelsInUse)]
pub fn kernels_in_use() -> String {
    kernels::active().name.into()
}

/// bitmar: ternary weights, activations quantized for each layer as `BitLinear` does.
#[wasm_bindgen]
pub struct Ternary {
    matrices: Vec<TernaryMatrix>,
    values: Vec<i8>,
    sums: Vec<i32>,
}

#[wasm_bindgen]
impl Ternary {
    /// `weights` is `[layers, outputs, inputs]`.
    #[wasm_bindgen(constructor)]
    pub fn new(outputs: usize, inputs: usize, weights: &[i8]) -> Self {
        let layers = weights.chunks_exact(outputs * inputs);
        let matrices = layers.map(|layer| TernaryMatrix::from_weights(outputs, inputs, layer));
        Self { matrices: matrices.collect(), values: Vec::new(), sums: Vec::new() }
    }

    /// The output of the stack for `x`.
    pub fn run(&mut self, x: &[f32]) -> Vec<f32> {
        let (outputs, inputs) = (self.matrices[0].rows(), self.matrices[0].cols());
        let rows = x.len() / inputs;
        self.values.resize(x.len(), 0);
        self.sums.resize(rows * outputs, 0);
        let mut answer = vec![0.0; rows * outputs];
        for matrix in &self.matrices {
            let quantized = x.chunks_exact(inputs).zip(self.values.chunks_exact_mut(inputs));
            let scales: Vec<f32> =
                quantized.map(|(x, values)| kernels::quantize_row(x, values)).collect();
            kernels::ternary_matmul(matrix, &self.values, &mut self.sums);
            let rows = answer.chunks_exact_mut(outputs).zip(self.sums.chunks_exact(outputs));
            for ((answer, sums), scale) in rows.zip(scales) {
                for (answer, &sum) in answer.iter_mut().zip(sums) {
                    *answer += sum as f32 * scale;
                }
            }
        }
        answer
    }
}

/// candle: f32 or 4-bit weights.
#[wasm_bindgen]
pub struct Candle {
    layers: Vec<QMatMul>,
    inputs: usize,
}

#[wasm_bindgen]
impl Candle {
    /// `weights` is `[layers, outputs, inputs]`.
    #[wasm_bindgen(constructor)]
    pub fn new(outputs: usize, inputs: usize, weights: &[i8], quantized: bool) -> Self {
        let layer = |weights: &[i8]| {
            let weights: Vec<f32> = weights.iter().map(|&weight| f32::from(weight)).collect();
            let weights = Tensor::from_vec(weights, (outputs, inputs), &Device::Cpu)?;
            if quantized {
                QMatMul::from_qtensor(QTensor::quantize(&weights, GgmlDType::Q4_0)?)
            } else {
                Ok(QMatMul::Tensor(weights.to_dtype(DType::F32)?))
            }
        };
        let layers = weights.chunks_exact(outputs * inputs).map(layer);
        Self { layers: layers.collect::<candle_core::Result<_>>().expect("the shape fits"), inputs }
    }

    /// The output of the stack for `x`.
    pub fn run(&self, x: &[f32]) -> Vec<f32> {
        self.forward(x).and_then(|y| y.flatten_all()?.to_vec1()).expect("the shape fits")
    }

    fn forward(&self, x: &[f32]) -> candle_core::Result<Tensor> {
        let x = Tensor::from_slice(x, (x.len() / self.inputs, self.inputs), &Device::Cpu)?;
        let mut answer = self.layers[0].forward(&x)?;
        for layer in &self.layers[1..] {
            answer = (answer + layer.forward(&x)?)?;
        }
        Ok(answer)
    }
}
