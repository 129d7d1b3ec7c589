//! The trainer's command line: makes the tokenizer and the model, and scores it.

use std::path::PathBuf;
use std::process::ExitCode;

use bitmar::train::commands::choose_label_captions::choose_lent_sentences;
use bitmar::train::commands::{self, Places};
use bitmar::train::data::photo_set::Split;
use bitmar::train::eval::curves::{draw, read_curves};
use bitmar::train::eval::memory_reads::activations;
use bitmar::train::eval::probe::probe;
use bitmar::train::model_source::Scored;
use bitmar::train::objective::ablation::Ablation;
use bitmar::train::teacher::TeacherSource;
use bitmar::train::trainer::{checkpoint_options, recipe, RunOptions};
use clap::{Args, Parser, Subcommand};

type Outcome<T = ()> = Result<T, Box<dyn std::error::Error>>;

/// Trains bitmar's model and scores it.
#[derive(Debug, Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Makes tokenizer.json from the training captions.
    Tokenizer {
        #[command(flatten)]
        data: Data,
        /// The file to write.
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
    /// Trains the decoder and the text encoder on captions without photos.
    #[command(after_help = defaults("text"))]
    Text(#[command(flatten)] Training),
    /// Trains the vision encoder to predict what image networks (teachers) see.
    #[command(after_help = defaults("vision"))]
    Vision {
        #[command(flatten)]
        training: Training,
        #[command(flatten)]
        teachers: Teachers,
        /// Folder of a sentence encoder (config.json, tokenizer.json, model.safetensors): the encoder also learns
        /// to predict the mean embedding of a photo's captions.
        #[arg(long, value_name = "FOLDER")]
        sentences: Option<PathBuf>,
    },
    /// Trains the whole model on photos with captions.
    #[command(after_help = defaults("captions"))]
    Captions(#[command(flatten)] Captioning),
    /// Continues from trained captions by self-critical training, which rewards captions that the model draws.
    #[command(after_help = defaults("critical"))]
    Critical(#[command(flatten)] Captioning),
    /// Lets a trained model choose captions for photos that only have a label.
    LabelCaptions {
        #[command(flatten)]
        inputs: Inputs,
        /// Checkpoint of the model that chooses; several stand for the mean of their weights.
        #[arg(long = "checkpoint", value_name = "FILE", required = true)]
        checkpoints: Vec<PathBuf>,
        /// The file to write, one JSON object a line; `captions` and `critical` read it.
        #[arg(long, value_name = "FILE")]
        label_captions: PathBuf,
    },
    /// Makes everything from the data folder to OUT/model.safetensors and its scores: tokenizer, text, vision, captions,
    /// critical, export, eval. A stage that has a checkpoint continues from it.
    All {
        #[command(flatten)]
        data: Data,
        #[command(flatten)]
        out: Out,
        #[command(flatten)]
        teachers: Teachers,
        #[command(flatten)]
        extras: Extras,
        /// Optimizer steps of every stage, instead of the recipe's: for a trial.
        #[arg(long, value_name = "STEPS")]
        steps: Option<usize>,
        #[command(flatten)]
        trained: Trained,
    },
    /// Draws measures of a stage over its steps, on the training batches and on dev.
    Curves {
        /// The log of a stage, OUT/STAGE.jsonl.
        #[arg(long, value_name = "FILE")]
        log: PathBuf,
        /// The SVG file to write.
        #[arg(long, value_name = "FILE")]
        svg: PathBuf,
        /// The title of the picture.
        #[arg(long, value_name = "TEXT", default_value = "")]
        title: String,
        /// Names of measures as the log has them: caption, reward, flips, ...
        #[arg(value_name = "MEASURE", required = true)]
        measures: Vec<String>,
    },
    /// Draws what the memory returns for 40 dev photos, and prints it as JSON.
    MemoryReads {
        #[command(flatten)]
        inputs: Inputs,
        /// Checkpoint of a model; each is a row of the picture.
        #[arg(long = "checkpoint", value_name = "FILE", required = true)]
        checkpoints: Vec<PathBuf>,
        /// The SVG file to write.
        #[arg(long, value_name = "FILE")]
        svg: PathBuf,
    },
    /// Writes a model file as it ships.
    Export {
        #[command(flatten)]
        inputs: Inputs,
        /// Checkpoint to export; several stand for the mean of their weights.
        #[arg(long = "checkpoint", value_name = "FILE", required = true)]
        checkpoints: Vec<PathBuf>,
        /// The model file to write.
        #[arg(long, value_name = "FILE", default_value = MODEL)]
        model: PathBuf,
        #[command(flatten)]
        trained: Trained,
    },
    /// Scores a model's captions of Flickr8k photos against people's, and prints the scores as JSON.
    Eval {
        #[command(flatten)]
        inputs: Inputs,
        /// The model file to score.
        #[arg(long, value_name = "FILE", default_value = MODEL)]
        model: PathBuf,
        /// Checkpoint to score instead of a model file; several stand for the mean of their weights.
        #[arg(long = "checkpoint", value_name = "FILE", conflicts_with = "model")]
        checkpoints: Vec<PathBuf>,
        /// Photos to score at most.
        #[arg(long, value_name = "COUNT", default_value_t = 1000)]
        photos: usize,
        /// Beams of the beam search.
        #[arg(long, value_name = "COUNT", default_value_t = 3)]
        beams: usize,
        /// Scores training photos instead of dev photos. The baselines then find the photo itself.
        #[arg(long)]
        on_train: bool,
        /// Also prints each photo's name, confidence and caption.
        #[arg(long)]
        list: bool,
        /// Network whose pooled features decide which training photos the baselines take for alike, instead of the stem:
        /// lite0, lite2, lite3:FILE or dinov2:FILE.
        #[arg(long, value_name = "NETWORK")]
        teacher: Option<TeacherSource>,
    },
    /// Measures how often corrected photos get their correction back, and prints that as JSON.
    EvalMemory {
        #[command(flatten)]
        data: Data,
        #[command(flatten)]
        tokenizer: TokenizerFile,
        /// The model file to score.
        #[arg(long, value_name = "FILE", default_value = MODEL)]
        model: PathBuf,
        /// Dev photos of Flickr8k to use at most; the first 200 of them are corrected.
        #[arg(long, value_name = "COUNT", default_value_t = 1000,
              value_parser = clap::value_parser!(u32).range(200..))]
        photos: u32,
    },
    /// Measures what a linear map reads off each representation, and prints that as JSON.
    Probe {
        #[command(flatten)]
        inputs: Inputs,
        /// The model file whose vision encoder is measured.
        #[arg(long, value_name = "FILE", default_value = MODEL)]
        model: PathBuf,
        /// Checkpoint whose vision encoder is measured, too; may be repeated.
        #[arg(long = "checkpoint", value_name = "FILE")]
        checkpoints: Vec<PathBuf>,
        #[command(flatten)]
        teachers: Teachers,
    },
}

const MODEL: &str = "pkg/model/model.safetensors";

#[derive(Debug, Args)]
struct Data {
    /// Folder with photos, captions and the teachers' weights.
    #[arg(long, value_name = "DIR", default_value = "data")]
    data: PathBuf,
}

#[derive(Debug, Args)]
struct Out {
    /// Folder for checkpoints, logs and computed features.
    #[arg(long, value_name = "DIR", default_value = "runs")]
    out: PathBuf,
}

#[derive(Debug, Args)]
struct TokenizerFile {
    /// The tokenizer.
    #[arg(long, value_name = "FILE", default_value = "pkg/model/tokenizer.json")]
    tokenizer: PathBuf,
}

/// The files that most commands read.
#[derive(Debug, Args)]
struct Inputs {
    #[command(flatten)]
    data: Data,
    #[command(flatten)]
    out: Out,
    #[command(flatten)]
    tokenizer: TokenizerFile,
}

#[derive(Debug, Args)]
struct Trained {
    /// What the model was trained on, a JSON object that the model file keeps.
    #[arg(long, value_name = "JSON", default_value = "{}")]
    trained: String,
}

#[derive(Debug, Args)]
struct Teachers {
    /// Image network to learn from or to compare with: lite0, lite2, lite3:FILE or dinov2:FILE. May be repeated. By
    /// default lite2 in `vision` and `all`, none elsewhere.
    #[arg(long = "teacher", value_name = "NETWORK")]
    teachers: Vec<TeacherSource>,
}

#[derive(Debug, Args)]
struct Extras {
    /// Folder of a sentence encoder (config.json, tokenizer.json, model.safetensors): where there is a teacher, the
    /// vision encoder also learns to predict the mean embedding of a photo's captions.
    #[arg(long, value_name = "FOLDER")]
    sentences: Option<PathBuf>,
    /// What `label-captions` chose for photos with labels. Without it captions about the same label are drawn.
    #[arg(long, value_name = "FILE")]
    label_captions: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct Captioning {
    #[command(flatten)]
    training: Training,
    #[command(flatten)]
    teachers: Teachers,
    #[command(flatten)]
    extras: Extras,
}

/// Options of a training stage. Those without a value take the recipe's, which `--help` prints below.
#[derive(Debug, Args)]
struct Training {
    #[command(flatten)]
    inputs: Inputs,
    /// Optimizer steps.
    #[arg(long, value_name = "STEPS")]
    steps: Option<usize>,
    /// Examples (photos; texts in `text`) of a worker in a step. A step learns from those of all workers.
    #[arg(long, value_name = "EXAMPLES")]
    batch_size: Option<usize>,
    /// Threads that each compute the gradient of a batch of their own.
    #[arg(long, value_name = "THREADS")]
    workers: Option<usize>,
    /// Highest learning rate, of AdamW; Muon's is three times as high. Rises for 2 % of the steps, then falls as a cosine.
    #[arg(long, value_name = "RATE")]
    rate: Option<f32>,
    /// Probability of dropout, 0 to 1.
    #[arg(long, value_name = "P")]
    dropout: Option<f32>,
    /// Seed of everything random.
    #[arg(long, value_name = "SEED")]
    seed: Option<u64>,
    /// Part of the method to leave out, for an ablation: ternary, patches, lengths, alignment, consistency, memory,
    /// conditioning or balance.
    #[arg(long, value_name = "PART")]
    without: Option<Ablation>,
    /// Model file whose weights are the start. Default: random weights.
    #[arg(long, value_name = "FILE")]
    init: Option<PathBuf>,
    /// Checkpoint of an earlier stage whose weights are the start. May be repeated; later ones replace earlier ones.
    #[arg(long, value_name = "FILE")]
    from: Vec<PathBuf>,
    /// Continues from OUT/STAGE.safetensors with the options of that run.
    #[arg(long, conflicts_with_all = ["steps", "batch_size", "workers", "rate", "dropout", "seed",
                                      "without", "init", "from"])]
    resume: bool,
}

