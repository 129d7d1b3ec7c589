//! Training of the whole model on captions: `L = L_lm + lambda_cm L_cm + 0.1 L_mem` (BitMar,
//! arXiv 2510.10560), plus a language-modeling loss on texts that have no photo.

use std::sync::Arc;

use candle_core::{DType, Device, Result, Tensor};
use tokenizers::Tokenizer;

use crate::config::Config;
use crate::memory::{MAX_CAPTION_TOKENS, RECALL_THRESHOLD};
use crate::model::{BitMar, PlacedText, QuantizedTable};
use crate::nn::dropout::hide_rows;
use crate::random::Random;
use crate::tokenizer::{prompt, CORRECTED, RECALLED};
use crate::train::data::sample::{CaptionTokens, Sample};
use crate::train::objective::ablation::Ablation;
use crate::train::objective::batch::{Batch, BatchOptions};
use crate::train::objective::dev::{mean_loss, DevScore};
use crate::train::objective::evidence::TextEvidence;
use crate::train::objective::features::features;
use crate::train::objective::losses::{alignment_loss, consistency_loss};
use crate::train::objective::targets::Targets;
use crate::train::objective::{Measures, Objective, StepContext, SIGNAL};
use crate::weights::{Init, ModelError, Weights};

/// Weight of the memory's consistency loss.
const CONSISTENCY: f64 = 0.1;
/// Share of a photo's patches that are masked where dropout is active.
const HIDDEN_PATCHES: f32 = 0.15;
/// Weight of the loss on texts without a photo.
const TEXTS: f64 = 0.3;

/// The model and the parameters that only training needs.
pub struct TrainedModel {
    /// The model.
    pub model: BitMar,
    log_scale: Tensor,
}

impl TrainedModel {
    /// Makes fresh variables in `weights`; the names of those that only training needs start with
    /// `train.`.
    pub fn new(weights: &Weights, config: &Config) -> std::result::Result<Self, ModelError> {
        let log_scale = Init::Constant((1.0f32 / 0.07).ln());
        Ok(Self {
            model: BitMar::new(weights, config)?,
            log_scale: weights.pp("train").tensor("log_scale", &[1], log_scale)?,
        })
    }
}

/// The captioning objective: photos with captions, and texts without photos.
pub struct Captioning {
    /// The model.
    pub trained: TrainedModel,
    /// The samples of each pool and its share of the draws.
    pub pools: Vec<(Vec<Sample>, f32)>,
    /// Dev photos with human captions, which are only measured: 300 of Flickr8k first.
    pub dev: Vec<Sample>,
    /// Texts without photos.
    pub texts: Vec<CaptionTokens>,
    /// Scale of the int8 stem features.
    pub stem_scale: f32,
    /// Encodes the hints and names that are drawn.
    pub tokenizer: Tokenizer,
    /// Draws the evidence of the texts, if the photos have tags.
    pub text_evidence: Option<TextEvidence>,
    /// How batches are drawn.
    pub options: BatchOptions,
    /// The part of the method that the run leaves out.
    pub ablation: Ablation,
}

impl AsRef<BitMar> for Captioning {
    fn as_ref(&self) -> &BitMar {
        &self.trained.model
    }
}

impl Objective for Captioning {
    type Batch = Batch;

    fn pools(&self) -> Vec<(usize, f32)> {
        self.pools.iter().map(|(samples, share)| (samples.len(), *share)).collect()
    }

    fn batch(&self, examples: &[(usize, usize)], random: &mut Random) -> Batch {
        let samples: Vec<&Sample> =
            examples.iter().map(|&(pool, index)| &self.pools[pool].0[index]).collect();
        let evidence = self.text_evidence.as_ref();
        Batch::draw(&samples, &self.texts, &self.tokenizer, &self.options, evidence, random)
    }

    fn loss(&self, batch: &Batch, context: StepContext) -> Result<(Tensor, Measures)> {
        let model = &self.trained.model;
        let table = model.table()?;
        let stem = self.features(&batch.photos)?;
        let photos = model.vision().forward(&hide_rows(&stem, HIDDEN_PATCHES)?)?;
        let fused = model.fuse_photos(&table, &photos, &batch.prompts)?;
        let captions = self.caption_vectors(batch, &table)?;
        let aligned = captions.narrow(0, 0, batch.aligned.len())?;
        let alignment = alignment_loss(&fused.episodes, &aligned, &self.trained.log_scale)?;
        let memory = self.read_memory(batch, &stem, &fused.episodes, &captions, &table)?;
        let logits = model.decode_captions(
            &table,
            &fused,
            &memory.recalled,
            &batch.captions.inputs,
            &memory.context,
        )?;
        let caption = batch.captions.loss(&logits)?;
        let (alignment_factor, consistency_factor) = self.ablation.loss_factors();
        let weight = alignment_factor
            * alignment_weight(context.progress)
            * f64::from(context.alignment_factor);
        let mut loss = (&caption + (&alignment.loss * weight)?)?;
        let mut measures = Measures::from([
            ("caption", caption.to_scalar()?),
            ("align", alignment.loss.to_scalar()?),
            (SIGNAL, alignment.signal),
        ]);
        if let Some((consistency, own_slot)) = &memory.consistency {
            loss = (loss + (consistency * (consistency_factor * CONSISTENCY))?)?;
            measures.insert("memory", consistency.to_scalar()?);
            measures.insert("own_slot", *own_slot);
        }
        if let Some((text, text_measures)) = batch.texts.loss(model, &table)? {
            measures.extend(text_measures);
            loss = (loss + (text * TEXTS)?)?;
        }
        Ok((loss, measures))
    }

