//! Distillation of the vision encoder: its CLS row and its patch rows learn to tell what float teachers
//! see, alone or beside another objective.

pub(crate) mod caption_loss;
mod heads;
mod sample;
pub(crate) mod teacher_loss;

use candle_core::{Result, Tensor};

use crate::config::Config;
use crate::model::BitMar;
use crate::random::Random;
use crate::train::objective::captioning::TrainedModel;
use crate::train::objective::{DevScore, Measures, Objective, StepContext};
use crate::weights::{ModelError, Weights};

pub use sample::{targets, CaptionVectorsOfPhoto, DistillSample, Target, CAPTION_VECTORS};
pub use teacher_loss::{DistillBatch, DistillDataset};

/// Weight of lessons beside another objective.
const TAUGHT_WEIGHT: f64 = 0.5;

/// The vision encoder alone with its teachers.
pub struct Distillation {
    trained: TrainedModel,
    lessons: DistillDataset,
}

impl Distillation {
    /// The objective of `lessons` for a model under `weights`.
    pub fn new(
        weights: &Weights,
        config: &Config,
        lessons: DistillDataset,
    ) -> std::result::Result<Self, ModelError> {
        Ok(Self { trained: TrainedModel::new(weights, config)?, lessons })
    }
}

impl Objective for Distillation {
    type Batch = DistillBatch;

    fn pools(&self) -> Vec<(usize, f32)> {
        vec![(self.lessons.count(), 1.0)]
    }

    fn batch(&self, examples: &[(usize, usize)], _: &mut Random) -> DistillBatch {
        self.lessons.lesson(examples.iter().map(|&(_, number)| number))
    }

    fn loss(&self, lesson: &DistillBatch, _: StepContext) -> Result<(Tensor, Measures)> {
        self.lessons.loss(&self.trained.model, lesson)
    }

    fn dev(&self) -> Result<Option<DevScore>> {
        self.lessons.dev_loss(&self.trained.model)
    }
}

/// Another objective with lessons beside: what the encoder has learned on many photos is not given up for the few
/// that people have described.
pub struct WithDistillation<O> {
    /// What is learned beside.
    pub objective: O,
    /// The lessons.
    pub lessons: DistillDataset,
}

impl<O: Objective + AsRef<BitMar>> Objective for WithDistillation<O> {
    type Batch = (O::Batch, DistillBatch);

    fn pools(&self) -> Vec<(usize, f32)> {
        self.objective.pools()
    }

    fn batch(&self, examples: &[(usize, usize)], random: &mut Random) -> Self::Batch {
        let batch = self.objective.batch(examples, random);
        let count = self.lessons.count();
        let numbers: Vec<usize> = examples.iter().map(|_| random.below(count)).collect();
        (batch, self.lessons.lesson(numbers.into_iter()))
    }

    fn loss(
        &self,
        (batch, lesson): &Self::Batch,
        context: StepContext,
    ) -> Result<(Tensor, Measures)> {
        let (loss, mut measures) = self.objective.loss(batch, context)?;
        let (taught, of_lesson) = self.lessons.loss(self.objective.as_ref(), lesson)?;
        measures.extend(of_lesson);
        Ok(((loss + (taught * TAUGHT_WEIGHT)?)?, measures))
    }

    const STEPS_PER_DEV: usize = O::STEPS_PER_DEV;

    /// The other objective's: it is what the model is for.
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
    fn the_encoder_learns_what_it_is_told() {
        let config = Config::tiny();
        let cells = config.num_patches();
        let lite2 = TargetSizes { pooled: 1280, classes: 1000, cells, channels: 32 };
        let dinov2 = TargetSizes { pooled: 384, classes: 0, cells, channels: 384 };
        for (sizes, terms, measures) in [
            (&[lite2][..], 0, &["classes", "grid", "pooled"][..]),
            (&[dinov2], 0, &["grid", "pooled"]),
            (&[lite2, dinov2], 50, &["classes", "grid", "pooled", "sentences", "words"]),
        ] {
            learns(&config, sizes, terms, measures);
        }
    }

    fn learns(config: &Config, sizes: &[TargetSizes], terms: usize, measures: &[&str]) {
        let weights = Weights::fresh(1);
        let photos = examples(config, sizes, terms, 4);
        let lessons = DistillDataset::new(&weights, config, photos, 0.02).expect("valid sizes");
        let objective = Distillation::new(&weights, config, lessons).expect("a model");
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
            "bitmar-distil-{}-{}-{terms}",
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
        for written in ["words", "sentences"] {
            assert!(measured.get(written).is_none_or(|&distance| distance < 0.7), "{measured:?}");
        }
    }
}
