//! BitMar: its parts and the one forward pass that training and browser share.
//!
//! ```text
//! stem features -> VisionEncoder -> patch rows ----.
//! query tokens, prompt -> TextEncoder -> queries -> CrossModalFusion -> fused rows F
//! stem features -> key k; pool(F) -> episode e
//! k -> memory READ -> context m_r, recalled captions
//! [sinks | F | patch rows], then side by side [recalled captions] [start, y_1 .. y_t]
//!   -> Decoder (conditioned on m_r) -> logits
//! ```

use std::ops::Range;

use candle_core::{DType, Device, Result, Tensor};

use crate::config::Config;
use crate::control_tokens::{CORRECTED, RECALLED};
use crate::decoder::{Decoder, DecoderState};
use crate::fusion::CrossModalFusion;
use crate::memory::RecalledCaption;
use crate::nn::fused::with_values;
use crate::nn::{AttentionLayout, Segment, TokenEmbedding};
use crate::text::{consecutive, TextEncoder};
use crate::vision::{EncodedPhotos, VisionEncoder};
use crate::weights::{Init, ModelError, Weights};

mod episode;
mod placement;

pub use crate::nn::token_embedding::QuantizedTable;
use episode::EpisodeProjections;
#[cfg(feature = "train")]
pub(crate) use episode::{unit_rows, SAME_PHOTO, SHARPNESS};
use placement::Placement;

/// The whole model except the frozen stem.
pub struct BitMar {
    config: Config,
    vision: VisionEncoder,
    embedding: TokenEmbedding,
    query_tokens: Tensor,
    text: TextEncoder,
    fusion: CrossModalFusion,
    episode: EpisodeProjections,
    sink_tokens: Tensor,
    decoder: Decoder,
}

/// Encoded texts, concatenated.
pub struct EncodedTexts {
    /// `[tokens, hidden_size]`.
    pub rows: Tensor,
    /// The rows of each text.
    pub ranges: Vec<Range<usize>>,
}

/// Photos after the fusion.
pub struct FusedPhotos {
    /// `[photos * num_queries + prompt tokens + photos * (patches + 1), hidden_size]`: the fused
    /// rows, then the patch rows they were fused with.
    pub rows: Tensor,
    /// The rows of each photo.
    pub photos: Vec<FusedPhotoRows>,
    /// Episodes e, `[photos, C]`.
    pub episodes: Tensor,
}

/// The rows of one photo among [`FusedPhotos::rows`].
#[derive(Debug, Clone, Default)]
pub struct FusedPhotoRows {
    /// Its fused query rows.
    pub queries: Range<usize>,
    /// Its fused prompt rows, possibly none.
    pub prompt: Range<usize>,
    /// Its patch rows.
    pub patches: Range<usize>,
    /// Its CLS row.
    pub cls: Range<usize>,
}

impl FusedPhotoRows {
    /// The ranges that are not empty, in the order of the decoder's prefix.
    fn prefix(&self) -> impl Iterator<Item = &Range<usize>> {
        let all = [&self.queries, &self.prompt, &self.patches, &self.cls];
        all.into_iter().filter(|range| !range.is_empty())
    }
}

/// One photo after the fusion, with its episode as plain numbers.
pub struct FusedPhoto {
    fused: FusedPhotos,
    /// The episode e, `[C]`.
    pub episode: Vec<f32>,
}

/// A text to decode after a photo's prefix.
#[derive(Debug, Clone)]
pub struct PlacedText {
    /// The photo it belongs to.
    pub photo: usize,
    /// Its tokens: those of a recalled caption begin with the marker, those of a caption with the
    /// start token.
    pub tokens: Vec<u32>,
}

impl BitMar {
    /// The model of `config` with the parameters of `weights`.
    pub fn new(weights: &Weights, config: &Config) -> std::result::Result<Self, ModelError> {
        config.validate()?;
        let hidden = config.hidden_size;
        let tokens =
            |name: &str, rows: usize| weights.tensor(name, &[rows, hidden], Init::Normal(0.3));
        Ok(Self {
            vision: VisionEncoder::new(&weights.pp("vision"), config)?,
            embedding: TokenEmbedding::new(&weights.pp("embedding"), config.vocab_size, hidden)?,
            query_tokens: tokens("query_tokens", config.num_queries)?,
            text: TextEncoder::new(&weights.pp("text"), config)?,
            fusion: CrossModalFusion::new(&weights.pp("fusion"), config)?,
            episode: EpisodeProjections::new(&weights.pp("memory"), config)?,
            sink_tokens: tokens("sink_tokens", config.num_sinks)?,
            decoder: Decoder::new(&weights.pp("decoder"), config)?,
            config: config.clone(),
        })
    }

