//! The training loop: stages, schedule, checkpoints that resume exactly.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::time::Instant;

use candle_core::{Device, Tensor, Var};
use tokenizers::Tokenizer;

use crate::config::Config;
use crate::random::Random;
use crate::train::adamw::{global_norm, AdamW};
use crate::train::balance::{Intervention, Modality, ModalityBalance};
use crate::train::batch::{Sample, Shard, ShardOptions};
use crate::train::captions::{gradients, Measures, TrainedModel};
use crate::weights::Weights;

type AnyError = Box<dyn std::error::Error>;

/// What a caption run needs to know.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
pub struct RunOptions {
    /// Updates in all.
    pub steps: usize,
    /// Photos a core works on in a step.
    pub photos_per_shard: usize,
    /// Cores, one graph each.
    pub shards: usize,
    /// Highest learning rate.
    pub learning_rate: f32,
    /// Seed of everything random.
    pub seed: u64,
}

/// A run: the model, the optimiser, and everything a checkpoint holds.
pub struct Run {
    /// The model in training.
    pub trained: TrainedModel,
    /// Its variables.
    pub variables: BTreeMap<String, Var>,
    options: RunOptions,
    optimizer: AdamW,
    balance: ModalityBalance,
    intervention: Intervention,
    random: Random,
    order: Vec<usize>,
    position: usize,
    step: usize,
}

impl Run {
    /// A fresh run.
    pub fn new(config: &Config, options: RunOptions) -> Result<Self, AnyError> {
        let weights = Weights::fresh(options.seed);
        let trained = TrainedModel::new(&weights, config)?;
        Ok(Self {
            trained,
            variables: weights.variables(),
            optimizer: AdamW::default(),
            balance: ModalityBalance::new(),
            intervention: Intervention::NONE,
            random: Random::new(options.seed),
            order: Vec::new(),
            position: 0,
            step: 0,
            options,
        })
    }

    /// Starts from these latent weights instead of random ones; names it does not know are ignored.
    pub fn warm_start(&mut self, latents: &BTreeMap<String, Vec<f32>>) -> Result<usize, AnyError> {
        let mut taken = 0;
        for (name, values) in latents {
            if let Some(var) = self.variables.get(name) {
                if var.elem_count() == values.len() {
                    var.set(&Tensor::from_slice(values, var.shape(), &Device::Cpu)?)?;
                    taken += 1;
                }
            }
        }
        Ok(taken)
    }

    /// Trains to the last step, saving to `file` every five minutes and logging to standard error.
    pub fn train(
        &mut self,
        samples: &[Sample],
        stem_scale: f32,
        tokenizer: &Tokenizer,
        file: &Path,
    ) -> Result<(), AnyError> {
        let (mut saved, mut logged) = (Instant::now(), Instant::now());
        let (mut sum, mut count, mut photos) = (Measures::default(), 0.0, 0);
        while self.step < self.options.steps {
            let shards = self.draw(samples, tokenizer);
            let (measures, norm) = self.update(&shards, stem_scale)?;
            photos += shards.iter().map(|shard| shard.photos.len()).sum::<usize>();
            sum.caption += measures.caption;
            sum.alignment += measures.alignment;
            sum.consistency += measures.consistency;
            sum.signal += measures.signal;
            sum.own_slot += measures.own_slot;
            count += 1.0;
            if count >= 25.0 || self.step == self.options.steps {
                eprintln!(
                    "step {}/{} caption {:.3} align {:.3} memory {:.3} signal {:.3} own {:.3} norm {norm:.2} lr {:.5} {:.1} photos/s",
                    self.step,
                    self.options.steps,
                    sum.caption / count,
                    sum.alignment / count,
                    sum.consistency / count,
                    sum.signal / count,
                    sum.own_slot / count,
                    self.learning_rate(),
                    photos as f32 / logged.elapsed().as_secs_f32(),
                );
                (sum, count, photos, logged) = (Measures::default(), 0.0, 0, Instant::now());
            }
            if saved.elapsed().as_secs() > 240 {
                self.save(file)?;
                saved = Instant::now();
            }
        }
        self.save(file)
    }

    fn draw(&mut self, samples: &[Sample], tokenizer: &Tokenizer) -> Vec<Shard> {
        let options = ShardOptions::default();
        let mut shards = Vec::with_capacity(self.options.shards);
        for _ in 0..self.options.shards {
            let mut chosen = Vec::with_capacity(self.options.photos_per_shard);
            while chosen.len() < self.options.photos_per_shard {
                if self.position == self.order.len() {
                    self.order = (0..samples.len()).collect();
                    self.random.shuffle(&mut self.order);
                    self.position = 0;
                }
                chosen.push(&samples[self.order[self.position]]);
                self.position += 1;
            }
            shards.push(Shard::draw(&chosen, tokenizer, &options, &mut self.random));
        }
        shards
    }

