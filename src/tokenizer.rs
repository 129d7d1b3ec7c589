//! The tokenizer of the model: byte-level BPE, so every text has tokens and every token sequence has a text.
//!
//! The ids below [`FIRST_TEXT_TOKEN`] are control tokens and never stand for text. A text is encoded as if a
//! space stood before it, so "dog" has the same token at the start of a caption as inside one; decoding gives
//! that space back in front, and the reader drops it.

use tokenizers::Tokenizer;

use crate::error::Error;

/// Ends a caption.
pub const EOS: u32 = 1;
/// Starts a short caption.
pub const SHORT: u32 = 2;
/// Starts a caption of medium length.
pub const MEDIUM: u32 = 3;
/// Starts a long caption.
pub const LONG: u32 = 4;
/// Stands before a caption recalled from the memory.
pub const RECALLED: u32 = 5;
/// Stands before a recalled caption that the user wrote.
pub const CORRECTED: u32 = 6;
/// Stands before the words of a hint.
pub const HINT: u32 = 7;
/// Ids below this one are control tokens.
pub const FIRST_TEXT_TOKEN: u32 = 16;

/// The control tokens, each at its id.
pub const CONTROL_TOKENS: [&str; FIRST_TEXT_TOKEN as usize] = [
    "<pad>",
    "<eos>",
    "<short>",
    "<medium>",
    "<long>",
    "<recalled>",
    "<corrected>",
    "<hint>",
    "<reserved8>",
    "<reserved9>",
    "<reserved10>",
    "<reserved11>",
    "<reserved12>",
    "<reserved13>",
    "<reserved14>",
    "<reserved15>",
];

/// The tokens of a hint as the model is given them: none, or the marker and its words.
pub fn hint_prompt(words: &[u32]) -> Vec<u32> {
    let marker = (!words.is_empty()).then_some(HINT);
    marker.into_iter().chain(words.iter().copied()).collect()
}

/// Reads a `tokenizer.json`; refuses one whose control tokens lie elsewhere.
///
/// Use this and not `Tokenizer::from_bytes`: the file cannot say that `<eos>` written by a user is
/// text, so it is said here.
///
/// # Errors
///
/// [`Error::Tokenizer`] if it is not a tokenizer, or another one.
pub fn read_tokenizer(json: &[u8]) -> Result<Tokenizer, Error> {
    let mut tokenizer = Tokenizer::from_bytes(json).map_err(tokenizer_error)?;
    for (id, token) in (0..).zip(CONTROL_TOKENS) {
        if tokenizer.token_to_id(token) != Some(id) {
            return Err(Error::Tokenizer(format!("expected {token} at id {id}")));
        }
    }
    tokenizer.set_encode_special_tokens(true);
    Ok(tokenizer)
}

/// Checks that a model of `vocab_size` tokens has a row for every id.
///
/// # Errors
///
/// [`Error::Tokenizer`] if there are more.
pub(crate) fn check_vocab(tokenizer: &Tokenizer, vocab_size: usize) -> Result<(), Error> {
    match tokenizer.get_vocab(true).into_values().max() {
        Some(largest) if (largest as usize) < vocab_size => Ok(()),
        largest => Err(Error::Tokenizer(format!(
            "expected at most {vocab_size} tokens, found id {}",
            largest.unwrap_or_default()
        ))),
    }
}

pub(crate) fn tokenizer_error(error: tokenizers::Error) -> Error {
    Error::Tokenizer(error.to_string())
}
