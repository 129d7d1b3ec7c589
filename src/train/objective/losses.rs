//! The terms of the training loss, `L = L_lm + lambda_cm L_cm + 0.1 L_mem` (docs/architecture.md,
//! "Training"), and those of distillation and self-critical training.

use candle_core::{Device, Result, Shape, Tensor};

use crate::model::unit_rows;
use crate::nn::fused::{apply1, apply2, with_values, Backward, FusedOp};
use crate::nn::vector::{exp, softmax};

/// Next-token cross entropy with label smoothing: the mean over the rows, weighted by `weights`.
/// `logits` `[rows, vocab_size]`; returns a scalar in nats.
///
/// # Panics
///
/// If `targets` or `weights` do not have one entry for each row.
pub fn caption_loss(
    logits: &Tensor,
    targets: Vec<u32>,
    weights: Vec<f32>,
    smoothing: f32,
) -> Result<Tensor> {
    assert_eq!(logits.dim(0)?, targets.len(), "one target for each row");
    assert_eq!(weights.len(), targets.len(), "one weight for each row");
    let total = weights.iter().sum::<f32>().max(f32::MIN_POSITIVE);
    apply1(logits, CrossEntropyOp { targets, weights, total, smoothing })
}

/// Policy-gradient loss `-mean(advantage * log p(target))` over the rows, each with the advantage
/// of the caption it belongs to (Rennie et al. 2017). `logits` `[rows, vocab_size]`; returns a
/// scalar.
///
/// # Panics
///
/// If `targets` or `advantages` do not have one entry for each row.
pub fn policy_loss(logits: &Tensor, targets: Vec<u32>, advantages: Vec<f32>) -> Result<Tensor> {
    assert_eq!(logits.dim(0)?, targets.len(), "one target for each row");
    assert_eq!(advantages.len(), targets.len(), "one advantage for each row");
    let total = targets.len().max(1) as f32;
    apply1(logits, CrossEntropyOp { targets, weights: advantages, total, smoothing: 0.0 })
}

/// Mean cross entropy of `softmax(logits)` to `softmax(teacher)`, both `[rows, classes]`, in nats
/// (Hinton et al. 2015). No gradient flows to `teacher`.
pub fn soft_cross_entropy(logits: &Tensor, teacher: &Tensor) -> Result<Tensor> {
    apply2(logits, teacher, SoftCrossEntropyOp)
}

struct CrossEntropyOp {
    targets: Vec<u32>,
    weights: Vec<f32>,
    /// Divisor of the sum over the rows.
    total: f32,
    smoothing: f32,
}

impl FusedOp<1> for CrossEntropyOp {
    const NAME: &'static str = "cross_entropy";

    fn forward(&self, [logits]: [&[f32]; 1], [shape]: [&Shape; 1]) -> Result<(Vec<f32>, Shape)> {
        let (_, vocab) = shape.dims2()?;
        let mut sum = 0.0;
        for ((row, &target), &weight) in
            logits.chunks_exact(vocab).zip(&self.targets).zip(&self.weights)
        {
            let mean = row.iter().sum::<f32>() / vocab as f32;
            let expected = (1.0 - self.smoothing) * row[target as usize] + self.smoothing * mean;
            sum += weight * (log_sum_exp(row) - expected);
        }
        Ok((vec![sum / self.total], Shape::from(())))
    }
}

impl Backward<1> for CrossEntropyOp {
    /// `(softmax(logits) - smoothed target) * weight / total` for each row.
    fn backward(&self, [logits]: [&Tensor; 1], gradient: &Tensor) -> Result<[Option<Tensor>; 1]> {
        let factor = gradient.to_scalar::<f32>()? / self.total;
        let vocab = logits.dim(1)?;
        let values = with_values(logits, |logits| {
            let mut out = Vec::with_capacity(logits.len());
            let rows = logits.chunks_exact(vocab).zip(&self.targets).zip(&self.weights);
            for ((row, &target), &weight) in rows {
                let (log_sum, factor) = (log_sum_exp(row), factor * weight);
                let base = self.smoothing / vocab as f32;
                let start = out.len();
                out.extend(row.iter().map(|x| (exp(x - log_sum) - base) * factor));
                out[start + target as usize] -= (1.0 - self.smoothing) * factor;
            }
            out
        })?;
        Ok([Some(Tensor::from_vec(values, logits.shape(), &Device::Cpu)?)])
    }
}

/// `ln(sum(exp(x)))` over a row, computed without overflow.
pub(crate) fn log_sum_exp(row: &[f32]) -> f32 {
    let largest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    // Eight partial sums fill a vector register.
    let mut lanes = [0.0f32; 8];
    for values in row.chunks(8) {
        for (lane, x) in lanes.iter_mut().zip(values) {
            *lane += exp(x - largest);
        }
    }
    largest + lanes.iter().sum::<f32>().ln()
}

/// The alignment loss, and the signal that the modality-balance controller reads.
pub struct Alignment {
    /// Symmetric InfoNCE, a scalar in nats.
    pub loss: Tensor,
    /// Mean cosine of matching pairs minus that of all other pairs in the batch.
    pub signal: f32,
}

