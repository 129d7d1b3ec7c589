//! What each subcommand of `bitmar-train` does.

use std::collections::BTreeMap;
use std::path::Path;

use candle_core::Var;
use tokenizers::Tokenizer;

use crate::checkpoint::ModelFile;
use crate::config::Config;
use crate::model::BitMar;
use crate::stem::Stem;
use crate::train::commands::distill_samples::lessons;
use crate::train::data::archive::{load_index, CAPTION_TEXTS};
use crate::train::data::bpe::{train_tokenizer, training_texts, VOCAB_SIZE};
use crate::train::data::chosen_captions::ChosenCaptions;
use crate::train::data::consensus::weigh_by_consensus;
use crate::train::data::key_whitening::fit_keys;
use crate::train::data::label_captions::LabelCaptions;
use crate::train::data::photo_set::{PhotoSet, Role, Split};
use crate::train::data::sample::{tokenized, CaptionTokens, Sample};
use crate::train::data::samples::{load, load_texts};
use crate::train::data::view::View;
use crate::train::inputs::{read_tokenizer, Inputs, OF_PHOTOS};
use crate::train::model_source::ModelSource;
use crate::train::objective::ablation::Ablation;
use crate::train::objective::batch::BatchOptions;
use crate::train::objective::captioning::{Captioning, TrainedModel};
use crate::train::objective::distill::{Distillation, WithDistillation};
use crate::train::objective::self_critical::SelfCritical;
use crate::train::objective::text_only::Language;
use crate::train::objective::Objective;
use crate::train::teacher::TeacherSource;
use crate::train::text::normalize::normalize_caption;
use crate::train::trainer::recipe;
use crate::train::trainer::{checkpoint_latents, warm_start, Run, RunOptions};
use crate::weights::Weights;

pub mod choose_label_captions;
pub(crate) mod distill_samples;
mod scoring;

pub use scoring::{eval, eval_memory, export};

type AnyError = Box<dyn std::error::Error>;

/// Views of photos with human captions.
const GOLD_VIEWS: [View; 16] = View::with_jittered();
/// Views of photos with labels or templates.
const WEAK_VIEWS: [View; 2] = [View::Original, View::Mirrored];

/// Share of photos that come from the sets with labels.
const WEAK_SHARE: f32 = 0.2;
/// Share of texts that the language stage asks to be repeated.
const COPIED_TEXTS: f32 = 0.4;

type RunStage = fn(&Inputs, &str, RunOptions, bool) -> Result<(), AnyError>;
/// The stages of the shipped model; each starts from the one before.
const STAGES: [(&str, RunStage); 4] =
    [("text", text), ("vision", vision), ("captions", captions), ("critical", critical)];
/// The stages whose mean is shipped.
const SHIPPED: [&str; 2] = ["captions", "critical"];

fn start(inputs: &Inputs, variables: &BTreeMap<String, Var>) -> Result<(), AnyError> {
    if let Some(init) = &inputs.init {
        let latents = ModelFile::latents(&std::fs::read(init)?)?;
        let latents = latents.into_iter().map(|(name, (_, values))| (name, values)).collect();
        eprintln!("{} tensors from {}", warm_start(variables, &latents)?, init.display());
    }
    for file in &inputs.from {
        let latents = checkpoint_latents(file)?;
        eprintln!("{} tensors from {}", warm_start(variables, &latents)?, file.display());
    }
    Ok(())
}

/// Runs a stage to its end, from its own checkpoint if `is_resumed`.
fn train(
    inputs: &Inputs,
    stage: &str,
    variables: BTreeMap<String, Var>,
    objective: &impl Objective,
    options: RunOptions,
    is_resumed: bool,
) -> Result<(), AnyError> {
    let file = inputs.checkpoint(stage);
    let parameters: usize = variables.values().map(|v| v.elem_count()).sum();
    let mut run = match is_resumed {
        true => Run::resume(variables, &file)?,
        false => Run::new(variables, options)?,
    };
    let examples: usize = objective.pools().iter().map(|(count, _)| count).sum();
    eprintln!("{stage}: {examples} examples, {parameters} parameters, step {}", run.step());
    run.train(objective, &file)?;
    let log = run.balance().log();
    eprintln!("interventions of the modality balance: {}", serde_json::to_string(log)?);
    Ok(())
}