    /// The configuration.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The vision encoder, which can be trained on its own.
    pub fn vision(&self) -> &VisionEncoder {
        &self.vision
    }

    /// The token table, quantized once for a forward pass.
    pub fn table(&self) -> Result<QuantizedTable> {
        self.embedding.quantize()
    }

    /// Encodes texts, each on its own.
    pub fn encode_texts(&self, table: &QuantizedTable, texts: &[&[u32]]) -> Result<EncodedTexts> {
        let ranges = consecutive(0, texts.iter().map(|text| text.len()));
        let rows = self.embedding.look_up(table, &texts.concat())?;
        Ok(EncodedTexts { rows: self.text.forward(&rows, &ranges)?, ranges })
    }

    /// Fuses photos: the query tokens, and the prompt (see [`prompt`](crate::control_tokens::prompt))
    /// if there is one, attend to each photo.
    pub fn fuse_photos(
        &self,
        table: &QuantizedTable,
        photos: &EncodedPhotos,
        prompts: &[Vec<u32>],
    ) -> Result<FusedPhotos> {
        assert_eq!(prompts.len(), photos.num_photos, "one prompt, maybe empty, a photo");
        let num_queries = self.config.num_queries;
        let (encoded, prompt_of_photo) = self.encode_prompts(table, prompts)?;
        // Every photo's query rows come first, so that pooling is a reshape, then the prompts'.
        let of_prompts = consecutive(prompts.len() * num_queries, prompts.iter().map(Vec::len));
        let (mut gather, mut segments, mut ranges) = (Vec::new(), Vec::new(), Vec::new());
        for (photo, prompt) in prompt_of_photo.iter().enumerate() {
            gather.extend(prompt.start..prompt.start + num_queries);
            let queries = photo * num_queries..(photo + 1) * num_queries;
            ranges.push([queries, of_prompts[photo].clone()]);
        }
        for prompt in &prompt_of_photo {
            gather.extend(prompt.start + num_queries..prompt.end);
        }
        for (photo, ranges) in ranges.iter().enumerate() {
            for queries in ranges.iter().filter(|range| !range.is_empty()) {
                let (queries, keys) = (queries.clone(), photos.rows_of(photo).to_vec());
                segments.push(Segment { queries, keys, causal: false });
            }
        }
        let queries = encoded.index_select(&indices(&gather)?, 0)?;
        let layout = AttentionLayout::new(segments);
        let (fused, patches) = self.fusion.forward(&queries, &photos.rows, &layout)?;
        let episodes = self.pooled_episodes(&fused, prompts.len())?;
        let first = fused.dim(0)?;
        let of_photos = ranges.into_iter().enumerate().map(|(photo, [queries, prompt])| {
            let [patches, cls] = photos.rows_of(photo).map(|r| first + r.start..first + r.end);
            FusedPhotoRows { queries, prompt, patches, cls }
        });
        let of_photos = of_photos.collect();
        let rows = Tensor::cat(&[fused, patches], 0)?;
        Ok(FusedPhotos { rows, photos: of_photos, episodes })
    }

    /// Encoded prompts and, for each photo, the rows of its prompt. Photos without a prompt share the
    /// query rows.
    fn encode_prompts(
        &self,
        table: &QuantizedTable,
        prompts: &[Vec<u32>],
    ) -> Result<(Tensor, Vec<Range<usize>>)> {
        let num_queries = self.config.num_queries;
        let mut parts = vec![self.query_tokens.clone()];
        let shared = 0..num_queries;
        let mut ranges = Vec::from([shared]);
        let mut prompt_of_photo = Vec::with_capacity(prompts.len());
        for prompt in prompts {
            if prompt.is_empty() {
                prompt_of_photo.push(ranges[0].clone());
                continue;
            }
            let start = ranges.last().map_or(0, |range| range.end);
            parts.push(self.query_tokens.clone());
            parts.push(self.embedding.look_up(table, prompt)?);
            ranges.push(start..start + num_queries + prompt.len());
            prompt_of_photo.push(start..start + num_queries + prompt.len());
        }
        Ok((self.text.forward(&Tensor::cat(&parts, 0)?, &ranges)?, prompt_of_photo))
    }

