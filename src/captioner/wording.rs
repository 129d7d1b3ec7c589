//! How a caption is spelled for the reader: the model generates lower case only.

use std::collections::HashMap;

/// The user's spellings that contain capitals, by the word in lower case.
#[derive(Debug, Clone, Default)]
pub(super) struct Capitals(HashMap<String, String>);

impl Capitals {
    /// The spellings of a hint's words: "my dog Rex" says how rex is spelled.
    pub(super) fn of(hint: &str) -> Self {
        let words = hint.split(is_between).filter(|word| word.chars().any(char::is_uppercase));
        Self(words.map(|word| (word.to_lowercase(), word.to_owned())).collect())
    }

    /// `text` with these spellings and a capital at its start.
    pub(super) fn spell(&self, text: &str) -> String {
        if self.0.is_empty() {
            return capitalized(text);
        }
        let mut spelt = String::with_capacity(text.len());
        for piece in text.split_inclusive(is_between) {
            let word = piece.trim_end_matches(is_between);
            spelt.push_str(self.0.get(word).map_or(word, String::as_str));
            spelt.push_str(&piece[word.len()..]);
        }
        capitalized(&spelt)
    }
}

/// Whether `c` stands between words. An apostrophe or hyphen does too: "rex's ball" is about rex.
fn is_between(c: char) -> bool {
    !c.is_alphanumeric()
}

fn capitalized(text: &str) -> String {
    let mut rest = text.chars();
    match rest.next() {
        Some(first) => first.to_uppercase().chain(rest).collect(),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_spelled_as_in_the_hint() {
        let capitals = Capitals::of("my dog Rex in New York");
        assert_eq!(
            capitals.spell("rex's brown dog, rex, in new york"),
            "Rex's brown dog, Rex, in New York"
        );
        assert_eq!(Capitals::of("McDonald").spell("mcdonald eats"), "McDonald eats");
    }

    #[test]
    fn other_words_get_a_capital_at_the_start_only() {
        assert_eq!(Capitals::of("my dog Rex").spell("a dog at trex"), "A dog at trex");
        assert_eq!(Capitals::of("").spell("a dog"), "A dog");
        assert_eq!(Capitals::of("Émile").spell("émile"), "Émile");
        assert_eq!(Capitals::of("Rex").spell(""), "");
    }
}
