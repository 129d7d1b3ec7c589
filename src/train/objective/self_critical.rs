//! Self-critical training (Rennie et al. 2017): the model samples captions, and those with a higher
//! reward than the others of the same photo become likelier.
//!
//! The reward is CIDEr-D. For a photo with a label, whose references describe other photos with
//! that label, it is the share of the label's words that the caption has, times
//! `1 + min(CIDEr-D, 1)`. For a photo with a hint it is the same with the hint's words.
//!
//! The baseline of a caption is the mean reward of the others sampled for its photo (Luo 2020).
//! Some of the photos also train on their human captions, so that the model does not forget
//! lengths, hints and the memory.

use std::collections::BTreeMap;
use std::sync::Arc;

use candle_core::{Result, Tensor};

use crate::generate::{BeamSearch, Length, Sampler, MAX_TOKENS};
use crate::model::BitMar;
use crate::nn::dropout::without_dropout;
use crate::pipeline;
use crate::random::Random;
use crate::tokenizer::{hint_prompt, EOS};
use crate::train::data::sample::Sample;
use crate::train::metrics::{cider_of_each, CaptionVector, Cider};
use crate::train::objective::batch::Batch;
use crate::train::objective::captioning::Captioning;
use crate::train::objective::dev::DevScore;
use crate::train::objective::losses::policy_loss;
use crate::train::objective::targets::Targets;
use crate::train::objective::{Measures, Objective, StepContext};
use crate::train::parallel;
use crate::train::text::encode::encode;
use crate::train::text::hints::Hint;
use crate::train::text::label_words::share_named;
use crate::train::text::words::words;
use crate::weights::Variables;

/// Captions sampled for each photo.
const SAMPLES: usize = 5;
/// Sampling temperature. The captions are then like those of beam search; at 1 most are broken
/// sentences, and the rewards separate those from good captions rather than good from better ones.
const TEMPERATURE: f32 = 0.6;
/// One of this many photos also trains on its human captions.
const HUMAN_EVERY: usize = 3;
/// Share of photos with a hint.
const HINTED: f32 = 0.25;
/// Weight of the loss on human captions.
const HUMAN_WEIGHT: f64 = 0.3;

/// The self-critical objective: photos with human captions, and their references for CIDEr-D.
pub struct SelfCritical {
    captioning: Captioning,
    variables: Variables,
    /// CIDEr-D with the document frequencies of each pool.
    ciders: Vec<Cider>,
    /// Reference captions of each photo of each pool.
    references: Vec<Vec<Vec<CaptionVector>>>,
}

/// Number of dev photos of Flickr8k that are captioned for the dev score, the first of the set.
const DEV_PHOTOS: usize = 300;

/// What one worker processes in a step.
pub struct SelfCriticalBatch {
    photos: Vec<PhotoView>,
    /// The batch of those photos that train on their human captions.
    human: Batch,
    /// Seed of the sampling.
    seed: u64,
}

/// A photo in one view, with the words that are rewarded.
struct PhotoView {
    pool: usize,
    photo: usize,
    view: usize,
    /// Tokens of the hint, without the marker; empty without a hint.
    hint: Vec<u32>,
    /// Words that the caption is to have: those of the hint, else of the photo's label.
    target_words: Vec<String>,
}

impl SelfCritical {
    /// The objective for the photos and the model of `captioning`; `variables` are the model's.
    pub fn new(captioning: Captioning, variables: Variables) -> Self {
        let (mut ciders, mut all) = (Vec::new(), Vec::new());
        for (samples, _) in &captioning.pools {
            let documents: Vec<Vec<Vec<String>>> = samples.iter().map(references).collect();
            let cider = Cider::new(&documents);
            let vectors = |photo: &Vec<Vec<String>>| {
                photo.iter().map(|words| cider.vector(words)).collect::<Vec<_>>()
            };
            all.push(documents.iter().map(vectors).collect());
            ciders.push(cider);
        }
        Self { references: all, ciders, captioning, variables }
    }

    /// The reward of a caption, given by its tokens, for a photo given as (pool, index in the
    /// pool): CIDEr-D, 0 to 10, or 0 to 2 if there are `target_words`.
    pub(crate) fn reward(
        &self,
        (pool, photo): (usize, usize),
        target_words: &[String],
        tokens: &[u32],
    ) -> f32 {
        let text = self.captioning.tokenizer.decode(tokens, true).unwrap_or_default();
        let candidate = self.ciders[pool].vector(&words(&text));
        let references = &self.references[pool][photo];
        let sum: f64 = references.iter().map(|r| candidate.similarity(r)).sum();
        #[allow(clippy::cast_possible_truncation, reason = "a score between 0 and 10")]
        let cider = (sum / references.len() as f64) as f32;
        if target_words.is_empty() {
            cider
        } else {
            share_named(target_words, &words(&text)) * (1.0 + cider.min(1.0))
        }
    }

