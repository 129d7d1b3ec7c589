//! The causal BitNet decoder, conditioned in every layer on the context that READ returned.
//!
//! `c = RMSNorm(W_c m_r)`; in layer l `(gamma_l, delta_l) = BitLinear_l(c)` and the first norm
//! becomes `RMSNorm(x) * (1 + g_l gamma_l) + g_l delta_l`, the gate g_l starting from 0.

use std::sync::Arc;

use candle_core::{Device, Result, Tensor, D};

use crate::config::Config;
use crate::nn::fused::with_values;
use crate::nn::{
    AttentionLayout, BitLinear, Block, KvCache, Modulation, RmsNorm, RowModulation, Segment,
    Workspace,
};
use crate::text::text_sizes;
use crate::weights::{ModelError, Weights};

/// The decoder: rows of tokens and prefix to normalized rows for the output head.
pub struct Decoder {
    context_proj: BitLinear,
    context_norm: RmsNorm,
    layers: Vec<ConditionedBlock>,
    norm: RmsNorm,
    window: usize,
}

struct ConditionedBlock {
    modulation_proj: BitLinear,
    gate: Tensor,
    block: Block,
}

/// The state of one text: for each layer a cache and the modulation by its photo's context. A clone
/// continues independently.
#[derive(Clone)]
pub struct DecoderState {
    caches: Vec<KvCache>,
    modulations: Arc<Vec<RowModulation>>,
}

impl Decoder {
    /// The decoder of `config`.
    pub fn new(weights: &Weights, config: &Config) -> std::result::Result<Self, ModelError> {
        let (hidden, width) = (config.hidden_size, config.memory.width);
        let layers = (0..config.decoder_layers)
            .map(|i| {
                let weights = weights.pp("blocks").pp(i);
                Ok(ConditionedBlock {
                    modulation_proj: BitLinear::new(
                        &weights.pp("modulation_proj"),
                        width,
                        2 * hidden,
                    )?,
                    gate: weights.gate()?,
                    block: Block::new(&weights, text_sizes(config))?,
                })
            })
            .collect::<std::result::Result<_, ModelError>>()?;
        Ok(Self {
            context_proj: BitLinear::new(&weights.pp("context_proj"), width, width)?,
            context_norm: RmsNorm::new(&weights.pp("context_norm"), width)?,
            layers,
            norm: RmsNorm::new(&weights.pp("norm"), hidden)?,
            window: config.window,
        })
    }

    /// Decodes whole sequences: `rows` `[rows, hidden_size]`, `context` `[photos, C]` from the
    /// memory, and the photo of each row.
    pub fn forward(
        &self,
        rows: &Tensor,
        context: &Tensor,
        photo_of_row: &[u32],
        layout: &AttentionLayout,
    ) -> Result<Tensor> {
        let context = self.conditioning(context)?;
        let photos = Tensor::from_slice(photo_of_row, photo_of_row.len(), &Device::Cpu)?;
        let mut rows = rows.clone();
        for layer in &self.layers {
            let normed = layer.block.modulated(&rows, &layer.modulation(&context, &photos)?)?;
            let attended = layer.block.attn().forward(&normed, &normed, layout)?;
            rows = layer.block.finish(&rows, &attended)?;
        }
        self.norm.forward(&rows)
    }

    /// Runs the prefix `[rows, hidden_size]` of one text, its rows at `positions`, and keeps it in
    /// the fixed part of the caches; the first token will have position `first`.
    pub fn prefill(
        &self,
        prefix: &Tensor,
        context: &Tensor,
        segments: Vec<Segment>,
        positions: &[u32],
        first: usize,
    ) -> Result<DecoderState> {
        let context = self.conditioning(context)?;
        let layout = AttentionLayout::with_positions(segments, positions.to_vec());
        let photos = Tensor::zeros(prefix.dim(0)?, candle_core::DType::U32, &Device::Cpu)?;
        let mut rows = prefix.clone();
        let mut caches = Vec::with_capacity(self.layers.len());
        let mut modulations = Vec::with_capacity(self.layers.len());
        for (index, layer) in self.layers.iter().enumerate() {
            let modulation = layer.modulation(&context, &photos)?;
            let normed = layer.block.modulated(&rows, &modulation)?;
            modulations.push(modulation.of_first_row()?);
            let attn = layer.block.attn();
            let (keys, values) = attn.keys_and_values(&normed)?;
            let (fixed_keys, fixed_values) =
                (with_values(&keys, <[f32]>::to_vec)?, with_values(&values, <[f32]>::to_vec)?);
            let (positions, heads) = (positions.to_vec(), attn.heads());
            let cache =
                KvCache::new(fixed_keys, fixed_values, positions, first, self.window, heads);
            caches.push(cache);
            // Only keys and values of the prefix are needed, so the last layer computes no output
            // for it.
            if index + 1 < self.layers.len() {
                let attended = attn.attend(&normed, &keys, &values, &layout)?;
                rows = layer.block.finish(&rows, &attended)?;
            }
        }
        Ok(DecoderState { caches, modulations: Arc::new(modulations) })
    }

