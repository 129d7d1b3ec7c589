//! The training loop: draws batches for an [`Objective`], updates the variables on a schedule,
//! reports, and saves checkpoints from which a run resumes exactly.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::log::Log;
use crate::nn::dropout::with_dropout;
use crate::random::Random;
use crate::train::objective::ablation::Ablation;
use crate::train::objective::{Measures, Objective, StepContext, SIGNAL};
use crate::train::optim::code_flips::CodeTracker;
use crate::train::optim::optimizer::{global_norm, Optimizer};
use crate::train::parallel;
use crate::train::trainer::balance::{Intervention, Modality, ModalityBalance};
use crate::weights::{VariableKind, Variables};

/// Share of a run after which the modality balance is active. At the full learning rate the
/// alignment first falls and then recovers, from random and from trained weights, without an
/// encoder that runs ahead.
const SETTLED: f32 = 0.1;

/// Gradients by variable name.
pub type Gradients = BTreeMap<String, Vec<f32>>;

/// The options of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunOptions {
    /// Number of updates.
    pub steps: usize,
    /// Number of examples of a worker in a step.
    #[serde(rename = "examples_per_shard")]
    pub batch_size_per_worker: usize,
    /// Number of threads, each with a graph of its own.
    #[serde(rename = "shards")]
    pub workers: usize,
    /// Highest learning rate of the schedule.
    pub learning_rate: f32,
    /// Probability of dropout, applied to what each block adds to the residual stream.
    #[serde(default)]
    pub dropout: f32,
    /// The part of the method that the run leaves out.
    #[serde(default)]
    pub ablation: Ablation,
    /// Seed of all random numbers.
    pub seed: u64,
}

/// A run: the variables, the optimizer and the rest of what a checkpoint holds.
pub struct Run {
    pub(super) variables: Variables,
    pub(super) optimizer: Optimizer,
    pub(super) state: State,
}

#[derive(Clone, Serialize, Deserialize)]
pub(super) struct State {
    pub(super) options: RunOptions,
    step: usize,
    pub(super) updates: i32,
    random: Random,
    pools: Vec<Pool>,
    balance: ModalityBalance,
    intervention: Intervention,
    /// The best score on the dev set so far; checkpoints of earlier versions have none.
    #[serde(default)]
    best_dev: Option<f32>,
}

/// A random order of examples, and the position of the next one.
#[derive(Clone, Default, Serialize, Deserialize)]
struct Pool {
    order: Vec<usize>,
    position: usize,
}

impl Run {
    /// A fresh run over `variables`.
    ///
    /// # Errors
    ///
    /// If a variable cannot be set.
    pub fn new(variables: Variables, options: RunOptions) -> candle_core::Result<Self> {
        options.ablation.zero_frozen(&variables)?;
        let state = State {
            step: 0,
            updates: 0,
            random: Random::new(options.seed),
            pools: Vec::new(),
            balance: ModalityBalance::new(),
            intervention: Intervention::NONE,
            best_dev: None,
            options,
        };
        Ok(Self { variables, optimizer: Optimizer::default(), state })
    }

    /// Number of updates so far.
    pub fn step(&self) -> usize {
        self.state.step
    }

    /// The modality balance with its interventions so far.
    pub fn balance(&self) -> &ModalityBalance {
        &self.state.balance
    }