/// What a stage's options are by default.
fn defaults(stage: &str) -> String {
    let RunOptions { steps, examples_per_shard, shards, learning_rate, dropout, seed, .. } =
        recipe::options(stage);
    format!(
        "Defaults: --steps {steps} --batch-size {examples_per_shard} --workers {shards} \
         --rate {learning_rate} --dropout {dropout} --seed {seed}\n\
         Writes OUT/{stage}.safetensors (the last step), OUT/{stage}-best.safetensors (the best on dev) and the log \
         OUT/{stage}.jsonl."
    )
}

impl Inputs {
    fn places(self) -> Places {
        Places {
            data: self.data.data,
            out: self.out.out,
            tokenizer: self.tokenizer.tokenizer,
            init: None,
            from: Vec::new(),
            teachers: Vec::new(),
            sentences: None,
            lent: None,
        }
    }
}

impl Training {
    /// Where `stage` finds what it needs, how it is run, and whether it continues.
    fn of(self, stage: &str) -> Outcome<(Places, RunOptions, bool)> {
        let recipe = recipe::options(stage);
        let options = match self.resume {
            true => {
                checkpoint_options(&self.inputs.out.out.join(format!("{stage}.safetensors")))?
            }
            false => RunOptions {
                steps: self.steps.unwrap_or(recipe.steps),
                examples_per_shard: self.batch_size.unwrap_or(recipe.examples_per_shard),
                shards: self.workers.unwrap_or(recipe.shards),
                learning_rate: self.rate.unwrap_or(recipe.learning_rate),
                dropout: self.dropout.unwrap_or(recipe.dropout),
                seed: self.seed.unwrap_or(recipe.seed),
                ablation: self.without.unwrap_or(recipe.ablation),
            },
        };
        let places = Places { init: self.init, from: self.from, ..self.inputs.places() };
        Ok((places, options, self.resume))
    }
}