    /// Draws a view of a photo, sometimes with a hint: its label, or words of one of its captions.
    fn draw(&self, (pool, photo): (usize, usize), random: &mut Random) -> PhotoView {
        let sample = &self.captioning.pools[pool].0[photo];
        let view = random.below(sample.views.len());
        let target_words = sample.label_words.clone();
        let mut drawn = PhotoView { pool, photo, view, hint: Vec::new(), target_words };
        if random.uniform() < HINTED {
            let label = sample.label_words.join(" ");
            let caption = &sample.captions[random.below(sample.captions.len())].text;
            let hint = if label.is_empty() {
                Hint::draw(caption, random)
            } else {
                Some(Hint { text: label.clone(), caption: label })
            };
            if let Some(hint) = hint {
                drawn.hint = encode(&self.captioning.tokenizer, &hint.text);
                drawn.target_words = hint.target_words();
            }
        }
        drawn
    }

    /// Stem features of the view.
    fn view(&self, photo: &PhotoView) -> &Arc<[i8]> {
        &self.captioning.pools[photo.pool].0[photo.photo].views[photo.view]
    }

    /// Samples `SAMPLES` captions of each photo, with an empty memory, from the packed model as it
    /// runs on a device. Returns tokens by photo and sample.
    pub(crate) fn write(&self, batch: &SelfCriticalBatch) -> Result<Vec<Vec<Vec<u32>>>> {
        let trained = &self.captioning.trained.model;
        let packed = self.captioning.ablation.packed(&self.model_variables(), trained.config());
        let packed = packed.map_err(candle_core::Error::wrap)?;
        let model = packed.as_ref().unwrap_or(trained);
        let mut samplers: Vec<Sampler> = Vec::new();
        let mut states = Vec::new();
        for photo in &batch.photos {
            let features = pipeline::features(self.view(photo), self.captioning.stem_scale);
            let state =
                model.prefill_without_memory(&model.fuse_features(&features, &photo.hint)?)?;
            for _ in 0..SAMPLES {
                let seed = batch.seed.wrapping_add(samplers.len() as u64);
                samplers.push(Sampler::new(seed, TEMPERATURE, 1.0));
                states.push(state.clone());
            }
        }
        let captions = sample_all(model, states, &mut samplers)?;
        Ok(captions.chunks(SAMPLES).map(<[_]>::to_vec).collect())
    }

    /// What `model` writes about a photo with one beam, no hint and an empty memory.
    fn caption(&self, model: &BitMar, sample: &Sample) -> Result<String> {
        let photo = model.vision().forward(&self.captioning.features(&sample.views[..1])?)?;
        let fused = model.fuse(&photo, &[])?;
        let state = model.prefill_without_memory(&fused)?;
        let mut search = BeamSearch::new(state, Length::default().start_token(), 1);
        while model.search_step(&mut search, &fused.episode)? {}
        let tokens = &search.best().tokens;
        self.captioning.tokenizer.decode(tokens, true).map_err(candle_core::Error::wrap)
    }

    fn model_variables(&self) -> Variables {
        let own = self.variables.iter().filter(|(name, _)| !name.starts_with("train."));
        own.map(|(name, var)| (name.clone(), var.clone())).collect()
    }
}

/// Samples all captions to their ends, one token of each per decoder step. The memory is empty, so
/// all of them share one context vector and pass through the decoder as one batch.
fn sample_all(
    model: &BitMar,
    states: Vec<crate::decoder::DecoderState>,
    samplers: &mut [Sampler],
) -> Result<Vec<Vec<u32>>> {
    let mut texts = vec![Vec::new(); states.len()];
    let mut running: Vec<usize> = (0..states.len()).collect();
    let mut states = states;
    let start = Length::default().start_token();
    for _ in 0..MAX_TOKENS {
        let last = |&text: &usize| texts[text].last().copied().unwrap_or(start);
        let tokens: Vec<u32> = running.iter().map(last).collect();
        let logits = model.step(&mut states, &tokens)?;
        let mut continues = Vec::with_capacity(running.len());
        for (&text, logits) in running.iter().zip(&logits) {
            let next = samplers[text].next(&texts[text], logits);
            let next = next.filter(|&token| token != EOS);
            continues.push(next.is_some());
            texts[text].extend(next);
        }
        let mut kept = continues.iter();
        running.retain(|_| *kept.next().expect("one entry for each running text"));
        let mut kept = continues.iter();
        states.retain(|_| *kept.next().expect("one entry for each running text"));
        if running.is_empty() {
            break;
        }
    }
    Ok(texts)
}

