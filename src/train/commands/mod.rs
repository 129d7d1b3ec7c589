//! What each subcommand of `bitmar-train` does.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use candle_core::Var;
use tokenizers::Tokenizer;

use crate::checkpoint::{sha256, ModelFile};
use crate::config::Config;
use crate::model::BitMar;
use crate::stem::Stem;
use crate::train::commands::choose_label_captions::LentSentences;
use crate::train::commands::distill_samples::lessons;
use crate::train::data::archive::CAPTION_TEXTS;
use crate::train::data::bpe::{train_tokenizer, training_texts, VOCAB_SIZE};
use crate::train::data::consensus::weigh_by_consensus;
use crate::train::data::key_whitening::fit_keys;
use crate::train::data::label_captions::Lender;
use crate::train::data::photo_set::{Photo, PhotoSet, Role, Split};
use crate::train::data::samples::{load, load_texts, View};
use crate::train::model_source::Scored;
use crate::train::objective::ablation::Ablation;
use crate::train::objective::batch::{Sample, ShardOptions};
use crate::train::objective::captioning::{Captioning, TrainedModel};
use crate::train::objective::distill::{Distillation, Taught};
use crate::train::objective::self_critical::SelfCritical;
use crate::train::objective::text_only::Language;
use crate::train::teacher::stem_cache;
use crate::train::teacher::{Teacher, TeacherError, TeacherSource};
use crate::train::trainer::recipe;
use crate::train::trainer::{checkpoint_latents, warm_start, Objective, Run, RunOptions};
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
/// Texts about photos; CommonGen's sentences are about words.
pub(crate) const OF_PHOTOS: &[&str] = CAPTION_TEXTS.split_at(2).0;
/// Share of photos that come from the sets with labels.
const WEAK_SHARE: f32 = 0.2;
/// Share of texts that the language stage asks to be repeated.
const COPIED_TEXTS: f32 = 0.4;

type RunStage = fn(&Places, &str, RunOptions, bool) -> Result<(), AnyError>;
/// The stages of the shipped model; each starts from the one before.
const STAGES: [(&str, RunStage); 4] =
    [("text", text), ("vision", vision), ("captions", captions), ("critical", critical)];
/// The stages whose mean is shipped.
const SHIPPED: [&str; 2] = ["captions", "critical"];

/// Where a stage finds what it needs, and what it starts from.
#[derive(Debug, Clone)]
pub struct Places {
    /// Photos, captions, teacher weights.
    pub data: PathBuf,
    /// Checkpoints and caches.
    pub out: PathBuf,
    /// tokenizer.json.
    pub tokenizer: PathBuf,
    /// A shipped model whose ternary weights are a start.
    pub init: Option<PathBuf>,
    /// Checkpoints of earlier stages whose weights are a start, later ones over earlier ones.
    pub from: Vec<PathBuf>,
    /// Whom the vision encoder learns from: Lite2 if none is named in its own stage, nobody in others.
    pub teachers: Vec<TeacherSource>,
    /// A sentence encoder's files: the vision encoder then also learns what captions mean.
    pub sentences: Option<PathBuf>,
    /// The sentences that a model chose for photos with labels.
    pub lent: Option<PathBuf>,
}

impl Places {
    fn checkpoint(&self, stage: &str) -> PathBuf {
        self.out.join(format!("{stage}.safetensors"))
    }

    /// The teachers, Lite2 if none is named.
    pub(crate) fn loaded_teachers(&self, config: &Config) -> Result<Vec<Teacher>, TeacherError> {
        let lite2 = [TeacherSource::Lite2];
        let named = if self.teachers.is_empty() { &lite2[..] } else { &self.teachers };
        let size = config.stem.input_size;
        named.iter().map(|source| Teacher::load(source, &self.data, size)).collect()
    }

    pub(crate) fn stem(&self, config: &Config) -> Result<Stem, AnyError> {
        stem_cache::stem(&self.data, &self.out, &config.stem)
    }

