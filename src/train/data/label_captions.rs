//! Captions for photos that only have a label: sentences that people wrote about other photos of
//! the same thing.
//!
//! The template "a pizza" teaches a word but no sentence around it. Sentences about photos of pizza
//! all contain the word, and what else they mention is what such photos usually show; the loss
//! averages over them.

use std::collections::{HashMap, HashSet};

use tokenizers::Tokenizer;

use crate::random::Random;
use crate::train::data::photo_set::Photo;
use crate::train::data::sample::{tokenized, CaptionTokens};
use crate::train::text::label_words::{is_label_word, label_words, names_action, singular};
use crate::train::text::normalize::word_count;
use crate::train::text::people::{neutral, PEOPLE};
use crate::train::text::words::words;

/// Label captions for each photo.
pub(crate) const PER_PHOTO: usize = 3;
/// Minimum number of matching sentences; a label with fewer keeps its template only, because a few
/// sentences do not represent such photos.
const MIN_SENTENCES: usize = 12;
/// Length in words of a sentence that can be a label caption.
const LENGTH: std::ops::RangeInclusive<usize> = 4..=14;
/// The labeled thing, or for an action a person, must be among this many first words; otherwise
/// the sentence mentions it only in passing.
const TOPIC_WORDS: usize = 4;

/// Sentences indexed by their words.
pub struct LabelCaptions<'a> {
    texts: &'a [CaptionTokens],
    words: Vec<Vec<String>>,
    by_word: HashMap<String, Vec<usize>>,
}

impl<'a> LabelCaptions<'a> {
    /// Indexes `texts`.
    pub fn new(texts: &'a [CaptionTokens]) -> Self {
        let words: Vec<Vec<String>> = texts.iter().map(|text| words(&text.text)).collect();
        let mut by_word: HashMap<String, Vec<usize>> = HashMap::new();
        for (number, words) in words.iter().enumerate() {
            for word in words.iter().collect::<HashSet<_>>() {
                by_word.entry(singular(word).to_owned()).or_default().push(number);
            }
        }
        Self { texts, words, by_word }
    }

    /// Replaces the captions of a labeled photo by its template and [`PER_PHOTO`] sentences drawn
    /// at random from those that match its label. Leaves the captions as they are if too few
    /// sentences match.
    pub fn draw(&self, photo: &Photo, captions: &mut Vec<CaptionTokens>, tokenizer: &Tokenizer) {
        let Some(template) = captions.first().filter(|_| photo.label.is_some()) else { return };
        let mut found = self.matching(&template.text);
        if found.is_empty() {
            return;
        }
        let names_action = names_action(&template.text);
        // One template is enough: the others paraphrase it.
        captions.truncate(1);
        let mut random = Random::named(1, &photo.name);
        for _ in 0..PER_PHOTO {
            let number = found.swap_remove(random.below(found.len()));
            captions.push(self.sentence(number, names_action, tokenizer));
        }
    }

    /// Every sentence that matches the label of this `template`, without duplicates.
    pub fn sentences(&self, template: &str, tokenizer: &Tokenizer) -> Vec<CaptionTokens> {
        let found = self.matching(template).into_iter();
        let mut seen = HashSet::new();
        let names_action = names_action(template);
        let sentences = found.map(|number| self.sentence(number, names_action, tokenizer));
        sentences.filter(|sentence| seen.insert(sentence.text.clone())).collect()
    }

    /// The sentence with this number. If the label names an action, words for people become
    /// neutral, because the label does not say who acts.
    fn sentence(&self, number: usize, names_action: bool, tokenizer: &Tokenizer) -> CaptionTokens {
        let text = &self.texts[number];
        if names_action {
            tokenized(neutral(&text.text), tokenizer)
        } else {
            text.clone()
        }
    }

