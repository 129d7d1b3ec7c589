//! A bonus for captions that have the words of the user's hint.

use tokenizers::Tokenizer;

use crate::error::Error;
use crate::tokenizer::tokenizer_error;

/// Bonus of a hint word's first token, in nats: chosen on dev (docs/training.md).
const WEIGHT: f32 = 3.0;
/// Stop words of hints: a caption need not repeat them.
const SMALL_WORDS: [&str; 28] = [
    "a", "an", "the", "my", "our", "your", "his", "her", "their", "its", "this", "that", "these",
    "those", "it", "is", "are", "was", "of", "in", "on", "at", "by", "to", "and", "with", "for",
    "from",
];

/// The words of a hint and which tokens continue a word.
#[derive(Debug, Clone, Default)]
pub struct HintBonus {
    /// The tokens of each word.
    words: Vec<Vec<u32>>,
    /// Of each token whether it goes on with the word before it.
    joins: Vec<bool>,
}

/// What a text may go on with.
#[derive(Debug, PartialEq)]
pub(super) enum Next {
    /// Anything; first tokens of hint words gain.
    Any {
        /// First tokens of the words that are not said yet.
        gaining: Vec<u32>,
        /// Whether a word has just been said: the next token must not lengthen it.
        is_word: bool,
    },
    /// One of these: a hint word has begun and is spelled to its end, however unlikely the model
    /// finds it.
    Spelt(Vec<u32>),
}

impl Next {
    /// The most that a token gains.
    pub(super) fn most(&self) -> f32 {
        match self {
            Self::Any { gaining, .. } if gaining.is_empty() => 0.0,
            Self::Any { .. } => WEIGHT,
            Self::Spelt(_) => f32::INFINITY,
        }
    }
}

impl HintBonus {
    /// Words by their tokens; `joins` says of each token of the vocabulary whether it goes on with
    /// the word before it.
    pub fn new(mut words: Vec<Vec<u32>>, joins: Vec<bool>) -> Self {
        words.sort_unstable();
        words.dedup();
        words.retain(|word| !word.is_empty());
        Self { words, joins }
    }

    /// The bonus for the words of `hint` that are no stop words.
    ///
    /// # Errors
    ///
    /// [`Error::Tokenizer`] if the tokenizer refuses a word.
    pub fn from_hint(tokenizer: &Tokenizer, hint: &str) -> Result<Self, Error> {
        let hint = hint.to_lowercase();
        let words =
            hint.split_whitespace().map(|word| word.trim_matches(|c: char| !c.is_alphanumeric()));
        let content = words.filter(|word| !word.is_empty() && !SMALL_WORDS.contains(word));
        let tokens = |word: &str| -> Result<Vec<u32>, Error> {
            Ok(tokenizer.encode(word, false).map_err(tokenizer_error)?.get_ids().to_vec())
        };
        let words = content.map(tokens).collect::<Result<Vec<_>, _>>()?;
        if words.is_empty() {
            return Ok(Self::default());
        }
        // A token that starts a word starts with a space.
        let joins = |token| {
            let text = tokenizer.id_to_token(token);
            text.is_some_and(|text| {
                text.starts_with(|c: char| c.is_alphanumeric() && c != '\u{120}')
            })
        };
        let vocab_size = u32::try_from(tokenizer.get_vocab_size(true)).unwrap_or(u32::MAX);
        Ok(Self::new(words, (0..vocab_size).map(joins).collect()))
    }

    /// What may follow `tokens`.
    pub(super) fn next(&self, tokens: &[u32]) -> Next {
        let missing = || self.words.iter().filter(|word| !is_said(word, tokens));
        let begun =
            missing().map(|word| (word, begun(word, tokens))).filter(|(_, count)| *count > 0);
        let spelt: Vec<u32> = begun.map(|(word, count)| word[count]).collect();
        if !spelt.is_empty() {
            return Next::Spelt(spelt);
        }
        let is_word = self.words.iter().any(|word| tokens.ends_with(word));
        Next::Any { gaining: missing().map(|word| word[0]).collect(), is_word }
    }

    /// What a text gains by `token`, whose log probability is given, if `next` is what may follow;
    /// `None` if it must not.
    pub(super) fn gain(&self, next: &Next, token: u32, log_probability: f32) -> Option<f32> {
        match next {
            Next::Any { gaining, is_word } => {
                let joins = *is_word && self.joins.get(token as usize).copied().unwrap_or(false);
                (!joins).then(|| if gaining.contains(&token) { WEIGHT } else { 0.0 })
            }
            Next::Spelt(spelt) => {
                let cost = if log_probability.is_finite() { log_probability } else { 0.0 };
                spelt.contains(&token).then_some(-cost)
            }
        }
    }
}

fn is_said(word: &[u32], tokens: &[u32]) -> bool {
    tokens.windows(word.len()).any(|part| part == word)
}

/// How many tokens of a word, not all, stand at the end of `tokens`.
fn begun(word: &[u32], tokens: &[u32]) -> usize {
    (0..word.len()).rev().find(|&count| tokens.ends_with(&word[..count])).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bonus() -> HintBonus {
        let joins = (0..40).map(|token| matches!(token, 21 | 22)).collect();
        HintBonus::new(vec![vec![30], vec![20, 21], vec![], vec![30]], joins)
    }

    #[test]
    fn a_word_gains_by_its_first_token_and_is_then_spelt_to_its_end() {
        let bonus = bonus();
        let any = bonus.next(&[]);
        assert_eq!(any, Next::Any { gaining: vec![20, 30], is_word: false });
        assert_eq!(
            [20, 30, 9].map(|t| bonus.gain(&any, t, -3.0)),
            [Some(WEIGHT), Some(WEIGHT), Some(0.0)]
        );
        let spelt = bonus.next(&[9, 20]);
        assert_eq!(spelt, Next::Spelt(vec![21]));
        assert_eq!([21, 22, 30].map(|t| bonus.gain(&spelt, t, -3.0)), [Some(3.0), None, None]);
    }

    #[test]
    fn a_word_that_was_said_is_not_lengthened_and_gains_once() {
        let bonus = bonus();
        let next = bonus.next(&[9, 20, 21]);
        assert_eq!(next, Next::Any { gaining: vec![30], is_word: true });
        assert_eq!(
            [22, 20, 30].map(|t| bonus.gain(&next, t, -3.0)),
            [None, Some(0.0), Some(WEIGHT)]
        );
        let later = bonus.next(&[9, 20, 21, 5]);
        assert_eq!(bonus.gain(&later, 22, -3.0), Some(0.0));
    }
}
