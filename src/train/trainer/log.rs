//! Reports of a run: each is a line on standard error and a JSON object in a file, from which
//! `bitmar-train curves` draws.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::time::Instant;

use serde::Serialize;

use super::run::RunOptions;
use crate::train::objective::Measures;

/// A report.
#[derive(Debug, Default, Serialize)]
pub(super) struct LogLine {
    /// Number of updates so far.
    pub(super) step: usize,
    /// Number of updates of the whole run.
    pub(super) steps: usize,
    /// Learning rate of the last update.
    pub(super) rate: f32,
    /// Mean norm of the gradient before clipping, since the last report.
    pub(super) norm: f32,
    /// Training examples a second, without the time of dev scores and reports.
    pub(super) examples_per_second: f32,
    /// Means of the measures on the training batches since the last report.
    pub(super) train: Measures,
    /// The score on the dev set by name; empty if it was not computed.
    #[serde(flatten)]
    pub(super) dev: Measures,
    /// Whether this is the best score so far.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(super) is_best: bool,
    /// Share of ternary codes that are 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) zeros: Option<f32>,
    /// Share of ternary codes that changed since they were last counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) flips: Option<f32>,
    #[serde(skip)]
    minutes_left: f32,
}

impl LogLine {
    /// The report as a line of text.
    fn text(&self) -> String {
        let list = |measures: &Measures| {
            let each: Vec<String> =
                measures.iter().map(|(name, value)| format!("{name} {value:.3}")).collect();
            each.join(" ")
        };
        let mut text = format!(
            "step {}/{} {} norm {:.2} rate {:.5} {:.1} examples/s {:.0} min left",
            self.step,
            self.steps,
            list(&self.train),
            self.norm,
            self.rate,
            self.examples_per_second,
            self.minutes_left,
        );
        if let Some(zeros) = self.zeros {
            text += &format!("; zeros {zeros:.4}");
        }
        if let Some(flips) = self.flips {
            text += &format!(" flips {flips:.5}");
        }
        for (name, value) in &self.dev {
            let best = if self.is_best { " (best so far)" } else { "" };
            text += &format!("; {name} {value:.4}{best}");
        }
        text
    }
}

/// Sums since the last report, and the file that reports are appended to.
pub(super) struct Log {
    file: File,
    sums: Measures,
    norms: f32,
    steps: usize,
    since: Instant,
}

impl Log {
    /// A log that appends to `file`, which is created if it does not exist.
    pub(super) fn append(file: &Path) -> std::io::Result<Self> {
        let file = OpenOptions::new().create(true).append(true).open(file)?;
        Ok(Self { file, sums: Measures::new(), norms: 0.0, steps: 0, since: Instant::now() })
    }

    /// Adds the measures of a step and the norm of its gradient.
    pub(super) fn add(&mut self, measures: &Measures, norm: f32) {
        for (name, value) in measures {
            *self.sums.entry(name).or_default() += value;
        }
        self.norms += norm;
        self.steps += 1;
    }

    /// The report after `step` updates: the means since the last report.
    pub(super) fn line(&self, options: &RunOptions, step: usize, rate: f32) -> LogLine {
        let steps = self.steps.max(1) as f32;
        let seconds = self.since.elapsed().as_secs_f32();
        let examples = self.steps * options.workers * options.batch_size_per_worker;
        LogLine {
            step,
            steps: options.steps,
            rate,
            norm: self.norms / steps,
            examples_per_second: examples as f32 / seconds,
            train: self.sums.iter().map(|(&name, sum)| (name, sum / steps)).collect(),
            minutes_left: seconds / steps * (options.steps - step) as f32 / 60.0,
            ..LogLine::default()
        }
    }

    /// Writes the report and resets the sums.
    pub(super) fn write(&mut self, line: &LogLine) -> std::io::Result<()> {
        eprintln!("{}", line.text());
        self.file.write_all((serde_json::to_string(line)? + "\n").as_bytes())?;
        (self.sums, self.norms, self.steps) = (Measures::new(), 0.0, 0);
        self.since = Instant::now();
        Ok(())
    }
}
