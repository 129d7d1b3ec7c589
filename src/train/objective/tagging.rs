//! Training of the tag head: binary cross-entropy of each name's probability, on cached features of
//! photos and crops.

use std::collections::BTreeMap;

use candle_core::{DType, Device, Result, Tensor, D};

use crate::random::Random;
use crate::train::data::tag_targets::TagTarget;
use crate::train::objective::dev::{mean_loss, DevScore};
use crate::train::objective::{Measures, Objective, StepContext};
use crate::weights::{Init, ModelError, Weights};

/// Pictures with their features and targets.
#[derive(Debug)]
pub struct TagPool {
    /// Pooled features, `[pictures, channels]`, f16.
    pub features: Tensor,
    /// Targets, `[pictures * names]`.
    pub targets: Vec<TagTarget>,
    /// Share of the draws.
    pub share: f32,
}

impl TagPool {
    fn len(&self) -> usize {
        self.features.dims()[0]
    }
}

/// How much easy targets count: the loss of a target is multiplied by the error to a power, one for
/// present and one for absent things (Ridnik et al. 2021, arXiv 2009.14119). Zeros give the plain
/// binary cross-entropy.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Focus {
    /// Power for what is present.
    pub present: f64,
    /// Power for what is absent.
    pub absent: f64,
}

/// The head before it is quantized: a linear map of standardized features.
#[derive(Debug)]
pub struct TagLayers {
    weight: Tensor,
    bias: Tensor,
    /// Mean and inverse standard deviation of each feature, `[1, features]`.
    moments: (Tensor, Tensor),
}

impl TagLayers {
    /// A fresh head for features with the moments of `features`.
    ///
    /// # Errors
    ///
    /// If candle refuses a tensor.
    pub fn new(
        weights: &Weights,
        features: &Tensor,
        names: usize,
    ) -> std::result::Result<Self, ModelError> {
        /// Share of the mean deviation below which a feature counts as constant.
        const SMALLEST: f64 = 0.05;
        /// Log-odds of a fresh head: most names are absent from most photos.
        const ABSENT: f32 = -4.0;
        let columns = features.dim(1)?;
        let features = features.to_dtype(DType::F32)?;
        let mean = features.mean_keepdim(0)?;
        let deviation = features.broadcast_sub(&mean)?.sqr()?.mean_keepdim(0)?.sqrt()?;
        let floor = f64::from(deviation.mean_all()?.to_scalar::<f32>()?) * SMALLEST;
        let weights = weights.pp("tags");
        Ok(Self {
            weight: weights.tensor("weight", &[names, columns], Init::Normal(0.01))?,
            bias: weights.tensor("bias", &[names], Init::Constant(ABSENT))?,
            moments: (mean, deviation.maximum(floor)?.recip()?),
        })
    }

    /// Log-odds of each name, `[pictures, names]`, given `features`, `[pictures, features]`.
    ///
    /// # Errors
    ///
    /// If the number of features differs.
    pub fn forward(&self, features: &Tensor) -> Result<Tensor> {
        let (mean, scale) = &self.moments;
        let features = features.to_dtype(DType::F32)?.broadcast_sub(mean)?.broadcast_mul(scale)?;
        features.matmul(&self.weight.t()?)?.broadcast_add(&self.bias)
    }

    /// Weight `[names, features]` and bias of the same map of plain features.
    ///
    /// # Errors
    ///
    /// If candle refuses a tensor.
    pub fn folded(&self) -> Result<(Tensor, Tensor)> {
        let (mean, scale) = &self.moments;
        let weight = self.weight.broadcast_mul(scale)?;
        let bias = (&self.bias - weight.broadcast_mul(mean)?.sum(D::Minus1)?)?;
        Ok((weight, bias))
    }
}

