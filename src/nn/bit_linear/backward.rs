//! The straight-through gradient of BitLinear.

use candle_core::{Device, Result, Tensor};

use super::{Int8Rows, LatentOp, PackedOp};
use crate::gemm::ScaledIntegers;
use crate::kernels::ternarize;
use crate::nn::fused::{with_values, Backward};

impl Backward<1> for PackedOp {
    fn backward(&self, _: [&Tensor; 1], _: &Tensor) -> Result<[Option<Tensor>; 1]> {
        candle_core::bail!("packed weights cannot be trained")
    }
}

impl Backward<2> for LatentOp {
    fn backward(&self, [x, w]: [&Tensor; 2], dy: &Tensor) -> Result<[Option<Tensor>; 2]> {
        let weights = with_values(w, |latent| {
            let mut values = vec![0i8; latent.len()];
            let scale = ternarize(latent, &mut values);
            Int8Rows { values, scales: vec![scale; w.dims()[0]] }
        })?;
        let rows = with_values(x, |x| Int8Rows::new(x, w.dims()[1]))?;
        straight_through([x, w], [&rows, &weights], dy)
    }
}

impl Int8Rows {
    fn integers(&self) -> ScaledIntegers<'_> {
        ScaledIntegers { values: &self.values, scales: &self.scales }
    }
}

/// The straight-through gradients of `y = x . w^T`, both quantized: `dx = dy . What`,
/// `dw = dy^T . xhat`.
pub(crate) fn straight_through(
    [x, w]: [&Tensor; 2],
    [rows, weights]: [&Int8Rows; 2],
    dy: &Tensor,
) -> Result<[Option<Tensor>; 2]> {
    let dx = with_values(dy, |dy| weights.integers().left_multiplied(dy))?;
    let dw = with_values(dy, |dy| rows.integers().left_multiplied_transposed(dy))?;
    let dx = Tensor::from_vec(dx, x.shape(), &Device::Cpu)?;
    Ok([Some(dx), Some(Tensor::from_vec(dw, w.shape(), &Device::Cpu)?)])
}