/// Symmetric InfoNCE between photos and captions (CLIP, Radford et al. 2021). Row i of `photos`
/// matches row i of `captions`, both `[pairs, C]`; `log_scale` is the logarithm of the inverse
/// temperature, clamped to 0 to ln 100.
pub fn alignment_loss(photos: &Tensor, captions: &Tensor, log_scale: &Tensor) -> Result<Alignment> {
    let (photos, captions) = (unit_rows(photos)?, unit_rows(captions)?);
    let scale = log_scale.clamp(0.0, 100f32.ln())?.exp()?;
    let pairs = photos.dim(0)?;
    let targets: Vec<u32> =
        (0..pairs).map(|i| u32::try_from(i).expect("a row index fits u32")).collect();
    let one_way = |queries: &Tensor, keys: &Tensor| -> Result<Tensor> {
        let logits = queries.matmul(&keys.t()?)?.broadcast_mul(&scale)?;
        caption_loss(&logits, targets.clone(), vec![1.0; pairs], 0.0)
    };
    let (to_captions, to_photos) = (one_way(&photos, &captions)?, one_way(&captions, &photos)?);
    let cosines = photos.matmul(&captions.t()?)?.to_vec2::<f32>()?;
    Ok(Alignment { loss: ((to_captions + to_photos)? * 0.5)?, signal: signal(&cosines) })
}

fn signal(cosines: &[Vec<f32>]) -> f32 {
    let pairs = cosines.len();
    let positive: f32 = (0..pairs).map(|i| cosines[i][i]).sum();
    let all: f32 = cosines.iter().flatten().sum();
    let negatives = (pairs * pairs - pairs).max(1) as f32;
    positive / pairs as f32 - (all - positive) / negatives
}

/// `mean(1 - cos(read, stored)) + mean(1 - cos(again, stored))`: another view of a stored photo is
/// to read the stored value, and its own value `again` is to equal it. All `[episodes, C]`; no
/// gradient flows to `stored`.
pub fn consistency_loss(read: &Tensor, again: &Tensor, stored: &Tensor) -> Result<Tensor> {
    let stored = stored.detach();
    let reads = (unit_rows(read)? * unit_rows(&stored)?)?.sum(1)?.mean_all()?;
    let repeats = (unit_rows(again)? * unit_rows(&stored)?)?.sum(1)?.mean_all()?;
    (reads + repeats)?.affine(-1.0, 2.0)
}

struct SoftCrossEntropyOp;

impl FusedOp<2> for SoftCrossEntropyOp {
    const NAME: &'static str = "soft_cross_entropy";

    fn forward(
        &self,
        [logits, teacher]: [&[f32]; 2],
        [shape, _]: [&Shape; 2],
    ) -> Result<(Vec<f32>, Shape)> {
        let (rows, classes) = shape.dims2()?;
        let pairs = logits.chunks_exact(classes).zip(teacher.chunks_exact(classes));
        let sum: f32 = pairs
            .map(|(logits, teacher)| {
                let log_sum = log_sum_exp(logits);
                let targets = probabilities(teacher);
                logits.iter().zip(targets).map(|(x, p)| p * (log_sum - x)).sum::<f32>()
            })
            .sum();
        Ok((vec![sum / rows as f32], Shape::from(())))
    }
}

impl Backward<2> for SoftCrossEntropyOp {
    /// `(softmax(logits) - softmax(teacher)) / rows`.
    fn backward(
        &self,
        [logits, teacher]: [&Tensor; 2],
        gradient: &Tensor,
    ) -> Result<[Option<Tensor>; 2]> {
        let (rows, classes) = logits.dims2()?;
        let factor = gradient.to_scalar::<f32>()? / rows as f32;
        let values = with_values(logits, |logits| {
            with_values(teacher, |teacher| {
                let pairs = logits.chunks_exact(classes).zip(teacher.chunks_exact(classes));
                pairs
                    .flat_map(|(logits, teacher)| {
                        let differences =
                            probabilities(logits).into_iter().zip(probabilities(teacher));
                        differences.map(|(p, q)| (p - q) * factor).collect::<Vec<f32>>()
                    })
                    .collect::<Vec<f32>>()
            })
        })??;
        Ok([Some(Tensor::from_vec(values, logits.shape(), &Device::Cpu)?), None])
    }
}

fn probabilities(logits: &[f32]) -> Vec<f32> {
    let mut out = logits.to_vec();
    softmax(&mut out, 1.0);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_soft_cross_entropy_has_the_gradient_of_finite_differences() {
        let logits = [0.3f32, -1.0, 0.8, 0.1, 0.0, -0.4];
        let teacher = [1.0f32, 0.0, -1.0, 0.2, 0.9, 0.1];
        let teacher = Tensor::from_slice(&teacher, (2, 3), &Device::Cpu).expect("six numbers");
        let loss = |logits: &[f32]| {
            let logits = Tensor::from_slice(logits, (2, 3), &Device::Cpu).expect("six numbers");
            let loss = soft_cross_entropy(&logits, &teacher).expect("a loss");
            loss.to_scalar::<f32>().expect("a number")
        };
        let var = candle_core::Var::from_slice(&logits, (2, 3), &Device::Cpu).expect("six numbers");
        let store = soft_cross_entropy(var.as_tensor(), &teacher)
            .and_then(|loss| loss.backward())
            .expect("a gradient");
        let gradient =
            store.get(&var).expect("the gradient of the logits").flatten_all().expect("a row");
        for (i, found) in gradient.to_vec1::<f32>().expect("floats").into_iter().enumerate() {
            let (mut above, mut below) = (logits, logits);
            above[i] += 1e-2;
            below[i] -= 1e-2;
            let expected = (loss(&above) - loss(&below)) / 2e-2;
            assert!((found - expected).abs() < 1e-3, "{i}: {found}, {expected}");
        }
    }
}
