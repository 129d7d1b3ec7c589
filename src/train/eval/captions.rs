//! Scores of a model on photos it has not learned from, run as shipped: packed weights, beam
//! search, empty memory.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Error, Result};
use serde::Serialize;
use tokenizers::Tokenizer;

use crate::generate::{BeamSearch, HintBonus, Length};
use crate::random::Random;
use crate::train::data::sample::Sample;
use crate::train::eval::baselines::{
    consensus_caption, most_frequent_caption, nearest_caption, CaptionedPhotos,
};
use crate::train::metrics::{cider_of_each, score, Scores};
use crate::train::model_source::EvaluatedModel;
use crate::train::objective::losses::caption_loss;
use crate::train::objective::targets::Targets;
use crate::train::parallel;
use crate::train::text::encode::encode;
use crate::train::text::hints::Hint;
use crate::train::text::label_words::share_named;
use crate::train::text::words::words;

/// Nearest neighbors whose captions form the consensus baseline.
const NEIGHBORS: usize = 40;

/// A caption by the model.
#[derive(Debug, Clone, Serialize)]
pub struct Captioned {
    /// Its text.
    pub text: String,
    /// The geometric mean of its tokens' probabilities.
    pub confidence: f32,
}

/// The table of an evaluation.
#[derive(Debug, Clone, Serialize)]
pub struct Evaluation {
    /// Number of photos scored.
    pub photos: usize,
    /// Scores of the model.
    pub model: Scores,
    /// Baseline: the most frequent training caption for every photo.
    pub most_frequent: Scores,
    /// Baseline: the caption of the training photo with the most similar embedding, by the stem or
    /// by the teacher if one was named.
    pub nearest: Scores,
    /// Baseline: the consensus caption of the nearest training photos.
    pub consensus: Scores,
    /// Share of photos whose caption has a lower loss with its own photo than with another one.
    pub own_photo_wins: f32,
    /// Mean loss of a caption with its own photo, nats per token.
    pub own_loss: f32,
    /// Mean loss of the same caption with another photo, nats per token.
    pub other_loss: f32,
    /// Perplexity per token of these captions without any photo.
    pub text_perplexity: f32,
    /// Calibration of the confidence: fifths of the photos in order of confidence.
    pub calibration: Vec<Calibration>,
    /// Share of held-out labeled photos whose caption has every word of the label, by set; the
    /// mean over the labels of the set.
    pub named: BTreeMap<&'static str, f32>,
    /// The same with the label as a hint.
    pub named_if_told: BTreeMap<&'static str, f32>,
    /// Share of hints that the caption takes up. The hint is a word or phrase of a human caption,
    /// or a name, that the caption without a hint lacks.
    pub hints_taken_up: f32,
    /// Captions a second on all cores.
    pub captions_per_second: f32,
}

/// Photos of similar confidence.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Calibration {
    /// Number of photos.
    pub photos: usize,
    /// Their mean confidence.
    pub confidence: f32,
    /// Their captions' mean CIDEr-D, 0 to 10.
    pub cider: f64,
}

/// Captions every photo, with the text next to it as a hint (empty for none).
fn caption_samples(
    evaluated: &EvaluatedModel,
    tokenizer: &Tokenizer,
    samples: &[(&Sample, &str)],
    beams: usize,
) -> Result<Vec<Captioned>> {
    parallel::map(samples, |(sample, hint)| caption_one(evaluated, tokenizer, sample, hint, beams))
}

fn caption_one(
    evaluated: &EvaluatedModel,
    tokenizer: &Tokenizer,
    sample: &Sample,
    hint: &str,
    beams: usize,
) -> Result<Captioned> {
    let model = &evaluated.model;
    let bonus = HintBonus::from_hint(tokenizer, hint)?;
    let hint = if hint.is_empty() { Vec::new() } else { encode(tokenizer, hint) };
    let fused = model.fuse(&evaluated.encode(&sample.views[..1])?, &hint)?;
    let state = model.prefill_without_memory(&fused)?;
    let start = Length::default().start_token();
    let mut search = BeamSearch::new(state, start, beams).with_hint(bonus);
    while model.search_step(&mut search, &fused.episode)? {}
    let best = search.best();
    let text = tokenizer.decode(&best.tokens, true).map_err(Error::from_boxed)?;
    Ok(Captioned { text: text.trim().to_owned(), confidence: best.confidence() })
}

