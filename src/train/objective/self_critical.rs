//! Self-critical training (Rennie et al. 2017): the model writes captions at random, and those that are rewarded more than
//! their siblings become likelier. The reward is CIDEr-D; for a photo with a label, whose references are about others of its
//! kind, it is the share of the label's words that are said, once more as much if it is said as people say it. So it is for
//! a photo with a hint, of the hint's words.
//!
//! The baseline of a caption is the mean of the others written for the same photo (Luo 2020). A part of
//! the photos goes on learning from people, so that lengths, hints and the memory are not forgotten.

use std::collections::BTreeMap;
use std::sync::Arc;

use candle_core::{Result, Tensor, Var};

use crate::generate::{BeamSearch, Length, Sampler, MAX_TOKENS};
use crate::model::BitMar;
use crate::nn::dropout::without_dropout;
use crate::pipeline;
use crate::random::Random;
use crate::tokenizer::{hint_prompt, EOS};
use crate::train::data::sample::Sample;
use crate::train::metrics::{cider_of_each, words, CaptionVector, Cider};
use crate::train::objective::batch::Batch;
use crate::train::objective::captioning::Captioning;
use crate::train::objective::losses::policy_loss;
use crate::train::objective::targets::Targets;
use crate::train::objective::{DevScore, Measures, Objective, StepContext};
use crate::train::parallel;
use crate::train::text::encode::encode;
use crate::train::text::hints::Hint;
use crate::train::text::label_words::share_named;

/// Captions written for each photo.
const SAMPLES: usize = 5;
/// Temperature of the draws: what beam search might write. At 1 most draws are broken sentences, and the
/// rewards tell those apart instead of good captions from better ones.
const TEMPERATURE: f32 = 0.6;
/// One photo in this many also learns from its human captions.
const HUMAN_EVERY: usize = 3;
/// Share of photos with a hint.
const HINTED: f32 = 0.25;
/// Weight of the human captions' losses.
const HUMAN_WEIGHT: f64 = 0.3;

/// Photos with human captions, and how they are scored.
pub struct SelfCritical {
    captioning: Captioning,
    variables: BTreeMap<String, Var>,
    /// What is frequent in the captions of each pool.
    ciders: Vec<Cider>,
    /// References of each photo of each pool.
    references: Vec<Vec<Vec<CaptionVector>>>,
}

/// Some photos in one view each.
pub struct SelfCriticalBatch {
    photos: Vec<PhotoView>,
    human: Batch,
    seed: u64,
}

/// A view of a photo.
struct PhotoView {
    pool: usize,
    photo: usize,
    view: usize,
    /// The tokens of a hint, mostly none.
    hint: Vec<u32>,
    /// What is to be said: the words of the hint, or of the photo's label.
    wanted: Vec<String>,
}

