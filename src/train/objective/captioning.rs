//! Training of the whole model on captions: `L = L_lm + lambda_cm L_cm + 0.1 L_mem`, with texts that have
//! no photo beside, for the decoder's language.

use std::sync::Arc;

use candle_core::{DType, Device, Result, Tensor};
use tokenizers::Tokenizer;

use crate::config::Config;
use crate::memory::{MAX_CAPTION_TOKENS, RECALL_THRESHOLD};
use crate::model::{BitMar, PlacedText, QuantizedTable};
use crate::nn::dropout::hide_rows;
use crate::random::Random;
use crate::tokenizer::{CORRECTED, RECALLED};
use crate::train::data::sample::{CaptionTokens, Sample};
use crate::train::objective::ablation::Ablation;
use crate::train::objective::batch::{Batch, BatchOptions};
use crate::train::objective::dev::{dev_loss, DevScore, DEV_SEED};
use crate::train::objective::features::features;
use crate::train::objective::losses::{alignment_loss, consistency_loss};
use crate::train::objective::{Measures, Objective, StepContext, SIGNAL};
use crate::weights::{Init, ModelError, Weights};

/// Weight of the memory's consistency loss.
const CONSISTENCY: f64 = 0.1;
/// Share of a photo's patches that are hidden where there is dropout.
const HIDDEN_PATCHES: f32 = 0.15;
/// Weight of the texts without a photo beside the captions.
const TEXTS: f64 = 0.3;

/// The model and the parameters only training needs.
pub struct TrainedModel {
    /// The model.
    pub model: BitMar,
    log_scale: Tensor,
}

impl TrainedModel {
    /// Fresh variables under `weights`; the names of those only training needs start with `train.`.
    pub fn new(weights: &Weights, config: &Config) -> std::result::Result<Self, ModelError> {
        let log_scale = Init::Constant((1.0f32 / 0.07).ln());
        Ok(Self {
            model: BitMar::new(weights, config)?,
            log_scale: weights.pp("train").tensor("log_scale", &[1], log_scale)?,
        })
    }
}

/// Photos with captions, and texts.
pub struct Captioning {
    /// The model.
    pub trained: TrainedModel,
    /// Photos by pool, and the share of draws from each.
    pub pools: Vec<(Vec<Sample>, f32)>,
    /// Texts without photos.
    pub texts: Vec<CaptionTokens>,
    /// What a stem feature is worth.
    pub stem_scale: f32,
    /// For the words that are put into captions.
    pub tokenizer: Tokenizer,
    /// Photos that nothing is trained on, to choose the best checkpoint by.
    pub dev: Vec<Sample>,
    /// How batches are put together.
    pub options: BatchOptions,
    /// What it does without.
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
            examples.iter().map(|&(pool, number)| &self.pools[pool].0[number]).collect();
        Batch::draw(&samples, &self.texts, &self.tokenizer, &self.options, random)
    }

    fn loss(&self, batch: &Batch, context: StepContext) -> Result<(Tensor, Measures)> {
        let model = &self.trained.model;
        let table = model.table()?;
        let stem = self.features(&batch.photos)?;
        let photos = model.vision().forward(&hide_rows(&stem, HIDDEN_PATCHES)?)?;
        let fused = model.fuse_photos(&table, &photos, &batch.hints)?;
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
        let (aligns, is_consistent) = self.ablation.loss_factors();
        let weight =
            aligns * alignment_weight(context.progress) * f64::from(context.alignment_factor);
        let mut loss = (&caption + (&alignment.loss * weight)?)?;
        let mut measures = Measures::from([
            ("caption", caption.to_scalar()?),
            ("align", alignment.loss.to_scalar()?),
            (SIGNAL, alignment.signal),
        ]);
        if let Some((consistency, own_slot)) = &memory.consistency {
            loss = (loss + (consistency * (is_consistent * CONSISTENCY))?)?;
            measures.insert("memory", consistency.to_scalar()?);
            measures.insert("own_slot", *own_slot);
        }
        if let Some((text, of_texts)) = batch.texts.loss(model, &table)? {
            measures.extend(of_texts);
            loss = (loss + (text * TEXTS)?)?;
        }
        Ok((loss, measures))
    }

    /// Every caption of the dev photos, predicted with an empty memory and without a hint.
    fn dev(&self) -> Result<Option<DevScore>> {
        let options = BatchOptions {
            empty_memory: 1.0,
            corrected: 0.0,
            hinted: 0.0,
            corrupted: 0.0,
            texts: 0,
            ..self.options.clone()
        };
        let context = StepContext { progress: 1.0, alignment_factor: 1.0 };
        dev_loss(&self.dev, "caption", |samples| {
            let samples: Vec<&Sample> = samples.iter().collect();
            let mut random = Random::new(DEV_SEED);
            let batch = Batch::draw(&samples, &[], &self.tokenizer, &options, &mut random);
            self.loss(&batch, context).map(|(_, measures)| measures)
        })
    }
}

