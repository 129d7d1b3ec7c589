//! Tokenizes texts.

use tokenizers::Tokenizer;

/// The token ids of `text`, without special tokens.
pub fn encode(tokenizer: &Tokenizer, text: &str) -> Vec<u32> {
    let encoding = tokenizer.encode(text, false).expect("byte-level BPE encodes any text");
    encoding.get_ids().to_vec()
}
