//! Options that several commands read, and what a training stage makes of them.

use std::path::PathBuf;

use anyhow::Result;
use bitmar::train::inputs::Inputs;
use bitmar::train::objective::ablation::Ablation;
use bitmar::train::teacher::TeacherSource;
use bitmar::train::trainer::{checkpoint_options, recipe, RunOptions};
use clap::Args;

#[derive(Debug, Args)]
pub(crate) struct Data {
    /// Folder with photos, captions and the teachers' weights.
    #[arg(long, value_name = "DIR", default_value = "data")]
    pub(crate) data: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct Out {
    /// Folder for checkpoints, logs and computed features.
    #[arg(long, value_name = "DIR", default_value = "runs")]
    pub(crate) out: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct TokenizerFile {
    /// The tokenizer.
    #[arg(long, value_name = "FILE", default_value = "pkg/model/tokenizer.json")]
    pub(crate) tokenizer: PathBuf,
}

/// The files that most commands read.
#[derive(Debug, Args)]
pub(crate) struct InputOptions {
    #[command(flatten)]
    pub(crate) data: Data,
    #[command(flatten)]
    pub(crate) out: Out,
    #[command(flatten)]
    pub(crate) tokenizer: TokenizerFile,
}

#[derive(Debug, Args)]
pub(crate) struct Trained {
    /// What the model was trained on, a JSON object that the model file keeps.
    #[arg(long, value_name = "JSON", default_value = "{}")]
    pub(crate) trained: String,
}

#[derive(Debug, Args)]
pub(crate) struct Teachers {
    /// Image network to learn from or to compare with: lite0, lite2, lite3:FILE or dinov2:FILE. May
    /// be repeated. By default lite2 in `vision` and `all`, none elsewhere.
    #[arg(long = "teacher", value_name = "NETWORK")]
    pub(crate) teachers: Vec<TeacherSource>,
}

#[derive(Debug, Args)]
pub(crate) struct Extras {
    /// Folder of a sentence encoder (config.json, tokenizer.json, model.safetensors): where there
    /// is a teacher, the vision encoder also learns to predict the mean embedding of a photo's
    /// captions.
    #[arg(long, value_name = "FOLDER")]
    pub(crate) sentences: Option<PathBuf>,
    /// What `label-captions` chose for photos with labels. Without it captions about the same label
    /// are drawn.
    #[arg(long, value_name = "FILE")]
    pub(crate) label_captions: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct Captioning {
    #[command(flatten)]
    training: Training,
    #[command(flatten)]
    teachers: Teachers,
    #[command(flatten)]
    extras: Extras,
}

/// Options of a training stage. Those without a value take the recipe's, which `--help` prints
/// below.
#[derive(Debug, Args)]
pub(crate) struct Training {
    #[command(flatten)]
    inputs: InputOptions,
    /// Optimizer steps.
    #[arg(long, value_name = "STEPS")]
    steps: Option<usize>,
    /// Examples (photos; texts in `text`) of a worker in a step. A step learns from those of all
    /// workers.
    #[arg(long, value_name = "EXAMPLES")]
    batch_size: Option<usize>,
    /// Threads that each compute the gradient of a batch of their own.
    #[arg(long, value_name = "THREADS")]
    workers: Option<usize>,
    /// Highest learning rate, of AdamW; Muon's is three times as high. Rises for 2 % of the steps,
    /// then falls as a cosine.
    #[arg(long, value_name = "RATE")]
    rate: Option<f32>,
    /// Probability of dropout, 0 to 1.
    #[arg(long, value_name = "P")]
    dropout: Option<f32>,
    /// Seed of everything random.
    #[arg(long, value_name = "SEED")]
    seed: Option<u64>,
    /// Part of the method to leave out, for an ablation: ternary, patches, lengths, alignment,
    /// consistency, memory, conditioning or balance.
    #[arg(long, value_name = "PART")]
    without: Option<Ablation>,
    /// Model file whose weights are the start. Default: random weights.
    #[arg(long, value_name = "FILE")]
    init: Option<PathBuf>,
    /// Checkpoint of an earlier stage whose weights are the start. May be repeated; later ones
    /// replace earlier ones.
    #[arg(long, value_name = "FILE")]
    from: Vec<PathBuf>,
    /// Continues from OUT/STAGE.safetensors with the options of that run.
    #[arg(long, conflicts_with_all = ["steps", "batch_size", "workers", "rate", "dropout", "seed",
                                      "without", "init", "from"])]
    resume: bool,
}

/// What a stage's options are by default.
pub(crate) fn defaults(stage: &str) -> String {
    let RunOptions { steps, batch_size_per_worker, workers, learning_rate, dropout, seed, .. } =
        recipe::options(stage);
    format!(
        "Defaults: --steps {steps} --batch-size {batch_size_per_worker} --workers {workers} \
         --rate {learning_rate} --dropout {dropout} --seed {seed}\n\
         Writes OUT/{stage}.safetensors every four minutes and at the end, \
         OUT/{stage}-best.safetensors where the score on the dev set is the best so far, and \
         appends to the log OUT/{stage}.jsonl."
    )
}

impl InputOptions {
    pub(crate) fn inputs(self) -> Inputs {
        Inputs {
            data: self.data.data,
            out: self.out.out,
            tokenizer: self.tokenizer.tokenizer,
            init: None,
            from: Vec::new(),
            teachers: Vec::new(),
            sentences: None,
            label_captions: None,
        }
    }
}

impl Training {
    /// Where `stage` finds what it needs, how it is run, and whether it continues.
    pub(crate) fn of(self, stage: &str) -> Result<(Inputs, RunOptions, bool)> {
        let recipe = recipe::options(stage);
        let options = if self.resume {
            checkpoint_options(&self.inputs.out.out.join(format!("{stage}.safetensors")))?
        } else {
            RunOptions {
                steps: self.steps.unwrap_or(recipe.steps),
                batch_size_per_worker: self.batch_size.unwrap_or(recipe.batch_size_per_worker),
                workers: self.workers.unwrap_or(recipe.workers),
                learning_rate: self.rate.unwrap_or(recipe.learning_rate),
                dropout: self.dropout.unwrap_or(recipe.dropout),
                seed: self.seed.unwrap_or(recipe.seed),
                ablation: self.without.unwrap_or(recipe.ablation),
            }
        };
        let inputs = Inputs { init: self.init, from: self.from, ..self.inputs.inputs() };
        Ok((inputs, options, self.resume))
    }
}

impl Captioning {
    pub(crate) fn of(self, stage: &str) -> Result<(Inputs, RunOptions, bool)> {
        let (inputs, options, is_resumed) = self.training.of(stage)?;
        let Extras { sentences, label_captions } = self.extras;
        let teachers = self.teachers.teachers;
        Ok((Inputs { teachers, sentences, label_captions, ..inputs }, options, is_resumed))
    }
}
