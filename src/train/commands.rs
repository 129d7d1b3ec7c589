//! What each subcommand of `bitmar-train` does.

use std::path::Path;

use tokenizers::Tokenizer;

use crate::checkpoint::{sha256, ModelFile, Provenance};
use crate::config::Config;
use crate::preprocess;
use crate::stem::{Stem, StemConfig};
use crate::train::batch::Sample;
use crate::train::data::{load_index, PhotoArchive, PhotoSet, Split};
use crate::train::dataset::{load, View};
use crate::train::efficientnet::EfficientNet;
use crate::train::evaluate::evaluate;
use crate::train::stem_builder::build_stem;
use crate::train::tokenizer;
use crate::train::trainer::{Run, RunOptions};
use crate::weights::Weights;

type AnyError = Box<dyn std::error::Error>;

/// Views a training photo is cached in.
const TRAIN_VIEWS: [View; 4] =
    [View::Original, View::Mirrored, View::Jittered(1), View::Jittered(2)];
/// Every 30th training photo, about 200, calibrates the stem's activations.
const CALIBRATION_STRIDE: usize = 30;

/// Reads the tokenizer and its SHA-256.
pub fn read_tokenizer(file: &Path) -> Result<(Tokenizer, String), AnyError> {
    let bytes = std::fs::read(file)?;
    let tokenizer = tokenizer::read_tokenizer(&bytes).map_err(|e| e.to_string())?;
    Ok((tokenizer, sha256(&bytes)))
}

/// The int8 stem: from `model` if it is given, else built from Lite0's float weights in `data`.
pub fn stem(data: &Path, config: &StemConfig, model: Option<&Path>) -> Result<Stem, AnyError> {
    if let Some(model) = model {
        return Ok(ModelFile::read(&std::fs::read(model)?)?.stem);
    }
    let lite0 = EfficientNet::load(&std::fs::read(data.join("efficientnet_lite0.safetensors"))?)?;
    let archive = PhotoArchive::open(data, PhotoSet::Flickr8k)?;
    let mut calibration = Vec::new();
    let train =
        load_index(data, PhotoSet::Flickr8k)?.into_iter().filter(|p| p.split == Split::Train);
    for photo in train.step_by(CALIBRATION_STRIDE) {
        let photo = preprocess::decode(&archive.read(&photo.name)?)?;
        calibration.push(preprocess::to_pixels(&photo, config.input_size));
    }
    Ok(build_stem(&lite0, config, calibration.into_iter()))
}

/// The photos with human captions to train on.
pub fn training_samples(
    data: &Path,
    cache: &Path,
    stem: &Stem,
    tokenizer: &Tokenizer,
) -> Result<Vec<Sample>, AnyError> {
    let mut samples = Vec::new();
    for set in [PhotoSet::Flickr8k, PhotoSet::CocoMiniTrain] {
        let photos = load(data, cache, stem, (set, Split::Train), &TRAIN_VIEWS, tokenizer)?;
        samples.extend(photos.into_iter().map(|(_, sample)| sample));
    }
    Ok(samples)
}

/// Trains on captions, from `init` (a shipped model) or from nothing; resumes `checkpoint` if asked to.
pub fn captions(
    data: &Path,
    out: &Path,
    (tokenizer, init): (&Path, Option<&Path>),
    options: RunOptions,
    resume: bool,
) -> Result<(), AnyError> {
    std::fs::create_dir_all(out)?;
    let config = Config::small();
    let (tokenizer, _) = read_tokenizer(tokenizer)?;
    let stem = stem(data, &config.stem, init)?;
    let samples = training_samples(data, out, &stem, &tokenizer)?;
    let checkpoint = out.join("captions.safetensors");
    let mut run = if resume { Run::resume(&checkpoint)? } else { Run::new(&config, options)? };
    if let (Some(init), false) = (init, resume) {
        let latents = ModelFile::latents(&std::fs::read(init)?)?;
        let latents = latents.into_iter().map(|(name, (_, values))| (name, values)).collect();
        eprintln!("{} tensors taken from {}", run.warm_start(&latents)?, init.display());
    }
    let parameters: usize = run.variables.values().map(|v| v.elem_count()).sum();
    eprintln!("{} photos, {parameters} parameters, from step {}", samples.len(), run.step());
    run.train(&samples, stem.output_scale(), &tokenizer, &checkpoint)?;
    eprintln!(
        "interventions of the modality balance: {}",
        serde_json::to_string(run.balance().log())?
    );
    Ok(())
}

/// Writes the model of a checkpoint as it ships; `init` lends its stem, else the stem is built anew.
pub fn export(
    data: &Path,
    checkpoint: &Path,
    (tokenizer, init): (&Path, Option<&Path>),
    trained: &str,
    file: &Path,
) -> Result<(), AnyError> {
    let config = Config::small();
    let (_, tokenizer_sha256) = read_tokenizer(tokenizer)?;
    let stem = stem(data, &config.stem, init)?;
    let weights = Weights::fresh(0);
    crate::model::BitMar::new(&weights, &config)?;
    let variables = weights.variables();
    let latents = Run::latents(checkpoint)?;
    for (name, variable) in &variables {
        let values = latents.get(name).ok_or_else(|| format!("{name} is not in the checkpoint"))?;
        variable.set(&candle_core::Tensor::from_slice(
            values,
            variable.shape(),
            &candle_core::Device::Cpu,
        )?)?;
    }
    let commit = std::env::var("BITMAR_COMMIT").unwrap_or_else(|_| "unknown".into());
    let provenance = Provenance { tokenizer_sha256, commit, trained: trained.to_owned() };
    let bytes = ModelFile::write(&variables, &stem, &config, &provenance)?;
    let beside = file.with_extension("part");
    std::fs::write(&beside, &bytes)?;
    std::fs::rename(beside, file)?;
    eprintln!("{} bytes into {}", bytes.len(), file.display());
    Ok(())
}

/// Prints the scores of a model file on `photos` dev photos as JSON, then every caption if `list`.
pub fn eval(
    data: &Path,
    cache: &Path,
    (tokenizer, model): (&Path, &Path),
    (photos, beams): (usize, usize),
    list: bool,
) -> Result<(), AnyError> {
    let (tokenizer, sha) = read_tokenizer(tokenizer)?;
    let loaded = ModelFile::read(&std::fs::read(model)?)?;
    loaded.check_tokenizer(&sha)?;
    std::fs::create_dir_all(cache)?;
    let train: Vec<Sample> = load(
        data,
        cache,
        &loaded.stem,
        (PhotoSet::Flickr8k, Split::Train),
        &[View::Original],
        &tokenizer,
    )?
    .into_iter()
    .map(|(_, sample)| sample)
    .collect();
    let dev = load(
        data,
        cache,
        &loaded.stem,
        (PhotoSet::Flickr8k, Split::Dev),
        &[View::Original],
        &tokenizer,
    )?;
    let (names, dev): (Vec<_>, Vec<_>) =
        dev.into_iter().take(photos).map(|(p, s)| (p.name, s)).unzip();
    let (evaluation, captioned) = evaluate(&loaded, &tokenizer, &train, &dev, beams)?;
    println!("{}", serde_json::to_string_pretty(&evaluation)?);
    if list {
        for (name, captioned) in names.iter().zip(&captioned) {
            println!("{name}\t{:.3}\t{}", captioned.confidence, captioned.text);
        }
    }
    Ok(())
}
