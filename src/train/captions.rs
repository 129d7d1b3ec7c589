//! Training of the whole model on captions: two graphs, one a core, over half the batch each, their
//! gradients summed.

use std::collections::BTreeMap;

use candle_core::{DType, Device, Result, Tensor};

use crate::model::{BitMar, PlacedText};
use crate::train::batch::Shard;
use crate::train::losses::{alignment_loss, caption_loss, consistency_loss};
use crate::weights::{Init, ModelError, Weights};

/// Label smoothing of the caption loss.
const SMOOTHING: f32 = 0.1;
/// Weight of the memory's consistency loss.
const CONSISTENCY: f64 = 0.1;
/// A slot lends its caption above this weight; the same at run time.
pub const RECALL_THRESHOLD: f32 = 0.3;

/// The model and the parameters only training needs.
pub struct TrainedModel {
    /// The model.
    pub model: BitMar,
    log_scale: Tensor,
}

impl TrainedModel {
    /// Fresh variables under `weights`; the names of those only training needs start with `train.`.
    pub fn new(
        weights: &Weights,
        config: &crate::config::Config,
    ) -> std::result::Result<Self, ModelError> {
        let log_scale = Init::Constant((1.0f32 / 0.07).ln());
        Ok(Self {
            model: BitMar::new(weights, config)?,
            log_scale: weights.pp("train").tensor("log_scale", &[1], log_scale)?,
        })
    }
}

/// What a shard's forward pass measured.
#[derive(Debug, Clone, Copy, Default)]
pub struct Measures {
    /// Cross entropy of the captions in nats a token, smoothed labels.
    pub caption: f32,
    /// InfoNCE.
    pub alignment: f32,
    /// Memory consistency.
    pub consistency: f32,
    /// Mean cosine of pairs minus that of other combinations.
    pub signal: f32,
    /// Mean weight that supported photos give to their own slot.
    pub own_slot: f32,
}

/// The loss of one shard, to be differentiated, and what it is made of.
pub struct ShardLoss {
    /// Scalar.
    pub loss: Tensor,
    /// Its parts.
    pub measures: Measures,
}

impl TrainedModel {
    /// READ -> decode over a shard; `stem_scale` turns its int8 features into floats.
    pub fn shard_loss(
        &self,
        shard: &Shard,
        stem_scale: f32,
        alignment_weight: f64,
    ) -> Result<ShardLoss> {
        let model = &self.model;
        let table = model.table()?;
        let channels = model.config().stem.output_channels();
        let photos = model.vision().forward(&features(&shard.photos, channels, stem_scale)?)?;
        let fused = model.fuse_photos(&table, &photos, &shard.hints)?;
        let texts: Vec<&[u32]> = shard.aligned.iter().map(Vec::as_slice).collect();
        let captions = model.caption_vectors(&model.encode_texts(&table, &texts)?)?;
        let alignment = alignment_loss(&fused.query, &captions, &self.log_scale)?;
        let memory = self.read_memory(shard, &fused.query, &captions, stem_scale, &table)?;
        let mut recalled = shard.forced.clone();
        recalled.extend(memory.recalled);
        let logits =
            model.decode_captions(&table, &fused, &recalled, &shard.inputs, &memory.context)?;
        let caption =
            caption_loss(&logits, shard.targets.clone(), shard.weights.clone(), SMOOTHING)?;
        let mut loss = (&caption + (&alignment.loss * alignment_weight)?)?;
        if let Some(consistency) = &memory.consistency {
            loss = (loss + (consistency * CONSISTENCY)?)?;
        }
        let measures = Measures {
            caption: caption.to_scalar()?,
            alignment: alignment.loss.to_scalar()?,
            consistency: memory.consistency.map_or(Ok(0.0), |c| c.to_scalar())?,
            signal: alignment.signal,
            own_slot: memory.own_slot,
        };
        Ok(ShardLoss { loss, measures })
    }

