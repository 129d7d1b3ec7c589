//! Fits the whitening that turns pooled stem features into memory keys, on the training photos.

use anyhow::{Context, Result};
use candle_core::{Device, Tensor};
use nalgebra::DMatrix;

use crate::model::{SAME_PHOTO, SHARPNESS};
use crate::train::data::sample::Sample;
use crate::weights::Variables;

/// Lower bound of the standard deviations and variances in denominators.
const MIN_DIVISOR: f64 = 1e-6;

/// Sets `memory.key_mean` `[channels]` and `memory.key_whitening` `[key width, channels]` so that
/// the keys of `samples`' first views have uncorrelated components of variance 1: standardizes the
/// channels, then projects them onto their principal components (PCA whitening). Also sets
/// `memory.sharpness` and `memory.null_logit` to the values chosen for such keys.
///
/// # Errors
///
/// If a variable is missing or has another shape than the features.
pub fn fit_keys(
    variables: &Variables,
    samples: &[Sample],
    channels: usize,
    stem_scale: f32,
) -> Result<()> {
    let find = |name: &str| variables.get(name).with_context(|| format!("missing variable {name}"));
    let (mean_var, whitening_var) = (find("memory.key_mean")?, find("memory.key_whitening")?);
    let width = whitening_var.dim(0)?;
    let pooled = DMatrix::from_row_iterator(
        samples.len(),
        channels,
        samples.iter().flat_map(|sample| pooled(&sample.views[0], channels, stem_scale)),
    );
    let mean = pooled.row_mean();
    let deviation = pooled.row_variance().map(|variance| variance.sqrt().max(MIN_DIVISOR));
    let standard = DMatrix::from_fn(samples.len(), channels, |row, channel| {
        (pooled[(row, channel)] - mean[channel]) / deviation[channel]
    });
    let covariance = standard.transpose() * &standard / samples.len() as f64;
    let eigen = covariance.symmetric_eigen();
    let mut order: Vec<usize> = (0..channels).collect();
    order.sort_by(|&a, &b| eigen.eigenvalues[b].total_cmp(&eigen.eigenvalues[a]));
    let whitening = order.iter().take(width).flat_map(|&component| {
        let length = eigen.eigenvalues[component].max(MIN_DIVISOR).sqrt();
        let direction = eigen.eigenvectors.column(component).into_owned();
        let deviation = &deviation;
        (0..channels).map(move |channel| direction[channel] / (deviation[channel] * length))
    });
    #[allow(clippy::cast_possible_truncation, reason = "f32 is what the model holds")]
    let floats = |values: Vec<f64>| values.into_iter().map(|v| v as f32).collect::<Vec<f32>>();
    let whitening = floats(whitening.collect());
    let mean = floats(mean.iter().copied().collect());
    for (name, value) in [("sharpness", SHARPNESS), ("null_logit", SHARPNESS * SAME_PHOTO)] {
        find(&format!("memory.{name}"))?.set(&Tensor::full(value, 1, &Device::Cpu)?)?;
    }
    whitening_var.set(&Tensor::from_vec(whitening, whitening_var.shape(), &Device::Cpu)?)?;
    mean_var.set(&Tensor::from_vec(mean, channels, &Device::Cpu)?)?;
    Ok(())
}

/// The mean of a photo's stem features `[patches * channels]` over its patches, `[channels]`.
fn pooled(features: &[i8], channels: usize, stem_scale: f32) -> Vec<f64> {
    let mut sums = vec![0.0; channels];
    for patch in features.chunks_exact(channels) {
        sums.iter_mut().zip(patch).for_each(|(sum, &value)| *sum += f64::from(value));
    }
    let factor = f64::from(stem_scale) / (features.len() / channels) as f64;
    sums.into_iter().map(|sum| sum * factor).collect()
}

#[cfg(test)]
mod tests {
    use candle_core::Var;

    use super::*;
    use crate::random::Random;
    use crate::weights::{Variable, VariableKind};

    #[test]
    fn whitened_features_have_uncorrelated_components_of_variance_one() {
        let (channels, width, count) = (6, 4, 400);
        let samples: Vec<Sample> = (0..count)
            .map(|seed| {
                let mut random = Random::new(seed);
                let mut byte = || i8::try_from(random.below(101)).expect("below 101");
                let (a, b) = (byte(), byte());
                let view = [a, a / 2 + byte() / 2, b, byte() / 8, b / 3, byte()];
                let captions = Vec::new();
                Sample {
                    views: vec![view.into()],
                    mirrored: vec![false],
                    captions,
                    weight: 1.0,
                    label_words: vec![],
                }
            })
            .collect();
        let var = |shape: &[usize]| {
            let var = Var::zeros(shape, candle_core::DType::F32, &Device::Cpu).expect("a variable");
            Variable { var, kind: VariableKind::Float }
        };
        let variables = Variables::from([
            ("memory.key_mean".to_owned(), var(&[channels])),
            ("memory.key_whitening".to_owned(), var(&[width, channels])),
            ("memory.sharpness".to_owned(), var(&[1])),
            ("memory.null_logit".to_owned(), var(&[1])),
        ]);
        fit_keys(&variables, &samples, channels, 0.5).expect("sizes fit");
        let mean = variables["memory.key_mean"].to_vec1::<f32>().expect("a row");
        let whitening = variables["memory.key_whitening"].to_vec2::<f32>().expect("rows");
        let keys: Vec<Vec<f32>> = samples
            .iter()
            .map(|sample| {
                let view = sample.views[0].iter().zip(&mean).map(|(&v, m)| 0.5 * f32::from(v) - m);
                let view: Vec<f32> = view.collect();
                let dot = |row: &Vec<f32>| row.iter().zip(&view).map(|(w, v)| w * v).sum();
                whitening.iter().map(dot).collect()
            })
            .collect();
        for i in 0..width {
            for j in 0..=i {
                let product = keys.iter().map(|key| key[i] * key[j]).sum::<f32>() / count as f32;
                let expected = if i == j { 1.0 } else { 0.0 };
                assert!((product - expected).abs() < 0.02, "{i}, {j}: {product}");
            }
        }
    }
}