/// Makes tokenizer.json from the training captions.
pub fn tokenizer(data: &Path, file: &Path) -> Result<(), AnyError> {
    let texts = training_texts(data)?.into_iter();
    let tokenizer = train_tokenizer(texts, VOCAB_SIZE).map_err(|e| e.to_string())?;
    tokenizer.save(file, false).map_err(|e| e.to_string())?;
    Ok(())
}

/// Everything from raw data to `out/model.safetensors` and its scores, by the [`recipe`]. Stages that have a
/// checkpoint go on from it. With `steps`, every stage has only so many: a trial.
pub fn all(inputs: &Inputs, trained: &str, steps: Option<usize>) -> Result<(), AnyError> {
    std::fs::create_dir_all(&inputs.out)?;
    let mut inputs = Inputs { tokenizer: inputs.out.join("tokenizer.json"), ..inputs.clone() };
    if inputs.teachers.is_empty() {
        inputs.teachers = vec![TeacherSource::default()];
    }
    if !inputs.tokenizer.exists() {
        tokenizer(&inputs.data, &inputs.tokenizer)?;
    }
    for (stage, run) in STAGES {
        let file = inputs.checkpoint(stage);
        let mut options = recipe::options(stage);
        options.steps = steps.unwrap_or(options.steps);
        run(&inputs, stage, options, file.exists())?;
        inputs.from = vec![file];
    }
    let model = inputs.out.join("model.safetensors");
    export(&inputs, &SHIPPED.map(|stage| inputs.checkpoint(stage)), trained, &model)?;
    eval(&inputs, ModelSource::Model(&model), (Split::Dev, 1000, 3), false)
}

/// Distils the vision encoder from a float teacher on every photo set.
pub fn vision(
    inputs: &Inputs,
    stage: &str,
    options: RunOptions,
    is_resumed: bool,
) -> Result<(), AnyError> {
    std::fs::create_dir_all(&inputs.out)?;
    let weights = options.ablation.weights(options.seed);
    let lessons = lessons(inputs, &weights)?;
    let objective = Distillation::new(&weights, &Config::small(), lessons)?;
    let variables = weights.variables();
    start(inputs, &variables)?;
    train(inputs, stage, variables, &objective, options, is_resumed)
}

/// Trains the decoder and the text encoder on text alone. Like the stages after it, it keeps its checkpoint
/// under the name `stage`.
pub fn text(
    inputs: &Inputs,
    stage: &str,
    options: RunOptions,
    is_resumed: bool,
) -> Result<(), AnyError> {
    std::fs::create_dir_all(&inputs.out)?;
    let (tokenizer, _) = read_tokenizer(&inputs.tokenizer)?;
    let weights = options.ablation.weights(options.seed);
    let trained = TrainedModel::new(&weights, &Config::small())?;
    let texts = load_texts(&inputs.data, &CAPTION_TEXTS, &tokenizer)?;
    let hinted = BatchOptions::default().hinted_texts;
    let dev = dev_texts(inputs, &tokenizer)?;
    let objective = Language { trained, texts, dev, tokenizer, copied: COPIED_TEXTS, hinted };
    let variables = weights.variables();
    start(inputs, &variables)?;
    train(inputs, stage, variables, &objective, options, is_resumed)
}

/// Texts that no stage is trained on: one caption each of Flickr8k's dev photos, half of them.
fn dev_texts(inputs: &Inputs, tokenizer: &Tokenizer) -> Result<Vec<CaptionTokens>, AnyError> {
    const TEXTS: usize = 500;
    let photos = load_index(&inputs.data, PhotoSet::flickr8k())?.into_iter();
    let photos = photos.filter(|photo| photo.split == Split::Dev);
    let texts = photos.filter_map(|photo| Some(normalize_caption(photo.captions.first()?)));
    Ok(texts.take(TEXTS).map(|text| tokenized(text, tokenizer)).collect())
}

/// Photos with captions that no stage is trained on: the first of Flickr8k's dev photos and as many of COCO's.
fn dev_photos(
    inputs: &Inputs,
    stem: &Stem,
    tokenizer: &Tokenizer,
) -> Result<Vec<Sample>, AnyError> {
    const PHOTOS_PER_SET: usize = 150;
    let mut dev = Vec::new();
    for set in [PhotoSet::flickr8k(), PhotoSet::named("coco_dev")] {
        let (split, views) = ((set, Split::Dev), [View::Original]);
        let samples = load(&inputs.data, &inputs.out, stem, split, &views, tokenizer)?.into_iter();
        let captioned = samples.map(|(_, sample)| sample).filter(|s| !s.captions.is_empty());
        dev.extend(captioned.take(PHOTOS_PER_SET));
    }
    Ok(dev)
}

