//! How learning rate, weight decay and the weight of the alignment loss change over a run (design, section 8).

use std::f32::consts::PI;

/// Share of the steps in which the learning rate rises.
const WARM_UP: f32 = 0.02;
/// What is left of the learning rate at the end.
const FINAL_SHARE: f32 = 0.1;
/// Weight decay of the first half. A ternary weight that is decayed to the end never settles (BitNet b1.58).
const WEIGHT_DECAY: f32 = 0.1;
/// Weight of the alignment loss at the start, and the share of the steps until it falls.
const EARLY_ALIGNMENT: (f32, f32) = (1.5, 0.2);
/// Weight of the alignment loss at the end, and the share of the steps from which it holds.
const LATE_ALIGNMENT: (f32, f32) = (0.3, 0.6);

/// A run of known length.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Schedule {
    total_steps: u64,
    peak_learning_rate: f32,
}

impl Schedule {
    /// A run of `total_steps` steps, counted from zero.
    ///
    /// # Panics
    ///
    /// If there are no steps.
    pub fn new(total_steps: u64, peak_learning_rate: f32) -> Self {
        assert!(total_steps > 0, "a run has steps");
        Self { total_steps, peak_learning_rate }
    }

    /// Steps of the run.
    pub fn total_steps(&self) -> u64 {
        self.total_steps
    }

    /// Rises over the first 2 % of the steps, then falls as a cosine to a tenth of its peak.
    pub fn learning_rate(&self, step: u64) -> f32 {
        let warm_up_steps = (WARM_UP * self.total_steps as f32).ceil();
        // The first step trains as well.
        let risen = (step + 1) as f32 / warm_up_steps;
        if risen < 1.0 {
            return self.peak_learning_rate * risen;
        }
        let progress = cosine(self.progress(step), WARM_UP, 1.0);
        self.peak_learning_rate * (1.0 - (1.0 - FINAL_SHARE) * progress)
    }

    /// 0.1 in the first half, then none.
    pub fn weight_decay(&self, step: u64) -> f32 {
        if self.progress(step) < 0.5 {
            WEIGHT_DECAY
        } else {
            0.0
        }
    }

    /// 1.5 in the first fifth, then falls as a cosine to 0.3 at three fifths.
    pub fn alignment_weight(&self, step: u64) -> f32 {
        let ((early, from), (late, to)) = (EARLY_ALIGNMENT, LATE_ALIGNMENT);
        early + (late - early) * cosine(self.progress(step), from, to)
    }

    fn progress(&self, step: u64) -> f32 {
        step as f32 / self.total_steps as f32
    }
}

/// Rises from 0 at `from` to 1 at `to` along half a cosine.
fn cosine(progress: f32, from: f32, to: f32) -> f32 {
    let share = ((progress - from) / (to - from)).clamp(0.0, 1.0);
    0.5 - 0.5 * (PI * share).cos()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assert_close(found: f32, expected: f32) {
        assert!((found - expected).abs() < 1e-5, "{found} is not {expected}");
    }

    #[test]
    fn learning_rate_rises_for_two_percent_and_falls_to_a_tenth() {
        let schedule = Schedule::new(1000, 2.0);
        assert_close(schedule.learning_rate(0), 0.1);
        assert_close(schedule.learning_rate(9), 1.0);
        assert_close(schedule.learning_rate(19), 2.0);
        assert_close(schedule.learning_rate(510), 1.1);
        assert_close(schedule.learning_rate(1000), 0.2);
        let rates: Vec<f32> = (19..1000).map(|step| schedule.learning_rate(step)).collect();
        assert!(rates.windows(2).all(|pair| pair[1] <= pair[0]));
    }

    #[test]
    fn shortest_run_trains_in_its_only_step() {
        assert_close(Schedule::new(1, 1.0).learning_rate(0), 1.0);
    }

    #[test]
    fn weight_decay_ends_at_half_time() {
        let schedule = Schedule::new(100, 1.0);
        assert_close(schedule.weight_decay(49), 0.1);
        assert_close(schedule.weight_decay(50), 0.0);
    }

    #[test]
    fn alignment_weight_falls_between_one_and_three_fifths() {
        let schedule = Schedule::new(100, 1.0);
        for (step, expected) in [(0, 1.5), (20, 1.5), (40, 0.9), (60, 0.3), (99, 0.3)] {
            assert_close(schedule.alignment_weight(step), expected);
        }
    }
}
