//! CIDEr-D (Vedantam et al. 2015): compares the tf-idf n-gram vectors of a candidate and its
//! references.
//!
//! An n-gram weighs more the fewer photos have it in their references. The document frequencies are
//! those of the references that the [`Cider`] was made from.

use std::collections::{HashMap, HashSet};

/// Length of the longest n-grams compared.
const MAX_N: usize = 4;

/// Standard deviation, in bigrams, of the Gaussian penalty on a difference in length.
const SIGMA: f64 = 6.0;

/// The maximum of a score: CIDEr-D is reported on a scale of 0 to 10.
const SCALE: f64 = 10.0;

/// The document frequencies of n-grams, by which captions are compared.
#[derive(Debug)]
pub struct Cider {
    ngrams: HashMap<String, Ngram>,
    log_documents: f64,
}

#[derive(Debug)]
struct Ngram {
    id: u32,
    documents: u32,
}

/// A caption as tf-idf weights of its n-grams, separately for n = 1 to 4.
#[derive(Debug, Clone)]
pub struct CaptionVector {
    /// Id and weight of the n-grams that the references have, in ascending order of id.
    terms: [Vec<(u32, f64)>; MAX_N],
    /// Norms over all n-grams, including those that the references do not have.
    norms: [f64; MAX_N],
    bigrams: usize,
}

impl Cider {
    /// Counts in how many documents each n-gram appears; a document is the references of one photo.
    pub fn new(documents: &[Vec<Vec<String>>]) -> Self {
        let mut ngrams: HashMap<String, Ngram> = HashMap::new();
        for captions in documents {
            let keys: HashSet<String> = captions
                .iter()
                .flat_map(|words| (1..=MAX_N).flat_map(|n| keys(words, n)))
                .collect();
            for key in keys {
                let id = u32::try_from(ngrams.len()).expect("a corpus has fewer than 2^32 n-grams");
                ngrams.entry(key).or_insert(Ngram { id, documents: 0 }).documents += 1;
            }
        }
        Self { ngrams, log_documents: (documents.len() as f64).ln() }
    }

    /// The vector of a caption given as words.
    pub fn vector(&self, words: &[String]) -> CaptionVector {
        let mut vector = CaptionVector {
            terms: Default::default(),
            norms: [0.0; MAX_N],
            bigrams: words.len().saturating_sub(1),
        };
        for n in 1..=MAX_N {
            let mut counts: HashMap<String, u32> = HashMap::new();
            for key in keys(words, n) {
                *counts.entry(key).or_default() += 1;
            }
            let terms = &mut vector.terms[n - 1];
            let mut squares = Vec::with_capacity(counts.len());
            for (key, count) in counts {
                let known = self.ngrams.get(&key);
                let documents = known.map_or(1, |ngram| ngram.documents);
                let weight = f64::from(count) * (self.log_documents - f64::from(documents).ln());
                squares.push(weight * weight);
                terms.extend(known.map(|ngram| (ngram.id, weight)));
            }
            // Sorted, so that the random order of a hash map does not change the rounding of a
            // score.
            squares.sort_by(f64::total_cmp);
            terms.sort_by_key(|(id, _)| *id);
            vector.norms[n - 1] = squares.iter().sum::<f64>().sqrt();
        }
        vector
    }

    /// CIDEr-D of one candidate, the mean over its references, 0 to 10.
    pub fn score(&self, candidate: &[String], references: &[Vec<String>]) -> f64 {
        let candidate = self.vector(candidate);
        let total: f64 =
            references.iter().map(|words| candidate.similarity(&self.vector(words))).sum();
        total / references.len() as f64
    }
}

impl CaptionVector {
    /// Similarity of this candidate to one reference, 0 to 10. Not symmetric: an n-gram counts at
    /// most as often as the reference has it.
    pub fn similarity(&self, reference: &Self) -> f64 {
        let difference = self.bigrams.abs_diff(reference.bigrams) as f64;
        let length_penalty = (-difference.powi(2) / (2.0 * SIGMA.powi(2))).exp();
        let mut cosines = 0.0;
        for n in 0..MAX_N {
            let norms = self.norms[n] * reference.norms[n];
            if norms != 0.0 {
                cosines += clipped_dot(&self.terms[n], &reference.terms[n]) / norms;
            }
        }
        SCALE * length_penalty * cosines / MAX_N as f64
    }
}

/// The sum of `min(candidate, reference) * reference` over the ids that both have.
fn clipped_dot(candidate: &[(u32, f64)], reference: &[(u32, f64)]) -> f64 {
    let mut reference = reference.iter().peekable();
    let mut sum = 0.0;
    for &(id, weight) in candidate {
        while reference.next_if(|(other, _)| *other < id).is_some() {}
        if let Some((_, other)) = reference.next_if(|(other, _)| *other == id) {
            sum += weight.min(*other) * other;
        }
    }
    sum
}

/// The n-grams of `words`. No word contains a space, so n-grams of different lengths have different
/// keys.
fn keys(words: &[String], n: usize) -> impl Iterator<Item = String> + '_ {
    words.windows(n).map(|ngram| ngram.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::text::words::words;

    fn documents() -> Vec<Vec<Vec<String>>> {
        [
            ["a dog runs on the beach", "a brown dog runs"],
            ["a cat sleeps on a sofa", "the cat sleeps"],
            ["two men play chess outside", "men at a chess board"],
        ]
        .map(|captions| captions.map(words).into())
        .into()
    }

    #[test]
    fn reference_itself_scores_ten() {
        let cider = Cider::new(&documents());
        let caption = cider.vector(&words("a dog runs on the beach"));
        assert!((caption.similarity(&caption) - 10.0).abs() < 1e-9);
    }

    #[test]
    fn words_that_every_photo_has_carry_no_weight() {
        let cider = Cider::new(&documents());
        assert_eq!(cider.score(&words("a a a"), &documents()[0]), 0.0);
    }

    #[test]
    fn words_that_no_reference_has_lower_the_score() {
        let cider = Cider::new(&documents());
        let references = &documents()[0];
        let plain = cider.score(&words("brown dog runs"), references);
        let diluted = cider.score(&words("zebra brown dog runs"), references);
        assert!(0.0 < diluted && diluted < plain, "{diluted} {plain}");
    }

    #[test]
    fn repeating_a_word_lowers_the_score() {
        let cider = Cider::new(&documents());
        let references = &documents()[0];
        let once = cider.score(&words("dog runs"), references);
        assert!(cider.score(&words("dog dog dog dog runs"), references) < once);
    }

    #[test]
    fn single_photo_scores_zero() {
        let cider = Cider::new(&documents()[..1]);
        assert_eq!(cider.score(&words("a dog runs"), &documents()[0]), 0.0);
        assert_eq!(cider.score(&[], &documents()[0]), 0.0);
    }
}