/// Scores `evaluated` on `dev`, and the baselines, which take captions of `train`. `embeddings` has
/// a vector for each photo of `train` and of `dev`, by which the baselines find neighbors;
/// `labeled` has the held-out photos of each set with labels.
///
/// # Errors
///
/// If the model or the tokenizer fails.
pub fn evaluate(
    evaluated: &EvaluatedModel,
    tokenizer: &Tokenizer,
    train: &[Sample],
    dev: &[Sample],
    embeddings: [&[Vec<f32>]; 2],
    labeled: &[(&'static str, Vec<Sample>)],
    beams: usize,
) -> Result<(Evaluation, Vec<Captioned>)> {
    let started = Instant::now();
    let prompts: Vec<(&Sample, &str)> = dev.iter().map(|sample| (sample, "")).collect();
    let captioned = caption_samples(evaluated, tokenizer, &prompts, beams)?;
    let captions_per_second = dev.len() as f32 / started.elapsed().as_secs_f32();
    let texts = |samples: &[Sample]| -> Vec<Vec<String>> {
        samples.iter().map(|s| s.captions.iter().map(|c| c.text.clone()).collect()).collect()
    };
    let (references, train_texts) = (texts(dev), texts(train));
    let [train_embeddings, dev_embeddings] = embeddings;
    let neighbors = CaptionedPhotos { features: train_embeddings, captions: &train_texts };
    let model_texts: Vec<String> = captioned.iter().map(|c| c.text.clone()).collect();
    let (own_photo_wins, own_loss, other_loss) = own_and_other(evaluated, dev)?;
    let evaluation = Evaluation {
        photos: dev.len(),
        model: score(&model_texts, &references),
        most_frequent: score(&most_frequent_caption(&train_texts, dev.len()), &references),
        nearest: score(&nearest_caption(neighbors, dev_embeddings), &references),
        consensus: score(&consensus_caption(neighbors, dev_embeddings, NEIGHBORS), &references),
        own_photo_wins,
        own_loss,
        other_loss,
        text_perplexity: text_perplexity(evaluated, dev)?,
        calibration: calibration(&captioned, &cider_of_each(&model_texts, &references)),
        named: named_share(evaluated, tokenizer, labeled, false, beams)?,
        named_if_told: named_share(evaluated, tokenizer, labeled, true, beams)?,
        hints_taken_up: taken_up_share(evaluated, tokenizer, dev, &model_texts, beams)?,
        captions_per_second,
    };
    Ok((evaluation, captioned))
}

/// The share of photos of each set whose caption has every word of the label, as a mean over
/// labels; `with_hint` gives the label as a hint.
fn named_share(
    evaluated: &EvaluatedModel,
    tokenizer: &Tokenizer,
    sets: &[(&'static str, Vec<Sample>)],
    with_hint: bool,
    beams: usize,
) -> Result<BTreeMap<&'static str, f32>> {
    let mut shares = BTreeMap::new();
    for (set, samples) in sets {
        let label =
            |sample: &Sample| if with_hint { sample.label_words.join(" ") } else { String::new() };
        let hints: Vec<String> = samples.iter().map(label).collect();
        let prompts: Vec<(&Sample, &str)> =
            samples.iter().zip(&hints).map(|(sample, hint)| (sample, hint.as_str())).collect();
        let captioned = caption_samples(evaluated, tokenizer, &prompts, beams)?;
        let mut by_label: BTreeMap<&[String], Vec<f32>> = BTreeMap::new();
        for (sample, caption) in samples.iter().zip(&captioned) {
            let is_named = share_named(&sample.label_words, &words(&caption.text)) >= 1.0;
            by_label.entry(&sample.label_words).or_default().push(f32::from(u8::from(is_named)));
        }
        let mean = |values: &[f32]| values.iter().sum::<f32>() / values.len().max(1) as f32;
        let of_labels: Vec<f32> = by_label.values().map(|values| mean(values)).collect();
        shares.insert(*set, mean(&of_labels));
    }
    Ok(shares)
}

/// The share of hints that captions take up, among photos whose captions without a hint
/// (`unprompted`) lack the hint's words.
fn taken_up_share(
    evaluated: &EvaluatedModel,
    tokenizer: &Tokenizer,
    dev: &[Sample],
    unprompted: &[String],
    beams: usize,
) -> Result<f32> {
    let mut random = Random::new(1);
    let (mut photos, mut hints) = (Vec::new(), Vec::new());
    for (sample, caption) in dev.iter().zip(unprompted) {
        let hint = Hint::draw(&sample.captions[0].text, &mut random);
        if let Some(hint) = hint.filter(|hint| !hint.is_taken_up(caption)) {
            photos.push(sample);
            hints.push(hint);
        }
    }
    let prompts: Vec<(&Sample, &str)> =
        photos.into_iter().zip(hints.iter().map(|hint| hint.text.as_str())).collect();
    let captioned = caption_samples(evaluated, tokenizer, &prompts, beams)?;
    let taken_up = hints.iter().zip(&captioned).filter(|(hint, c)| hint.is_taken_up(&c.text));
    Ok(taken_up.count() as f32 / hints.len().max(1) as f32)
}

/// Fifths of the captions in order of confidence, with the mean CIDEr-D of each.
fn calibration(captioned: &[Captioned], ciders: &[f64]) -> Vec<Calibration> {
    let mut pairs: Vec<(f32, f64)> =
        captioned.iter().map(|c| c.confidence).zip(ciders.iter().copied()).collect();
    pairs.sort_by(|a, b| a.0.total_cmp(&b.0));
    let of_fifth = |fifth: &[(f32, f64)]| Calibration {
        photos: fifth.len(),
        confidence: fifth.iter().map(|(confidence, _)| confidence).sum::<f32>()
            / fifth.len() as f32,
        cider: fifth.iter().map(|(_, cider)| cider).sum::<f64>() / fifth.len() as f64,
    };
    pairs.chunks(pairs.len().div_ceil(5).max(1)).map(of_fifth).collect()
}

/// The share of captions with a lower loss for their own photo than for the next one, and both mean
/// losses.
fn own_and_other(evaluated: &EvaluatedModel, dev: &[Sample]) -> Result<(f32, f32, f32)> {
    let (mut wins, mut own_sum, mut other_sum) = (0.0, 0.0, 0.0);
    for (i, sample) in dev.iter().enumerate() {
        let own = caption_loss_of(evaluated, sample, &sample.views[0])?;
        let other = caption_loss_of(evaluated, sample, &dev[(i + 1) % dev.len()].views[0])?;
        wins += f32::from(u8::from(own < other));
        own_sum += own;
        other_sum += other;
    }
    let count = dev.len() as f32;
    Ok((wins / count, own_sum / count, other_sum / count))
}

/// Mean loss of the sample's first caption given the photo of `view`, nats per token.
fn caption_loss_of(evaluated: &EvaluatedModel, sample: &Sample, view: &Arc<[i8]>) -> Result<f32> {
    let model = &evaluated.model;
    let table = model.table()?;
    let fused =
        model.fuse_photos(&table, &evaluated.encode(std::slice::from_ref(view))?, &[Vec::new()])?;
    let context = model.null_context(1)?;
    let targets = first_caption(sample);
    let logits = model.decode_captions(&table, &fused, &[], &targets.inputs, &context)?;
    Ok(caption_loss(&logits, targets.tokens, targets.weights, 0.0)?.to_scalar()?)
}

/// Perplexity per token of the samples' first captions without photos.
fn text_perplexity(evaluated: &EvaluatedModel, dev: &[Sample]) -> Result<f32> {
    let model = &evaluated.model;
    let table = model.table()?;
    let (mut sum, mut tokens) = (0.0, 0);
    for sample in dev {
        let targets = first_caption(sample);
        let (count, logits) =
            (targets.tokens.len(), model.decode_texts(&table, &[], &[], &targets.inputs)?);
        let loss = caption_loss(&logits, targets.tokens, targets.weights, 0.0)?;
        sum += loss.to_scalar::<f32>()? * count as f32;
        tokens += count;
    }
    Ok((sum / tokens as f32).exp())
}

/// The first caption of a sample as the target.
fn first_caption(sample: &Sample) -> Targets {
    let mut targets = Targets::default();
    targets.push(0, sample.captions[0].start, &sample.captions[0].tokens, 1.0);
    targets
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn captions_are_grouped_by_rising_confidence() {
        let confidences = [0.9, 0.1, 0.5, 0.3, 0.7, 0.2, 0.4, 0.6, 0.8, 1.0];
        let captioned: Vec<Captioned> =
            confidences.map(|confidence| Captioned { text: String::new(), confidence }).into();
        let ciders = confidences.map(|confidence| f64::from(confidence) * 2.0);
        let fifths = calibration(&captioned, &ciders);
        assert_eq!(fifths.iter().map(|fifth| fifth.photos).collect::<Vec<_>>(), [2; 5]);
        for (fifth, confidence) in fifths.iter().zip([0.15, 0.35, 0.55, 0.75, 0.95]) {
            assert!((fifth.confidence - confidence).abs() < 1e-6, "{fifth:?}");
            assert!((fifth.cider - 2.0 * f64::from(confidence)).abs() < 1e-6, "{fifth:?}");
        }
    }
}