/// The training of the head.
#[derive(Debug)]
pub struct Tagging {
    /// The trained layers.
    pub layers: TagLayers,
    /// Photos, and each round of crops.
    pub pools: Vec<TagPool>,
    /// Dev photos, which are only measured.
    pub dev: TagPool,
    /// Number of names.
    pub names: usize,
    /// How much easy targets count.
    pub focus: Focus,
    /// Factor of the sum of the squared weights in the loss.
    pub ridge: f64,
}

/// Features, values and weights of some pictures.
#[derive(Debug)]
pub struct TagBatch {
    features: Tensor,
    values: Tensor,
    weights: Tensor,
}

impl Tagging {
    fn gather(&self, pool: &TagPool, pictures: &[usize]) -> Result<TagBatch> {
        let shape = (pictures.len(), self.names);
        let rows =
            pictures.iter().map(|&picture| u32::try_from(picture).expect("pictures fit in memory"));
        let rows = Tensor::from_iter(rows, &Device::Cpu)?;
        let targets = pictures
            .iter()
            .flat_map(|picture| &pool.targets[picture * self.names..(picture + 1) * self.names]);
        let of = |part: fn(&TagTarget) -> f32| -> Result<Tensor> {
            Tensor::from_vec(targets.clone().map(part).collect::<Vec<f32>>(), shape, &Device::Cpu)
        };
        Ok(TagBatch {
            features: pool.features.index_select(&rows, 0)?,
            values: of(|target| target.value)?,
            weights: of(|target| target.weight)?,
        })
    }

    /// The mean loss over the names of the batch that are known, times the number of names.
    fn batch_loss(&self, batch: &TagBatch, focus: Focus) -> Result<Tensor> {
        let logits = self.layers.forward(&batch.features)?;
        let absent = (1.0 - &batch.values)?;
        // log(1 + exp(x)) for x = -logits and x = logits, without overflow.
        let common = (logits.abs()?.neg()?.exp()? + 1.0)?.log()?;
        let if_present = (&common + logits.neg()?.relu()?)?;
        let if_absent = (common + logits.relu()?)?;
        let probability = if_absent.neg()?.exp()?; // of absence
        let emphasis = |error: Tensor, power: f64| match power {
            0.0 => error.ones_like(),
            power => error.powf(power),
        };
        let present = (emphasis(probability.clone(), focus.present)? * if_present)?;
        let not = (emphasis((1.0 - probability)?, focus.absent)? * if_absent)?;
        let loss = ((&batch.values * present)? + (absent * not)?)?;
        let weight = batch.weights.sum_all()?.to_scalar::<f32>()?.max(1.0);
        (loss * &batch.weights)?.sum_all()? * (self.names as f64 / f64::from(weight))
    }
}

impl Objective for Tagging {
    type Batch = TagBatch;

    fn pools(&self) -> Vec<(usize, f32)> {
        self.pools.iter().map(|pool| (pool.len(), pool.share)).collect()
    }

    fn batch(&self, examples: &[(usize, usize)], _: &mut Random) -> TagBatch {
        let mut by_pool: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        examples.iter().for_each(|&(pool, index)| by_pool.entry(pool).or_default().push(index));
        let parts: Result<Vec<TagBatch>> =
            by_pool.iter().map(|(&pool, rows)| self.gather(&self.pools[pool], rows)).collect();
        let parts = parts.expect("rows of the pools");
        let cat = |part: fn(&TagBatch) -> &Tensor| {
            let parts: Vec<&Tensor> = parts.iter().map(part).collect();
            Tensor::cat(&parts, 0).expect("all pools have the same columns")
        };
        TagBatch {
            features: cat(|batch| &batch.features),
            values: cat(|batch| &batch.values),
            weights: cat(|batch| &batch.weights),
        }
    }

    fn loss(&self, batch: &TagBatch, _: StepContext) -> Result<(Tensor, Measures)> {
        let loss = self.batch_loss(batch, self.focus)?;
        let measures = Measures::from([("tags", loss.to_scalar::<f32>()?)]);
        let size = (self.layers.weight.sqr()?.sum_all()? * self.ridge)?;
        Ok(((loss + size)?, measures))
    }