/// The photos and texts of the caption stages; the variables of the model that learns from them are made in
/// `weights`.
fn captioning(
    inputs: &Inputs,
    weights: &Weights,
    ablation: Ablation,
) -> Result<Captioning, AnyError> {
    std::fs::create_dir_all(&inputs.out)?;
    let config = Config::small();
    let (tokenizer, _) = read_tokenizer(&inputs.tokenizer)?;
    let stem = inputs.stem(&config)?;
    let gold = inputs.samples(&stem, Role::Captions, &GOLD_VIEWS, &tokenizer)?;
    let mut gold: Vec<Sample> = gold.into_iter().map(|(_, sample)| sample).collect();
    weigh_by_consensus(&mut gold);
    let mut texts = load_texts(&inputs.data, OF_PHOTOS, &tokenizer)?;
    let lender = LabelCaptions::new(&texts);
    let chosen = inputs.label_captions.as_deref().map(ChosenCaptions::read).transpose()?;
    let weak = inputs.samples(&stem, Role::LabelCaptions, &WEAK_VIEWS, &tokenizer)?;
    let weak = weak.into_iter().map(|(photo, mut sample)| {
        match &chosen {
            Some(chosen) => chosen.give(&photo, &mut sample.captions, &tokenizer),
            None => lender.lend(&photo, &mut sample.captions, &tokenizer),
        }
        sample
    });
    let mut weak: Vec<Sample> = weak.collect();
    texts.extend(load_texts(&inputs.data, CAPTION_TEXTS.split_at(OF_PHOTOS.len()).1, &tokenizer)?);
    let mut dev = dev_photos(inputs, &stem, &tokenizer)?;
    let samples = gold.iter_mut().chain(&mut weak).chain(&mut dev);
    let captions = samples.flat_map(|sample| &mut sample.captions);
    captions.chain(&mut texts).for_each(|caption| caption.start = ablation.start(caption));
    let trained = TrainedModel::new(weights, &config)?;
    let variables = weights.variables();
    let stem_scale = stem.output_scale();
    start(inputs, &variables)?;
    fit_keys(&variables, &gold, config.stem.output_channels(), stem_scale)?;
    Ok(Captioning {
        trained,
        pools: vec![(gold, 1.0 - WEAK_SHARE), (weak, WEAK_SHARE)],
        texts,
        dev,
        stem_scale,
        tokenizer,
        options: ablation.batch_options(),
        ablation,
    })
}

/// Trains the whole model on captions.
pub fn captions(
    inputs: &Inputs,
    stage: &str,
    options: RunOptions,
    is_resumed: bool,
) -> Result<(), AnyError> {
    train_captions(inputs, stage, options, is_resumed, |captioning, _| captioning)
}

/// Goes on from trained captions by what CIDEr-D says of the model's own.
pub fn critical(
    inputs: &Inputs,
    stage: &str,
    options: RunOptions,
    is_resumed: bool,
) -> Result<(), AnyError> {
    train_captions(inputs, stage, options, is_resumed, SelfCritical::new)
}

/// Trains by what `objective` makes of the captions, with lessons beside if there is a teacher.
fn train_captions<O: Objective + AsRef<BitMar>>(
    inputs: &Inputs,
    stage: &str,
    options: RunOptions,
    is_resumed: bool,
    objective: impl FnOnce(Captioning, BTreeMap<String, Var>) -> O,
) -> Result<(), AnyError> {
    let weights = options.ablation.weights(options.seed);
    // Before the captions, which set every variable there is to what it starts from.
    let is_taught = !inputs.teachers.is_empty();
    let lessons = is_taught.then(|| lessons(inputs, &weights)).transpose()?;
    let captioning = captioning(inputs, &weights, options.ablation)?;
    let variables = weights.variables();
    let objective = objective(captioning, variables.clone());
    match lessons {
        None => train(inputs, stage, variables, &objective, options, is_resumed),
        Some(lessons) => {
            let objective = WithDistillation { objective, lessons };
            train(inputs, stage, variables, &objective, options, is_resumed)
        }
    }
}
