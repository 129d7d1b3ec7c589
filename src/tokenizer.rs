//! The tokenizer of the model: byte-level BPE, so every text has tokens and every token sequence
//! has a text.
//!
//! A text is encoded as if a space stood before it, so "dog" has the same token at the start of a
//! caption as inside one; decoding gives that space back in front, and the reader drops it.

use tokenizers::Tokenizer;

pub use crate::control_tokens::*;
use crate::error::Error;

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