/// 0.3 in the first fifth, cosine down to 0.06 at three fifths: five times as much cost captions (docs/training.md).
fn alignment_weight(progress: f32) -> f64 {
    let along = f64::from(((progress - 0.2) / 0.4).clamp(0.0, 1.0));
    0.06 + 0.12 * (1.0 + (std::f64::consts::PI * along).cos())
}

struct MemoryRead {
    context: Tensor,
    recalled: Vec<PlacedText>,
    /// The loss, and the mean weight that remembered photos give to their own slot.
    consistency: Option<(Tensor, f32)>,
}

impl Captioning {
    /// What the model sees of photos, `[photos * patches, channels]`.
    pub(crate) fn features(&self, photos: &[Arc<[i8]>]) -> Result<Tensor> {
        let config = self.trained.model.config();
        let features = features(photos, config.stem.output_channels(), self.stem_scale)?;
        self.ablation.seen(features, config.num_patches())
    }

    /// Vectors of the aligned captions, then of the remembered ones.
    fn caption_vectors(&self, batch: &Batch, table: &QuantizedTable) -> Result<Tensor> {
        let remembered = batch.support.iter().map(|support| &support.caption);
        let texts: Vec<&[u32]> =
            batch.aligned.iter().chain(remembered).map(Vec::as_slice).collect();
        let model = &self.trained.model;
        model.caption_vectors(&model.encode_texts(table, &texts)?)
    }

    /// Writes the supports and reads with every photo.
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
        let stored = model.fuse_photos(table, &encoded, &vec![Vec::new(); slots])?;
        let captions = captions.narrow(0, batch.aligned.len(), slots)?;
        let values = model.episode_values(&stored.episodes, &captions)?;
        let mask = Tensor::zeros((photos, slots), DType::F32, &Device::Cpu)?;
        let keys = model.photo_keys(&stored_stem)?.detach();
        let (weights, context) =
            model.read_slots(&model.photo_keys(stem)?.detach(), &keys, &values, &mask)?;
        let owners: Vec<u32> = batch
            .support
            .iter()
            .map(|support| u32::try_from(support.photo).expect("a batch is small"))
            .collect();
        let owners = Tensor::from_vec(owners, slots, &Device::Cpu)?;
        let again = model.episode_values(&episodes.index_select(&owners, 0)?, &captions)?;
        let read = context.index_select(&owners, 0)?;
        let consistency = consistency_loss(&read, &again, &values)?;
        let weights = weights.to_vec2::<f32>()?;
        let own = batch.support.iter().zip(1..).map(|(s, slot)| weights[s.photo][slot]);
        let own_slot = own.sum::<f32>() / slots as f32;
        let recalled = strongly_read(batch, &weights);
        Ok(MemoryRead { context, recalled, consistency: Some((consistency, own_slot)) })
    }
}

/// The captions of at most two slots a photo reads above the threshold, as at run time.
fn strongly_read(batch: &Batch, weights: &[Vec<f32>]) -> Vec<PlacedText> {
    let mut recalled = Vec::new();
    for (photo, row) in weights.iter().enumerate() {
        let strong = batch.support.iter().zip(&row[1..]).filter(|(_, &w)| w > RECALL_THRESHOLD);
        for (support, _) in strong.take(2) {
            let marker = if support.is_corrected { CORRECTED } else { RECALLED };
            let tokens = std::iter::once(marker).chain(support.caption.iter().copied());
            let tokens = tokens.take(1 + MAX_CAPTION_TOKENS).collect();
            recalled.push(PlacedText { photo, tokens });
        }
    }
    recalled
}
