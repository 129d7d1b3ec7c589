//! Captions as vectors, targets of the probe and of distillation: the presence of frequent content
//! words, and tf-idf.

use std::collections::{HashMap, HashSet};

use crate::train::text::stop_words::PROBE_STOP_WORDS;

/// Number of content words.
const NUM_CONTENT_WORDS: usize = 300;
/// Minimum number of photos with a term in their captions; rarer terms are ignored.
const MIN_PHOTOS: usize = 5;

/// The photos' captions, each as words.
type Captions = [Vec<Vec<String>>];

/// The number of photos whose captions contain each word.
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

/// The content words that occur in the captions of the most training photos.
#[derive(Debug)]
pub struct ContentWords {
    numbers: HashMap<String, usize>,
}

impl ContentWords {
    /// The 300 most frequent content words of these photos.
    pub fn new(photos: &Captions) -> Self {
        let is_content =
            |word: &str| word.chars().all(char::is_alphabetic) && !PROBE_STOP_WORDS.contains(&word);
        let frequencies = document_frequencies(photos).into_iter();
        let mut words: Vec<(&str, usize)> = frequencies.filter(|(w, _)| is_content(w)).collect();
        words.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(b.0)));
        let words = words.into_iter().take(NUM_CONTENT_WORDS).enumerate();
        Self { numbers: words.map(|(number, (word, _))| (word.to_owned(), number)).collect() }
    }

    /// The number of content words, at most 300.
    pub fn count(&self) -> usize {
        self.numbers.len()
    }

    /// The content words in a photo's captions, as numbers from 0 in order of falling frequency.
    pub fn present(&self, captions: &[Vec<String>]) -> HashSet<usize> {
        captions.iter().flatten().filter_map(|word| self.numbers.get(word).copied()).collect()
    }
}

/// The tf-idf space of the words of training captions, which is that of CIDEr for unigrams.
#[derive(Debug)]
pub struct CaptionVectors {
    /// Number and weight of each term.
    terms: HashMap<String, (usize, f64)>,
}

impl CaptionVectors {
    /// The space of the words in the captions of at least five of these photos.
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

    /// The number of terms, which is the length of a vector.
    pub fn count(&self) -> usize {
        self.terms.len()
    }

    /// The tf-idf vector of a caption, of unit length; 0 if all its words have no weight.
    pub fn vector(&self, caption: &[String]) -> Vec<f64> {
        let mut vector = vec![0.0; self.terms.len()];
        for (number, weight) in caption.iter().filter_map(|word| self.terms.get(word)) {
            vector[*number] += weight;
        }
        let length = vector.iter().map(|value| value * value).sum::<f64>().sqrt();
        vector.iter_mut().for_each(|value| *value /= length.max(f64::MIN_POSITIVE));
        vector
    }

    /// The mean of the vectors of a photo's captions.
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
    use crate::train::text::words::words;

    fn photos(captions: &[&[&str]]) -> Vec<Vec<Vec<String>>> {
        captions.iter().map(|photo| photo.iter().map(|caption| words(caption)).collect()).collect()
    }

    #[test]
    fn a_word_counts_once_per_photo_and_function_words_never() {
        let train = photos(&[
            &["a dog with a ball", "the dog's ball and the dog"],
            &["a dog"],
            &["2 cats without a ball"],
        ]);
        let found = ContentWords::new(&train);
        let of = |caption: &str| found.present(&[words(caption)]);
        // "ball" and "dog" are in two photos each, in alphabetical order; "cats" is in one.
        assert_eq!(found.count(), 3);
        assert_eq!(of("the dog and a zebra"), HashSet::from([1]));
        assert_eq!(of("with a ball, ball, 2 cats"), HashSet::from([0, 2]));
    }

    #[test]
    fn rare_terms_weigh_more_and_unknown_ones_zero() {
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
