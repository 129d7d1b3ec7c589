//! Hints for training: words of a caption that the model gets as a prompt and should generate.

use tokenizers::Tokenizer;

use crate::random::Random;
use crate::tokenizer::hint_prompt;
use crate::train::text::encode::encode;
use crate::train::text::label_words::{label_words, share_named};
use crate::train::text::names::insert_name;
use crate::train::text::stop_words::HINT_STOP_WORDS;
use crate::train::text::words::words;

/// Share of hints that are a name, which the photo cannot show.
const NAME_SHARE: f32 = 0.25;
/// Share of phrases among the other hints, if the caption has a phrase.
const PHRASE_SHARE: f32 = 0.35;
/// Maximum number of words in a phrase.
const MAX_PHRASE_WORDS: usize = 6;

/// Words that a user might give about a photo, and a caption that takes them up.
#[derive(Debug, Clone, PartialEq)]
pub struct Hint {
    /// The words, in lower case.
    pub text: String,
    /// A caption with these words in it.
    pub caption: String,
}

impl Hint {
    /// Draws a hint from the normalized `caption`: one of its words or phrases, or a name that is
    /// inserted into it. `None` if no name is drawn and the caption has no content word.
    pub fn draw(caption: &str, random: &mut Random) -> Option<Self> {
        if random.uniform() < NAME_SHARE {
            if let Some(named) = insert_name(caption, random) {
                let name = named.name.to_lowercase();
                let text =
                    if random.uniform() < 0.5 { name } else { format!("my {} {name}", named.noun) };
                return Some(Self { text, caption: named.caption.to_lowercase() });
            }
        }
        let words: Vec<&str> = caption.split_whitespace().collect();
        let content: Vec<usize> =
            (0..words.len()).filter(|&index| is_content_word(words[index])).collect();
        if content.is_empty() {
            return None;
        }
        let last = content[random.below(content.len())];
        let can_start = |&first: &usize| first < last && last - first < MAX_PHRASE_WORDS;
        let starts: Vec<usize> = content.iter().copied().filter(can_start).collect();
        let is_phrase = !starts.is_empty() && random.uniform() < PHRASE_SHARE;
        let first = if is_phrase { starts[random.below(starts.len())] } else { last };
        let text = words[first..=last].join(" ");
        Some(Self { text, caption: caption.to_owned() })
    }

    /// The tokens of the hint as the decoder's prompt.
    pub fn prompt(&self, tokenizer: &Tokenizer) -> Vec<u32> {
        hint_prompt(&encode(tokenizer, &self.text))
    }

    /// The words of the hint that a caption should contain, in the singular: those that
    /// [`Self::caption`] has, such as the name of "my dog rex".
    pub fn target_words(&self) -> Vec<String> {
        let caption_words = words(&self.caption);
        let mut target_words = label_words(&self.text);
        target_words.retain(|word| share_named(std::slice::from_ref(word), &caption_words) >= 1.0);
        target_words
    }

    /// Whether `caption` has every one of the [`Self::target_words`], plurals aside.
    pub fn is_taken_up(&self, caption: &str) -> bool {
        share_named(&self.target_words(), &words(caption)) >= 1.0
    }
}

/// Whether `word` can be a hint: longer than two letters, no stop word, no punctuation after it.
fn is_content_word(word: &str) -> bool {
    word.len() > 2 && word.chars().all(char::is_alphabetic) && !HINT_STOP_WORDS.contains(&word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drawn_hint_is_taken_up_by_its_caption() {
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
            assert!(!HINT_STOP_WORDS.contains(&hint.text.as_str()), "{hint:?}");
            let name = hint.text.strip_prefix("my dog ").unwrap_or(&hint.text);
            assert!(hint.caption.contains(name), "{hint:?}");
        }
        assert!((20..100).contains(&names) && (20..100).contains(&phrases), "{names} {phrases}");
    }

    #[test]
    fn a_caption_of_stop_words_gives_no_hint() {
        assert_eq!(Hint::draw("he is with us, on it", &mut Random::new(1)), None);
    }

    #[test]
    fn a_hint_is_taken_up_only_with_all_its_target_words() {
        let hint = Hint { text: "grand piano".into(), caption: "two grand pianos".into() };
        assert!(hint.is_taken_up("a grand black piano") && !hint.is_taken_up("a piano"));
        let hint = Hint { text: "my dog rex".into(), caption: "rex runs".into() };
        assert!(hint.is_taken_up("rex sleeps") && !hint.is_taken_up("my dog sleeps"));
    }
}
