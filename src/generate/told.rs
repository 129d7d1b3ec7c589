//! Words that the user has told of a photo and expects to read in its caption.

/// What each of them adds to the log probability of a text that says it, in nats: chosen on dev (docs/training.md).
const WEIGHT: f32 = 4.0;

/// The tokens of each word that is to be said.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Told(Vec<Vec<u32>>);

impl Told {
    /// Of words by their tokens; a word that was told twice counts once.
    pub fn new(mut words: Vec<Vec<u32>>) -> Self {
        words.sort_unstable();
        words.dedup();
        words.retain(|word| !word.is_empty());
        Self(words)
    }

    /// What `tokens` gain by the words that they have.
    pub(super) fn gain_of_words(&self, tokens: &[u32]) -> f32 {
        WEIGHT * self.0.iter().filter(|word| is_said(word, tokens)).count() as f32
    }

    /// That, and in part what one gains that they have begun.
    fn gain(&self, tokens: &[u32]) -> f32 {
        WEIGHT * self.0.iter().map(|word| said(word, tokens)).sum::<f32>()
    }

    /// The tokens that would say more after `tokens`, each with the gain of the text that ends with it.
    pub(super) fn next(&self, tokens: &[u32]) -> Vec<(u32, f32)> {
        let missing = self.0.iter().filter(|word| !is_said(word, tokens));
        let mut next: Vec<u32> =
            missing.flat_map(|word| [word[0], word[begun(word, tokens)]]).collect();
        next.sort_unstable();
        next.dedup();
        let with_gain = |token| (token, self.gain(&[tokens, &[token]].concat()));
        next.into_iter().map(with_gain).collect()
    }
}

/// The share of a word that `tokens` say: all of it anywhere, or its beginning at their end.
fn said(word: &[u32], tokens: &[u32]) -> f32 {
    match is_said(word, tokens) {
        true => 1.0,
        false => begun(word, tokens) as f32 / word.len() as f32,
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

    #[test]
    fn a_word_gains_token_by_token_and_keeps_its_gain_once_said() {
        let told = Told::new(vec![vec![20, 21], vec![], vec![30], vec![30]]);
        let gain = |tokens: &[u32]| told.gain(tokens) / WEIGHT;
        assert_eq!(
            [gain(&[]), gain(&[20]), gain(&[20, 21]), gain(&[20, 22])],
            [0.0, 0.5, 1.0, 0.0]
        );
        assert_eq!(gain(&[9, 20, 21, 5, 30, 7]), 2.0);
    }

    #[test]
    fn what_would_say_more_is_known_after_each_token() {
        let told = Told::new(vec![vec![20, 21], vec![30]]);
        let next = |tokens: &[u32]| {
            let next = told.next(tokens).into_iter();
            next.map(|(token, gain)| (token, gain / WEIGHT)).collect::<Vec<_>>()
        };
        assert_eq!(next(&[]), [(20, 0.5), (30, 1.0)]);
        assert_eq!(next(&[20]), [(20, 0.5), (21, 1.0), (30, 1.0)]);
        assert_eq!(next(&[30, 4]), [(20, 1.5)]);
        assert_eq!(next(&[30, 20, 21]), []);
    }
}