/// The words of each caption of a sample.
fn references(sample: &Sample) -> Vec<Vec<String>> {
    sample.captions.iter().map(|caption| words(&caption.text)).collect()
}

impl AsRef<BitMar> for SelfCritical {
    fn as_ref(&self) -> &BitMar {
        self.captioning.as_ref()
    }
}

impl Objective for SelfCritical {
    type Batch = SelfCriticalBatch;

    fn pools(&self) -> Vec<(usize, f32)> {
        self.captioning.pools()
    }

    fn batch(&self, examples: &[(usize, usize)], random: &mut Random) -> SelfCriticalBatch {
        let human = &examples[..examples.len().div_ceil(HUMAN_EVERY)];
        let human = self.captioning.batch(human, random);
        let photos = examples.iter().map(|&example| self.draw(example, random)).collect();
        SelfCriticalBatch { photos, human, seed: random.next_u64() }
    }

    fn loss(&self, batch: &SelfCriticalBatch, step: StepContext) -> Result<(Tensor, Measures)> {
        // Without dropout, as captions are written on a device.
        let captions = without_dropout(|| self.write(batch))?;
        let mut targets = Targets::default();
        let mut rewards_by_kind: BTreeMap<&str, Vec<f32>> = BTreeMap::new();
        for (index, (photo, captions)) in batch.photos.iter().zip(&captions).enumerate() {
            let reward =
                |c: &Vec<u32>| self.reward((photo.pool, photo.photo), &photo.target_words, c);
            let rewards: Vec<f32> = captions.iter().map(reward).collect();
            let sum: f32 = rewards.iter().sum();
            let measure = match (photo.hint.is_empty(), photo.target_words.is_empty()) {
                (false, _) => "hinted",
                (true, false) => "named",
                (true, true) => "reward",
            };
            rewards_by_kind.entry(measure).or_default().extend(&rewards);
            for (caption, reward) in captions.iter().zip(rewards) {
                let baseline = (sum - reward) / (SAMPLES - 1) as f32;
                let start = Length::default().start_token();
                targets.push(index, start, caption, reward - baseline);
            }
        }
        let model = &self.captioning.trained.model;
        let table = model.table()?;
        let views: Vec<_> = batch.photos.iter().map(|photo| self.view(photo).clone()).collect();
        let hints: Vec<_> = batch.photos.iter().map(|photo| hint_prompt(&photo.hint)).collect();
        let photos = model.vision().forward(&self.captioning.features(&views)?)?;
        let fused = model.fuse_photos(&table, &photos, &hints)?;
        let context = model.null_context(views.len())?;
        let logits = model.decode_captions(&table, &fused, &[], &targets.inputs, &context)?;
        let policy = policy_loss(&logits, targets.tokens, targets.weights)?;
        let (human, mut measures) = self.captioning.loss(&batch.human, step)?;
        measures.extend(rewards_by_kind.into_iter().map(|(measure, rewards)| {
            (measure, rewards.iter().sum::<f32>() / rewards.len() as f32)
        }));
        Ok(((policy + (human * HUMAN_WEIGHT)?)?, measures))
    }

    /// CIDEr-D of what the model writes about dev photos as it ships.
    fn dev(&self) -> Result<Option<DevScore>> {
        let samples: Vec<&Sample> = self.captioning.dev.iter().take(DEV_PHOTOS).collect();
        if samples.is_empty() {
            return Ok(None);
        }
        let trained = &self.captioning.trained.model;
        let packed = self.captioning.ablation.packed(&self.model_variables(), trained.config());
        let packed = packed.map_err(candle_core::Error::wrap)?;
        let model = packed.as_ref().unwrap_or(trained);
        let captions: Result<Vec<String>> =
            parallel::map(&samples, |sample| self.caption(model, sample));
        let texts = |sample: &&Sample| sample.captions.iter().map(|c| c.text.clone()).collect();
        let references: Vec<Vec<String>> = samples.iter().map(texts).collect();
        let ciders = cider_of_each(&captions?, &references);
        let mean = ciders.iter().sum::<f64>() / ciders.len() as f64;
        #[allow(clippy::cast_possible_truncation, reason = "a score between 0 and 10")]
        Ok(Some(DevScore::Cider(mean as f32)))
    }
}
