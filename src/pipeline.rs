//! The steps from a photo's stem to its caption, for the captioner, the evaluation and
//! self-critical training: features -> encode -> fuse -> prefill -> step.

use candle_core::Result;

use crate::decoder::DecoderState;
use crate::generate::BeamSearch;
use crate::model::{BitMar, FusedPhoto};

/// Stem activations in int8 to the model's input: `[patches * channels]`, times the stem's output
/// scale.
pub fn features(activations: &[i8], output_scale: f32) -> Vec<f32> {
    activations.iter().map(|&value| f32::from(value) * output_scale).collect()
}

impl BitMar {
    /// Encodes and fuses one photo, from its features `[patches * channels]` and its prompt.
    pub fn fuse_features(&self, features: &[f32], prompt: &[u32]) -> Result<FusedPhoto> {
        self.fuse(&self.encode_photo(features)?, prompt)
    }

    /// The decoder's state after the prefix of a photo, with an empty memory.
    pub fn prefill_without_memory(&self, photo: &FusedPhoto) -> Result<DecoderState> {
        self.prefill(photo, &[], &self.read_parameters()?.null_value)
    }

    /// Adds a token to every beam; returns whether there is more to do. At the end of the search
    /// its captions are also ranked by their agreement with the photo's episode, `[C]`.
    pub fn search_step(
        &self,
        search: &mut BeamSearch<DecoderState>,
        episode: &[f32],
    ) -> Result<bool> {
        let has_more = search.step(|states, tokens| self.step(states, tokens))?;
        if !has_more {
            self.weigh(search, episode)?;
        }
        Ok(has_more)
    }
}