    /// Trains to the last step. Saves to `file`, `NAME.safetensors`, every four minutes and at the
    /// end. Reports to standard error and appends each report as a JSON object to `NAME.jsonl`. If
    /// the objective has a dev set, the model is scored on it every 250 steps and after the last,
    /// and `NAME-best.safetensors` is the checkpoint with the best score.
    ///
    /// # Errors
    ///
    /// If the objective fails, or the checkpoint or the log cannot be written.
    pub fn train(&mut self, objective: &impl Objective, file: &Path) -> Result<()> {
        const STEPS_PER_LINE: usize = 25;
        const STEPS_PER_LOOK: usize = 100;
        const STEPS_PER_DEV: usize = 250;
        let mut saved = Instant::now();
        let log = file.with_extension("jsonl");
        let mut log =
            Log::append(&log).with_context(|| format!("cannot open the log {}", log.display()))?;
        let mut codes = CodeTracker::default();
        while self.state.step < self.state.options.steps {
            let rate = self.learning_rate();
            let (measures, norm) = self.update(objective)?;
            log.add(&measures, norm);
            let step = self.state.step;
            let is_last = step == self.state.options.steps;
            // The intervals below are multiples of this one.
            if step.is_multiple_of(STEPS_PER_LINE) || is_last {
                let mut line = log.line(&self.state.options, step, rate);
                if step.is_multiple_of(STEPS_PER_LOOK) {
                    let change = codes.observe(&self.variables)?;
                    line.zeros = change.as_ref().map(|change| change.zeros);
                    line.flips = change.and_then(|change| change.flips);
                }
                if step.is_multiple_of(STEPS_PER_DEV) || is_last {
                    (line.dev, line.is_best) = self.score_dev(objective, file)?;
                }
                log.write(&line)?;
            }
            if saved.elapsed().as_secs() > 240 {
                self.save(file)?;
                saved = Instant::now();
            }
        }
        self.save(file)
    }

    /// Scores the model on the dev set and saves the checkpoint if the score is the best so far.
    /// Returns the score by name, and whether it is the best.
    fn score_dev(&mut self, objective: &impl Objective, file: &Path) -> Result<(Measures, bool)> {
        let Some(dev) = objective.dev()? else { return Ok((Measures::new(), false)) };
        let is_best = dev.beats(self.state.best_dev);
        if is_best {
            self.state.best_dev = Some(dev.value());
            self.save(&best_checkpoint(file))?;
        }
        Ok((Measures::from([(dev.name(), dev.value())]), is_best))
    }

    /// One step: draws batches, differentiates them in parallel and updates the variables. Returns
    /// the means of the measures and the norm of the gradient before clipping.
    fn update(&mut self, objective: &impl Objective) -> Result<(Measures, f32)> {
        let batches = self.draw(objective);
        let alignment_factor = self.state.intervention.alignment_factor;
        let context = StepContext { progress: self.progress(), alignment_factor };
        let dropout = self.state.options.dropout;
        let (gradients, measures) =
            differentiate(objective, &self.variables, &batches, dropout, context)?;
        let frozen = self.state.intervention.frozen.map(Modality::scope);
        let ablation = self.state.options.ablation;
        let watches = self.progress() >= SETTLED && ablation != Ablation::Balance;
        if let Some(&signal) = measures.get(SIGNAL).filter(|_| watches) {
            let [vision, text] = [Modality::Vision, Modality::Text].map(|modality| {
                let own = gradients.iter().filter(|(name, _)| name.starts_with(modality.scope()));
                global_norm(own.map(|(_, gradient)| gradient))
            });
            let step = u64::try_from(self.state.step)?;
            self.state.intervention = self.state.balance.observe(step, signal, vision, text);
        }
        let (rate, decay) = (self.learning_rate(), self.weight_decay());
        let is_frozen = |name: &str, kind: VariableKind| {
            frozen.is_some_and(|scope| name.starts_with(scope)) || ablation.freezes(kind)
        };
        let norm = self.optimizer.update(&self.variables, &gradients, rate, decay, is_frozen)?;
        self.state.step += 1;
        Ok((measures, norm))
    }

    /// Draws a batch for each worker, with the seed of its dropout.
    fn draw<O: Objective>(&mut self, objective: &O) -> Vec<(O::Batch, u64)> {
        let sizes = objective.pools();
        self.state.pools.resize_with(sizes.len(), Pool::default);
        let RunOptions { workers, batch_size_per_worker, .. } = self.state.options;
        let State { pools, random, .. } = &mut self.state;
        (0..workers)
            .map(|_| {
                let examples: Vec<(usize, usize)> = (0..batch_size_per_worker)
                    .map(|_| {
                        let pool = choose(&sizes, random);
                        (pool, pools[pool].next(sizes[pool].0, random))
                    })
                    .collect();
                (objective.batch(&examples, random), random.next_u64())
            })
            .collect()
    }

    /// Share of the steps that are done, 0 to 1.
    fn progress(&self) -> f32 {
        self.state.step as f32 / self.state.options.steps.max(1) as f32
    }

