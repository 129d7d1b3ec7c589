//! Modality balance: intervenes when the alignment of vision and text falls, by freezing the
//! encoder that runs ahead or by raising the weight of the alignment loss.
//!
//! The signal (docs/architecture.md, "Training") is the mean cosine of matching pairs minus that of
//! the other pairs in the batch. When all embeddings collapse into one, it falls to zero, whereas
//! the cosine of matching pairs alone would rise.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

/// Number of steps over which the signal and the gradient norms are averaged.
const AVERAGED_STEPS: u64 = 200;

/// Number of past steps among whose averages the best is found.
const BEST_WITHIN_STEPS: u64 = 2000;

/// An average below this share of the best average triggers an intervention.
const TOLERATED_SHARE: f32 = 0.88;

/// A best average below this is noise around zero: neither encoder has learned anything that it
/// could lose.
const LEAST_BEST: f32 = 0.05;

/// Steps between the end of an intervention and the next one.
const COOLDOWN_STEPS: u64 = 800;

/// Number of steps for which an intervention is in force.
const INTERVENTION_STEPS: u64 = 1500;

/// An encoder whose gradient norm exceeds the other's by this factor runs ahead.
const AHEAD_RATIO: f32 = 1.5;

/// Factor on the weight of the alignment loss when neither encoder runs ahead.
const RAISED_ALIGNMENT: f32 = 2.0;

/// One of the two encoders.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Modality {
    /// The vision encoder.
    Vision,
    /// The text encoder.
    Text,
}

impl Modality {
    /// The scope of its variables' names.
    pub(crate) fn scope(self) -> &'static str {
        match self {
            Self::Vision => "vision.",
            Self::Text => "text.",
        }
    }
}

/// What the trainer changes at a step.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Intervention {
    /// The encoder that is not trained.
    pub frozen: Option<Modality>,
    /// Factor on the weight of the alignment loss.
    pub alignment_factor: f32,
}

impl Intervention {
    /// No intervention.
    pub const NONE: Self = Self { frozen: None, alignment_factor: 1.0 };
}

/// An intervention with the time and the values that triggered it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LoggedIntervention {
    /// The first step at which it is in force.
    pub step: u64,
    /// The first step at which it is no longer in force.
    pub until: u64,
    /// The intervention.
    pub intervention: Intervention,
    /// The averaged signal that triggered it.
    pub signal: f32,
    /// The best average, with which the signal was compared.
    pub best: f32,
    /// The averaged gradient norm of the vision encoder.
    pub vision_gradient_norm: f32,
    /// The averaged gradient norm of the text encoder.
    pub text_gradient_norm: f32,
}

/// The controller. Its state is part of the checkpoint.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ModalityBalance {
    signal: MovingAverage,
    vision_gradient_norm: MovingAverage,
    text_gradient_norm: MovingAverage,
    /// Candidates for the best average of the last steps, as (step, average). The averages fall
    /// from front to back.
    best: VecDeque<(u64, f32)>,
    log: Vec<LoggedIntervention>,
}

impl ModalityBalance {
    /// A controller without observations.
    pub fn new() -> Self {
        Self::default()
    }

    /// Observes a training step and returns the intervention in force at the next one. `signal` is
    /// that of [`alignment_signal`]. Each `step` must be higher than the last. A step with a number
    /// that is not finite is ignored.
    pub fn observe(
        &mut self,
        step: u64,
        signal: f32,
        vision_gradient_norm: f32,
        text_gradient_norm: f32,
    ) -> Intervention {
        if [signal, vision_gradient_norm, text_gradient_norm].iter().all(|value| value.is_finite())
        {
            self.signal.push(signal);
            self.vision_gradient_norm.push(vision_gradient_norm);
            self.text_gradient_norm.push(text_gradient_norm);
            self.update_best(step);
            if self.may_intervene(step) {
                self.intervene(step);
            }
        }
        self.in_force(step)
    }

    /// All interventions so far, oldest first.
    pub fn log(&self) -> &[LoggedIntervention] {
        &self.log
    }

    /// The averaged signal; `None` until it covers enough steps.
    pub fn averaged_signal(&self) -> Option<f32> {
        (self.signal.count >= AVERAGED_STEPS).then(|| self.signal.value())
    }

