//! The ids below [`FIRST_TEXT_TOKEN`] are control tokens and never stand for text.

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
