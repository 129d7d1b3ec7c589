//! BLEU (Papineni et al. 2002) over a whole set, with the reference length closest to each
//! candidate's.

use std::collections::HashMap;

/// Length of the longest n-grams counted.
const MAX_N: usize = 4;

/// pycocoevalcap's guards against division by zero: a precision is
/// `(correct + TINY) / (guessed + SMALL)`.
const TINY: f64 = 1e-15;
const SMALL: f64 = 1e-9;

/// BLEU-1 to BLEU-4, 0 to 1. `references[i]` are the references of `candidates[i]`; all are split
/// into words.
pub(super) fn bleu(candidates: &[Vec<String>], references: &[Vec<Vec<String>>]) -> [f64; MAX_N] {
    let mut correct = [0_usize; MAX_N];
    let mut guessed = [0_usize; MAX_N];
    let (mut candidate_words, mut reference_words) = (0, 0);
    for (candidate, references) in candidates.iter().zip(references) {
        candidate_words += candidate.len();
        reference_words += closest_length(candidate.len(), references);
        for n in 1..=MAX_N {
            correct[n - 1] += clipped_matches(candidate, references, n);
            guessed[n - 1] += (candidate.len() + 1).saturating_sub(n);
        }
    }
    let ratio = (candidate_words as f64 + TINY) / (reference_words as f64 + SMALL);
    let brevity_penalty = if ratio < 1.0 { (1.0 - 1.0 / ratio).exp() } else { 1.0 };
    let mut product = 1.0;
    let mut scores = [0.0; MAX_N];
    for (n, score) in scores.iter_mut().enumerate() {
        product *= (correct[n] as f64 + TINY) / (guessed[n] as f64 + SMALL);
        *score = brevity_penalty * product.powf(1.0 / (n + 1) as f64);
    }
    scores
}

/// The reference length closest to `length`; the shorter one of two that are equally close.
fn closest_length(length: usize, references: &[Vec<String>]) -> usize {
    let lengths = references.iter().map(Vec::len);
    lengths.min_by_key(|&reference| (reference.abs_diff(length), reference)).unwrap_or(0)
}

/// The number of the candidate's n-grams that match, each counted at most as often as in the
/// reference that has it most often.
fn clipped_matches(candidate: &[String], references: &[Vec<String>], n: usize) -> usize {
    let mut allowed: HashMap<&[String], usize> = HashMap::new();
    for reference in references {
        for (ngram, count) in counts(reference, n) {
            let most = allowed.entry(ngram).or_default();
            *most = count.max(*most);
        }
    }
    let guesses = counts(candidate, n);
    guesses.iter().map(|(ngram, &count)| count.min(allowed.get(ngram).copied().unwrap_or(0))).sum()
}

/// The number of occurrences of each n-gram.
fn counts(words: &[String], n: usize) -> HashMap<&[String], usize> {
    let mut counts = HashMap::new();
    for ngram in words.windows(n) {
        *counts.entry(ngram).or_default() += 1;
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::text::words::words;

    fn one(candidate: &str, references: &[&str]) -> [f64; MAX_N] {
        bleu(&[words(candidate)], &[references.iter().map(|text| words(text)).collect()])
    }

    #[test]
    fn candidate_equal_to_a_reference_scores_one() {
        for score in one("a dog runs on the beach", &["a cat", "a dog runs on the beach"]) {
            assert!((score - 1.0).abs() < 1e-6);
        }
    }

    #[test]
    fn repeated_word_counts_once_per_reference() {
        // Papineni et al. 2002, section 2.1: two of seven.
        let references = ["the cat is on the mat", "there is a cat on the mat"];
        let [bleu_1, bleu_2, ..] = one("the the the the the the the", &references);
        assert!((bleu_1 - 2.0 / 7.0).abs() < 1e-6);
        assert!(bleu_2 < 1e-6);
    }

    #[test]
    fn short_candidate_is_penalized_against_the_closest_reference() {
        let references = ["a dog runs on the beach", "a dog runs"];
        assert_eq!(closest_length(2, &references.map(words)), 3);
        assert_eq!(closest_length(4, &["a b c d e", "a b c"].map(words)), 3);
        let [bleu_1, ..] = one("a dog", &references);
        assert!((bleu_1 - (1.0_f64 - 3.0 / 2.0).exp()).abs() < 1e-6);
    }

    #[test]
    fn empty_candidate_scores_zero() {
        assert!(one("", &["a dog"]).iter().all(|score| *score < 1e-6));
    }
}
