//! A bonus for captions that contain the words of the user's hint.

use tokenizers::Tokenizer;

use crate::error::Error;
use crate::tokenizer::tokenizer_error;

/// Bonus of a hint word's first token, in nats: chosen on dev (docs/training.md).
const WEIGHT: f32 = 3.0;
/// Stop words, which a caption need not repeat.
const STOP_WORDS: [&str; 28] = [
    "a", "an", "the", "my", "our", "your", "his", "her", "their", "its", "this", "that", "these",
    "those", "it", "is", "are", "was", "of", "in", "on", "at", "by", "to", "and", "with", "for",
    "from",
];

/// The words of a hint and which tokens continue a word.
#[derive(Debug, Clone, Default)]
pub struct HintBonus {
    /// The tokens of each word.
    words: Vec<Vec<u32>>,
    /// For each token of the vocabulary, whether it continues the word before it.
    joins: Vec<bool>,
}

/// What may follow a text.
#[derive(Debug, PartialEq)]
pub(super) enum Next {
    /// Any token; the first tokens of missing hint words get the bonus.
    Any {
        /// First tokens of the words that the text does not contain yet.
        rewarded: Vec<u32>,
        /// Whether the text ends with a hint word, which the next token must not lengthen.
        is_word: bool,
    },
    /// One of these tokens: a hint word has begun and is spelled to its end, however unlikely the
    /// model finds it.
    FinishWord(Vec<u32>),
}

impl Next {
    /// The largest bonus that a token can get.
    pub(super) fn most(&self) -> f32 {
        match self {
            Self::Any { rewarded, .. } if rewarded.is_empty() => 0.0,
            Self::Any { .. } => WEIGHT,
            Self::FinishWord(_) => f32::INFINITY,
        }
    }
}

impl HintBonus {
    /// The bonus for `words`, each given by its tokens; `joins` says for each token of the
    /// vocabulary whether it continues the word before it.
    pub fn new(mut words: Vec<Vec<u32>>, joins: Vec<bool>) -> Self {
        words.sort_unstable();
        words.dedup();
        words.retain(|word| !word.is_empty());
        Self { words, joins }
    }

    /// The bonus for the words of `hint` that are not stop words.
    ///
    /// # Errors
    ///
    /// [`Error::Tokenizer`] if the tokenizer refuses a word.
    pub fn from_hint(tokenizer: &Tokenizer, hint: &str) -> Result<Self, Error> {
        let hint = hint.to_lowercase();
        let words =
            hint.split_whitespace().map(|word| word.trim_matches(|c: char| !c.is_alphanumeric()));
        let content = words.filter(|word| !word.is_empty() && !STOP_WORDS.contains(word));
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
        let missing = || self.words.iter().filter(|word| !contains_word(word, tokens));
        let begun =
            missing().map(|word| (word, begun(word, tokens))).filter(|(_, count)| *count > 0);
        let allowed: Vec<u32> = begun.map(|(word, count)| word[count]).collect();
        if !allowed.is_empty() {
            return Next::FinishWord(allowed);
        }
        let is_word = self.words.iter().any(|word| tokens.ends_with(word));
        Next::Any { rewarded: missing().map(|word| word[0]).collect(), is_word }
    }

    /// The bonus of a text for `token`, whose log-probability is given; `None` if `token` is not
    /// allowed by `next`. Spelling a word to its end costs no log-probability.
    pub(super) fn gain(&self, next: &Next, token: u32, log_probability: f32) -> Option<f32> {
        match next {
            Next::Any { rewarded, is_word } => {
                let joins = *is_word && self.joins.get(token as usize).copied().unwrap_or(false);
                (!joins).then(|| if rewarded.contains(&token) { WEIGHT } else { 0.0 })
            }
            Next::FinishWord(allowed) => {
                let cost = if log_probability.is_finite() { log_probability } else { 0.0 };
                allowed.contains(&token).then_some(-cost)
            }
        }
    }
}

fn contains_word(word: &[u32], tokens: &[u32]) -> bool {
    tokens.windows(word.len()).any(|part| part == word)
}

/// How many tokens of the word, but not all, end `tokens`.
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
    fn a_word_is_rewarded_at_its_first_token_and_then_spelled_to_its_end() {
        let bonus = bonus();
        let any = bonus.next(&[]);
        assert_eq!(any, Next::Any { rewarded: vec![20, 30], is_word: false });
        assert_eq!(
            [20, 30, 9].map(|t| bonus.gain(&any, t, -3.0)),
            [Some(WEIGHT), Some(WEIGHT), Some(0.0)]
        );
        let allowed = bonus.next(&[9, 20]);
        assert_eq!(allowed, Next::FinishWord(vec![21]));
        assert_eq!([21, 22, 30].map(|t| bonus.gain(&allowed, t, -3.0)), [Some(3.0), None, None]);
    }

    #[test]
    fn a_finished_word_is_not_lengthened_and_is_rewarded_once() {
        let bonus = bonus();
        let next = bonus.next(&[9, 20, 21]);
        assert_eq!(next, Next::Any { rewarded: vec![30], is_word: true });
        assert_eq!(
            [22, 20, 30].map(|t| bonus.gain(&next, t, -3.0)),
            [None, Some(0.0), Some(WEIGHT)]
        );
        let later = bonus.next(&[9, 20, 21, 5]);
        assert_eq!(bonus.gain(&later, 22, -3.0), Some(0.0));
    }
}
