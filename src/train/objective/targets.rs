//! Captions to predict, as decoder inputs and next-token targets.

use candle_core::{Result, Tensor};

use crate::model::PlacedText;
use crate::random::Random;
use crate::tokenizer::EOS;
use crate::train::data::sample::CaptionTokens;
use crate::train::objective::losses::caption_loss;

/// Label smoothing of the caption loss.
const SMOOTHING: f32 = 0.1;

/// Captions to predict.
#[derive(Debug, Clone, Default)]
pub struct Targets {
    /// Decoder inputs: the start token, then the caption.
    pub inputs: Vec<PlacedText>,
    /// The token that follows each input token; the end token after the last one.
    pub tokens: Vec<u32>,
    /// Loss weight of each target token.
    pub weights: Vec<f32>,
}

impl Targets {
    /// Adds a caption of the photo with this index in the batch; `caption` has neither the start
    /// nor the end token.
    pub fn push(&mut self, photo: usize, start: u32, caption: &[u32], weight: f32) {
        let tokens = std::iter::once(start).chain(caption.iter().copied()).collect();
        self.inputs.push(PlacedText { photo, tokens });
        self.tokens.extend_from_slice(caption);
        self.tokens.push(EOS);
        self.weights.resize(self.tokens.len(), weight);
    }

    /// Replaces a `share` of the last caption's input tokens by random tokens of `others`. The
    /// targets stay, so the decoder cannot rely on its own text and has to look at the photo.
    pub fn corrupt(&mut self, share: f32, others: &[CaptionTokens], random: &mut Random) {
        let Some(input) = self.inputs.last_mut().filter(|_| !others.is_empty()) else { return };
        for token in &mut input.tokens[1..] {
            if random.uniform() < share {
                let other = &others[random.below(others.len())].tokens;
                *token = other[random.below(other.len())];
            }
        }
    }

    /// Cross entropy with label smoothing, from `logits` `[tokens, vocab_size]`; a scalar in nats.
    pub fn loss(&self, logits: &Tensor) -> Result<Tensor> {
        caption_loss(logits, self.tokens.clone(), self.weights.clone(), SMOOTHING)
    }

    /// Cross entropy of their logits without smoothing, nats a token.
    pub fn plain_loss(&self, logits: &Tensor) -> Result<f32> {
        caption_loss(logits, self.tokens.clone(), self.weights.clone(), 0.0)?.to_scalar()
    }
}