impl Captioning {
    fn of(self, stage: &str) -> Outcome<(Places, RunOptions, bool)> {
        let (places, options, is_resumed) = self.training.of(stage)?;
        let Extras { sentences, label_captions: lent } = self.extras;
        let teachers = self.teachers.teachers;
        Ok((Places { teachers, sentences, lent, ..places }, options, is_resumed))
    }
}

fn main() -> ExitCode {
    // One graph a core is faster than every operation on all cores (architecture.md, "Training").
    std::env::set_var("RAYON_NUM_THREADS", "1");
    match run(Cli::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bitmar-train: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Outcome {
    match command {
        Command::Tokenizer { data, out } => commands::tokenizer(&data.data, &out),
        Command::Text(training) => {
            let (places, options, is_resumed) = training.of("text")?;
            commands::text(&places, "text", options, is_resumed)
        }
        Command::Vision { training, teachers, sentences } => {
            let (places, options, is_resumed) = training.of("vision")?;
            let places = Places { teachers: teachers.teachers, sentences, ..places };
            commands::vision(&places, "vision", options, is_resumed)
        }
        Command::Captions(captioning) => {
            let (places, options, is_resumed) = captioning.of("captions")?;
            commands::captions(&places, "captions", options, is_resumed)
        }
        Command::Critical(captioning) => {
            let (places, options, is_resumed) = captioning.of("critical")?;
            commands::critical(&places, "critical", options, is_resumed)
        }
        Command::LabelCaptions { inputs, checkpoints, label_captions } => {
            let places = Places { lent: Some(label_captions), ..inputs.places() };
            choose_lent_sentences(&places, Scored::Checkpoints(&checkpoints))
        }
        Command::All { data, out, teachers, extras, steps, trained } => {
            // The tokenizer that it makes takes the place of this one.
            let tokenizer = TokenizerFile { tokenizer: out.out.join("tokenizer.json") };
            let Extras { sentences, label_captions: lent } = extras;
            let teachers = teachers.teachers;
            let places = Inputs { data, out, tokenizer }.places();
            let places = Places { teachers, sentences, lent, ..places };
            commands::all(&places, &trained.trained, steps)
        }
        Command::Curves { log, svg, title, measures } => {
            let curves = read_curves(&std::fs::read_to_string(log)?, &measures);
            std::fs::write(svg, draw(&title, &curves))?;
            Ok(())
        }
        Command::MemoryReads { inputs, checkpoints, svg } => {
            let models: Vec<Scored<'_>> = checkpoints.chunks(1).map(Scored::Checkpoints).collect();
            activations(&inputs.places(), &models, &svg)
        }
        Command::Export { inputs, checkpoints, model, trained } => {
            commands::export(&inputs.places(), &checkpoints, &trained.trained, &model)
        }
        Command::Eval {
            inputs,
            model,
            checkpoints,
            photos,
            beams,
            on_train,
            list,
            teacher,
        } => {
            let scored = match checkpoints.as_slice() {
                [] => Scored::Model(&model),
                checkpoints => Scored::Checkpoints(checkpoints),
            };
            let split = if on_train { Split::Train } else { Split::Dev };
            let places = Places { teachers: teacher.into_iter().collect(), ..inputs.places() };
            commands::eval(&places, scored, (split, photos, beams), list)
        }
        Command::EvalMemory { data, tokenizer, model, photos } => {
            // It computes no features, so that there is nothing to keep.
            let out = Out { out: PathBuf::new() };
            let places = Inputs { data, out, tokenizer }.places();
            commands::eval_memory(&places, &model, photos.try_into()?)
        }
        Command::Probe { inputs, model, checkpoints, teachers } => {
            let mut models = vec![Scored::Model(&model)];
            models.extend(checkpoints.chunks(1).map(Scored::Checkpoints));
            let places = Places { teachers: teachers.teachers, ..inputs.places() };
            probe(&places, &models)
        }
    }
}
