//! The gradients of the fused operations.

use candle_core::{Result, Tensor};

/// The gradient of a [`FusedOp`](super::FusedOp).
pub(crate) trait Backward<const N: usize> {
    /// The gradient of each input, or `None` where it is not wanted. `gradient` has the result's
    /// shape.
    fn backward(&self, inputs: [&Tensor; N], gradient: &Tensor) -> Result<[Option<Tensor>; N]>;
}

/// The gradients of `op`, each with the shape of its input.
pub(super) fn gradients<const N: usize>(
    op: &impl Backward<N>,
    inputs: [&Tensor; N],
    gradient: &Tensor,
) -> Result<[Option<Tensor>; N]> {
    op.backward(inputs, &gradient.contiguous()?)
}
