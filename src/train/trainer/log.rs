//! The lines a run prints; `bitmar-train curves` draws them.

use std::time::Instant;

use super::run::RunOptions;
use crate::train::objective::Measures;

/// Means of what was measured since the last line.
pub(super) struct Log {
    sums: Measures,
    norms: f32,
    steps: usize,
    since: Instant,
}

impl Log {
    pub(super) fn new() -> Self {
        Self { sums: Measures::new(), norms: 0.0, steps: 0, since: Instant::now() }
    }

    /// Adds what a step measured, and the norm of its gradients.
    pub(super) fn add(&mut self, measures: &Measures, norm: f32) {
        for (name, value) in measures {
            *self.sums.entry(name).or_default() += value;
        }
        self.norms += norm;
        self.steps += 1;
    }

    /// Prints the means, the rate of photos and the time that is left; then begins anew.
    pub(super) fn print(&mut self, options: &RunOptions, step: usize, rate: f32) {
        let steps = self.steps.max(1) as f32;
        let measures: Vec<String> =
            self.sums.iter().map(|(name, sum)| format!("{name} {:.3}", sum / steps)).collect();
        let seconds = self.since.elapsed().as_secs_f32();
        let examples = self.steps * options.workers * options.batch_size_per_worker;
        let minutes_left = seconds / steps * (options.steps - step) as f32 / 60.0;
        eprintln!(
            "step {step}/{} {} norm {:.2} rate {rate:.5} {:.1} examples/s {minutes_left:.0} min left",
            options.steps,
            measures.join(" "),
            self.norms / steps,
            examples as f32 / seconds,
        );
        *self = Self::new();
    }
}
