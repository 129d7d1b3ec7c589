//! Export of a trained model, and its scores.

use std::path::{Path, PathBuf};

use anyhow::Result;
use serde::Serialize;

use crate::captioner::Captioner;
use crate::checkpoint::{ModelFile, Provenance};
use crate::config::Config;
use crate::generate::DEFAULT_BEAMS;
use crate::train::data::archive::{load_index, PhotoArchive};
use crate::train::data::photo_set::{Photo, PhotoSet, Split};
use crate::train::data::sample::Sample;
use crate::train::data::view::View;
use crate::train::eval::captions::{evaluate, Captioned};
use crate::train::eval::drawn::{evaluate_drawn, read_drawn};
use crate::train::eval::memory::{evaluate_memory, CaptionedPhoto};
use crate::train::eval::probe;
use crate::train::files;
use crate::train::inputs::{read_tokenizer, Inputs};
use crate::train::model_source::{restored, ModelSource};
use crate::train::objective::ablation::Ablation;

/// Writes the model file of the mean of some checkpoints' weights.
pub fn export(inputs: &Inputs, checkpoints: &[PathBuf], trained: &str, file: &Path) -> Result<()> {
    let config = Config::small();
    let (_, tokenizer_sha256) = read_tokenizer(&inputs.tokenizer)?;
    let stem = inputs.stem(&config)?;
    let (_, variables) = restored(checkpoints, &config, Ablation::Nothing)?;
    let commit = std::env::var("BITMAR_COMMIT").unwrap_or_else(|_| "unknown".into());
    let provenance = Provenance { tokenizer_sha256, commit, trained: trained.to_owned() };
    let bytes = ModelFile::write(&variables, &stem, &config, &provenance)?;
    files::write(file, &bytes)?;
    eprintln!("{} bytes into {}", bytes.len(), file.display());
    Ok(())
}

/// The options of [`eval`].
#[derive(Debug, Clone)]
pub struct EvalOptions {
    /// The set of the photos.
    pub set: &'static PhotoSet,
    /// The photos to score. On training photos only the model's own scores mean anything, because
    /// the nearest-neighbor baselines find the photo itself.
    pub split: Split,
    /// Maximum number of photos.
    pub photos: usize,
    /// Beams of the beam search.
    pub beams: usize,
    /// File to write with every photo's name, caption and confidence.
    pub list: Option<PathBuf>,
}

impl Default for EvalOptions {
    fn default() -> Self {
        let set = PhotoSet::flickr8k();
        Self { set, split: Split::Dev, photos: 1000, beams: DEFAULT_BEAMS, list: None }
    }
}

/// A line of [`EvalOptions::list`].
#[derive(Serialize)]
struct Listed<'a> {
    photo: &'a str,
    caption: &'a str,
    confidence: f32,
}

/// Prints the scores of a model on photos as JSON. The held-out labeled photos are scored together
/// with those of Flickr8k only.
///
/// # Errors
///
/// If the model or the photos cannot be read, or the list cannot be written.
pub fn eval(inputs: &Inputs, source: ModelSource<'_>, options: EvalOptions) -> Result<()> {
    let EvalOptions { set, split, photos, beams, list } = options;
    let (tokenizer, sha) = read_tokenizer(&inputs.tokenizer)?;
    let (evaluated, stem) = source.load(inputs, &sha)?;
    inputs.create_out()?;
    let of = |set: &'static PhotoSet, split: Split| -> Result<(Vec<Photo>, Vec<Sample>)> {
        let photos = inputs.load(&stem, (set, split), &[View::Original], &tokenizer)?;
        Ok(photos.into_iter().unzip())
    };
    let gold = PhotoSet::flickr8k();
    let ((train_photos, train), (mut dev, mut scored)) = (of(gold, Split::Train)?, of(set, split)?);
    let labeled = PhotoSet::held_out().filter(|_| set == gold);
    let labeled = labeled.map(|set| of(set, Split::Dev).map(|(_, samples)| (set.name, samples)));
    let labeled = labeled.collect::<Result<Vec<_>>>()?;
    let train_embeddings = probe::embeddings(inputs, &stem, &train_photos, &train)?;
    let mut dev_embeddings = probe::embeddings(inputs, &stem, &dev, &scored)?;
    dev.truncate(photos);
    scored.truncate(photos);
    dev_embeddings.truncate(photos);
    let captions = scored.iter_mut().flat_map(|sample| &mut sample.captions);
    captions.for_each(|caption| caption.start = evaluated.ablation.start(caption));
    let embeddings = [&train_embeddings[..], &dev_embeddings];
    let (evaluation, captioned) =
        evaluate(&evaluated, &tokenizer, &train, &scored, embeddings, &labeled, beams)?;
    println!("{}", serde_json::to_string_pretty(&evaluation)?);
    let Some(file) = list else { return Ok(()) };
    let mut lines = Vec::new();
    for (Photo { name, .. }, Captioned { text, confidence }) in dev.iter().zip(&captioned) {
        let listed = Listed { photo: name, caption: text, confidence: *confidence };
        serde_json::to_writer(&mut lines, &listed)?;
        lines.push(b'\n');
    }
    files::write(&file, &lines)
}

/// Prints how well the memory of a model file works, on at most `examples` dev photos and on the
/// drawn pictures of a folder that `./build.sh draw` made.
pub fn eval_memory(
    inputs: &Inputs,
    model: &Path,
    examples: usize,
    drawn: Option<&Path>,
) -> Result<()> {
    const CORRECTIONS: usize = 200;
    const OTHERS: usize = 500;
    let (model, tokenizer) = (files::read(model)?, files::read(&inputs.tokenizer)?);
    let mut captioner = Captioner::new(&model, &tokenizer, || 0.0)?;
    let archive = PhotoArchive::open(&inputs.data, PhotoSet::flickr8k())?;
    let dev = load_index(&inputs.data, PhotoSet::flickr8k())?.into_iter();
    let dev = dev.filter(|photo| photo.split == Split::Dev && !photo.captions.is_empty());
    let photos = dev.take(examples).map(|photo| {
        Ok(CaptionedPhoto { photo: archive.read(&photo.name)?, caption: photo.captions[0].clone() })
    });
    let photos = photos.collect::<Result<Vec<_>>>()?;
    let mut evaluation = evaluate_memory(&mut captioner, &photos, CORRECTIONS, OTHERS)?;
    if let Some(folder) = drawn {
        evaluation.drawn = Some(evaluate_drawn(&mut captioner, &read_drawn(folder)?)?);
    }
    println!("{}", serde_json::to_string_pretty(&evaluation)?);
    Ok(())
}
