//! What a run minimizes: the batches and losses of each stage.

use std::collections::BTreeMap;

use candle_core::Tensor;

use crate::random::Random;

pub mod ablation;
pub mod batch;
pub mod captioning;
pub(crate) mod dev;
pub mod distill;
pub(crate) mod features;
pub mod losses;
pub mod self_critical;
pub mod targets;
pub mod text_batch;
pub mod text_only;

pub use dev::DevScore;

/// What a run learns, from which examples.
pub trait Objective: Sync {
    /// One core's share of a step.
    type Batch: Send + Sync;

    /// Groups of examples that are drawn by themselves: how many there are and the share of draws.
    fn pools(&self) -> Vec<(usize, f32)>;

    /// Puts the drawn examples together; each is its pool and its number in it.
    fn batch(&self, examples: &[(usize, usize)], random: &mut Random) -> Self::Batch;

    /// The loss of a batch, to be differentiated, and what there is to report of it.
    fn loss(
        &self,
        batch: &Self::Batch,
        context: StepContext,
    ) -> candle_core::Result<(Tensor, Measures)>;

    /// Steps between two looks at dev, which take less than 3 % of the time.
    const STEPS_PER_DEV: usize = 200;

    /// How good the model is on dev, without dropout; `None` if there is no dev data. It draws from
    /// random numbers of its own: a run takes the same steps whether dev is looked at or not.
    ///
    /// # Errors
    ///
    /// If the model cannot be evaluated.
    fn dev(&self) -> candle_core::Result<Option<DevScore>>;
}

/// Where in its run a step stands.
#[derive(Debug, Clone, Copy)]
pub struct StepContext {
    /// Share of the run that is behind, 0 to 1.
    pub progress: f32,
    /// What the modality balance wants the alignment loss multiplied by.
    pub alignment_factor: f32,
}

/// Numbers to report, by name. The modality balance watches the one called [`SIGNAL`].
pub type Measures = BTreeMap<&'static str, f32>;

/// Mean cosine of pairs minus that of other combinations.
pub const SIGNAL: &str = "signal";
