//! Keys and values of episodes, and READ over slots that are laid out as tensors.

use candle_core::{Device, Result, Tensor};

use super::{row, BitMar, EncodedTexts};
use crate::config::Config;
use crate::decoder::DecoderState;
use crate::generate::BeamSearch;
use crate::hash::sha256;
use crate::memory::ReadParameters;
use crate::nn::fused::with_values;
use crate::nn::{BitLinear, RmsNorm};
use crate::weights::{Init, ModelError, Weights};

/// beta of READ: a cosine 0.1 above [`SAME_PHOTO`] weighs 25 times as much as the null slot.
pub(crate) const SHARPNESS: f32 = 32.0;
/// Cosine above which two keys more likely belong to one photo than to two; see
/// [`EpisodeProjections`].
pub(crate) const SAME_PHOTO: f32 = 0.66;

/// The projections of an episode to its memory key and value.
///
/// The key is the mean of the photo's stem features, whitened: `k = norm(P (mean - mu))`. It is not
/// learned together with the captions, which would pull similar photos together:
/// docs/architecture.md, "Departures"; `bitmar-train eval-memory` measures how well keys separate
/// copies of a photo from other photos.
pub(super) struct EpisodeProjections {
    key_mean: Tensor,
    key_whitening: Tensor,
    fused_norm: RmsNorm,
    episode_proj: BitLinear,
    episode_norm: RmsNorm,
    caption_norm: RmsNorm,
    caption_proj: BitLinear,
    value_norm: RmsNorm,
    value_proj: BitLinear,
    sharpness: Tensor,
    null_logit: Tensor,
    null_value: Tensor,
}

impl EpisodeProjections {
    pub(super) fn new(weights: &Weights, config: &Config) -> std::result::Result<Self, ModelError> {
        let (hidden, width) = (config.hidden_size, config.memory.width);
        let norm = |name: &str, size| RmsNorm::new(&weights.pp(name), size);
        let linear = |name: &str, inputs| BitLinear::new(&weights.pp(name), inputs, width);
        let channels = config.stem.output_channels();
        let key_init = Init::Normal((channels as f32).sqrt().recip());
        Ok(Self {
            key_mean: weights.tensor("key_mean", &[channels], Init::Constant(0.0))?,
            key_whitening: weights.tensor("key_whitening", &[width, channels], key_init)?,
            fused_norm: norm("fused_norm", hidden)?,
            episode_proj: linear("episode_proj", hidden)?,
            episode_norm: norm("episode_norm", width)?,
            caption_norm: norm("caption_norm", hidden)?,
            caption_proj: linear("caption_proj", hidden)?,
            value_norm: norm("value_norm", width)?,
            value_proj: linear("value_proj", width)?,
            sharpness: weights.tensor("sharpness", &[1], Init::Constant(SHARPNESS))?,
            null_logit: weights.tensor(
                "null_logit",
                &[1],
                Init::Constant(SHARPNESS * SAME_PHOTO),
            )?,
            null_value: weights.tensor("null_value", &[1, width], Init::Normal(0.5))?,
        })
    }
}

impl BitMar {
    /// Projected mean of each text's rows, `[texts, C]`.
    pub fn caption_vectors(&self, texts: &EncodedTexts) -> Result<Tensor> {
        let rows = texts.rows.dim(0)?;
        let mut mean = vec![0.0; texts.ranges.len() * rows];
        for (text, range) in texts.ranges.iter().enumerate() {
            mean[text * rows..][range.clone()].fill(1.0 / range.len() as f32);
        }
        let mean = Tensor::from_vec(mean, (texts.ranges.len(), rows), &Device::Cpu)?;
        let pooled = self.episode.caption_norm.forward(&mean.matmul(&texts.rows)?)?;
        self.episode.caption_proj.forward(&pooled)
    }

    /// Ranks the captions that a search has found by their agreement with their photo, too: the
    /// cosine with its episode `[C]`, which the alignment loss has trained.
    pub fn weigh(&self, search: &mut BeamSearch<DecoderState>, episode: &[f32]) -> Result<()> {
        let texts: Vec<&[u32]> =
            search.finished().iter().map(|caption| caption.tokens.as_slice()).collect();
        if texts.len() < 2 {
            return Ok(());
        }
        let captions = self.caption_vectors(&self.encode_texts(&self.table()?, &texts)?)?;
        let cosines = unit_rows(&captions)?.matmul(&unit_rows(&row(episode)?)?.t()?)?;
        search.weigh(&cosines.flatten_all()?.to_vec1::<f32>()?);
        Ok(())
    }

    pub(super) fn pooled_episodes(&self, fused: &Tensor, photos: usize) -> Result<Tensor> {
        let (num_queries, hidden) = (self.config.num_queries, self.config.hidden_size);
        let queries = fused.narrow(0, 0, photos * num_queries)?;
        let pooled = queries.reshape((photos, num_queries, hidden))?.mean(1)?;
        let projections = &self.episode;
        let episode =
            projections.episode_proj.forward(&projections.fused_norm.forward(&pooled)?)?;
        projections.episode_norm.forward(&episode)
    }