    /// Linear warm-up over 2 % of the steps, then a cosine down to 2 % of the highest rate.
    fn learning_rate(&self) -> f32 {
        let (progress, warm_up) = (self.progress(), 0.02);
        let factor = if progress < warm_up {
            (progress / warm_up).max(0.02)
        } else {
            let along = (progress - warm_up) / (1.0 - warm_up);
            0.02 + 0.49 * (1.0 + (std::f32::consts::PI * along).cos())
        };
        self.state.options.learning_rate * factor
    }

    /// 0.1 in the first half, while the latent weights settle; then none, so that they can cross
    /// the thresholds of their codes.
    fn weight_decay(&self) -> f32 {
        if self.progress() < 0.5 {
            0.1
        } else {
            0.0
        }
    }
}

/// The path of the checkpoint with the best dev score, given that of the last one.
pub(crate) fn best_checkpoint(file: &Path) -> PathBuf {
    let stem = file.file_stem().unwrap_or_default().to_string_lossy();
    file.with_file_name(format!("{stem}-best.safetensors"))
}

/// The mean gradient of the batches, each computed in a thread of its own, and the means of their
/// measures.
pub(crate) fn differentiate<O: Objective>(
    objective: &O,
    variables: &Variables,
    batches: &[(O::Batch, u64)],
    dropout: f32,
    context: StepContext,
) -> candle_core::Result<(Gradients, Measures)> {
    let results: Vec<candle_core::Result<(Gradients, Measures)>> = std::thread::scope(|scope| {
        let workers: Vec<_> = batches
            .iter()
            .map(|(batch, seed)| {
                scope.spawn(move || {
                    let loss = || objective.loss(batch, context);
                    let (loss, measures) = with_dropout(dropout, *seed, loss)?;
                    Ok((by_name(variables, &loss.backward()?)?, measures))
                })
            })
            .collect();
        workers.into_iter().map(|worker| worker.join().expect("a worker panicked")).collect()
    });
    let share = 1.0 / batches.len() as f32;
    let (mut total, mut mean) = (BTreeMap::<String, Vec<Vec<f32>>>::new(), Measures::new());
    for result in results {
        let (gradients, measures) = result?;
        for (name, gradient) in gradients {
            total.entry(name).or_default().push(gradient);
        }
        for (name, value) in measures {
            *mean.entry(name).or_default() += share * value;
        }
    }
    let total: Vec<(String, Vec<Vec<f32>>)> = total.into_iter().collect();
    let total: Vec<(String, Vec<f32>)> =
        parallel::map(total, |(name, gradients): (String, Vec<Vec<f32>>)| {
            let mut gradients = gradients.into_iter();
            let mut sum = gradients.next().unwrap_or_default();
            sum.iter_mut().for_each(|sum| *sum *= share);
            for gradient in gradients {
                sum.iter_mut().zip(&gradient).for_each(|(sum, g)| *sum += share * g);
            }
            (name, sum)
        });
    Ok((total.into_iter().collect(), mean))
}

fn by_name(
    variables: &Variables,
    store: &candle_core::backprop::GradStore,
) -> candle_core::Result<Gradients> {
    let mut out = Gradients::new();
    for (name, var) in variables {
        if let Some(gradient) = store.get(var) {
            out.insert(name.clone(), gradient.flatten_all()?.to_vec1::<f32>()?);
        }
    }
    Ok(out)
}

/// Draws a pool with probabilities proportional to the shares.
fn choose(pools: &[(usize, f32)], random: &mut Random) -> usize {
    let total: f32 = pools.iter().map(|(_, share)| share).sum();
    let mut left = random.uniform() * total;
    for (pool, (_, share)) in pools.iter().enumerate() {
        left -= share;
        if left < 0.0 {
            return pool;
        }
    }
    pools.len() - 1
}

impl Pool {
    /// The index of the next of `count` examples. Each is returned once before any is repeated.
    fn next(&mut self, count: usize, random: &mut Random) -> usize {
        if self.position == self.order.len() {
            self.order = (0..count).collect();
            random.shuffle(&mut self.order);
            self.position = 0;
        }
        self.position += 1;
        self.order[self.position - 1]
    }
}

#[cfg(test)]
mod tests;