    fn read_memory(
        &self,
        shard: &Shard,
        query: &Tensor,
        captions: &Tensor,
        stem_scale: f32,
        table: &crate::model::QuantizedTable,
    ) -> Result<MemoryRead> {
        let model = &self.model;
        let photos = shard.photos.len();
        if shard.support.is_empty() {
            let context = model.null_context(photos)?;
            return Ok(MemoryRead {
                context,
                recalled: Vec::new(),
                consistency: None,
                own_slot: 0.0,
            });
        }
        let views: Vec<_> = shard.support.iter().map(|(_, view)| view.clone()).collect();
        let channels = model.config().stem.output_channels();
        let encoded = model.vision().forward(&features(&views, channels, stem_scale)?)?;
        let stored = model.fuse_photos(table, &encoded, &vec![Vec::new(); views.len()])?;
        let owners: Vec<u32> =
            shard.support.iter().map(|(photo, _)| u32::try_from(*photo).expect("small")).collect();
        let owner_rows = Tensor::from_slice(&owners, owners.len(), &Device::Cpu)?;
        let captions = captions.index_select(&owner_rows, 0)?;
        let keys = model.episode_keys(&stored.query)?;
        let values = model.episode_values(&stored.query, &captions)?;
        let mask = Tensor::zeros((photos, views.len()), DType::F32, &Device::Cpu)?;
        let (weights, context) =
            model.read_slots(&model.read_queries(query)?, &keys, &values, &mask)?;
        let again = model.episode_values(&query.index_select(&owner_rows, 0)?, &captions)?;
        let read = context.index_select(&owner_rows, 0)?;
        let consistency = consistency_loss(&read, &again, &values)?;
        let weights = weights.to_vec2::<f32>()?;
        let own =
            shard.support.iter().enumerate().map(|(slot, (photo, _))| weights[*photo][1 + slot]);
        let own_slot = own.sum::<f32>() / views.len() as f32;
        let recalled = strongly_read(shard, &weights);
        Ok(MemoryRead { context, recalled, consistency: Some(consistency), own_slot })
    }
}

struct MemoryRead {
    context: Tensor,
    recalled: Vec<PlacedText>,
    consistency: Option<Tensor>,
    own_slot: f32,
}

/// The captions of at most two slots a photo reads above the threshold.
fn strongly_read(shard: &Shard, weights: &[Vec<f32>]) -> Vec<PlacedText> {
    let mut recalled = Vec::new();
    for (photo, row) in weights.iter().enumerate().filter(|(photo, _)| shard.may_recall[*photo]) {
        let strong = row[1..].iter().enumerate().filter(|(_, &w)| w > RECALL_THRESHOLD);
        for (slot, _) in strong.take(2) {
            let caption = &shard.aligned[shard.support[slot].0];
            let tokens =
                std::iter::once(crate::model::special::RECALLED).chain(caption.iter().copied());
            recalled.push(PlacedText { photo, tokens: tokens.take(25).collect() });
        }
    }
    recalled
}

/// `[photos * patches, channels]` floats of int8 stem features.
pub(crate) fn features(
    photos: &[std::sync::Arc<[i8]>],
    channels: usize,
    scale: f32,
) -> Result<Tensor> {
    let values: Vec<f32> =
        photos.iter().flat_map(|photo| photo.iter().map(|&v| f32::from(v) * scale)).collect();
    let rows = values.len() / channels;
    Tensor::from_vec(values, (rows, channels), &Device::Cpu)
}

/// Gradients by variable name.
pub type Gradients = BTreeMap<String, Vec<f32>>;

/// The gradients summed over the shards, each shard on a core of its own.
pub fn gradients(
    trained: &TrainedModel,
    variables: &BTreeMap<String, candle_core::Var>,
    shards: &[Shard],
    stem_scale: f32,
    alignment_weight: f64,
) -> Result<(Gradients, Measures)> {
    let results: Vec<Result<(Gradients, ShardLoss)>> = std::thread::scope(|scope| {
        let workers: Vec<_> = shards
            .iter()
            .map(|shard| {
                scope.spawn(move || {
                    let loss = trained.shard_loss(shard, stem_scale, alignment_weight)?;
                    let store = loss.loss.backward()?;
                    Ok((by_name(variables, &store)?, loss))
                })
            })
            .collect();
        workers
            .into_iter()
            .map(|worker| worker.join().expect("a shard's thread panicked"))
            .collect()
    });
    let mut total: Gradients = BTreeMap::new();
    let mut mean = Measures::default();
    let share = 1.0 / shards.len() as f32;
    for result in results {
        let (gradients, loss) = result?;
        for (name, gradient) in gradients {
            let sum = total.entry(name).or_insert_with(|| vec![0.0; gradient.len()]);
            sum.iter_mut().zip(&gradient).for_each(|(sum, g)| *sum += share * g);
        }
        let m = loss.measures;
        mean.caption += share * m.caption;
        mean.alignment += share * m.alignment;
        mean.consistency += share * m.consistency;
        mean.signal += share * m.signal;
        mean.own_slot += share * m.own_slot;
    }
    Ok((total, mean))
}

pub(crate) fn by_name(
    variables: &BTreeMap<String, candle_core::Var>,
    store: &candle_core::backprop::GradStore,
) -> Result<Gradients> {
    let mut out = BTreeMap::new();
    for (name, var) in variables {
        if let Some(gradient) = store.get(var) {
            out.insert(name.clone(), gradient.flatten_all()?.to_vec1::<f32>()?);
        }
    }
    Ok(out)
}
