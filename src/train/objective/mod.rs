//! Training objectives: the batches and losses of each stage.

use std::collections::BTreeMap;

use candle_core::Tensor;

use crate::random::Random;
use crate::train::objective::dev::DevScore;

pub mod ablation;
pub mod batch;
pub mod captioning;
pub mod dev;
pub mod distill;
pub mod evidence;
pub(crate) mod features;
pub mod losses;
pub mod self_critical;
pub mod tagging;
pub mod targets;
pub mod text_batch;
pub mod text_only;

/// A training objective: the examples a run draws and the loss it minimizes.
pub trait Objective: Sync {
    /// What one worker processes in a step.
    type Batch: Send + Sync;

    /// The pools that examples are drawn from: the size of each and its share of the draws.
    fn pools(&self) -> Vec<(usize, f32)>;

    /// Assembles the batch of the drawn `examples`, each given as (pool, index in the pool).
    fn batch(&self, examples: &[(usize, usize)], random: &mut Random) -> Self::Batch;

    /// The scalar loss of a batch, to be differentiated, and the measures to log.
    fn loss(
        &self,
        batch: &Self::Batch,
        context: StepContext,
    ) -> candle_core::Result<(Tensor, Measures)>;

    /// Scores the model on the dev set as it is now; `None` if the objective has no dev set. It
    /// draws nothing at random and changes nothing, so that a run takes the same steps with it and
    /// without.
    fn dev(&self) -> candle_core::Result<Option<DevScore>> {
        Ok(None)
    }
}

/// The state of the run that a step's loss depends on.
#[derive(Debug, Clone, Copy)]
pub struct StepContext {
    /// Share of the run's steps already taken, 0 to 1.
    pub progress: f32,
    /// The factor of the alignment loss that the modality-balance controller asks for.
    pub alignment_factor: f32,
}

/// Values to log, by name. The modality-balance controller reads the one named [`SIGNAL`].
pub type Measures = BTreeMap<&'static str, f32>;

/// Name of the alignment signal: the mean cosine of matching photo-caption pairs minus that of
/// all other pairs in the batch.
pub const SIGNAL: &str = "signal";
