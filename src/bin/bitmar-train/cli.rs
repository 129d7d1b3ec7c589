//! The commands, each with the options that it reads.

use std::path::PathBuf;

use bitmar::train::commands::EvalOptions;
use bitmar::train::data::photo_set::PhotoSet;
use bitmar::train::teacher::TeacherSource;
use clap::{Parser, Subcommand};

use crate::options::{
    defaults, photo_set, Captioning, Data, Extras, Features, InputOptions, Out, TagTraining,
    Teachers, TokenizerFile, Trained, Training,
};

const MODEL: &str = "pkg/model/model.safetensors";

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
    /// Makes the vocabulary of the image tags from the nouns of the training captions.
    TagNames {
        #[command(flatten)]
        data: Data,
        /// The file to write.
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
        /// Number of names; COCO's 80 are kept whatever their frequency.
        #[arg(long, value_name = "COUNT", default_value_t = 640)]
        count: usize,
    },
    /// Trains the head that recognizes things, on features that `features` has computed.
    #[command(after_help = defaults("tags"))]
    Tags(TagTraining),
    /// Writes a model file with a tag head and the stem extension whose features the head reads.
    AddTags {
        #[command(flatten)]
        data: Data,
        #[command(flatten)]
        out: Out,
        /// The model file to start from.
        #[arg(long, value_name = "FILE", default_value = MODEL)]
        model: PathBuf,
        /// What `tags` has written.
        #[arg(long, value_name = "FILE")]
        head: PathBuf,
        /// The model file to write.
        #[arg(long, value_name = "FILE")]
        tagged: PathBuf,
    },
    /// Prints how many held-out labelled photos get the name of their label, or with --list the tags
    /// of the dev photos of a set, one JSON object a line.
    EvalTags {
        #[command(flatten)]
        data: Data,
        #[command(flatten)]
        features: Features,
        /// What `tags` has written.
        #[arg(long, value_name = "FILE")]
        head: PathBuf,
        /// The set whose dev photos are listed.
        #[arg(long, value_name = "SET")]
        list: Option<String>,
    },
    /// Writes what the whole of EfficientNet-Lite0 sees in every photo into OUT/features: 1,280
    /// numbers a photo.
    Features {
        #[command(flatten)]
        data: Data,
        #[command(flatten)]
        out: Out,
        /// The model file whose stem is extended, if it is not yet.
        #[arg(long, value_name = "FILE", default_value = MODEL)]
        model: PathBuf,
        /// Folder with files SET-N.jsonl of crops, {"image": NAME, "crop": [LEFT, TOP, RIGHT,
        /// BOTTOM]} a line, whose features are written, too.
        #[arg(long, value_name = "FOLDER")]
        crops: Option<PathBuf>,
    },
    /// Compares EfficientNet-Lite0 in int8 with the float network on Flickr8k dev photos: agreement
    /// and time, as JSON.
    CompareQuantized {
        #[command(flatten)]
        data: Data,
        #[command(flatten)]
        out: Out,
        /// The model file whose stem is compared, extended if it is not yet.
        #[arg(long, value_name = "FILE", default_value = MODEL)]
        model: PathBuf,
        /// Photos at most.
        #[arg(long, value_name = "COUNT", default_value_t = 500)]
        photos: usize,
    },
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
        #[arg(long, value_name = "COUNT", default_value_t = EvalOptions::default().photos)]
        photos: usize,
        /// Beams of the beam search.
        #[arg(long, value_name = "COUNT", default_value_t = EvalOptions::default().beams)]
        beams: usize,
        /// Scores training photos instead of dev photos. The baselines then find the photo itself.
        #[arg(long)]
        on_train: bool,
        /// The photo set whose dev photos are scored.
        #[arg(long, value_name = "NAME", default_value = "flickr8k", value_parser = photo_set)]
        set: &'static PhotoSet,
        /// Folder with the tags of the photos, a file SET.jsonl for each photo set, which are given
        /// to the model.
        #[arg(long, value_name = "FOLDER")]
        tags: Option<PathBuf>,
        /// Also writes `{"photo", "caption", "confidence"}` for every photo, one line each.
        #[arg(long, value_name = "FILE")]
        list: Option<PathBuf>,
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

#[cfg(test)]
mod tests;
