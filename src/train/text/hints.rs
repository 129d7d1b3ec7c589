//! Hints for training: words of a caption that the model is told beforehand and is to say.

use tokenizers::Tokenizer;

use crate::random::Random;
use crate::tokenizer::hint_prompt;
use crate::train::metrics::words;
use crate::train::text::encode::encode;
use crate::train::text::label_words::{label_words, share_named};
use crate::train::text::names::introduce;

/// Share of hints that are a name nobody can see on the photo.
const NAMES: f32 = 0.25;
/// Share of the other hints that are a phrase, if there is one.
const PHRASES: f32 = 0.35;
/// Most words of a phrase.
const LONGEST: usize = 6;
/// Words that say little of what is in a photo.
const SMALL: [&str; 26] = [
    "with", "that", "from", "their", "while", "into", "near", "over", "through", "next", "some",
    "front", "there", "which", "photo", "this", "very", "other", "another", "has", "the", "and",
    "are", "his", "her", "person",
];

/// Words that a user might tell of a photo, and how a caption that takes them up reads.
#[derive(Debug, Clone, PartialEq)]
pub struct Hint {
    /// The words, in lower case.
    pub text: String,
    /// A caption with these words in it.
    pub caption: String,
}

impl Hint {
    /// Draws one that `caption` takes up: a word or a phrase of it, or a name put into it. None if
    /// it has no word that says anything.
    pub fn draw(caption: &str, random: &mut Random) -> Option<Self> {
        if random.uniform() < NAMES {
            if let Some(introduced) = introduce(caption, random) {
                let name = introduced.name.to_lowercase();
                let text = match random.uniform() < 0.5 {
                    true => name,
                    false => format!("my {} {name}", introduced.noun),
                };
                return Some(Self { text, caption: introduced.caption.to_lowercase() });
            }
        }
        let words: Vec<&str> = caption.split_whitespace().collect();
        let telling: Vec<usize> = (0..words.len()).filter(|&at| is_telling(words[at])).collect();
        if telling.is_empty() {
            return None;
        }
        let at = telling[random.below(telling.len())];
        let earlier: Vec<usize> =
            telling.iter().copied().filter(|&start| start < at && at - start < LONGEST).collect();
        let is_phrase = !earlier.is_empty() && random.uniform() < PHRASES;
        let start = if is_phrase { earlier[random.below(earlier.len())] } else { at };
        let text = words[start..=at].join(" ");
        Some(Self { text, caption: caption.to_owned() })
    }

    /// Its tokens as the model is given them.
    pub fn prompt(&self, tokenizer: &Tokenizer) -> Vec<u32> {
        hint_prompt(&encode(tokenizer, &self.text))
    }

    /// The words that a caption is to say: of "my dog rex" the name.
    pub fn wanted(&self) -> Vec<String> {
        let said = words(&self.caption);
        let mut wanted = label_words(&self.text);
        wanted.retain(|word| share_named(std::slice::from_ref(word), &said) >= 1.0);
        wanted
    }

    /// Whether `caption` has every word that is wanted, plurals aside.
    pub fn is_taken_up(&self, caption: &str) -> bool {
        share_named(&self.wanted(), &words(caption)) >= 1.0
    }
}

/// A word that says what is in a photo: none of the common small ones, and no comma behind it.
fn is_telling(word: &str) -> bool {
    word.len() > 2 && word.chars().all(char::is_alphabetic) && !SMALL.contains(&word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hint_is_in_the_caption_that_takes_it_up() {
        let mut random = Random::new(1);
        let (mut names, mut phrases) = (0, 0);
        for _ in 0..200 {
            let plain = "a small brown dog runs through the snow, with a stick";
            let hint = Hint::draw(plain, &mut random).unwrap();
            let is_name = hint.caption != plain;
            names += usize::from(is_name);
            phrases += usize::from(!is_name && hint.text.contains(' '));
            assert!(hint.is_taken_up(&hint.caption), "{hint:?}");
            assert!(is_name != hint.is_taken_up(plain), "{hint:?}");
            assert!(!SMALL.contains(&hint.text.as_str()), "{hint:?}");
            let name = hint.text.strip_prefix("my dog ").unwrap_or(&hint.text);
            assert!(hint.caption.contains(name), "{hint:?}");
        }
        assert!((20..100).contains(&names) && (20..100).contains(&phrases), "{names} {phrases}");
    }

    #[test]
    fn a_caption_of_small_words_gives_no_hint() {
        assert_eq!(Hint::draw("he is with us, on it", &mut Random::new(1)), None);
    }

    #[test]
    fn all_words_are_to_be_taken_up() {
        let hint = Hint { text: "grand piano".into(), caption: "two grand pianos".into() };
        assert!(hint.is_taken_up("a grand black piano") && !hint.is_taken_up("a piano"));
        let hint = Hint { text: "my dog rex".into(), caption: "rex runs".into() };
        assert!(hint.is_taken_up("rex sleeps") && !hint.is_taken_up("my dog sleeps"));
    }
}
