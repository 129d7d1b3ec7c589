//! What a probe is to tell of a photo: the words that people use for it, and their captions as
//! tf-idf vectors.

use std::collections::{HashMap, HashSet};

/// Words that the first score is over.
const WORDS: usize = 300;
/// Photos that must have a term in their captions for it to count.
const MIN_PHOTOS: usize = 5;
/// Words that say how others belong together and not what is seen: articles, pronouns,
/// prepositions, conjunctions, auxiliaries, quantifiers.
const FUNCTION_WORDS: [&str; 135] = [
    "a",
    "about",
    "above",
    "across",
    "after",
    "against",
    "all",
    "along",
    "alongside",
    "am",
    "among",
    "amongst",
    "an",
    "and",
    "another",
    "any",
    "are",
    "around",
    "as",
    "at",
    "atop",
    "away",
    "be",
    "because",
    "been",
    "before",
    "behind",
    "being",
    "below",
    "beneath",
    "beside",
    "between",
    "beyond",
    "both",
    "but",
    "by",
    "can",
    "do",
    "does",
    "down",
    "during",
    "each",
    "for",
    "from",
    "had",
    "has",
    "have",
    "he",
    "her",
    "herself",
    "him",
    "himself",
    "his",
    "how",
    "i",
    "if",
    "in",
    "into",
    "is",
    "it",
    "its",
    "itself",
    "just",
    "like",
    "many",
    "me",
    "more",
    "most",
    "my",
    "near",
    "next",
    "no",
    "not",
    "of",
    "off",
    "on",
    "one",
    "only",
    "onto",
    "or",
    "other",
    "others",
    "our",
    "out",
    "over",
    "past",
    "several",
    "she",
    "so",
    "some",
    "such",
    "than",
    "that",
    "the",
    "their",
    "them",
    "themselves",
    "then",
    "there",
    "these",
    "they",
    "this",
    "those",
    "through",
    "throughout",
    "to",
    "together",
    "too",
    "toward",
    "towards",
    "under",
    "underneath",
    "until",
    "up",
    "upon",
    "us",
    "very",
    "was",
    "we",
    "were",
    "what",
    "when",
    "where",
    "which",
    "while",
    "who",
    "whom",
    "whose",
    "will",
    "with",
    "within",
    "without",
    "would",
    "you",
    "your",
];

/// The photos' captions, each as words.
type Captions = [Vec<Vec<String>>];

/// In how many photos each word is said.
fn document_frequencies(photos: &Captions) -> HashMap<&str, usize> {
    let mut frequencies = HashMap::new();
    for captions in photos {
        let words: HashSet<&str> = captions.iter().flatten().map(String::as_str).collect();
        for word in words {
            *frequencies.entry(word).or_insert(0) += 1;
        }
    }
    frequencies
}

/// The content words that are said of the most training photos.
#[derive(Debug)]
pub struct ContentWords {
    numbers: HashMap<String, usize>,
}

impl ContentWords {
    /// The 300 most frequent ones of these photos.
    pub fn new(photos: &Captions) -> Self {
        let is_content =
            |word: &str| word.chars().all(char::is_alphabetic) && !FUNCTION_WORDS.contains(&word);
        let frequencies = document_frequencies(photos).into_iter();
        let mut words: Vec<(&str, usize)> = frequencies.filter(|(w, _)| is_content(w)).collect();
        words.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(b.0)));
        let words = words.into_iter().take(WORDS).enumerate();
        Self { numbers: words.map(|(number, (word, _))| (word.to_owned(), number)).collect() }
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.numbers.len()
    }

    /// The numbers of the words that are in a photo's captions.
    pub fn present(&self, captions: &[Vec<String>]) -> HashSet<usize> {
        captions.iter().flatten().filter_map(|word| self.numbers.get(word).copied()).collect()
    }
}

/// The tf-idf space of training captions' words: CIDEr's for n-grams of one word.
#[derive(Debug)]
pub struct CaptionVectors {
    /// Number and weight of each term.
    terms: HashMap<String, (usize, f64)>,
}

impl CaptionVectors {
    /// The space of the words that are said of at least five of these photos.
    pub fn new(photos: &Captions) -> Self {
        let frequencies = document_frequencies(photos).into_iter();
        let mut terms: Vec<(&str, usize)> =
            frequencies.filter(|(_, photos)| *photos >= MIN_PHOTOS).collect();
        terms.sort_unstable();
        let terms = terms.into_iter().enumerate().map(|(number, (word, frequency))| {
            (word.to_owned(), (number, (photos.len() as f64 / frequency as f64).ln()))
        });
        Self { terms: terms.collect() }
    }

    /// How many terms there are.
    pub fn count(&self) -> usize {
        self.terms.len()
    }

    /// A caption's counts of terms times their weights, at length 1; 0 if it has no term of any
    /// weight.
    pub fn vector(&self, caption: &[String]) -> Vec<f64> {
        let mut vector = vec![0.0; self.terms.len()];
        for (number, weight) in caption.iter().filter_map(|word| self.terms.get(word)) {
            vector[*number] += weight;
        }
        let length = vector.iter().map(|value| value * value).sum::<f64>().sqrt();
        vector.iter_mut().for_each(|value| *value /= length.max(f64::MIN_POSITIVE));
        vector
    }

    /// The mean vector of a photo's captions.
    pub fn mean(&self, captions: &[Vec<String>]) -> Vec<f32> {
        let mut sums = vec![0.0; self.terms.len()];
        for caption in captions {
            let vector = self.vector(caption);
            sums.iter_mut().zip(vector).for_each(|(sum, value)| *sum += value);
        }
        let count = captions.len().max(1) as f64;
        #[allow(clippy::cast_possible_truncation, reason = "at most 1")]
        sums.into_iter().map(|sum| (sum / count) as f32).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::metrics::words;

    fn photos(captions: &[&[&str]]) -> Vec<Vec<Vec<String>>> {
        captions.iter().map(|photo| photo.iter().map(|caption| words(caption)).collect()).collect()
    }

    #[test]
    fn a_word_counts_once_a_photo_and_function_words_never() {
        let train = photos(&[
            &["a dog with a ball", "the dog's ball and the dog"],
            &["a dog"],
            &["2 cats without a ball"],
        ]);
        let found = ContentWords::new(&train);
        let of = |caption: &str| found.present(&[words(caption)]);
        // "ball" and "dog" in two photos, in the order of the alphabet; "cats" in one.
        assert_eq!(found.count(), 3);
        assert_eq!(of("the dog and a zebra"), HashSet::from([1]));
        assert_eq!(of("with a ball, ball, 2 cats"), HashSet::from([0, 2]));
    }

    #[test]
    fn rare_terms_weigh_more_and_unknown_ones_nothing() {
        let mut captions = vec![&["dog"][..]; 10];
        captions.extend(vec![&["dog runs"][..]; 5]);
        captions.extend(vec![&["cat"][..]; 5]);
        captions.push(&["zebra"]);
        let vectors = CaptionVectors::new(&photos(&captions));
        // cat, dog, runs
        assert_eq!(vectors.count(), 3);
        let (dog, runs) = ((21.0f64 / 15.0).ln(), (21.0f64 / 5.0).ln());
        let length = (dog * dog + runs * runs).sqrt();
        let found = vectors.vector(&words("dog runs zebra"));
        for (found, expected) in found.iter().zip([0.0, dog / length, runs / length]) {
            assert!((found - expected).abs() < 1e-12);
        }
        assert_eq!(vectors.vector(&words("zebra")), [0.0; 3]);
    }
}
