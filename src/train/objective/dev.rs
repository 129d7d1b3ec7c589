//! What a run measures on the dev set, which nothing is trained on.

use candle_core::Result;

use crate::train::parallel;

/// How good the model is on the dev set.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum DevScore {
    /// A mean loss; lower is better.
    Loss(f32),
    /// Mean CIDEr-D of written captions, 0 to 10; higher is better.
    Cider(f32),
}

impl DevScore {
    /// What is measured, for the log.
    pub fn name(self) -> &'static str {
        match self {
            Self::Loss(_) => "dev_loss",
            Self::Cider(_) => "dev_cider",
        }
    }

    /// The number itself.
    pub fn value(self) -> f32 {
        match self {
            Self::Loss(value) | Self::Cider(value) => value,
        }
    }

    /// Whether this is better than the `best` so far; NaN is not.
    pub fn beats(self, best: Option<f32>) -> bool {
        match (self, best) {
            (_, None) => self.value().is_finite(),
            (Self::Loss(loss), Some(best)) => loss < best,
            (Self::Cider(cider), Some(best)) => cider > best,
        }
    }
}

/// The mean loss of `items`, `batch` of which are computed at a time, on all cores. `loss` returns
/// the mean of some items and their weight, for example their tokens. `None` without items.
pub(crate) fn mean_loss<T: Sync>(
    items: &[T],
    batch: usize,
    loss: impl Fn(&[T]) -> Result<(f32, usize)> + Sync + Send,
) -> Result<Option<DevScore>> {
    let batches: Vec<&[T]> = items.chunks(batch).collect();
    let losses: Result<Vec<(f32, usize)>> = parallel::map(batches, loss);
    let losses = losses?;
    let weight: usize = losses.iter().map(|(_, weight)| weight).sum();
    let sum: f32 = losses.iter().map(|&(mean, weight)| mean * weight as f32).sum();
    Ok((weight > 0).then(|| DevScore::Loss(sum / weight as f32)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loss_is_better_below_and_a_cider_above_the_best() {
        assert!(DevScore::Loss(2.0).beats(None) && DevScore::Loss(2.0).beats(Some(2.1)));
        assert!(!DevScore::Loss(2.0).beats(Some(2.0)) && !DevScore::Loss(f32::NAN).beats(None));
        assert!(DevScore::Cider(0.5).beats(Some(0.4)) && !DevScore::Cider(0.5).beats(Some(0.6)));
    }

    #[test]
    fn batches_count_by_their_weight() {
        let loss =
            |items: &[f32]| Ok((items.iter().sum::<f32>() / items.len() as f32, items.len()));
        let score = mean_loss(&[1.0, 2.0, 6.0], 2, loss).expect("a loss");
        assert_eq!(score, Some(DevScore::Loss(3.0)));
        assert_eq!(mean_loss(&[], 2, loss).expect("no loss"), None);
    }
}