    fn update(&mut self, shards: &[Shard], stem_scale: f32) -> Result<(Measures, f32), AnyError> {
        let alignment = self.alignment_weight() * f64::from(self.intervention.alignment_factor);
        let (gradients, measures) =
            gradients(&self.trained, &self.variables, shards, stem_scale, alignment)?;
        let norm_of = |prefix: &str| {
            global_norm(gradients.iter().filter(|(n, _)| n.starts_with(prefix)).map(|(_, g)| g))
        };
        let step = u64::try_from(self.step)?;
        let seen =
            self.balance.observe(step, measures.signal, norm_of("vision."), norm_of("text."));
        let frozen = match self.intervention.frozen {
            Some(Modality::Vision) => "vision.",
            Some(Modality::Text) => "text.",
            None => "\0",
        };
        let (rate, decay) = (self.learning_rate(), self.weight_decay());
        let norm = self
            .optimizer
            .update(&self.variables, &gradients, rate, decay, |name| name.starts_with(frozen))?;
        self.intervention = seen;
        self.step += 1;
        Ok((measures, norm))
    }

    /// Share of the run that is behind us.
    fn progress(&self) -> f32 {
        self.step as f32 / self.options.steps.max(1) as f32
    }

    /// Warm-up over 2 % of the steps, then cosine to 10 %.
    fn learning_rate(&self) -> f32 {
        let (progress, warm_up) = (self.progress(), 0.02);
        let factor = if progress < warm_up {
            (progress / warm_up).max(0.02)
        } else {
            let along = (progress - warm_up) / (1.0 - warm_up);
            0.1 + 0.45 * (1.0 + (std::f32::consts::PI * along).cos())
        };
        self.options.learning_rate * factor
    }

    /// 0.1 in the first half, where latent weights settle; then none, so that they can cross over.
    fn weight_decay(&self) -> f32 {
        if self.progress() < 0.5 {
            0.1
        } else {
            0.0
        }
    }

    /// 1.5 in the first fifth, cosine down to 0.3 at three fifths.
    fn alignment_weight(&self) -> f64 {
        let along = f64::from(((self.progress() - 0.2) / 0.4).clamp(0.0, 1.0));
        0.3 + 0.6 * (1.0 + (std::f64::consts::PI * along).cos())
    }

    /// Writes everything a run is made of, beside `file` and then renamed onto it.
    pub fn save(&self, file: &Path) -> Result<(), AnyError> {
        let mut tensors: HashMap<String, Tensor> = HashMap::new();
        for (name, var) in &self.variables {
            tensors.insert(format!("latent.{name}"), var.as_tensor().clone());
        }
        for (name, (first, second)) in &self.optimizer.moments {
            for (moment, values) in [("first", first), ("second", second)] {
                let tensor = Tensor::from_slice(values, values.len(), &Device::Cpu)?;
                tensors.insert(format!("{moment}.{name}"), tensor);
            }
        }
        let state = State {
            options: self.options.clone(),
            config: self.trained.model.config().clone(),
            updates: self.optimizer.step,
            balance: self.balance.clone(),
            intervention: self.intervention,
            random: self.random.clone(),
            order: self.order.clone(),
            position: self.position,
            step: self.step,
        };
        let json = serde_json::to_vec(&state)?;
        tensors.insert("state".into(), Tensor::from_vec(json.clone(), json.len(), &Device::Cpu)?);
        let beside = file.with_extension("part");
        candle_core::safetensors::save(&tensors, &beside)?;
        std::fs::rename(beside, file)?;
        Ok(())
    }

    /// A run as [`save`](Self::save) left it: the next step is the one it would have been.
    pub fn resume(file: &Path) -> Result<Self, AnyError> {
        let tensors = candle_core::safetensors::load(file, &Device::Cpu)?;
        let find = |name: &str| {
            tensors.get(name).ok_or_else(|| format!("{name} is not in the checkpoint"))
        };
        let state: State = serde_json::from_slice(&find("state")?.to_vec1::<u8>()?)?;
        let mut run = Self::new(&state.config, state.options)?;
        for (name, var) in &run.variables {
            var.set(find(&format!("latent.{name}"))?)?;
            if let (Ok(first), Ok(second)) =
                (find(&format!("first.{name}")), find(&format!("second.{name}")))
            {
                let moments = (first.to_vec1::<f32>()?, second.to_vec1::<f32>()?);
                run.optimizer.moments.insert(name.clone(), moments);
            }
        }
        run.optimizer.step = state.updates;
        (run.balance, run.intervention) = (state.balance, state.intervention);
        run.random = state.random;
        (run.order, run.position, run.step) = (state.order, state.position, state.step);
        Ok(run)
    }

    /// The latent weights of a checkpoint by name, for exporting or a warm start.
    pub fn latents(file: &Path) -> Result<BTreeMap<String, Vec<f32>>, AnyError> {
        let mut latents = BTreeMap::new();
        for (name, tensor) in candle_core::safetensors::load(file, &Device::Cpu)? {
            if let Some(name) = name.strip_prefix("latent.") {
                latents.insert(name.to_owned(), tensor.flatten_all()?.to_vec1::<f32>()?);
            }
        }
        Ok(latents)
    }

    /// Interventions of the modality balance so far.
    pub fn balance(&self) -> &ModalityBalance {
        &self.balance
    }

    /// Updates done.
    pub fn step(&self) -> usize {
        self.step
    }
}

#[derive(serde::Serialize, serde::Deserialize)]
struct State {
    options: RunOptions,
    config: Config,
    updates: i32,
    balance: ModalityBalance,
    intervention: Intervention,
    random: Random,
    order: Vec<usize>,
    position: usize,
    step: usize,
}

/// Where a run in `out` keeps its checkpoint.
pub fn checkpoint_file(out: &Path, stage: &str) -> PathBuf {
    out.join(format!("{stage}.safetensors"))
}