impl SelfCritical {
    /// The objective of `captioning`, whose model has these `variables`.
    pub fn new(captioning: Captioning, variables: BTreeMap<String, Var>) -> Self {
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

    /// What a caption's tokens are worth for a photo of a pool, if these words are to be said.
    pub(crate) fn reward(
        &self,
        (pool, photo): (usize, usize),
        wanted: &[String],
        tokens: &[u32],
    ) -> f32 {
        let text = self.captioning.tokenizer.decode(tokens, true).unwrap_or_default();
        let candidate = self.ciders[pool].vector(&words(&text));
        let references = &self.references[pool][photo];
        let sum: f64 = references.iter().map(|r| candidate.similarity(r)).sum();
        #[allow(clippy::cast_possible_truncation, reason = "a score between 0 and 10")]
        let cider = (sum / references.len() as f64) as f32;
        match wanted.is_empty() {
            true => cider,
            false => share_named(wanted, &words(&text)) * (1.0 + cider.min(1.0)),
        }
    }

    /// Draws a view of a photo, sometimes with a hint: its label, or words that someone wrote about it.
    fn draw(&self, (pool, photo): (usize, usize), random: &mut Random) -> PhotoView {
        let sample = &self.captioning.pools[pool].0[photo];
        let view = random.below(sample.views.len());
        let mut shown =
            PhotoView { pool, photo, view, hint: Vec::new(), wanted: sample.label_words.clone() };
        if random.uniform() < HINTED {
            let label = sample.label_words.join(" ");
            let caption = &sample.captions[random.below(sample.captions.len())].text;
            let hint = match label.is_empty() {
                true => Hint::draw(caption, random),
                false => Some(Hint { text: label.clone(), caption: label }),
            };
            if let Some(hint) = hint {
                shown.hint = encode(&self.captioning.tokenizer, &hint.text);
                shown.wanted = hint.wanted();
            }
        }
        shown
    }

    fn view(&self, shown: &PhotoView) -> &Arc<[i8]> {
        &self.captioning.pools[shown.pool].0[shown.photo].views[shown.view]
    }

    /// Draws captions for every photo with an empty memory, `SAMPLES` each, from the model as it writes.
    pub(crate) fn write(&self, batch: &SelfCriticalBatch) -> Result<Vec<Vec<Vec<u32>>>> {
        let packed = self.packed()?;
        let model = packed.as_ref().unwrap_or(self.as_ref());
        let mut samplers: Vec<Sampler> = Vec::new();
        let mut states = Vec::new();
        for shown in &batch.photos {
            let features = pipeline::features(self.view(shown), self.captioning.stem_scale);
            let state =
                model.prefill_without_memory(&model.fuse_features(&features, &shown.hint)?)?;
            for _ in 0..SAMPLES {
                let seed = batch.seed.wrapping_add(samplers.len() as u64);
                samplers.push(Sampler::new(seed, TEMPERATURE, 1.0));
                states.push(state.clone());
            }
        }
        let captions = sample_all(model, states, &mut samplers)?;
        Ok(captions.chunks(SAMPLES).map(<[_]>::to_vec).collect())
    }

    /// The model as it writes, unless that is the trained one.
    fn packed(&self) -> Result<Option<BitMar>> {
        let config = self.captioning.trained.model.config();
        let packed = self.captioning.ablation.packed(&self.model_variables(), config);
        packed.map_err(candle_core::Error::wrap)
    }

    /// The captions of the dev photos, by greedy search with an empty memory.
    pub(crate) fn dev_captions(&self) -> Result<Vec<String>> {
        let packed = self.packed()?;
        let model = packed.as_ref().unwrap_or(self.as_ref());
        parallel::map(&self.captioning.dev, |sample| {
            let photo = model.vision().forward(&self.captioning.features(&sample.views[..1])?)?;
            let fused = model.fuse(&photo, &[])?;
            let state = model.prefill_without_memory(&fused)?;
            let mut search = BeamSearch::new(state, Length::default().start_token(), 1);
            while model.search_step(&mut search, &fused.episode)? {}
            let text = self.captioning.tokenizer.decode(&search.best().tokens, true);
            text.map_err(|error| candle_core::Error::Msg(error.to_string()))
        })
    }

    fn model_variables(&self) -> BTreeMap<String, Var> {
        let own = self.variables.iter().filter(|(name, _)| !name.starts_with("train."));
        own.map(|(name, var)| (name.clone(), var.clone())).collect()
    }
}

/// Writes all texts to their ends, a token of each at a time. The memory is empty, so that all texts
/// share one context and may go through the decoder together.
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
        let mut goes_on = Vec::with_capacity(running.len());
        for (&text, logits) in running.iter().zip(&logits) {
            let next = samplers[text].next(&texts[text], logits);
            let next = next.filter(|&token| token != EOS);
            goes_on.push(next.is_some());
            texts[text].extend(next);
        }
        let mut kept = goes_on.iter();
        running.retain(|_| *kept.next().expect("one answer a text"));
        let mut kept = goes_on.iter();
        states.retain(|_| *kept.next().expect("one answer a text"));
        if running.is_empty() {
            break;
        }
    }
    Ok(texts)
}

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
        // What is scored are captions as they would be written.
        let captions = without_dropout(|| self.write(batch))?;
        let mut targets = Targets::default();
        let mut rewarded: BTreeMap<&str, Vec<f32>> = BTreeMap::new();
        for (place, (shown, captions)) in batch.photos.iter().zip(&captions).enumerate() {
            let worth = |c: &Vec<u32>| self.reward((shown.pool, shown.photo), &shown.wanted, c);
            let rewards: Vec<f32> = captions.iter().map(worth).collect();
            let sum: f32 = rewards.iter().sum();
            let measure = match (shown.hint.is_empty(), shown.wanted.is_empty()) {
                (false, _) => "hinted",
                (true, false) => "named",
                (true, true) => "reward",
            };
            rewarded.entry(measure).or_default().extend(&rewards);
            for (caption, reward) in captions.iter().zip(rewards) {
                let others = (sum - reward) / (SAMPLES - 1) as f32;
                let start = Length::default().start_token();
                targets.push(place, start, caption, reward - others);
            }
        }
        let model = &self.captioning.trained.model;
        let table = model.table()?;
        let views: Vec<_> = batch.photos.iter().map(|shown| self.view(shown).clone()).collect();
        let hints: Vec<_> = batch.photos.iter().map(|shown| hint_prompt(&shown.hint)).collect();
        let photos = model.vision().forward(&self.captioning.features(&views)?)?;
        let fused = model.fuse_photos(&table, &photos, &hints)?;
        let context = model.null_context(views.len())?;
        let logits = model.decode_captions(&table, &fused, &[], &targets.inputs, &context)?;
        let policy = policy_loss(&logits, targets.tokens, targets.weights)?;
        let (human, mut measures) = self.captioning.loss(&batch.human, step)?;
        measures.extend(rewarded.into_iter().map(|(measure, rewards)| {
            (measure, rewards.iter().sum::<f32>() / rewards.len() as f32)
        }));
        Ok(((policy + (human * HUMAN_WEIGHT)?)?, measures))
    }

    // Writing captions takes longer than predicting given ones.
    const STEPS_PER_DEV: usize = 400;

    /// CIDEr-D of the captions of the dev photos.
    fn dev(&self) -> Result<Option<DevScore>> {
        let dev = &self.captioning.dev;
        if dev.is_empty() {
            return Ok(None);
        }
        let of_photo = |sample: &Sample| sample.captions.iter().map(|c| c.text.clone()).collect();
        let references: Vec<Vec<String>> = dev.iter().map(of_photo).collect();
        let ciders = cider_of_each(&self.dev_captions()?, &references);
        #[allow(clippy::cast_possible_truncation, reason = "a score between 0 and 10")]
        let cider = (ciders.iter().sum::<f64>() / ciders.len() as f64) as f32;
        Ok(Some(DevScore { measures: Measures::from([("cider", cider)]), quality: cider }))
    }
}