    /// Nats a token of the human captions of dev photos: the original view, all tags, no hint, an
    /// empty memory.
    fn dev(&self) -> Result<Option<DevScore>> {
        const BATCH: usize = 12;
        let model = &self.trained.model;
        mean_loss(&self.dev, BATCH, |samples| {
            let views: Vec<_> = samples.iter().map(|sample| sample.views[0].clone()).collect();
            let mut targets = Targets::default();
            for (photo, sample) in samples.iter().enumerate() {
                for caption in &sample.captions {
                    targets.push(photo, caption.start, &caption.tokens, 1.0);
                }
            }
            let table = model.table()?;
            let photos = model.vision().forward(&self.features(&views)?)?;
            let prompts: Vec<_> =
                samples.iter().map(|sample| prompt(&[], &sample.evidence)).collect();
            let fused = model.fuse_photos(&table, &photos, &prompts)?;
            let context = model.null_context(samples.len())?;
            let logits = model.decode_captions(&table, &fused, &[], &targets.inputs, &context)?;
            Ok((targets.plain_loss(&logits)?, targets.tokens.len()))
        })
    }
}

/// Weight `lambda_cm` of the alignment loss: 0.3 in the first fifth of the run, then a cosine decay
/// to 0.06 at three fifths. Five times that weight made captions worse (docs/experiments).
fn alignment_weight(progress: f32) -> f64 {
    let decayed = f64::from(((progress - 0.2) / 0.4).clamp(0.0, 1.0));
    0.06 + 0.12 * (1.0 + (std::f64::consts::PI * decayed).cos())
}

/// What the photos of a batch read from the memory.
struct MemoryRead {
    /// `[photos, C]`
    context: Tensor,
    recalled: Vec<PlacedText>,
    /// The consistency loss, and the mean attention weight of a stored photo on its own slot.
    consistency: Option<(Tensor, f32)>,
}

impl Captioning {
    /// The vision encoder's input for `photos`, `[photos * patches, channels]`.
    pub(crate) fn features(&self, photos: &[Arc<[i8]>]) -> Result<Tensor> {
        let config = self.trained.model.config();
        let features = features(photos, config.stem.output_channels(), self.stem_scale)?;
        self.ablation.input_features(features, config.num_patches())
    }

    /// Vectors of the aligned captions, then of the stored ones, `[captions, C]`.
    fn caption_vectors(&self, batch: &Batch, table: &QuantizedTable) -> Result<Tensor> {
        let stored = batch.support.iter().map(|support| &support.caption);
        let texts: Vec<&[u32]> = batch.aligned.iter().chain(stored).map(Vec::as_slice).collect();
        let model = &self.trained.model;
        model.caption_vectors(&model.encode_texts(table, &texts)?)
    }

    /// Stores the episodes of `batch.support` and reads the memory with every photo.
    fn read_memory(
        &self,
        batch: &Batch,
        stem: &Tensor,
        episodes: &Tensor,
        captions: &Tensor,
        table: &QuantizedTable,
    ) -> Result<MemoryRead> {
        let model = &self.trained.model;
        let (photos, slots) = (batch.photos.len(), batch.support.len());
        if slots == 0 {
            let context = model.null_context(photos)?;
            return Ok(MemoryRead { context, recalled: Vec::new(), consistency: None });
        }
        let views: Vec<_> = batch.support.iter().map(|support| support.view.clone()).collect();
        let stored_stem = self.features(&views)?;
        let encoded = model.vision().forward(&stored_stem)?;
        let prompts: Vec<_> = batch.support.iter().map(|support| support.prompt.clone()).collect();
        let stored = model.fuse_photos(table, &encoded, &prompts)?;
        let captions = captions.narrow(0, batch.aligned.len(), slots)?;
        let values = model.episode_values(&stored.episodes, &captions)?;
        let mask = Tensor::zeros((photos, slots), DType::F32, &Device::Cpu)?;
        let keys = model.photo_keys(&stored_stem)?.detach();
        let (weights, context) =
            model.read_slots(&model.photo_keys(stem)?.detach(), &keys, &values, &mask)?;
        let owners: Vec<u32> = batch
            .support
            .iter()
            .map(|support| u32::try_from(support.photo).expect("a photo index fits u32"))
            .collect();
        let owners = Tensor::from_vec(owners, slots, &Device::Cpu)?;
        let again = model.episode_values(&episodes.index_select(&owners, 0)?, &captions)?;
        let read = context.index_select(&owners, 0)?;
        let consistency = consistency_loss(&read, &again, &values)?;
        let weights = weights.to_vec2::<f32>()?;
        let own = batch.support.iter().zip(1..).map(|(s, slot)| weights[s.photo][slot]);
        let own_slot = own.sum::<f32>() / slots as f32;
        let recalled = recalled_captions(batch, &weights);
        Ok(MemoryRead { context, recalled, consistency: Some((consistency, own_slot)) })
    }
}

/// The captions of at most two slots that each photo reads with a weight above the threshold, as at
/// run time.
fn recalled_captions(batch: &Batch, weights: &[Vec<f32>]) -> Vec<PlacedText> {
    let mut recalled = Vec::new();
    for (photo, row) in weights.iter().enumerate() {
        let read = batch.support.iter().zip(&row[1..]).filter(|(_, &w)| w > RECALL_THRESHOLD);
        for (support, _) in read.take(2) {
            let marker = if support.is_corrected { CORRECTED } else { RECALLED };
            let tokens = std::iter::once(marker).chain(support.caption.iter().copied());
            let tokens = tokens.take(1 + MAX_CAPTION_TOKENS).collect();
            recalled.push(PlacedText { photo, tokens });
        }
    }
    recalled
}