    /// Logits `[sum of caption lengths, vocab_size]`: row i predicts the token after input token i.
    pub fn decode_captions(
        &self,
        table: &QuantizedTable,
        photos: &FusedPhotos,
        recalled: &[PlacedText],
        captions: &[PlacedText],
        context: &Tensor,
    ) -> Result<Tensor> {
        let batch = self.place(table, photos, recalled, captions)?;
        let layout = AttentionLayout::with_positions(batch.segments, batch.positions);
        let rows = self.decoder.forward(&batch.rows, context, &batch.photo_of_row, &layout)?;
        let first = batch.prefix_rows;
        let rows = rows.narrow(0, first, batch.photo_of_row.len() - first)?;
        self.embedding.head(table, &rows)
    }

    /// Logits of texts without photos, as [`decode_captions`](Self::decode_captions). `photo`
    /// numbers the group of a text: it sees the sinks, the prompt and the recalled captions of
    /// its group, and the context of an empty memory. `prompts` are those of the first groups.
    pub fn decode_texts(
        &self,
        table: &QuantizedTable,
        prompts: &[Vec<u32>],
        recalled: &[PlacedText],
        texts: &[PlacedText],
    ) -> Result<Tensor> {
        let groups = texts.iter().map(|text| text.photo + 1).max().unwrap_or(0);
        let fused = self.fuse_prompts(table, prompts, groups)?;
        self.decode_captions(table, &fused, recalled, texts, &self.null_context(groups)?)
    }

    /// The result of [`fuse_photos`](Self::fuse_photos) for groups without photos: the rows of
    /// their prompts.
    fn fuse_prompts(
        &self,
        table: &QuantizedTable,
        prompts: &[Vec<u32>],
        groups: usize,
    ) -> Result<FusedPhotos> {
        let (hidden, width) = (self.config.hidden_size, self.config.memory.width);
        let zeros = |width: usize| Tensor::zeros((0, width), DType::F32, &Device::Cpu);
        let mut photos = vec![FusedPhotoRows::default(); groups];
        let mut rows = zeros(hidden)?;
        if prompts.iter().any(|prompt| !prompt.is_empty()) {
            let (encoded, prompt_of_group) = self.encode_prompts(table, prompts)?;
            let words = |prompt: &Range<usize>| prompt.start + self.config.num_queries..prompt.end;
            let gather: Vec<usize> = prompt_of_group.iter().flat_map(words).collect();
            let of_prompts = consecutive(0, prompts.iter().map(Vec::len));
            for (photo, prompt) in photos.iter_mut().zip(of_prompts) {
                photo.prompt = prompt;
            }
            rows = self.fusion.without_photo(&encoded.index_select(&indices(&gather)?, 0)?)?;
        }
        Ok(FusedPhotos { rows, photos, episodes: zeros(width)? })
    }

    /// Decoder rows: every photo's sinks, fused rows, patch rows and recalled captions, then the
    /// captions.
    fn place(
        &self,
        table: &QuantizedTable,
        photos: &FusedPhotos,
        recalled: &[PlacedText],
        captions: &[PlacedText],
    ) -> Result<PlacedRows> {
        let (num_photos, num_sinks) = (photos.photos.len(), self.config.num_sinks);
        let sinks: Vec<usize> = (0..num_photos).flat_map(|_| 0..num_sinks).collect();
        let mut parts =
            vec![self.sink_tokens.index_select(&indices(&sinks)?, 0)?, photos.rows.clone()];
        let mut batch = Placement::new(num_photos, sinks.len() + photos.rows.dim(0)?);
        for (photo, rows) in photos.photos.iter().enumerate() {
            batch.add_prefix(photo, photo * num_sinks..(photo + 1) * num_sinks);
            for range in rows.prefix() {
                batch.add_prefix(photo, sinks.len() + range.start..sinks.len() + range.end);
            }
        }
        if !recalled.is_empty() {
            let texts: Vec<&[u32]> = recalled.iter().map(|text| text.tokens.as_slice()).collect();
            parts.push(self.encode_texts(table, &texts)?.rows);
        }
        recalled.iter().for_each(|text| batch.append_recalled(text));
        let prefix_rows = batch.photo_of_row.len();
        let tokens: Vec<u32> =
            captions.iter().flat_map(|text| text.tokens.iter().copied()).collect();
        if !tokens.is_empty() {
            parts.push(self.embedding.look_up(table, &tokens)?);
        }
        captions.iter().for_each(|text| batch.append_caption(text));
        let first = batch.first_of_captions(0);
        let Placement { segments, positions, photo_of_row, .. } = batch;
        Ok(PlacedRows {
            rows: Tensor::cat(&parts, 0)?,
            segments,
            positions,
            photo_of_row,
            prefix_rows,
            first,
        })
    }