    /// Decodes one more token for each text of one photo: `rows` `[texts, hidden_size]`.
    pub fn step(&self, states: &mut [DecoderState], rows: &Tensor) -> Result<Tensor> {
        self.step_in(states, rows, false).map(|(rows, _)| rows)
    }

    /// [`step`](Self::step) of one text that also returns the attention from its token to the
    /// prefix, averaged over all heads of all layers, `[prefix rows]`. The rest up to 1 went to the
    /// text itself.
    pub(crate) fn observed_step(
        &self,
        state: &mut DecoderState,
        row: &Tensor,
    ) -> Result<(Tensor, Vec<f32>)> {
        let (row, mut weights) = self.step_in(std::slice::from_mut(state), row, true)?;
        let heads: usize = self.layers.iter().map(|l| l.block.attn().heads().queries).sum();
        weights.iter_mut().for_each(|weight| *weight /= heads as f32);
        Ok((row, weights))
    }

    fn step_in(
        &self,
        states: &mut [DecoderState],
        rows: &Tensor,
        is_observed: bool,
    ) -> Result<(Tensor, Vec<f32>)> {
        let Some(first) = states.first() else { candle_core::bail!("no text to continue") };
        let modulations = first.modulations.clone();
        let mut values = with_values(rows, <[f32]>::to_vec)?;
        let mut scratch = Workspace::new(states.iter().filter_map(|state| state.caches.first()));
        scratch.weights.observed = is_observed.then(Vec::new);
        for (index, (layer, modulation)) in self.layers.iter().zip(&*modulations).enumerate() {
            let caches = states.iter_mut().map(|state| &mut state.caches[index]);
            layer.block.step(&mut values, modulation, caches, &mut scratch)?;
        }
        let rows = self.norm.forward(&Tensor::from_vec(values, rows.shape(), &Device::Cpu)?)?;
        Ok((rows, scratch.weights.observed.unwrap_or_default()))
    }

    /// Root mean square of `g_l gamma_l` and `g_l delta_l` in each layer l, for contexts
    /// `[photos, C]`.
    #[cfg(feature = "train")]
    pub(crate) fn modulations(&self, context: &Tensor) -> Result<Vec<f32>> {
        let context = self.conditioning(context)?;
        let layers = self.layers.iter();
        layers.map(|l| l.gated(&context)?.sqr()?.mean_all()?.sqrt()?.to_scalar()).collect()
    }

    fn conditioning(&self, context: &Tensor) -> Result<Tensor> {
        self.context_norm.forward(&self.context_proj.forward(context)?)
    }
}

impl ConditionedBlock {
    /// `g_l gamma_l` and `g_l delta_l`, concatenated: `[photos, 2 * hidden_size]`.
    fn gated(&self, context: &Tensor) -> Result<Tensor> {
        self.modulation_proj.forward(context)?.broadcast_mul(&self.gate)
    }

    fn modulation(&self, context: &Tensor, photo_of_row: &Tensor) -> Result<Modulation> {
        let gated = self.gated(context)?;
        let half = gated.dim(D::Minus1)? / 2;
        let scale = (gated.narrow(1, 0, half)? + 1.0)?;
        let shift = gated.narrow(1, half, half)?.contiguous()?;
        Ok(Modulation {
            scale: scale.index_select(photo_of_row, 0)?,
            shift: shift.index_select(photo_of_row, 0)?,
        })
    }
}

impl DecoderState {
    /// Number of rows in each layer's cache.
    pub fn cache_len(&self) -> usize {
        self.caches.first().map_or(0, KvCache::len)
    }
}
