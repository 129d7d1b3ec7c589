//! The commands of `bitmar-train` and their options.

use std::path::PathBuf;

use bitmar::train::inputs::Inputs;
use bitmar::train::objective::ablation::Ablation;
use bitmar::train::teacher::TeacherSource;
use bitmar::train::trainer::{checkpoint_options, recipe, RunOptions};
use clap::{Args, Parser, Subcommand};

use crate::Outcome;

/// Trains bitmar's model and scores it.
#[derive(Debug, Parser)]
#[command(version)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
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
        /// Folder of a sentence encoder (config.json, tokenizer.json, model.safetensors): the
        /// encoder also learns to predict the mean embedding of a photo's captions.
        #[arg(long, value_name = "FOLDER")]
        sentences: Option<PathBuf>,
    },
    /// Trains the whole model on photos with captions.
    #[command(after_help = defaults("captions"))]
    Captions(#[command(flatten)] Captioning),
    /// Continues from trained captions by self-critical training, which rewards captions that the
    /// model draws.
    #[command(after_help = defaults("critical"))]
    Critical(#[command(flatten)] Captioning),
    /// Lets a trained model choose captions for photos that only have a label.
    LabelCaptions {
        #[command(flatten)]
        inputs: InputFiles,
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
        inputs: InputFiles,
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
        inputs: InputFiles,
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
        inputs: InputFiles,
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
    },
    /// Measures what a linear map reads off each representation, and prints that as JSON.
    Probe {
        #[command(flatten)]
        inputs: InputFiles,
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
pub(crate) struct InputFiles {
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
    pub(crate) training: Training,
    #[command(flatten)]
    pub(crate) teachers: Teachers,
    #[command(flatten)]
    pub(crate) extras: Extras,
}

/// Options of a training stage. Those without a value take the recipe's, which `--help` prints
/// below.
#[derive(Debug, Args)]
pub(crate) struct Training {
    #[command(flatten)]
    pub(crate) inputs: InputFiles,
    /// Optimizer steps.
    #[arg(long, value_name = "STEPS")]
    pub(crate) steps: Option<usize>,
    /// Examples (photos; texts in `text`) of a worker in a step. A step learns from those of all
    /// workers.
    #[arg(long, value_name = "EXAMPLES")]
    pub(crate) batch_size: Option<usize>,
    /// Threads that each compute the gradient of a batch of their own.
    #[arg(long, value_name = "THREADS")]
    pub(crate) workers: Option<usize>,
    /// Highest learning rate, of AdamW; Muon's is three times as high. Rises for 2 % of the steps,
    /// then falls as a cosine.
    #[arg(long, value_name = "RATE")]
    pub(crate) rate: Option<f32>,
    /// Probability of dropout, 0 to 1.
    #[arg(long, value_name = "P")]
    pub(crate) dropout: Option<f32>,
    /// Seed of everything random.
    #[arg(long, value_name = "SEED")]
    pub(crate) seed: Option<u64>,
    /// Part of the method to leave out, for an ablation: ternary, patches, lengths, alignment,
    /// consistency, memory, conditioning or balance.
    #[arg(long, value_name = "PART")]
    pub(crate) without: Option<Ablation>,
    /// Model file whose weights are the start. Default: random weights.
    #[arg(long, value_name = "FILE")]
    pub(crate) init: Option<PathBuf>,
    /// Checkpoint of an earlier stage whose weights are the start. May be repeated; later ones
    /// replace earlier ones.
    #[arg(long, value_name = "FILE")]
    pub(crate) from: Vec<PathBuf>,
    /// Continues from OUT/STAGE.safetensors with the options of that run.
    #[arg(long, conflicts_with_all = ["steps", "batch_size", "workers", "rate", "dropout", "seed",
                                      "without", "init", "from"])]
    pub(crate) resume: bool,
}

/// What a stage's options are by default.
fn defaults(stage: &str) -> String {
    let RunOptions { steps, batch_size_per_worker, workers, learning_rate, dropout, seed, .. } =
        recipe::options(stage);
    format!(
        "Defaults: --steps {steps} --batch-size {batch_size_per_worker} --workers {workers} \
         --rate {learning_rate} --dropout {dropout} --seed {seed}\n\
         Writes OUT/{stage}.safetensors (the last step), OUT/{stage}-best.safetensors (the best on \
         dev) and the log OUT/{stage}.jsonl."
    )
}

