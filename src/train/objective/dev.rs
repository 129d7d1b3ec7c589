//! How good a model is on dev examples, which nothing is trained on.

use candle_core::Result;

use crate::train::objective::Measures;
use crate::train::parallel;

/// Seed of what a dev batch draws: every look at dev sees the same.
pub(crate) const DEV_SEED: u64 = 1;
/// Examples that go through the model together.
const BATCH: usize = 25;

/// What a look at dev found.
#[derive(Debug, Clone, PartialEq)]
pub struct DevScore {
    /// Numbers to report, by name.
    pub measures: Measures,
    /// What the best checkpoint is chosen by: higher is better.
    pub quality: f32,
}

/// The mean of each measure over `examples`; `None` if there are none. Its quality is the loss of
/// this name, negated. Nothing is dropped out: dropout belongs to the threads that differentiate.
pub(crate) fn dev_loss<E: Sync>(
    examples: &[E],
    loss: &'static str,
    measure: impl Fn(&[E]) -> Result<Measures> + Sync + Send,
) -> Result<Option<DevScore>> {
    let batches: Vec<&[E]> = examples.chunks(BATCH).collect();
    let of_batches: Result<Vec<Measures>> = parallel::map(&batches, |batch| measure(batch));
    let mut means = Measures::new();
    for (batch, measures) in batches.iter().zip(of_batches?) {
        let share = batch.len() as f32 / examples.len() as f32;
        for (name, value) in measures {
            *means.entry(name).or_default() += share * value;
        }
    }
    let quality = means.get(loss).map(|loss| -loss);
    Ok(quality.map(|quality| DevScore { measures: means, quality }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_example_counts_once_and_a_lower_loss_is_better() {
        let losses: Vec<f32> = (0..60u8).map(f32::from).collect();
        let mean = |batch: &[f32]| batch.iter().sum::<f32>() / batch.len() as f32;
        let measure = |batch: &[f32]| Ok(Measures::from([("loss", mean(batch)), ("one", 1.0)]));
        let score = dev_loss(&losses, "loss", measure).expect("numbers").expect("examples");
        assert!((score.quality + 29.5).abs() < 1e-4, "{score:?}");
        assert!((score.measures["one"] - 1.0).abs() < 1e-6, "{score:?}");
        assert_eq!(dev_loss(&losses[..0], "loss", measure).expect("numbers"), None);
    }
}
