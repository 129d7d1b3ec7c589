//! Distillation of the vision encoder: its CLS row and its patch rows learn to predict the outputs
//! of float teachers, alone or together with another objective.

pub(crate) mod caption_loss;
mod heads;
mod sample;
pub(crate) mod teacher_loss;

use candle_core::{Result, Tensor};

use crate::config::Config;
use crate::model::BitMar;
use crate::random::Random;
use crate::train::objective::captioning::TrainedModel;
use crate::train::objective::dev::{mean_loss, DevScore};
use crate::train::objective::{Measures, Objective, StepContext};
use crate::weights::{ModelError, Weights};

pub use sample::{targets, CaptionVectorsOfPhoto, DistillSample, Target, CAPTION_VECTORS};
pub use teacher_loss::{DistillBatch, DistillDataset};

/// Weight of the distillation loss when it is added to another objective.
const DISTILLATION_WEIGHT: f64 = 0.5;

/// Distillation of the vision encoder alone.
pub struct Distillation {
    trained: TrainedModel,
    dataset: DistillDataset,
    dev: Vec<DistillSample>,
}

impl Distillation {
    /// Makes a model in `weights` to be distilled on `dataset`.
    pub fn new(
        weights: &Weights,
        config: &Config,
        dataset: DistillDataset,
    ) -> std::result::Result<Self, ModelError> {
        Ok(Self { trained: TrainedModel::new(weights, config)?, dataset, dev: Vec::new() })
    }

    /// The same with views of dev photos, which are only measured.
    #[must_use]
    pub fn with_dev(self, dev: Vec<DistillSample>) -> Self {
        Self { dev, ..self }
    }
}

impl Objective for Distillation {
    type Batch = DistillBatch;

    fn pools(&self) -> Vec<(usize, f32)> {
        vec![(self.dataset.count(), 1.0)]
    }

    fn batch(&self, examples: &[(usize, usize)], _: &mut Random) -> DistillBatch {
        self.dataset.batch(examples.iter().map(|&(_, index)| index))
    }

    fn loss(&self, batch: &DistillBatch, _: StepContext) -> Result<(Tensor, Measures)> {
        self.dataset.loss(&self.trained.model, batch)
    }

    fn dev(&self) -> Result<Option<DevScore>> {
        const BATCH: usize = 32;
        mean_loss(&self.dev, BATCH, |photos| {
            let batch = DistillBatch::new(photos.to_vec());
            let (loss, _) = self.dataset.loss(&self.trained.model, &batch)?;
            Ok((loss.to_scalar()?, photos.len()))
        })
    }
}

/// Another objective with the distillation loss added, so that the encoder keeps what it has
/// learned on many photos while it trains on the few that have captions.
pub struct WithDistillation<O> {
    /// The other objective.
    pub objective: O,
    /// The samples to distill on.
    pub dataset: DistillDataset,
}

impl<O: Objective + AsRef<BitMar>> Objective for WithDistillation<O> {
    type Batch = (O::Batch, DistillBatch);

    fn pools(&self) -> Vec<(usize, f32)> {
        self.objective.pools()
    }

    fn batch(&self, examples: &[(usize, usize)], random: &mut Random) -> Self::Batch {
        let batch = self.objective.batch(examples, random);
        let count = self.dataset.count();
        let indices: Vec<usize> = examples.iter().map(|_| random.below(count)).collect();
        (batch, self.dataset.batch(indices.into_iter()))
    }

    fn loss(
        &self,
        (batch, distill_batch): &Self::Batch,
        context: StepContext,
    ) -> Result<(Tensor, Measures)> {
        let (loss, mut measures) = self.objective.loss(batch, context)?;
        let (distillation, distillation_measures) =
            self.dataset.loss(self.objective.as_ref(), distill_batch)?;
        measures.extend(distillation_measures);
        Ok(((loss + (distillation * DISTILLATION_WEIGHT)?)?, measures))
    }

    fn dev(&self) -> Result<Option<DevScore>> {
        self.objective.dev()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::objective::ablation::Ablation;
    use crate::train::objective::distill::teacher_loss::tests::examples;
    use crate::train::teacher::TargetSizes;
    use crate::train::trainer::{Run, RunOptions};

    #[test]
    fn the_encoder_learns_the_outputs_of_its_teachers() {
        let config = Config::tiny();
        let cells = config.num_patches();
        let lite2 = TargetSizes { pooled: 1280, classes: 1000, cells, channels: 32 };
        let dinov2 = TargetSizes { pooled: 384, classes: 0, cells, channels: 384 };
        for (sizes, terms, measures) in [
            (&[lite2][..], 0, &["classes", "grid", "pooled"][..]),
            (&[dinov2], 0, &["grid", "pooled"]),
            (&[lite2, dinov2], 50, &["classes", "grid", "pooled", "sentences", "words"]),
        ] {
            assert_learns(&config, sizes, terms, measures);
        }
    }

    /// Distills on noise with these teachers and `terms` words, and expects a lower loss that
    /// reports `measures`.
    fn assert_learns(config: &Config, sizes: &[TargetSizes], terms: usize, measures: &[&str]) {
        let weights = Weights::fresh(1);
        let photos = examples(config, sizes, terms, 4);
        let dataset = DistillDataset::new(&weights, config, photos, 0.02).expect("valid sizes");
        let objective = Distillation::new(&weights, config, dataset).expect("a model");
        let options = RunOptions {
            dropout: 0.0,
            steps: 60,
            batch_size_per_worker: 2,
            workers: 2,
            learning_rate: 3e-3,
            seed: 1,
            ablation: Ablation::Nothing,
        };
        let batch = objective.batch(&[(0, 0), (0, 1), (0, 2), (0, 3)], &mut Random::new(1));
        let measured = |objective: &Distillation| {
            let context = StepContext { progress: 0.0, alignment_factor: 1.0 };
            let (loss, measured) = objective.loss(&batch, context).expect("a loss");
            assert!(measured.keys().eq(measures), "{measured:?}");
            (loss.to_scalar::<f32>().expect("a number"), measured)
        };
        let (before, _) = measured(&objective);
        let file = std::env::temp_dir().join(format!(
            "bitmar-distill-{}-{}-{terms}",
            std::process::id(),
            sizes[0].pooled
        ));
        Run::new(weights.variables(), options)
            .expect("a run")
            .train(&objective, &file)
            .expect("a run");
        std::fs::remove_file(&file).expect("the run was saved");
        std::fs::remove_file(file.with_extension("jsonl")).expect("the run was logged");
        let (after, measured) = measured(&objective);
        assert!(after < 0.7 * before, "{before} to {after}");
        for kind in ["words", "sentences"] {
            assert!(measured.get(kind).is_none_or(|&distance| distance < 0.7), "{measured:?}");
        }
    }
}