    /// Encodes one photo from its stem features, `[patches * channels]`.
    pub fn encode_photo(&self, features: &[f32]) -> Result<EncodedPhotos> {
        let shape = (self.config.num_patches(), self.config.stem.output_channels());
        self.vision.forward(&Tensor::from_slice(features, shape, &Device::Cpu)?)
    }

    /// Fuses one photo with a prompt, which may be empty.
    pub fn fuse(&self, photo: &EncodedPhotos, prompt: &[u32]) -> Result<FusedPhoto> {
        let fused = self.fuse_photos(&self.table()?, photo, &[prompt.to_vec()])?;
        let episode = with_values(&fused.episodes, <[f32]>::to_vec)?;
        Ok(FusedPhoto { fused, episode })
    }

    /// The decoder's state after the prefix of a photo and the captions and context that READ
    /// returned.
    pub fn prefill(
        &self,
        photo: &FusedPhoto,
        recalled: &[RecalledCaption],
        context: &[f32],
    ) -> Result<DecoderState> {
        let recalled: Vec<PlacedText> = recalled.iter().map(recalled_text).collect();
        let batch = self.place(&self.table()?, &photo.fused, &recalled, &[])?;
        let PlacedRows { rows, segments, positions, first, .. } = batch;
        self.decoder.prefill(&rows, &row(context)?, segments, &positions, first)
    }

    /// Feeds `tokens[i]` to text i, all of one photo; returns the logits after it, `[vocab_size]`
    /// each.
    pub fn step(&self, states: &mut [DecoderState], tokens: &[u32]) -> Result<Vec<Vec<f32>>> {
        let table = self.table()?;
        let rows = self.embedding.look_up(&table, tokens)?;
        let rows = self.decoder.step(states, &rows)?;
        self.embedding.head(&table, &rows)?.to_vec2()
    }

    /// How much of its attention the decoder gives to each patch of `photo` when it chooses the
    /// token after each of `tokens`, `[tokens, patches]`: the mean over all heads and layers.
    /// `state` has read the prefix of that photo only.
    pub fn attention(
        &self,
        photo: &FusedPhoto,
        state: &mut DecoderState,
        tokens: &[u32],
    ) -> Result<Vec<Vec<f32>>> {
        let table = self.table()?;
        let FusedPhotoRows { queries, prompt, patches, .. } = &photo.fused.photos[0];
        let first = self.config.num_sinks + queries.len() + prompt.len();
        let of_token = |&token: &u32| {
            let row = self.embedding.look_up(&table, &[token])?;
            let (_, weights) = self.decoder.observed_step(state, &row)?;
            Ok(weights[first..first + patches.len()].to_vec())
        };
        tokens.iter().map(of_token).collect()
    }
}

/// The recalled caption as the decoder sees it, marker first.
fn recalled_text(recalled: &RecalledCaption) -> PlacedText {
    let marker = if recalled.corrected { CORRECTED } else { RECALLED };
    let tokens = std::iter::once(marker).chain(recalled.tokens.iter().copied()).collect();
    PlacedText { photo: 0, tokens }
}

struct PlacedRows {
    rows: Tensor,
    segments: Vec<Segment>,
    positions: Vec<u32>,
    photo_of_row: Vec<u32>,
    prefix_rows: usize,
    /// Position of the first caption token of photo 0.
    first: usize,
}

fn indices(rows: &[usize]) -> Result<Tensor> {
    let rows: Vec<u32> =
        rows.iter().map(|&row| u32::try_from(row).expect("a batch is small")).collect();
    let count = rows.len();
    Tensor::from_vec(rows, count, &Device::Cpu)
}

fn row(values: &[f32]) -> Result<Tensor> {
    Tensor::from_slice(values, (1, values.len()), &Device::Cpu)
}
