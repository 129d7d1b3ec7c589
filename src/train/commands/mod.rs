//! What each subcommand of `bitmar-train` does.

use std::path::Path;

use anyhow::{Context, Error, Result};

use crate::checkpoint::ModelFile;
use crate::config::Config;
use crate::model::BitMar;
use crate::train::commands::distill_samples::{dev_samples, distill_dataset};
use crate::train::data::archive::CAPTION_TEXTS;
use crate::train::data::bpe::{train_tokenizer, training_texts, VOCAB_SIZE};
use crate::train::data::chosen_captions::ChosenCaptions;
use crate::train::data::consensus::weigh_by_consensus;
use crate::train::data::key_whitening::fit_keys;
use crate::train::data::label_captions::LabelCaptions;
use crate::train::data::photo_set::Role;
use crate::train::data::sample::Sample;
use crate::train::data::samples::{load_dev_texts, load_texts};
use crate::train::data::view::View;
use crate::train::files;
use crate::train::inputs::{read_tokenizer, Inputs, PHOTO_CAPTION_TEXTS};
use crate::train::model_source::ModelSource;
use crate::train::objective::ablation::Ablation;
use crate::train::objective::batch::BatchOptions;
use crate::train::objective::captioning::{Captioning, TrainedModel};
use crate::train::objective::distill::{Distillation, WithDistillation};
use crate::train::objective::self_critical::SelfCritical;
use crate::train::objective::text_only::Language;
use crate::train::objective::Objective;
use crate::train::teacher::TeacherSource;
use crate::train::trainer::recipe;
use crate::train::trainer::{checkpoint_latents, warm_start, Run, RunOptions};
use crate::weights::{Variables, Weights};

pub mod choose_label_captions;
pub(crate) mod distill_samples;
mod scoring;

pub use scoring::{eval, eval_memory, export, EvalOptions};

/// Views of photos with human captions.
const GOLD_VIEWS: [View; 16] = View::with_jittered();
/// Views of photos with labels or templates.
const WEAK_VIEWS: [View; 2] = [View::Original, View::Mirrored];

/// Share of photos that come from the sets with labels.
const WEAK_SHARE: f32 = 0.2;
/// Share of texts in the text stage that the decoder must repeat from a recalled caption.
const COPIED_TEXTS: f32 = 0.4;

type RunStage = fn(&Inputs, &str, RunOptions, bool) -> Result<()>;
/// The stages of the shipped model; each starts from the one before.
const STAGES: [(&str, RunStage); 4] =
    [("text", text), ("vision", vision), ("captions", captions), ("critical", critical)];
/// The stages whose mean of weights is the shipped model.
const SHIPPED: [&str; 2] = ["captions", "critical"];