    fn update_best(&mut self, step: u64) {
        let Some(average) = self.averaged_signal() else { return };
        while self.best.back().is_some_and(|&(_, earlier)| earlier <= average) {
            self.best.pop_back();
        }
        self.best.push_back((step, average));
        while self.best.front().is_some_and(|&(seen, _)| seen + BEST_WITHIN_STEPS <= step) {
            self.best.pop_front();
        }
    }

    fn may_intervene(&self, step: u64) -> bool {
        let rested = self.log.last().is_none_or(|last| step >= last.until + COOLDOWN_STEPS);
        let Some(&(_, best)) = self.best.front() else { return false };
        rested && best >= LEAST_BEST && self.signal.value() < TOLERATED_SHARE * best
    }

    fn intervene(&mut self, step: u64) {
        let (vision, text) = (self.vision_gradient_norm.value(), self.text_gradient_norm.value());
        let intervention = if vision > AHEAD_RATIO * text {
            Intervention { frozen: Some(Modality::Vision), ..Intervention::NONE }
        } else if text > AHEAD_RATIO * vision {
            Intervention { frozen: Some(Modality::Text), ..Intervention::NONE }
        } else {
            Intervention { alignment_factor: RAISED_ALIGNMENT, ..Intervention::NONE }
        };
        self.log.push(LoggedIntervention {
            step,
            until: step + INTERVENTION_STEPS,
            intervention,
            signal: self.signal.value(),
            best: self.best.front().map_or(0.0, |&(_, best)| best),
            vision_gradient_norm: vision,
            text_gradient_norm: text,
        });
    }

    fn in_force(&self, step: u64) -> Intervention {
        let last = self.log.last().filter(|last| step < last.until);
        last.map_or(Intervention::NONE, |last| last.intervention)
    }
}

/// Mean cosine of the matching pairs minus that of the other pairs; `None` if there are no pairs of
/// one kind.
pub fn alignment_signal(matching: &[f32], others: &[f32]) -> Option<f32> {
    let mean = |cosines: &[f32]| cosines.iter().sum::<f32>() / cosines.len() as f32;
    (!matching.is_empty() && !others.is_empty()).then(|| mean(matching) - mean(others))
}

/// An exponential moving average, corrected for its bias at the start: it is divided by `weight`,
/// the sum of the weights so far.
///
/// It is in single precision, which JSON restores bit for bit.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct MovingAverage {
    sum: f32,
    weight: f32,
    count: u64,
}

impl MovingAverage {
    fn push(&mut self, value: f32) {
        let share = 1.0 / AVERAGED_STEPS as f32;
        self.sum += share * (value - self.sum);
        self.weight += share * (1.0 - self.weight);
        self.count += 1;
    }

