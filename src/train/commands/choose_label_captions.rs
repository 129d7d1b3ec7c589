//! Chooses [label captions](crate::train::data::label_captions) with a trained model.
//!
//! Of all sentences that match a photo's label, the model takes those with the highest cosine to
//! the photo's episode, then keeps the ones that agree most with the others by CIDEr-D. The
//! best-fitting sentence alone often mentions things that are not on the photo; what many have in
//! common is more often there (consensus captions, Devlin et al. 2015). Captions that the model
//! writes itself teach less: with the label as a hint it says little else.

use std::cmp::Ordering;
use std::collections::{BTreeMap, HashSet};
use std::path::PathBuf;

use anyhow::{Context, Result};
use candle_core::Tensor;

use crate::model::unit_rows;
use crate::train::data::chosen_captions::Line;
use crate::train::data::consensus::agreements;
use crate::train::data::label_captions::{LabelCaptions, PER_PHOTO};
use crate::train::data::photo_set::{Photo, PhotoSet, Role, Split};
use crate::train::data::sample::{CaptionTokens, Sample};
use crate::train::data::samples::{load, load_texts};
use crate::train::data::view::View;
use crate::train::files;
use crate::train::inputs::{read_tokenizer, Inputs, PHOTO_CAPTION_TEXTS};
use crate::train::metrics::{CaptionVector, Cider};
use crate::train::model_source::{EvaluatedModel, ModelSource};
use crate::train::text::words::words;

/// Maximum number of best-fitting sentences among which the consensus is taken.
const MAX_CANDIDATES: usize = 40;
/// At most one sentence in this many is a candidate.
const CANDIDATE_SHARE: usize = 4;
/// Texts or photos in a forward pass.
const BATCH: usize = 64;

/// Chooses sentences for every labeled training photo and writes them to the file
/// `inputs.label_captions`.
///
/// # Errors
///
/// If `inputs.label_captions` is not set, if the model, photos or texts cannot be read, or if the
/// file cannot be written.
pub fn choose_label_captions(inputs: &Inputs, source: ModelSource<'_>) -> Result<()> {
    let file: &PathBuf =
        inputs.label_captions.as_ref().context("label-captions needs --label-captions FILE")?;
    let (tokenizer, sha) = read_tokenizer(&inputs.tokenizer)?;
    let (evaluated, stem) = source.load(inputs, &sha)?;
    let texts = load_texts(&inputs.data, PHOTO_CAPTION_TEXTS, &tokenizer)?;
    let label_captions = LabelCaptions::new(&texts);
    let mut lines = String::new();
    for set in PhotoSet::of_role(Role::LabelCaptions) {
        let of_set = (set, Split::Train);
        let photos = load(&inputs.data, &inputs.out, &stem, of_set, &[View::Original], &tokenizer)?;
        let mut by_label: BTreeMap<String, Vec<(Photo, Sample)>> = BTreeMap::new();
        for (photo, sample) in photos.into_iter().filter(|(photo, _)| photo.label.is_some()) {
            let template = sample.captions[0].text.clone();
            by_label.entry(template).or_default().push((photo, sample));
        }
        for (template, photos) in by_label {
            let sentences = label_captions.sentences(&template, &tokenizer);
            if sentences.is_empty() {
                continue;
            }
            let chosen = choose(&evaluated, &photos, &sentences)?;
            let different: HashSet<usize> = chosen.iter().flatten().copied().collect();
            eprintln!(
                "{template}: {} photos, {} matching sentences, {} of them chosen",
                photos.len(),
                sentences.len(),
                different.len()
            );
            for ((photo, _), chosen) in photos.iter().zip(chosen) {
                for number in chosen {
                    let (set, image) = (set.name.into(), photo.name.clone());
                    let line = Line { set, image, caption: sentences[number].text.clone() };
                    lines += &(serde_json::to_string(&line)? + "\n");
                }
            }
        }
    }
    files::write(file, lines.as_bytes())
}

/// The numbers of the sentences chosen for each photo.
fn choose(
    evaluated: &EvaluatedModel,
    photos: &[(Photo, Sample)],
    sentences: &[CaptionTokens],
) -> Result<Vec<Vec<usize>>> {
    let model = &evaluated.model;
    let table = model.table()?;
    let mut vectors = Vec::new();
    for sentences in sentences.chunks(BATCH) {
        let texts: Vec<&[u32]> = sentences.iter().map(|s| s.tokens.as_slice()).collect();
        let of_texts = model.caption_vectors(&model.encode_texts(&table, &texts)?)?;
        vectors.push(unit_rows(&of_texts)?.detach());
    }
    let vectors = Tensor::cat(&vectors, 0)?.t()?.contiguous()?;
    let documents: Vec<Vec<Vec<String>>> = sentences.iter().map(|s| vec![words(&s.text)]).collect();
    let cider = Cider::new(&documents);
    let contents: Vec<CaptionVector> = documents.iter().map(|d| cider.vector(&d[0])).collect();
    let num_candidates = MAX_CANDIDATES.min(sentences.len() / CANDIDATE_SHARE).max(2 * PER_PHOTO);
    let mut chosen = Vec::new();
    for photos in photos.chunks(BATCH) {
        let views: Vec<_> = photos.iter().map(|(_, sample)| sample.views[0].clone()).collect();
        let hints = vec![Vec::new(); photos.len()];
        let fused = model.fuse_photos(&table, &evaluated.encode(&views)?, &hints)?;
        let cosines = unit_rows(&fused.episodes)?.detach().matmul(&vectors)?.to_vec2::<f32>()?;
        chosen.extend(cosines.iter().map(|cosines| {
            let candidates = highest(cosines, num_candidates);
            let contents: Vec<&CaptionVector> = candidates.iter().map(|&n| &contents[n]).collect();
            let agreed = highest(&agreements(&contents), PER_PHOTO);
            agreed.into_iter().map(|place| candidates[place]).collect()
        }));
    }
    Ok(chosen)
}

/// The indices of the `count` highest numbers, the highest first.
fn highest<T: PartialOrd>(numbers: &[T], count: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..numbers.len()).collect();
    order.sort_by(|&a, &b| numbers[b].partial_cmp(&numbers[a]).unwrap_or(Ordering::Equal));
    order.truncate(count);
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_are_chosen() {
        assert_eq!(highest(&[0.1, 0.9, 0.4, 0.8, 0.4], 4), [1, 3, 2, 4]);
        assert_eq!(highest(&[0.1, 0.9], 3), [1, 0]);
    }
}
