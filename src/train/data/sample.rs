//! Training samples: a photo with its captions.

use std::sync::Arc;

use tokenizers::Tokenizer;

use crate::control_tokens::Evidence;
use crate::train::text::encode::encode;
use crate::train::text::normalize::{length_class, word_count};

/// A tokenized caption.
#[derive(Debug, Clone)]
pub struct CaptionTokens {
    /// The normalized text.
    pub text: String,
    /// Its token ids, without start and end token.
    pub tokens: Vec<u32>,
    /// Its start token: `<short>`, `<medium>` or `<long>`.
    pub start: u32,
    /// Weight in the loss among the captions of its photo, 1 on average.
    pub weight: f32,
}

/// Tokenizes a normalized text, with the start token of its length class and weight 1.
pub(crate) fn tokenized(text: String, tokenizer: &Tokenizer) -> CaptionTokens {
    CaptionTokens {
        tokens: encode(tokenizer, &text),
        start: length_class(word_count(&text)).start_token(),
        text,
        weight: 1.0,
    }
}

/// A photo as the features of its cached views, with its captions.
#[derive(Debug, Clone)]
pub struct Sample {
    /// Stem features of each view, `[patches * channels]` int8.
    pub views: Vec<Arc<[i8]>>,
    /// Whether each view is mirrored; captions with "left" or "right" must not be paired with one.
    pub mirrored: Vec<bool>,
    /// Its captions.
    pub captions: Vec<CaptionTokens>,
    /// Weight of the photo in the loss, a factor of the weights of its captions.
    pub weight: f32,
    /// Its tags, as a recognizer sees them that has not learned from this photo.
    pub evidence: Vec<Evidence>,
    /// The words that name its label; empty if its captions do not come from a label.
    pub label_words: Vec<String>,
}