/// Loads the starting weights that `inputs` names into `variables`.
fn start(inputs: &Inputs, variables: &Variables) -> Result<()> {
    if let Some(init) = &inputs.init {
        let latents = ModelFile::latents(&files::read(init)?);
        let latents = latents.with_context(|| init.display().to_string())?;
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
    variables: Variables,
    objective: &impl Objective,
    options: RunOptions,
    is_resumed: bool,
) -> Result<()> {
    let file = inputs.checkpoint(stage);
    let parameters: usize = variables.values().map(|v| v.elem_count()).sum();
    let mut run =
        if is_resumed { Run::resume(variables, &file)? } else { Run::new(variables, options)? };
    let examples: usize = objective.pools().iter().map(|(count, _)| count).sum();
    eprintln!("{stage}: {examples} examples, {parameters} parameters, step {}", run.step());
    run.train(objective, &file)?;
    let log = run.balance().log();
    eprintln!("interventions of the modality balance: {}", serde_json::to_string(log)?);
    Ok(())
}

/// Makes tokenizer.json from the training captions.
pub fn tokenizer(data: &Path, file: &Path) -> Result<()> {
    let texts = training_texts(data)?.into_iter();
    let tokenizer = train_tokenizer(texts, VOCAB_SIZE).map_err(Error::from_boxed)?;
    let saved = tokenizer.save(file, false).map_err(Error::from_boxed);
    saved.with_context(|| format!("cannot write {}", file.display()))
}

/// Runs everything from raw data to `out/model.safetensors` and its scores, by the [`recipe`].
/// Stages that have a checkpoint resume. With `steps`, every stage is cut to that many steps, for a
/// trial.
pub fn all(inputs: &Inputs, trained: &str, steps: Option<usize>) -> Result<()> {
    inputs.create_out()?;
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
    eval(&inputs, ModelSource::Model(&model), EvalOptions::default())
}

/// Trains the vision encoder by distillation from float teachers, on every photo set.
pub fn vision(inputs: &Inputs, stage: &str, options: RunOptions, is_resumed: bool) -> Result<()> {
    inputs.create_out()?;
    let weights = options.ablation.weights(options.seed);
    let dataset = distill_dataset(inputs, &weights)?;
    let objective = Distillation::new(&weights, &Config::small(), dataset)?;
    let objective = objective.with_dev(dev_samples(inputs)?);
    let variables = weights.variables();
    start(inputs, &variables)?;
    train(inputs, stage, variables, &objective, options, is_resumed)
}

/// Trains the decoder and the text encoder on captions without photos. The checkpoint is
/// `out/STAGE.safetensors`, as in the other stages.
pub fn text(inputs: &Inputs, stage: &str, options: RunOptions, is_resumed: bool) -> Result<()> {
    inputs.create_out()?;
    let (tokenizer, _) = read_tokenizer(&inputs.tokenizer)?;
    let weights = options.ablation.weights(options.seed);
    let trained = TrainedModel::new(&weights, &Config::small())?;
    let texts = load_texts(&inputs.data, &CAPTION_TEXTS, &tokenizer)?;
    let hinted = BatchOptions::default().hinted_texts;
    let dev = load_dev_texts(&inputs.data, &tokenizer)?;
    let objective = Language { trained, texts, dev, tokenizer, copied: COPIED_TEXTS, hinted };
    let variables = weights.variables();
    start(inputs, &variables)?;
    train(inputs, stage, variables, &objective, options, is_resumed)
}

/// The photos and texts of the caption stages. Creates the variables of the model in `weights`.
fn captioning(inputs: &Inputs, weights: &Weights, ablation: Ablation) -> Result<Captioning> {
    inputs.create_out()?;
    let config = Config::small();
    let (tokenizer, _) = read_tokenizer(&inputs.tokenizer)?;
    let stem = inputs.stem(&config)?;
    let gold = inputs.samples(&stem, Role::Captions, &GOLD_VIEWS, &tokenizer)?;
    let mut gold: Vec<Sample> = gold.into_iter().map(|(_, sample)| sample).collect();
    weigh_by_consensus(&mut gold);
    let mut texts = load_texts(&inputs.data, PHOTO_CAPTION_TEXTS, &tokenizer)?;
    let label_captions = LabelCaptions::new(&texts);
    let chosen = inputs.label_captions.as_deref().map(ChosenCaptions::read).transpose()?;
    let weak = inputs.samples(&stem, Role::LabelCaptions, &WEAK_VIEWS, &tokenizer)?;
    let weak = weak.into_iter().map(|(photo, mut sample)| {
        match &chosen {
            Some(chosen) => chosen.apply(&photo, &mut sample.captions, &tokenizer),
            None => label_captions.draw(&photo, &mut sample.captions, &tokenizer),
        }
        sample
    });
    let mut weak: Vec<Sample> = weak.collect();
    texts.extend(load_texts(
        &inputs.data,
        CAPTION_TEXTS.split_at(PHOTO_CAPTION_TEXTS.len()).1,
        &tokenizer,
    )?);
    let mut dev = inputs.dev_samples(&stem, &tokenizer)?;
    let photos = gold.iter_mut().chain(&mut weak).chain(&mut dev);
    let captions = photos.flat_map(|sample| &mut sample.captions);
    captions.chain(&mut texts).for_each(|caption| caption.start = ablation.start(caption));
    let trained = TrainedModel::new(weights, &config)?;
    let variables = weights.variables();
    let stem_scale = stem.output_scale();
    start(inputs, &variables)?;
    fit_keys(&variables, &gold, config.stem.output_channels(), stem_scale)?;
    Ok(Captioning {
        trained,
        pools: vec![(gold, 1.0 - WEAK_SHARE), (weak, WEAK_SHARE)],
        dev,
        texts,
        stem_scale,
        tokenizer,
        options: ablation.batch_options(),
        ablation,
    })
}

/// Trains the whole model on captions.
pub fn captions(inputs: &Inputs, stage: &str, options: RunOptions, is_resumed: bool) -> Result<()> {
    train_captions(inputs, stage, options, is_resumed, |captioning, _| captioning)
}

/// Continues from the captions stage by self-critical training: rewards for captions that the model
/// draws.
pub fn critical(inputs: &Inputs, stage: &str, options: RunOptions, is_resumed: bool) -> Result<()> {
    train_captions(inputs, stage, options, is_resumed, SelfCritical::new)
}

/// Trains the objective that `objective` makes from the captions, together with distillation if
/// there are teachers.
fn train_captions<O: Objective + AsRef<BitMar>>(
    inputs: &Inputs,
    stage: &str,
    options: RunOptions,
    is_resumed: bool,
    objective: impl FnOnce(Captioning, Variables) -> O,
) -> Result<()> {
    let weights = options.ablation.weights(options.seed);
    // First, because `captioning` sets every variable that exists to its starting value.
    let has_teachers = !inputs.teachers.is_empty();
    let dataset = has_teachers.then(|| distill_dataset(inputs, &weights)).transpose()?;
    let captioning = captioning(inputs, &weights, options.ablation)?;
    let variables = weights.variables();
    let objective = objective(captioning, variables.clone());
    match dataset {
        None => train(inputs, stage, variables, &objective, options, is_resumed),
        Some(dataset) => {
            let objective = WithDistillation { objective, dataset };
            train(inputs, stage, variables, &objective, options, is_resumed)
        }
    }
}