    /// Numbers of the sentences that contain every label word of `template` and have it as their
    /// topic; empty if there are fewer than [`MIN_SENTENCES`].
    fn matching(&self, template: &str) -> Vec<usize> {
        let names_action = names_action(template);
        // Compared without removing plural endings: a sentence about "two elephants" does not
        // describe a photo of one.
        let template_words: Vec<String> = words(template);
        let label = label_words(template);
        let mut lists: Vec<&Vec<usize>> = Vec::new();
        for word in &label {
            match self.by_word.get(word) {
                Some(list) => lists.push(list),
                None => return Vec::new(),
            }
        }
        lists.sort_by_key(|list| list.len());
        let Some((rarest, others)) = lists.split_first() else { return Vec::new() };
        let has_topic = |&number: &usize| {
            let text = &self.words[number];
            let mut opening = text.iter().take(TOPIC_WORDS);
            LENGTH.contains(&word_count(&self.texts[number].text))
                && others.iter().all(|list| list.binary_search(&number).is_ok())
                && if names_action {
                    opening.any(|word| PEOPLE.iter().any(|(name, _)| name == word))
                        && !text.iter().any(|word| matches!(word.as_str(), "he" | "she"))
                } else {
                    opening.any(|word| is_label_word(word) && template_words.contains(word))
                }
        };
        let found: Vec<usize> = rarest.iter().copied().filter(has_topic).collect();
        if found.len() < MIN_SENTENCES {
            return Vec::new();
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::data::bpe::train_tokenizer;
    use crate::train::data::photo_set::{PhotoSet, Split};

    fn photo(set: &str, label: &str) -> Photo {
        Photo {
            set: PhotoSet::named(set),
            name: "photo.webp".into(),
            split: Split::Train,
            captions: Vec::new(),
            label: Some(label.into()),
            labels: Vec::new(),
            fine: None,
        }
    }

    #[test]
    fn label_captions_are_about_the_label() {
        let about = (0..MIN_SENTENCES).map(|n| format!("a pizza with {n} olives on a plate"));
        let others = ["two pizzas on a plate", "a man next to a table with a pizza", "pizza"];
        let others = others.iter().map(|text| (*text).to_owned());
        let texts: Vec<String> = about.chain(others).collect();
        let tokenizer = train_tokenizer(texts.iter().cloned(), 300).expect("a tokenizer");
        let texts: Vec<_> = texts.into_iter().map(|text| tokenized(text, &tokenizer)).collect();
        let index = LabelCaptions::new(&texts);
        let template = |text: &str| vec![tokenized(text.into(), &tokenizer)];
        let mut captions = template("a pizza");
        index.draw(&photo("caltech101", "pizza"), &mut captions, &tokenizer);
        assert_eq!(captions.len(), 1 + PER_PHOTO);
        assert!(captions[1..].iter().all(|text| text.text.starts_with("a pizza with")));
        let drawn: HashSet<&str> = captions.iter().map(|text| text.text.as_str()).collect();
        assert_eq!(drawn.len(), 1 + PER_PHOTO, "no sentence occurs twice");
        for label in ["plate", "trilobite"] {
            let mut captions = template(&format!("a {label}"));
            index.draw(&photo("caltech101", label), &mut captions, &tokenizer);
            assert_eq!(captions.len(), 1, "{label} has too few sentences");
        }
    }

    #[test]
    fn sentences_about_actions_have_neutral_words_for_people() {
        let texts =
            (0..MIN_SENTENCES).map(|n| format!("a woman is riding her horse {n}, a boy watches"));
        let texts: Vec<String> = texts.collect();
        let tokenizer = train_tokenizer(texts.iter().cloned(), 300).expect("a tokenizer");
        let texts: Vec<_> = texts.into_iter().map(|text| tokenized(text, &tokenizer)).collect();
        let mut captions = vec![
            tokenized("a person riding a horse".into(), &tokenizer),
            tokenized("someone is riding a horse".into(), &tokenizer),
        ];
        let riding = photo("stanford40", "riding_a_horse");
        LabelCaptions::new(&texts).draw(&riding, &mut captions, &tokenizer);
        assert_eq!(captions.len(), 1 + PER_PHOTO);
        for text in &captions[1..] {
            assert!(text.text.starts_with("a person is riding their horse"), "{}", text.text);
            assert!(text.text.ends_with("a child watches"), "{}", text.text);
            assert_eq!(text.tokens, tokenized(text.text.clone(), &tokenizer).tokens);
        }
    }
}