    fn value(&self) -> f32 {
        self.sum / self.weight
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on should panic")]
mod tests {
    use super::*;

    /// Observes `signal(step)` with equal gradient norms; returns what was in force at each step.
    fn run(
        balance: &mut ModalityBalance,
        steps: std::ops::Range<u64>,
        signal: impl Fn(u64) -> f32,
    ) -> Vec<Intervention> {
        steps.map(|step| balance.observe(step, signal(step), 1.0, 1.0)).collect()
    }

    fn drop_at_1000(step: u64) -> f32 {
        if step < 1000 {
            0.5
        } else {
            0.3
        }
    }

    /// Uniform noise from -1 to 1, the same on every machine.
    fn noise(step: u64) -> f32 {
        let mixed = (step + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        ((mixed ^ (mixed >> 29)) % 2001) as f32 / 1000.0 - 1.0
    }

    #[test]
    fn rising_and_steady_signals_are_left_alone() {
        let mut balance = ModalityBalance::new();
        let held = run(&mut balance, 0..5000, |step| (step as f32 / 2000.0).min(0.6));
        assert!(held.iter().all(|held| *held == Intervention::NONE));
        assert!(balance.log().is_empty());
    }

    #[test]
    fn one_fall_triggers_one_intervention_that_expires() {
        let mut balance = ModalityBalance::new();
        let held = run(&mut balance, 0..8000, drop_at_1000);
        let [logged] = balance.log() else { panic!("{:?}", balance.log()) };
        // 0.3 + 0.2 * 0.995^n < 0.88 * 0.5 after 72 steps.
        assert!((1065..1080).contains(&logged.step), "{}", logged.step);
        assert_eq!(logged.intervention.alignment_factor, 2.0);
        for (step, held) in (0..).zip(held) {
            let is_in_force = (logged.step..logged.step + 1500).contains(&step);
            assert_eq!(held != Intervention::NONE, is_in_force, "step {step}");
        }
    }

    #[test]
    fn a_signal_that_keeps_falling_triggers_again_only_after_the_cooldown() {
        let mut balance = ModalityBalance::new();
        run(&mut balance, 0..12_000, |step| 0.9 * 0.9996_f32.powf(step as f32));
        assert!(balance.log().len() >= 2);
        for pair in balance.log().windows(2) {
            assert_eq!(pair[1].step, pair[0].until + 800);
        }
    }

    #[test]
    fn the_best_average_is_forgotten_after_2000_steps() {
        let mut balance = ModalityBalance::new();
        // Slow enough that it never loses 12 % within 2000 steps, although it loses 40 % in total.
        run(&mut balance, 0..10_000, |step| 0.8 * 0.99995_f32.powf(step as f32));
        assert!(balance.log().is_empty(), "{:?}", balance.log());
    }

    #[test]
    fn modality_that_runs_ahead_is_frozen() {
        for (vision, text, frozen, factor) in [
            (1.6, 1.0, Some(Modality::Vision), 1.0),
            (1.0, 1.6, Some(Modality::Text), 1.0),
            (1.4, 1.0, None, 2.0),
            (0.0, 0.0, None, 2.0),
        ] {
            let mut balance = ModalityBalance::new();
            for step in 0..1500 {
                balance.observe(step, drop_at_1000(step), vision, text);
            }
            let expected = Intervention { frozen, alignment_factor: factor };
            assert_eq!(balance.log()[0].intervention, expected);
        }
    }

    #[test]
    fn one_wild_gradient_does_not_decide() {
        let mut balance = ModalityBalance::new();
        for step in 0..2000 {
            let vision = if step % 71 == 0 { 20.0 } else { 1.0 };
            balance.observe(step, drop_at_1000(step), vision, 1.0);
        }
        assert_eq!(balance.log()[0].intervention.frozen, None);
    }

    #[test]
    fn noise_is_ignored() {
        for level in [0.0, 0.03, 0.4] {
            let mut balance = ModalityBalance::new();
            run(&mut balance, 0..20_000, |step| level + 0.15 * noise(step));
            assert!(balance.log().is_empty(), "{level}: {:?}", balance.log());
        }
        let mut balance = ModalityBalance::new();
        // A first value far above the rest is no best average to compare with.
        run(&mut balance, 0..3000, |step| if step == 0 { 5.0 } else { 0.3 });
        assert!(balance.log().is_empty());
    }

    #[test]
    fn collapse_triggers_although_matching_pairs_come_closer() {
        let mut balance = ModalityBalance::new();
        for step in 0..3000_u64 {
            let collapse = step.saturating_sub(1000) as f32 / 2000.0;
            let matching = 0.6 + 0.4 * collapse;
            let others = 0.1 + 0.9 * collapse;
            let signal = alignment_signal(&[matching], &[others, others]).unwrap();
            balance.observe(step, signal, 1.0, 1.0);
        }
        assert_eq!(balance.log().len(), 1);
        assert_eq!(alignment_signal(&[], &[0.1]), None);
    }

    #[test]
    fn numbers_that_are_not_finite_are_left_out() {
        let mut balance = ModalityBalance::new();
        for step in 0..1500 {
            if step % 10 == 3 {
                balance.observe(step, f32::NAN, 1.0, f32::INFINITY);
            } else {
                balance.observe(step, drop_at_1000(step), 1.0, 1.0);
            }
        }
        assert_eq!(balance.log().len(), 1);
    }

    #[test]
    fn checkpoint_continues_exactly() {
        let signal = |step| drop_at_1000(step) + 0.05 * noise(step);
        let mut whole = ModalityBalance::new();
        run(&mut whole, 0..1033, signal);
        let json = serde_json::to_string(&whole).unwrap();
        let mut resumed: ModalityBalance = serde_json::from_str(&json).unwrap();
        assert_eq!(resumed, whole);
        let expected = run(&mut whole, 1033..5000, signal);
        assert_eq!(run(&mut resumed, 1033..5000, signal), expected);
        assert_eq!(resumed, whole);
        assert_eq!(whole.log().len(), 1);
    }
}