impl InputFiles {
    pub(crate) fn paths(self) -> Inputs {
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
    pub(crate) fn of(self, stage: &str) -> Outcome<(Inputs, RunOptions, bool)> {
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
        let paths = Inputs { init: self.init, from: self.from, ..self.inputs.paths() };
        Ok((paths, options, self.resume))
    }
}

impl Captioning {
    pub(crate) fn of(self, stage: &str) -> Outcome<(Inputs, RunOptions, bool)> {
        let (paths, options, is_resumed) = self.training.of(stage)?;
        let Extras { sentences, label_captions } = self.extras;
        let teachers = self.teachers.teachers;
        Ok((Inputs { teachers, sentences, label_captions, ..paths }, options, is_resumed))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on should panic")]
mod tests {
    use std::path::Path;

    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_commands_are_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_stage_is_run_by_its_recipe_but_for_what_is_asked_for() {
        let words = "bitmar-train captions --batch-size 3 --without ternary --teacher lite2";
        let Command::Captions(captioning) = Cli::parse_from(words.split(' ')).command else {
            panic!("another command");
        };
        let (inputs, options, is_resumed) = captioning.of("captions").unwrap();
        let recipe = recipe::options("captions");
        let (batch_size_per_worker, ablation) = (3, Ablation::Ternary);
        assert_eq!(options, RunOptions { batch_size_per_worker, ablation, ..recipe });
        assert_eq!(inputs.teachers, [TeacherSource::Lite2]);
        assert!(!is_resumed);
    }

    #[test]
    fn options_that_a_command_does_not_read_are_refused() {
        for line in [
            "text --teacher lite2",
            "eval --steps 3",
            "eval --model a --checkpoint b",
            "captions --resume --rate 0.1",
            "export --model FILE",
            "eval-memory --photos 199",
        ] {
            let words = ["bitmar-train"].into_iter().chain(line.split(' '));
            assert!(Cli::try_parse_from(words).is_err(), "{line}");
        }
    }

    /// The words of every `code span` and code line of a Markdown text that begins with
    /// `bitmar-train`, or with a command and an option.
    fn command_lines(markdown: &str) -> Vec<Vec<String>> {
        let commands: Vec<String> =
            Cli::command().get_subcommands().map(|c| c.get_name().to_owned()).collect();
        let mut lines = Vec::new();
        for (number, part) in markdown.split('`').enumerate() {
            // A span lies between two marks, a block between two times three.
            let is_span = number % 2 == 1 && !part.is_empty();
            let spans: Vec<&str> = match part.starts_with('\n') || !is_span {
                true => part.lines().filter(|l| l.trim().starts_with("bitmar-train ")).collect(),
                false => vec![part],
            };
            for span in spans {
                let mut words: Vec<String> = span.split_whitespace().map(String::from).collect();
                let has_name = words.first().is_some_and(|word| word == "bitmar-train");
                if has_name {
                    words.remove(0);
                }
                let is_command = words.first().is_some_and(|word| commands.contains(word));
                if is_command && words.get(1).is_some_and(|word| word.starts_with("--")) {
                    lines.push(words);
                }
            }
        }
        lines
    }

    fn markdown_files(folder: &Path, files: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                markdown_files(&path, files);
            } else if path.extension().is_some_and(|extension| extension == "md") {
                files.push(path);
            }
        }
    }

    /// Options that a sentence leaves out may be missing; those that it names must exist and have
    /// such values.
    #[test]
    fn documented_command_lines_are_understood() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut files = vec![root.join("README.md")];
        markdown_files(&root.join("docs"), &mut files);
        let mut found = 0;
        for file in files {
            for words in command_lines(&std::fs::read_to_string(&file).unwrap()) {
                // "FILE..." is one of several.
                let words: Vec<&str> = words.iter().map(|w| w.trim_end_matches("...")).collect();
                let words: Vec<&str> = words
                    .into_iter()
                    .map(|word| if word == "PART" { "memory" } else { word })
                    .collect();
                let line = ["bitmar-train"].into_iter().chain(words.iter().copied());
                found += 1;
                if let Err(error) = Cli::try_parse_from(line) {
                    let is_short = error.kind() == clap::error::ErrorKind::MissingRequiredArgument;
                    assert!(is_short, "{}: {}\n{error}", file.display(), words.join(" "));
                }
            }
        }
        assert!(found > 10, "only {found} command lines");
    }
}
