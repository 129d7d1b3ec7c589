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
/// Stand before the words of a tag with a probability below 0.4, below 0.6, below 0.8, and above.
/// Tokenizer files call them `<reserved8>` to `<reserved11>`.
pub const EVIDENCE: [u32; 4] = [8, 9, 10, 11];
/// Probabilities from which the second, third and fourth marker of [`EVIDENCE`] stand before a tag.
const EVIDENCE_LEVELS: [f32; 3] = [0.4, 0.6, 0.8];
/// Maximum number of tags in a prompt.
pub const MAX_EVIDENCE: usize = 8;
/// Minimum probability of a tag in a prompt.
pub const MIN_EVIDENCE: f32 = 0.2;
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

/// A tag as the model reads it.
#[derive(Debug, Clone, PartialEq)]
pub struct Evidence {
    /// The tokens of its name.
    pub words: Vec<u32>,
    /// The probability that the photo shows it.
    pub probability: f32,
}

/// The prompt tokens of a hint: [`HINT`] and its words, or nothing if there are no words.
pub fn hint_prompt(words: &[u32]) -> Vec<u32> {
    let marker = (!words.is_empty()).then_some(HINT);
    marker.into_iter().chain(words.iter().copied()).collect()
}

/// The prompt tokens of a hint, then of at most [`MAX_EVIDENCE`] tags whose probability is at least
/// [`MIN_EVIDENCE`], the most probable first.
pub fn prompt(hint: &[u32], evidence: &[Evidence]) -> Vec<u32> {
    let mut tokens = hint_prompt(hint);
    let probable = evidence.iter().filter(|tag| tag.probability >= MIN_EVIDENCE);
    let mut probable: Vec<&Evidence> = probable.collect();
    probable.sort_by(|a, b| b.probability.total_cmp(&a.probability));
    for Evidence { words, probability } in probable.into_iter().take(MAX_EVIDENCE) {
        let level = EVIDENCE_LEVELS.iter().filter(|&level| probability >= level).count();
        tokens.push(EVIDENCE[level]);
        tokens.extend(words);
    }
    tokens
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prompt_holds_the_hint_and_the_probable_tags_in_order() {
        let tag = |word, probability| Evidence { words: vec![word], probability };
        let evidence = [tag(20, 0.3), tag(21, 0.95), tag(22, 0.1), tag(23, 0.4), tag(24, 0.6)];
        assert_eq!(prompt(&[30], &evidence), [HINT, 30, 11, 21, 10, 24, 9, 23, 8, 20]);
        assert_eq!(prompt(&[], &[]), [0; 0]);
        let many: Vec<Evidence> = (20..40).map(|word| tag(word, 0.5)).collect();
        assert_eq!(prompt(&[], &many).len(), 2 * MAX_EVIDENCE);
    }
}
