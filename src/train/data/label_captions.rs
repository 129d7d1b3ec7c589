//! Captions for photos that only have a label: people's sentences about other photos of the same thing.
//!
//! "A pizza" teaches a word, but no sentence to say it in. What many people wrote about photos of pizza
//! has that word in common, and the rest is what they usually show: the loss averages over them.

use std::collections::{HashMap, HashSet};

use tokenizers::Tokenizer;

use crate::random::Random;
use crate::train::data::photo_set::Photo;
use crate::train::data::sample::tokenized;
use crate::train::data::sample::CaptionTokens;
use crate::train::metrics::words;
use crate::train::text::label_words::{is_label_word, is_of_person, label_words, singular};
use crate::train::text::normalize::word_count;
use crate::train::text::people::{neutral, PEOPLE};

/// Sentences lent to a photo.
pub(crate) const PER_PHOTO: usize = 3;
/// Fewer than these are no sample of what people write: the template stays alone.
const LEAST: usize = 12;
/// Words of a sentence that may be lent.
const LENGTH: std::ops::RangeInclusive<usize> = 4..=14;
/// Among so many first words an object must stand that a sentence is about, or the person who does something.
const SUBJECT: usize = 4;

/// Texts by the words in them.
pub struct LabelCaptions<'a> {
    texts: &'a [CaptionTokens],
    words: Vec<Vec<String>>,
    by_word: HashMap<String, Vec<usize>>,
}

impl<'a> LabelCaptions<'a> {
    /// Lends from `texts`.
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

    /// Adds to the captions of a photo that has a label what was written about others with its words.
    pub fn lend(&self, photo: &Photo, captions: &mut Vec<CaptionTokens>, tokenizer: &Tokenizer) {
        let Some(template) = captions.first().filter(|_| photo.label.is_some()) else { return };
        let mut found = self.about(&template.text);
        if found.is_empty() {
            return;
        }
        let is_of_person = is_of_person(&template.text);
        // One template is enough beside them.
        captions.truncate(1);
        let mut random = Random::named(1, &photo.name);
        for _ in 0..PER_PHOTO {
            let number = found.swap_remove(random.below(found.len()));
            captions.push(self.sentence(number, is_of_person, tokenizer));
        }
    }

    /// All that may be lent to photos whose label has this `template`, each sentence once.
    pub fn sentences(&self, template: &str, tokenizer: &Tokenizer) -> Vec<CaptionTokens> {
        let found = self.about(template).into_iter();
        let mut seen = HashSet::new();
        let is_of_person = is_of_person(template);
        let sentences = found.map(|number| self.sentence(number, is_of_person, tokenizer));
        sentences.filter(|sentence| seen.insert(sentence.text.clone())).collect()
    }

    /// A text as it is lent. It is "a person" who does something: whether that is a man or a woman no label says.
    fn sentence(&self, number: usize, is_of_person: bool, tokenizer: &Tokenizer) -> CaptionTokens {
        let text = &self.texts[number];
        match is_of_person {
            true => tokenized(neutral(&text.text), tokenizer),
            false => text.clone(),
        }
    }

    /// Numbers of the texts with every word of `template` that says something; none if they are few.
    fn about(&self, template: &str) -> Vec<usize> {
        let is_of_person = is_of_person(template);
        // A label is of one thing: "two elephants" are others.
        let things: Vec<String> = words(template);
        let wanted = label_words(template);
        let mut lists: Vec<&Vec<usize>> = Vec::new();
        for word in &wanted {
            match self.by_word.get(word) {
                Some(list) => lists.push(list),
                None => return Vec::new(),
            }
        }
        lists.sort_by_key(|list| list.len());
        let Some((rarest, others)) = lists.split_first() else { return Vec::new() };
        let is_about = |&number: &usize| {
            let text = &self.words[number];
            let mut start = text.iter().take(SUBJECT);
            LENGTH.contains(&word_count(&self.texts[number].text))
                && others.iter().all(|list| list.binary_search(&number).is_ok())
                && match is_of_person {
                    true => {
                        start.any(|word| PEOPLE.iter().any(|(name, _)| name == word))
                            && !text.iter().any(|word| matches!(word.as_str(), "he" | "she"))
                    }
                    false => start.any(|word| is_label_word(word) && things.contains(word)),
                }
        };
        let found: Vec<usize> = rarest.iter().copied().filter(is_about).collect();
        if found.len() < LEAST {
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
    fn a_label_borrows_sentences_about_its_subject() {
        let about = (0..LEAST).map(|n| format!("a pizza with {n} olives on a plate"));
        let others = ["two pizzas on a plate", "a man next to a table with a pizza", "pizza"];
        let others = others.iter().map(|text| (*text).to_owned());
        let texts: Vec<String> = about.chain(others).collect();
        let tokenizer = train_tokenizer(texts.iter().cloned(), 300).expect("a tokenizer");
        let texts: Vec<_> = texts.into_iter().map(|text| tokenized(text, &tokenizer)).collect();
        let lender = LabelCaptions::new(&texts);
        let template = |text: &str| vec![tokenized(text.into(), &tokenizer)];
        let mut captions = template("a pizza");
        lender.lend(&photo("caltech101", "pizza"), &mut captions, &tokenizer);
        assert_eq!(captions.len(), 1 + PER_PHOTO);
        assert!(captions[1..].iter().all(|text| text.text.starts_with("a pizza with")));
        let lent: HashSet<&str> = captions.iter().map(|text| text.text.as_str()).collect();
        assert_eq!(lent.len(), 1 + PER_PHOTO, "none twice");
        for label in ["plate", "trilobite"] {
            let mut captions = template(&format!("a {label}"));
            lender.lend(&photo("caltech101", label), &mut captions, &tokenizer);
            assert_eq!(captions.len(), 1, "{label} has no sentences, or too few");
        }
    }

    #[test]
    fn of_actions_it_is_not_said_who_does_them() {
        let texts = (0..LEAST).map(|n| format!("a woman is riding her horse {n}, a boy watches"));
        let texts: Vec<String> = texts.collect();
        let tokenizer = train_tokenizer(texts.iter().cloned(), 300).expect("a tokenizer");
        let texts: Vec<_> = texts.into_iter().map(|text| tokenized(text, &tokenizer)).collect();
        let mut captions = vec![
            tokenized("a person riding a horse".into(), &tokenizer),
            tokenized("someone is riding a horse".into(), &tokenizer),
        ];
        let riding = photo("stanford40", "riding_a_horse");
        LabelCaptions::new(&texts).lend(&riding, &mut captions, &tokenizer);
        assert_eq!(captions.len(), 1 + PER_PHOTO);
        for text in &captions[1..] {
            assert!(text.text.starts_with("a person is riding their horse"), "{}", text.text);
            assert!(text.text.ends_with("a child watches"), "{}", text.text);
            assert_eq!(text.tokens, tokenized(text.text.clone(), &tokenizer).tokens);
        }
    }
}