    pub(crate) fn samples(
        &self,
        stem: &Stem,
        role: Role,
        views: &[View],
        tokenizer: &Tokenizer,
    ) -> Result<Vec<(Photo, Sample)>, AnyError> {
        let mut samples = Vec::new();
        for set in PhotoSet::of_role(role) {
            let split = (set, Split::Train);
            samples.extend(load(&self.data, &self.out, stem, split, views, tokenizer)?);
        }
        samples.retain(|(_, sample)| !sample.captions.is_empty());
        Ok(samples)
    }

    fn start(&self, variables: &BTreeMap<String, Var>) -> Result<(), AnyError> {
        if let Some(init) = &self.init {
            let latents = ModelFile::latents(&std::fs::read(init)?)?;
            let latents = latents.into_iter().map(|(name, (_, values))| (name, values)).collect();
            eprintln!("{} tensors from {}", warm_start(variables, &latents)?, init.display());
        }
        for file in &self.from {
            let latents = checkpoint_latents(file)?;
            eprintln!("{} tensors from {}", warm_start(variables, &latents)?, file.display());
        }
        Ok(())
    }

    /// Runs a stage to its end, from its own checkpoint if `is_resumed`.
    fn train(
        &self,
        stage: &str,
        variables: BTreeMap<String, Var>,
        objective: &impl Objective,
        options: RunOptions,
        is_resumed: bool,
    ) -> Result<(), AnyError> {
        let file = self.checkpoint(stage);
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
}

/// Reads the tokenizer and its SHA-256.
pub fn read_tokenizer(file: &Path) -> Result<(Tokenizer, String), AnyError> {
    let bytes = std::fs::read(file)?;
    Ok((crate::tokenizer::read_tokenizer(&bytes)?, sha256(&bytes)))
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
pub fn all(places: &Places, trained: &str, steps: Option<usize>) -> Result<(), AnyError> {
    std::fs::create_dir_all(&places.out)?;
    let mut places = Places { tokenizer: places.out.join("tokenizer.json"), ..places.clone() };
    if places.teachers.is_empty() {
        places.teachers = vec![TeacherSource::default()];
    }
    if !places.tokenizer.exists() {
        tokenizer(&places.data, &places.tokenizer)?;
    }
    for (stage, run) in STAGES {
        let file = places.checkpoint(stage);
        let mut options = recipe::options(stage);
        options.steps = steps.unwrap_or(options.steps);
        run(&places, stage, options, file.exists())?;
        places.from = vec![file];
    }
    let model = places.out.join("model.safetensors");
    export(&places, &SHIPPED.map(|stage| places.checkpoint(stage)), trained, &model)?;
    eval(&places, Scored::Model(&model), (Split::Dev, 1000, 3), false)
}

/// Distils the vision encoder from a float teacher on every photo set.
pub fn vision(
    places: &Places,
    stage: &str,
    options: RunOptions,
    is_resumed: bool,
) -> Result<(), AnyError> {
    std::fs::create_dir_all(&places.out)?;
    let weights = options.ablation.weights(options.seed);
    let lessons = lessons(places, &weights)?;
    let objective = Distillation::new(&weights, &Config::small(), lessons)?;
    let variables = weights.variables();
    places.start(&variables)?;
    places.train(stage, variables, &objective, options, is_resumed)
}

/// Trains the decoder and the text encoder on text alone. Like the stages after it, it keeps its checkpoint
/// under the name `stage`.
pub fn text(
    places: &Places,
    stage: &str,
    options: RunOptions,
    is_resumed: bool,
) -> Result<(), AnyError> {
    std::fs::create_dir_all(&places.out)?;
    let (tokenizer, _) = read_tokenizer(&places.tokenizer)?;
    let weights = options.ablation.weights(options.seed);
    let trained = TrainedModel::new(&weights, &Config::small())?;
    let texts = load_texts(&places.data, &CAPTION_TEXTS, &tokenizer)?;
    let hinted = ShardOptions::default().hinted_texts;
    let objective = Language { trained, texts, tokenizer, copied: COPIED_TEXTS, hinted };
    let variables = weights.variables();
    places.start(&variables)?;
    places.train(stage, variables, &objective, options, is_resumed)
}

/// The photos and texts of the caption stages; the variables of the model that learns from them are made in
/// `weights`.
fn captioning(
    places: &Places,
    weights: &Weights,
    ablation: Ablation,
) -> Result<Captioning, AnyError> {
    std::fs::create_dir_all(&places.out)?;
    let config = Config::small();
    let (tokenizer, _) = read_tokenizer(&places.tokenizer)?;
    let stem = places.stem(&config)?;
    let gold = places.samples(&stem, Role::Captions, &GOLD_VIEWS, &tokenizer)?;
    let mut gold: Vec<Sample> = gold.into_iter().map(|(_, sample)| sample).collect();
    weigh_by_consensus(&mut gold);
    let mut texts = load_texts(&places.data, OF_PHOTOS, &tokenizer)?;
    let lender = Lender::new(&texts);
    let chosen = places.lent.as_deref().map(LentSentences::read).transpose()?;
    let weak = places.samples(&stem, Role::LabelCaptions, &WEAK_VIEWS, &tokenizer)?;
    let weak = weak.into_iter().map(|(photo, mut sample)| {
        match &chosen {
            Some(chosen) => chosen.give(&photo, &mut sample.captions, &tokenizer),
            None => lender.lend(&photo, &mut sample.captions, &tokenizer),
        }
        sample
    });
    let mut weak: Vec<Sample> = weak.collect();
    texts.extend(load_texts(&places.data, CAPTION_TEXTS.split_at(OF_PHOTOS.len()).1, &tokenizer)?);
    let captions = gold.iter_mut().chain(&mut weak).flat_map(|sample| &mut sample.captions);
    captions.chain(&mut texts).for_each(|caption| caption.start = ablation.start(caption));
    let trained = TrainedModel::new(weights, &config)?;
    let variables = weights.variables();
    let stem_scale = stem.output_scale();
    places.start(&variables)?;
    fit_keys(&variables, &gold, config.stem.output_channels(), stem_scale)?;
    Ok(Captioning {
        trained,
        pools: vec![(gold, 1.0 - WEAK_SHARE), (weak, WEAK_SHARE)],
        texts,
        stem_scale,
        tokenizer,
        options: ablation.shards(),
        ablation,
    })
}

/// Trains the whole model on captions.
pub fn captions(
    places: &Places,
    stage: &str,
    options: RunOptions,
    is_resumed: bool,
) -> Result<(), AnyError> {
    train_captions(places, stage, options, is_resumed, |captioning, _| captioning)
}

/// Goes on from trained captions by what CIDEr-D says of the model's own.
pub fn critical(
    places: &Places,
    stage: &str,
    options: RunOptions,
    is_resumed: bool,
) -> Result<(), AnyError> {
    train_captions(places, stage, options, is_resumed, SelfCritical::new)
}

/// Trains by what `objective` makes of the captions, with lessons beside if there is a teacher.
fn train_captions<O: Objective + AsRef<BitMar>>(
    places: &Places,
    stage: &str,
    options: RunOptions,
    is_resumed: bool,
    objective: impl FnOnce(Captioning, BTreeMap<String, Var>) -> O,
) -> Result<(), AnyError> {
    let weights = options.ablation.weights(options.seed);
    // Before the captions, which set every variable there is to what it starts from.
    let is_taught = !places.teachers.is_empty();
    let lessons = is_taught.then(|| lessons(places, &weights)).transpose()?;
    let captioning = captioning(places, &weights, options.ablation)?;
    let variables = weights.variables();
    let objective = objective(captioning, variables.clone());
    match lessons {
        None => places.train(stage, variables, &objective, options, is_resumed),
        Some(lessons) => {
            let objective = Taught { objective, lessons };
            places.train(stage, variables, &objective, options, is_resumed)
        }
    }
}
