//! Captions to predict, token by token.

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
    /// Decoder inputs: start token and caption.
    pub inputs: Vec<PlacedText>,
    /// The token after each input token.
    pub tokens: Vec<u32>,
    /// Weight of each of them.
    pub weights: Vec<f32>,
}

impl Targets {
    /// Adds a caption of a photo.
    pub fn push(&mut self, photo: usize, start: u32, caption: &[u32], weight: f32) {
        let tokens = std::iter::once(start).chain(caption.iter().copied()).collect();
        self.inputs.push(PlacedText { photo, tokens });
        self.tokens.extend_from_slice(caption);
        self.tokens.push(EOS);
        self.weights.resize(self.tokens.len(), weight);
    }

    /// Puts tokens of `others` in place of a `share` of what the last caption's rows are given, not of what
    /// they are to predict: a caption must then be known from its photo.
    pub fn corrupt(&mut self, share: f32, others: &[CaptionTokens], random: &mut Random) {
        let Some(input) = self.inputs.last_mut().filter(|_| !others.is_empty()) else { return };
        for token in &mut input.tokens[1..] {
            if random.uniform() < share {
                let other = &others[random.below(others.len())].tokens;
                *token = other[random.below(other.len())];
            }
        }
    }

    /// Smoothed cross entropy of their logits.
    pub fn loss(&self, logits: &Tensor) -> Result<Tensor> {
        caption_loss(logits, self.tokens.clone(), self.weights.clone(), SMOOTHING)
    }
}
