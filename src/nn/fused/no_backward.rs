//! What stands for the gradients in a build that cannot train.

use candle_core::{Result, Tensor};

/// Every operation has it: none needs a gradient.
pub(crate) trait Backward<const N: usize> {}

impl<T, const N: usize> Backward<N> for T {}

/// Errs: there are no gradients.
pub(super) fn gradients<const N: usize>(
    _: &impl Backward<N>,
    _: [&Tensor; N],
    _: &Tensor,
) -> Result<[Option<Tensor>; N]> {
    candle_core::bail!("gradients need feature `train`")
}
