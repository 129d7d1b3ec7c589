//! A photo with its captions, ready for training.

use std::sync::Arc;

use tokenizers::Tokenizer;

use crate::train::text::encode::encode;
use crate::train::text::normalize::{length_class, word_count};

/// A caption ready for training.
#[derive(Debug, Clone)]
pub struct CaptionTokens {
    /// Its text.
    pub text: String,
    /// Its tokens, without start and end.
    pub tokens: Vec<u32>,
    /// `<short>`, `<medium>` or `<long>`.
    pub start: u32,
    /// Weight in the loss among the captions of its photo, 1 on average.
    pub weight: f32,
}

/// A normalised text as a training target.
pub(crate) fn tokenized(text: String, tokenizer: &Tokenizer) -> CaptionTokens {
    CaptionTokens {
        tokens: encode(tokenizer, &text),
        start: length_class(word_count(&text)).start_token(),
        text,
        weight: 1.0,
    }
}

/// A photo with its captions and the views of it that are cached.
#[derive(Debug, Clone)]
pub struct Sample {
    /// Stem features of each view, `[patches * channels]` int8.
    pub views: Vec<Arc<[i8]>>,
    /// Views a caption with "left" or "right" must not be paired with.
    pub mirrored: Vec<bool>,
    /// Its captions.
    pub captions: Vec<CaptionTokens>,
    /// Weight of its captions in the loss.
    pub weight: f32,
    /// The words that name what its label is about; none if it has no label.
    pub label_words: Vec<String>,
}
