//! Scores of captions against human ones: BLEU, ROUGE-L and CIDEr-D as pycocoevalcap 1.2 computes
//! them, and measures of their variety.
//!
//! `tests/reference/metrics` holds the scores of pycocoevalcap for the tests and the scripts that
//! compute them.

mod bleu;
mod cider;
mod rouge;
pub mod tfidf;

use std::collections::HashSet;

use serde::Serialize;

use crate::train::text::words::words;

pub use cider::{CaptionVector, Cider};

/// Quality and variety of a set of captions.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Scores {
    /// BLEU-1 to BLEU-4 of the whole set, 0 to 1.
    pub bleu: [f64; 4],
    /// Mean ROUGE-L, 0 to 1.
    pub rouge_l: f64,
    /// Mean CIDEr-D, 0 to 10, with the document frequencies of these references.
    pub cider: f64,
    /// Number of distinct candidates, compared as words.
    pub distinct_captions: usize,
    /// Mean number of words of a candidate.
    pub mean_length: f64,
    /// Number of distinct words in all candidates.
    pub vocabulary: usize,
}

/// Scores one caption per photo: `references[i]` are the human captions of the photo that
/// `candidates[i]` describes.
///
/// # Panics
/// When there are no candidates, the two slices differ in length, or a photo has no reference.
pub fn score(candidates: &[String], references: &[Vec<String>]) -> Scores {
    assert!(!candidates.is_empty(), "no candidates to score");
    assert_eq!(candidates.len(), references.len(), "candidates and references differ in length");
    assert!(references.iter().all(|photo| !photo.is_empty()), "a photo has no reference");
    let candidates = all_words(candidates);
    let references: Vec<Vec<Vec<String>>> = references.iter().map(|r| all_words(r)).collect();
    let ciders = ciders(&candidates, &references);
    let pairs = || candidates.iter().zip(&references);
    let mean = |total: f64| total / candidates.len() as f64;
    Scores {
        bleu: bleu::bleu(&candidates, &references),
        rouge_l: mean(pairs().map(|(words, photo)| rouge::rouge_l(words, photo)).sum()),
        cider: mean(ciders.iter().sum()),
        distinct_captions: candidates.iter().collect::<HashSet<_>>().len(),
        mean_length: mean(candidates.iter().map(|words| words.len() as f64).sum()),
        vocabulary: candidates.iter().flatten().collect::<HashSet<_>>().len(),
    }
}

/// CIDEr-D of each of `candidates` for its photo, 0 to 10, with the document frequencies of these
/// references.
pub fn cider_of_each(candidates: &[String], references: &[Vec<String>]) -> Vec<f64> {
    let references: Vec<Vec<Vec<String>>> = references.iter().map(|r| all_words(r)).collect();
    ciders(&all_words(candidates), &references)
}

/// ROUGE-L of a caption against `references`, 0 to 1.
pub fn rouge_l(candidate: &str, references: &[String]) -> f64 {
    rouge::rouge_l(&words(candidate), &all_words(references))
}

fn ciders(candidates: &[Vec<String>], references: &[Vec<Vec<String>>]) -> Vec<f64> {
    let cider = Cider::new(references);
    candidates.iter().zip(references).map(|(words, photo)| cider.score(words, photo)).collect()
}

fn all_words(captions: &[String]) -> Vec<Vec<String>> {
    captions.iter().map(|caption| words(caption)).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on should panic")]
mod tests {
    use super::*;
    use serde::Deserialize;

    /// Scores of pycocoevalcap; written by `tests/reference/metrics`.
    #[derive(Deserialize)]
    struct Reference {
        references: Vec<Vec<String>>,
        systems: Vec<System>,
    }

    #[derive(Deserialize)]
    struct System {
        name: String,
        candidates: Vec<String>,
        tokens: Vec<String>,
        bleu: [f64; 4],
        rouge_l: f64,
        cider: f64,
    }

    /// Every score of `system` as (name, ours, pycocoevalcap's).
    fn compare(system: &System, references: &[Vec<String>]) -> Vec<(&'static str, f64, f64)> {
        let ours = score(&system.candidates, references);
        let bleu = ["BLEU-1", "BLEU-2", "BLEU-3", "BLEU-4"].into_iter().zip(ours.bleu);
        let mut rows: Vec<_> =
            bleu.zip(system.bleu).map(|((name, ours), theirs)| (name, ours, theirs)).collect();
        rows.push(("ROUGE-L", ours.rouge_l, system.rouge_l));
        rows.push(("CIDEr", ours.cider, system.cider));
        rows
    }

    #[test]
    fn fixture_captions_score_as_in_pycocoevalcap() {
        let json = include_str!("../../../tests/reference/metrics/fixture.json");
        let fixture: Reference = serde_json::from_str(json).unwrap();
        assert!(fixture.systems.len() >= 4);
        for system in &fixture.systems {
            for (candidate, tokens) in system.candidates.iter().zip(&system.tokens) {
                assert_eq!(words(candidate).join(" "), *tokens);
            }
            for (name, ours, theirs) in compare(system, &fixture.references) {
                assert!((ours - theirs).abs() < 1e-9, "{} {name}: {ours} {theirs}", system.name);
            }
        }
    }

    #[test]
    #[ignore = "needs BITMAR_METRICS_CHECK, written by tests/reference/metrics/real_captions.py"]
    fn real_captions_score_as_in_pycocoevalcap() {
        let path = std::env::var("BITMAR_METRICS_CHECK").unwrap();
        let reference: Reference = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        for system in &reference.systems {
            for (name, ours, theirs) in compare(system, &reference.references) {
                println!("{:24} {name:8} {ours:.6} {theirs:.6}", system.name);
                // The two tokenizers split some words differently.
                assert!((ours - theirs).abs() <= 0.005 * theirs + 1e-6);
            }
        }
    }

    #[test]
    fn variety_counts_captions_and_words() {
        let candidates = ["A dog.", "a dog", "a cat sleeps"].map(String::from);
        let references = vec![vec!["a dog".to_owned()]; 3];
        let scores = score(&candidates, &references);
        assert_eq!((scores.distinct_captions, scores.vocabulary), (2, 4));
        assert!((scores.mean_length - 7.0 / 3.0).abs() < 1e-12);
    }

    #[test]
    fn scoring_twice_gives_the_same_bits() {
        let candidates = ["a dog runs on grass", "a cat on a red sofa"].map(String::from);
        let references: Vec<Vec<String>> =
            vec![vec!["a dog on the grass".into()], vec!["the cat on a red sofa".into()]];
        assert_eq!(score(&candidates, &references), score(&candidates, &references));
    }

    #[test]
    #[should_panic(expected = "differ in length")]
    fn missing_references_panic() {
        score(&["a dog".to_owned()], &[]);
    }
}
