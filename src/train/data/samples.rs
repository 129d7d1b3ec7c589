//! Loads photos as samples: int8 stem features of some views, `[patches * channels]` each, computed
//! once and cached in a file, and the captions as tokens.

use std::path::Path;
use std::sync::Arc;

use anyhow::Result;
use tokenizers::Tokenizer;

use crate::checkpoint::sha256;
use crate::preprocess;
use crate::stem::{Stem, StemTensor};
use crate::train::data::archive::{load_caption_text, load_index};
use crate::train::data::cache::cached;
use crate::train::data::photo_set::{Photo, PhotoSet, Split};
use crate::train::data::sample::{tokenized, CaptionTokens, Sample};
use crate::train::data::view::View;
use crate::train::text::ethnicity::without_ethnicity;
use crate::train::text::label_words::{label_phrase, label_words};
use crate::train::text::normalize::normalize_caption;

/// Loads the photos of one set and split with the features of `views`, which are read from the
/// folder `cache`, or computed and written there.
///
/// # Errors
///
/// If the index, a photo or a cache file cannot be read, or a cache file cannot be written.
pub fn load(
    data: &Path,
    cache: &Path,
    stem: &Stem,
    (set, split): (&'static PhotoSet, Split),
    views: &[View],
    tokenizer: &Tokenizer,
) -> Result<Vec<(Photo, Sample)>> {
    let photos: Vec<Photo> =
        load_index(data, set)?.into_iter().filter(|photo| photo.split == split).collect();
    let mut samples: Vec<Sample> = photos
        .iter()
        .map(|photo| {
            let captions = captions(photo, tokenizer);
            let has_template = photo.label.is_some() && !set.has_human_text();
            let template = captions.first().filter(|_| has_template);
            Sample {
                views: Vec::new(),
                mirrored: views.iter().map(|view| view.is_mirrored()).collect(),
                label_words: template.map_or_else(Vec::new, |template| label_words(&template.text)),
                captions,
                weight: 1.0,
            }
        })
        .collect();
    // The name of the cache file identifies the stem, so that another stem's features are not read.
    let stem_name = &fingerprint(stem)[..12];
    for &view in views {
        let file = format!("{}-{split:?}-{}-{stem_name}.bin", set.name, view.name());
        let features = view_features(data, &cache.join(file), stem, &photos, view)?;
        let len = features.len() / photos.len().max(1);
        for (sample, features) in samples.iter_mut().zip(features.chunks_exact(len.max(1))) {
            sample.views.push(Arc::from(features));
        }
    }
    Ok(photos.into_iter().zip(samples).collect())
}

/// SHA-256 of a stem's tensors and their names, in hexadecimal.
fn fingerprint(stem: &Stem) -> String {
    let mut bytes = Vec::new();
    for (name, _, tensor) in stem.tensors() {
        bytes.extend_from_slice(name.as_bytes());
        match tensor {
            StemTensor::I8(values) => bytes.extend_from_slice(bytemuck::cast_slice(&values)),
            StemTensor::F32(values) => bytes.extend_from_slice(bytemuck::cast_slice(&values)),
        }
    }
    sha256(&bytes)
}

/// Loads the caption texts of `files` in the folder `data`, normalized and tokenized.
///
/// # Errors
///
/// If a file cannot be read.
pub fn load_texts(
    data: &Path,
    files: &[&str],
    tokenizer: &Tokenizer,
) -> Result<Vec<CaptionTokens>> {
    let mut texts = Vec::new();
    for file in files {
        let lines = load_caption_text(data, file)?;
        let lines = lines.iter().map(|line| without_ethnicity(&normalize_caption(line)));
        texts.extend(lines.filter(|line| !line.is_empty()).map(|text| tokenized(text, tokenizer)));
    }
    Ok(texts)
}

/// The first caption of each dev photo of Flickr8k.
///
/// # Errors
///
/// If the index cannot be read.
pub fn load_dev_texts(data: &Path, tokenizer: &Tokenizer) -> Result<Vec<CaptionTokens>> {
    let photos = load_index(data, PhotoSet::flickr8k())?.into_iter();
    let photos = photos.filter(|photo| photo.split == Split::Dev);
    Ok(photos.filter_map(|photo| captions(&photo, tokenizer).into_iter().next()).collect())
}

/// The captions of a photo or else the phrase of its label, normalized, tokenized and weighted;
/// without words for ethnicity if the photo is trained on.
fn captions(photo: &Photo, tokenizer: &Tokenizer) -> Vec<CaptionTokens> {
    let mut texts: Vec<String> =
        photo.captions.iter().map(|text| normalize_caption(text)).collect();
    if let (true, Some(label)) = (texts.is_empty(), &photo.label) {
        texts.push(label_phrase(label));
    }
    if photo.split == Split::Train {
        texts.iter_mut().for_each(|text| *text = without_ethnicity(text));
    }
    let texts = texts.into_iter().enumerate().filter(|(_, text)| !text.is_empty());
    let weighted = texts.map(|(number, text)| CaptionTokens {
        weight: photo.set.weight(number),
        ..tokenized(text, tokenizer)
    });
    weighted.collect()
}

/// The stem features of one view of `photos`, `[photos * patches * channels]`, cached in `file`.
fn view_features(
    data: &Path,
    file: &Path,
    stem: &Stem,
    photos: &[Photo],
    view: View,
) -> Result<Vec<i8>> {
    let config = stem.config();
    let len = config.output_grid() * config.output_grid() * config.output_channels();
    cached(data, file, photos, len, |photo, image| {
        let augmented = view.apply(image, &photo.name);
        stem.forward(&preprocess::to_pixels(&augmented, config.input_size))
    })
}
