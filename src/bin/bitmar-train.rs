//! The trainer's command line: makes the tokenizer and the model, and scores it.

use std::path::PathBuf;
use std::process::ExitCode;

use bitmar::train::commands;
use bitmar::train::commands::choose_label_captions::choose_label_captions;
use bitmar::train::data::photo_set::Split;
use bitmar::train::eval::curves::{draw, read_curves};
use bitmar::train::eval::memory_reads::draw_memory_reads;
use bitmar::train::eval::probe::probe;
use bitmar::train::inputs::Inputs;
use bitmar::train::model_source::ModelSource;
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
    Text(Training),
    /// Trains the vision encoder to predict what image networks (teachers) see.
    #[command(after_help = defaults("vision"))]
    Vision {
        #[command(flatten)]
        training: Training,
        #[command(flatten)]
        teachers: Teachers,
        /// Folder of a sentence encoder (config.json, tokenizer.json, model.safetensors): the
        /// encoder also learns to predict the mean embedding of a photo's captions.
        #[arg(long, value_name = "FOLDER")]
        sentences: Option<PathBuf>,
    },
    /// Trains the whole model on photos with captions.
    #[command(after_help = defaults("captions"))]
    Captions(Captioning),
    /// Continues from trained captions by self-critical training, which rewards captions that the
    /// model draws.
    #[command(after_help = defaults("critical"))]
    Critical(Captioning),
    /// Lets a trained model choose captions for photos that only have a label.
    LabelCaptions {
        #[command(flatten)]
        inputs: InputOptions,
        /// Checkpoint of the model that chooses; several stand for the mean of their weights.
        #[arg(long = "checkpoint", value_name = "FILE", required = true)]
        checkpoints: Vec<PathBuf>,
        /// The file to write, one JSON object a line; `captions` and `critical` read it.
        #[arg(long, value_name = "FILE")]
        label_captions: PathBuf,
    },
    /// Makes everything from the data folder to OUT/model.safetensors and its scores: tokenizer,
    /// text, vision, captions, critical, export, eval. A stage that has a checkpoint continues from
    /// it.
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
    /// Draws measures of a stage over its steps.
    Curves {
        /// The log of the stage, OUT/STAGE.jsonl.
        #[arg(long, value_name = "FILE")]
        log: PathBuf,
        /// The SVG file to write.
        #[arg(long, value_name = "FILE")]
        svg: PathBuf,
        /// The title of the picture.
        #[arg(long, value_name = "TEXT", default_value = "")]
        title: String,
        /// Names of measures as the log has them: caption, dev_loss, reward, flips, ...
        #[arg(value_name = "MEASURE", required = true)]
        measures: Vec<String>,
    },
    /// Draws what the memory returns for 40 dev photos, and prints it as JSON.
    MemoryReads {
        #[command(flatten)]
        inputs: InputOptions,
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
        inputs: InputOptions,
        /// Checkpoint to export; several stand for the mean of their weights.
        #[arg(long = "checkpoint", value_name = "FILE", required = true)]
        checkpoints: Vec<PathBuf>,
        /// The model file to write.
        #[arg(long, value_name = "FILE", default_value = MODEL)]
        model: PathBuf,
        #[command(flatten)]
        trained: Trained,
    },
    /// Scores a model's captions of Flickr8k photos against people's, and prints the scores as
    /// JSON.
    Eval {
        #[command(flatten)]
        inputs: InputOptions,
        /// The model file to score.
        #[arg(long, value_name = "FILE", default_value = MODEL)]
        model: PathBuf,
        /// Checkpoint to score instead of a model file; several stand for the mean of their
        /// weights.
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
        /// Network whose pooled features decide which training photos the baselines take for alike,
        /// instead of the stem: lite0, lite2, lite3:FILE or dinov2:FILE.
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
        /// Folder with pictures that are no photos, from `./build.sh draw`; at most as many as the
        /// memory has slots.
        #[arg(long, value_name = "DIR")]
        drawn: Option<PathBuf>,
    },
    /// Measures what a linear map reads off each representation, and prints that as JSON.
    Probe {
        #[command(flatten)]
        inputs: InputOptions,
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
struct InputOptions {
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
    /// Image network to learn from or to compare with: lite0, lite2, lite3:FILE or dinov2:FILE. May
    /// be repeated. By default lite2 in `vision` and `all`, none elsewhere.
    #[arg(long = "teacher", value_name = "NETWORK")]
    teachers: Vec<TeacherSource>,
}

#[derive(Debug, Args)]
struct Extras {
    /// Folder of a sentence encoder (config.json, tokenizer.json, model.safetensors): where there
    /// is a teacher, the vision encoder also learns to predict the mean embedding of a photo's
    /// captions.
    #[arg(long, value_name = "FOLDER")]
    sentences: Option<PathBuf>,
    /// What `label-captions` chose for photos with labels. Without it captions about the same label
    /// are drawn.
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

/// Options of a training stage. Those without a value take the recipe's, which `--help` prints
/// below.
#[derive(Debug, Args)]
struct Training {
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
fn defaults(stage: &str) -> String {
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
    fn inputs(self) -> Inputs {
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
    fn of(self, stage: &str) -> Outcome<(Inputs, RunOptions, bool)> {
        let recipe = recipe::options(stage);
        let options = match self.resume {
            true => checkpoint_options(&self.inputs.out.out.join(format!("{stage}.safetensors")))?,
            false => RunOptions {
                steps: self.steps.unwrap_or(recipe.steps),
                batch_size_per_worker: self.batch_size.unwrap_or(recipe.batch_size_per_worker),
                workers: self.workers.unwrap_or(recipe.workers),
                learning_rate: self.rate.unwrap_or(recipe.learning_rate),
                dropout: self.dropout.unwrap_or(recipe.dropout),
                seed: self.seed.unwrap_or(recipe.seed),
                ablation: self.without.unwrap_or(recipe.ablation),
            },
        };
        let inputs = Inputs { init: self.init, from: self.from, ..self.inputs.inputs() };
        Ok((inputs, options, self.resume))
    }
}

impl Captioning {
    fn of(self, stage: &str) -> Outcome<(Inputs, RunOptions, bool)> {
        let (inputs, options, is_resumed) = self.training.of(stage)?;
        let Extras { sentences, label_captions } = self.extras;
        let teachers = self.teachers.teachers;
        Ok((Inputs { teachers, sentences, label_captions, ..inputs }, options, is_resumed))
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
            let (inputs, options, is_resumed) = training.of("text")?;
            commands::text(&inputs, "text", options, is_resumed)
        }
        Command::Vision { training, teachers, sentences } => {
            let (inputs, options, is_resumed) = training.of("vision")?;
            let inputs = Inputs { teachers: teachers.teachers, sentences, ..inputs };
            commands::vision(&inputs, "vision", options, is_resumed)
        }
        Command::Captions(captioning) => {
            let (inputs, options, is_resumed) = captioning.of("captions")?;
            commands::captions(&inputs, "captions", options, is_resumed)
        }
        Command::Critical(captioning) => {
            let (inputs, options, is_resumed) = captioning.of("critical")?;
            commands::critical(&inputs, "critical", options, is_resumed)
        }
        Command::LabelCaptions { inputs, checkpoints, label_captions } => {
            let inputs = Inputs { label_captions: Some(label_captions), ..inputs.inputs() };
            choose_label_captions(&inputs, ModelSource::Checkpoints(&checkpoints))
        }
        Command::All { data, out, teachers, extras, steps, trained } => {
            // The tokenizer that it makes takes the place of this one.
            let tokenizer = TokenizerFile { tokenizer: out.out.join("tokenizer.json") };
            let Extras { sentences, label_captions } = extras;
            let teachers = teachers.teachers;
            let inputs = InputOptions { data, out, tokenizer }.inputs();
            let inputs = Inputs { teachers, sentences, label_captions, ..inputs };
            commands::all(&inputs, &trained.trained, steps)
        }
        Command::Curves { log, svg, title, measures } => {
            let curves = read_curves(&std::fs::read_to_string(&log)?, &measures)
                .map_err(|error| format!("{}: {error}", log.display()))?;
            std::fs::write(svg, draw(&title, &curves)?)?;
            Ok(())
        }
        Command::MemoryReads { inputs, checkpoints, svg } => {
            let models: Vec<ModelSource<'_>> =
                checkpoints.chunks(1).map(ModelSource::Checkpoints).collect();
            draw_memory_reads(&inputs.inputs(), &models, &svg)
        }
        Command::Export { inputs, checkpoints, model, trained } => {
            commands::export(&inputs.inputs(), &checkpoints, &trained.trained, &model)
        }
        Command::Eval { inputs, model, checkpoints, photos, beams, on_train, list, teacher } => {
            let scored = match checkpoints.as_slice() {
                [] => ModelSource::Model(&model),
                checkpoints => ModelSource::Checkpoints(checkpoints),
            };
            let split = if on_train { Split::Train } else { Split::Dev };
            let inputs = Inputs { teachers: teacher.into_iter().collect(), ..inputs.inputs() };
            commands::eval(&inputs, scored, (split, photos, beams), list)
        }
        Command::EvalMemory { data, tokenizer, model, photos, drawn } => {
            // It computes no features, so that there is nothing to keep.
            let out = Out { out: PathBuf::new() };
            let inputs = InputOptions { data, out, tokenizer }.inputs();
            commands::eval_memory(&inputs, &model, photos.try_into()?, drawn.as_deref())
        }
        Command::Probe { inputs, model, checkpoints, teachers } => {
            let mut models = vec![ModelSource::Model(&model)];
            models.extend(checkpoints.chunks(1).map(ModelSource::Checkpoints));
            let inputs = Inputs { teachers: teachers.teachers, ..inputs.inputs() };
            probe(&inputs, &models)
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_parses() {
        let lines = [
            "tokenizer --data d --out tokenizer.json",
            "text --data d --out runs --steps 1800 --batch-size 32 --rate 0.0015 --dropout 0.1",
            "vision --from runs/text.safetensors --teacher lite0 --teacher lite3:f --sentences s",
            "captions --from a --from b --teacher lite2 --label-captions f --workers 2 --seed 3",
            "critical --init m --tokenizer t --without lengths",
            "label-captions --checkpoint a --checkpoint b --label-captions f",
            "all --data d --out runs --steps 3 --trained {}",
            "curves --log l --svg s --title t caption align",
            "memory-reads --checkpoint a --checkpoint b --svg s",
            "export --checkpoint a --model m --trained {}",
            "eval --checkpoint a --photos 1000 --beams 3 --on-train --list --teacher lite2",
            "eval-memory --data d --model m --photos 1000",
            "probe --model m --checkpoint a --teacher lite0",
        ];
        for line in lines {
            let words = ["bitmar-train"].into_iter().chain(line.split(' '));
            assert!(Cli::try_parse_from(words).is_ok(), "{line}");
        }
        let covered = |name: &str| lines.iter().any(|line| line.split(' ').next() == Some(name));
        assert!(Cli::command().get_subcommands().all(|command| covered(command.get_name())));
    }

    #[test]
    fn an_option_that_a_command_does_not_read_is_refused() {
        for line in [
            "text --teacher lite2",
            "vision --label-captions f",
            "eval --batch-size 3",
            "eval --model m --checkpoint a",
            "captions --resume --steps 3",
            "captions --without patch",
            "eval-memory --photos 199",
            "export --model m",
        ] {
            let words = ["bitmar-train"].into_iter().chain(line.split(' '));
            assert!(Cli::try_parse_from(words).is_err(), "{line}");
        }
    }
}
