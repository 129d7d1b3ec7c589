//! Linear heads on the vision encoder's output, and the cosine distance that trains them.

use candle_core::{Device, Result, Tensor};

use crate::model::unit_rows;
use crate::weights::{Init, ModelError, Weights};

/// Makes the weight of a linear head without bias, `[outputs, hidden]`.
pub(crate) fn head(
    weights: &Weights,
    name: &str,
    outputs: usize,
    hidden: usize,
) -> std::result::Result<Tensor, ModelError> {
    weights.tensor(name, &[outputs, hidden], Init::Normal((hidden as f32).sqrt().recip()))
}

/// The mean of all rows of length `width`, `[width]`; 0 without rows. An item of `rows` may hold
/// several rows.
pub(crate) fn mean<'a, T: Copy + Into<f64> + 'a>(
    rows: impl Iterator<Item = &'a [T]>,
    width: usize,
) -> Result<Tensor> {
    let (mut sums, mut count) = (vec![0f64; width], 0.0);
    for row in rows.flat_map(|rows| rows.chunks_exact(width.max(1))) {
        sums.iter_mut().zip(row).for_each(|(sum, &value)| *sum += value.into());
        count += 1.0;
    }
    #[allow(clippy::cast_possible_truncation, reason = "a mean of small numbers")]
    let means: Vec<f32> = sums.into_iter().map(|sum| (sum / f64::max(count, 1.0)) as f32).collect();
    Tensor::from_vec(means, width, &Device::Cpu)
}

/// `mean(1 - cos(rows . head^T, target - mean))`, a scalar: `rows` `[rows, hidden]`, `head`
/// `[outputs, hidden]`, `target` the values of `[rows, outputs]` in order, `mean` `[outputs]`.
pub(crate) fn distance(
    rows: &Tensor,
    head: &Tensor,
    target: impl Iterator<Item = f32>,
    mean: &Tensor,
) -> Result<Tensor> {
    let shape = (rows.dim(0)?, mean.elem_count());
    let target = Tensor::from_vec(target.collect::<Vec<f32>>(), shape, &Device::Cpu)?;
    let target = unit_rows(&target.broadcast_sub(mean)?)?;
    let cosine = (unit_rows(&rows.matmul(&head.t()?)?)? * target)?.sum(1)?.mean_all()?;
    cosine.affine(-1.0, 1.0)
}
