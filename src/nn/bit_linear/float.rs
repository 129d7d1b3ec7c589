//! The product of the float twin, a model that is not ternary, to compare ours with.

use candle_core::{Device, Result, Shape, Tensor};

use super::shape_with_width;
use crate::gemm::{rounded_product, rounded_product_transposed, transposed};
use crate::nn::fused::{with_values, Backward, FusedOp};

/// The float twin's product, in bfloat16 with f32 sums both ways where the machine has it: the
/// usual mixed precision.
pub(super) struct FloatOp;

impl FusedOp<2> for FloatOp {
    const NAME: &'static str = "float_linear";

    fn forward(
        &self,
        [x, w]: [&[f32]; 2],
        [x_shape, w_shape]: [&Shape; 2],
    ) -> Result<(Vec<f32>, Shape)> {
        let (outputs, inputs) = w_shape.dims2()?;
        let product = rounded_product(x, &transposed(w, inputs), inputs);
        Ok((product, shape_with_width(x_shape, outputs)))
    }
}

impl Backward<2> for FloatOp {
    fn backward(&self, [x, w]: [&Tensor; 2], dy: &Tensor) -> Result<[Option<Tensor>; 2]> {
        let (outputs, inputs) = w.dims2()?;
        let (dx, dw) = with_values(dy, |dy| -> Result<_> {
            let dx = with_values(w, |w| rounded_product(dy, w, outputs))?;
            let terms = x.elem_count() / inputs;
            Ok((dx, with_values(x, |x| rounded_product_transposed(dy, x, terms))?))
        })??;
        let dx = Tensor::from_vec(dx, x.shape(), &Device::Cpu)?;
        Ok([Some(dx), Some(Tensor::from_vec(dw, w.shape(), &Device::Cpu)?)])
    }
}

/// `rows` `[rows, inputs]` by `weight` `[outputs, inputs]`, without a gradient.
pub(super) fn multiply(rows: &[f32], weight: &Tensor) -> Result<Vec<f32>> {
    let inputs = weight.dim(1)?;
    let rows = Tensor::from_slice(rows, (rows.len() / inputs, inputs), &Device::Cpu)?;
    rows.matmul(&weight.detach().t()?)?.flatten_all()?.to_vec1()
}