    /// Nats a photo, whatever the focus.
    fn dev(&self) -> Result<Option<DevScore>> {
        const BATCH: usize = 256;
        let photos: Vec<usize> = (0..self.dev.len()).collect();
        mean_loss(&photos, BATCH, |photos| {
            let batch = self.gather(&self.dev, photos)?;
            let loss = self.batch_loss(&batch, Focus { present: 0.0, absent: 0.0 })?;
            Ok((loss.to_scalar::<f32>()?, photos.len()))
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on should panic")]
mod tests {
    use super::*;
    use crate::train::data::tag_targets::UNKNOWN;

    fn tagging(focus: Focus) -> (Tagging, Weights) {
        let features = Tensor::randn(0f32, 1.0, (6, 32), &Device::Cpu).unwrap();
        let features = features.to_dtype(DType::F16).unwrap();
        let present = TagTarget { value: 1.0, weight: 1.0 };
        let absent = TagTarget { value: 0.0, weight: 1.0 };
        let targets = [present, absent, UNKNOWN].repeat(6);
        let pool = || TagPool { features: features.clone(), targets: targets.clone(), share: 1.0 };
        let weights = Weights::fresh(1);
        let layers = TagLayers::new(&weights, &features, 3).unwrap();
        let tagging =
            Tagging { layers, pools: vec![pool()], dev: pool(), names: 3, focus, ridge: 0.0 };
        (tagging, weights)
    }

    #[test]
    fn an_unknown_name_has_no_gradient() {
        for focus in [Focus { present: 0.0, absent: 0.0 }, Focus { present: 0.0, absent: 2.0 }] {
            let (tagging, weights) = tagging(focus);
            let batch = tagging.batch(&[(0, 1), (0, 4)], &mut Random::new(1));
            let context = StepContext { progress: 0.0, alignment_factor: 1.0 };
            let (loss, _) = tagging.loss(&batch, context).unwrap();
            let gradients = loss.backward().unwrap();
            let bias = &weights.variables()["tags.bias"];
            let gradient = gradients.get(bias).unwrap().to_vec1::<f32>().unwrap();
            assert!(gradient[0] < 0.0 && gradient[1] > 0.0, "{gradient:?}");
            assert_eq!(gradient[2], 0.0);
        }
    }

    #[test]
    fn plain_loss_is_the_binary_cross_entropy() {
        let (tagging, _) = tagging(Focus { present: 0.0, absent: 0.0 });
        let batch = tagging.batch(&[(0, 2)], &mut Random::new(1));
        let logits = tagging.layers.forward(&batch.features).unwrap().to_vec2::<f32>().unwrap();
        let (a, b) = (f64::from(logits[0][0]), f64::from(logits[0][1]));
        let expected = 1.5 * ((1.0 + (-a).exp()).ln() + (1.0 + b.exp()).ln());
        let found = tagging.batch_loss(&batch, tagging.focus).unwrap().to_scalar::<f32>().unwrap();
        assert!((f64::from(found) - expected).abs() < 1e-4, "{found} {expected}");
    }

    #[test]
    fn the_folded_head_gives_the_same_log_odds() {
        let (tagging, _) = tagging(Focus { present: 0.0, absent: 0.0 });
        let features = &tagging.pools[0].features;
        let expected = tagging.layers.forward(features).unwrap();
        let (weight, bias) = tagging.layers.folded().unwrap();
        let features = features.to_dtype(DType::F32).unwrap();
        let found = features.matmul(&weight.t().unwrap()).unwrap().broadcast_add(&bias).unwrap();
        let error = (found - expected).unwrap().abs().unwrap().max_all().unwrap();
        assert!(error.to_scalar::<f32>().unwrap() < 1e-4);
    }
}