    /// SHA-256 of the whitening that makes keys.
    pub fn whitening_sha256(&self) -> Result<String> {
        let mut bytes = Vec::new();
        for tensor in [&self.episode.key_mean, &self.episode.key_whitening] {
            with_values(tensor, |values| {
                bytes.extend(values.iter().flat_map(|v| v.to_le_bytes()))
            })?;
        }
        Ok(sha256(&bytes))
    }

    /// Memory keys of photos with stem features `[photos * patches, channels]`: `[photos, C]`, unit
    /// length.
    pub fn photo_keys(&self, features: &Tensor) -> Result<Tensor> {
        let (patches, channels) = (self.config.num_patches(), features.dim(1)?);
        let photos = features.dim(0)? / patches;
        let means = features.reshape((photos, patches, channels))?.mean(1)?;
        let centered = means.broadcast_sub(&self.episode.key_mean)?;
        unit_rows(&centered.matmul(&self.episode.key_whitening.t()?)?)
    }

    /// Memory values of episodes and the vectors of their captions, `[episodes, C]` both.
    pub fn episode_values(&self, episodes: &Tensor, captions: &Tensor) -> Result<Tensor> {
        let episode = self.episode.value_norm.forward(&episodes.add(captions)?)?;
        self.episode.value_proj.forward(&episode)
    }

    /// READ of keys over slots laid out as tensors: weights `[photos, 1 + slots]` (null slot first)
    /// and contexts `[photos, C]`. `mask` `[photos, slots]` is added to the scores.
    pub fn read_slots(
        &self,
        queries: &Tensor,
        keys: &Tensor,
        values: &Tensor,
        mask: &Tensor,
    ) -> Result<(Tensor, Tensor)> {
        let photos = queries.dim(0)?;
        // Both were set together with the keys and are not learned.
        let (sharpness, null) = (self.episode.sharpness.detach(), self.episode.null_logit.detach());
        let scores = queries.matmul(&keys.t()?)?.broadcast_mul(&sharpness)?.add(mask)?;
        let null = null.reshape((1, 1))?.broadcast_as((photos, 1))?;
        let scores = Tensor::cat(&[null.contiguous()?, scores], 1)?;
        let largest = scores.max_keepdim(1)?.detach();
        let exponents = scores.broadcast_sub(&largest)?.exp()?;
        let weights = exponents.broadcast_div(&exponents.sum_keepdim(1)?)?;
        let values = Tensor::cat(&[self.episode.null_value.clone(), values.clone()], 0)?;
        let context = weights.matmul(&values)?;
        Ok((weights, context))
    }

    /// The context of an empty memory for each photo, `[photos, C]`.
    pub fn null_context(&self, photos: usize) -> Result<Tensor> {
        let width = self.config.memory.width;
        self.episode.null_value.broadcast_as((photos, width))?.contiguous()
    }

    /// Root mean square of each decoder layer's modulation by contexts `[photos, C]`.
    #[cfg(feature = "train")]
    pub(crate) fn modulations(&self, contexts: &Tensor) -> Result<Vec<f32>> {
        self.decoder.modulations(contexts)
    }

    /// The memory key of one photo from its stem features, unit length, `[C]`.
    pub fn photo_key(&self, features: &[f32]) -> Result<Vec<f32>> {
        let shape = (self.config.num_patches(), self.config.stem.output_channels());
        let features = Tensor::from_slice(features, shape, &Device::Cpu)?;
        with_values(&self.photo_keys(&features)?, <[f32]>::to_vec)
    }

    /// The memory value of an episode `[C]` with its caption's tokens.
    pub fn episode_value(&self, episode: &[f32], caption: &[u32]) -> Result<Vec<f32>> {
        let encoded = self.encode_texts(&self.table()?, &[caption])?;
        let values = self.episode_values(&row(episode)?, &self.caption_vectors(&encoded)?)?;
        with_values(&values, <[f32]>::to_vec)
    }

    /// The parameters of READ, as plain numbers.
    pub fn read_parameters(&self) -> Result<ReadParameters> {
        let number = |tensor: &Tensor| with_values(tensor, |values| values[0]);
        Ok(ReadParameters {
            sharpness: number(&self.episode.sharpness)?,
            null_logit: number(&self.episode.null_logit)?,
            null_value: with_values(&self.episode.null_value, <[f32]>::to_vec)?,
        })
    }
}

/// Scales every row to length 1.
pub(crate) fn unit_rows(rows: &Tensor) -> Result<Tensor> {
    let lengths = (rows.sqr()?.sum_keepdim(1)? + 1e-12)?.sqrt()?;
    rows.broadcast_div(&lengths)
}
