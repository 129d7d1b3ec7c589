//! ROUGE-L (Lin 2004): the longest common subsequence of a candidate and its references.

/// Weight of recall relative to precision in the F-measure, as in pycocoevalcap.
const BETA: f64 = 1.2;

/// ROUGE-L of one candidate, 0 to 1: the F-measure of the best precision and the best recall among
/// its references.
pub(super) fn rouge_l(candidate: &[String], references: &[Vec<String>]) -> f64 {
    let (mut precision, mut recall) = (0.0_f64, 0.0_f64);
    for reference in references {
        let common = common_subsequence_len(candidate, reference) as f64;
        // `max(1)`: an empty text scores 0 instead of dividing by zero.
        precision = precision.max(common / candidate.len().max(1) as f64);
        recall = recall.max(common / reference.len().max(1) as f64);
    }
    if precision == 0.0 || recall == 0.0 {
        return 0.0;
    }
    (1.0 + BETA.powi(2)) * precision * recall / (recall + BETA.powi(2) * precision)
}

fn common_subsequence_len(left: &[String], right: &[String]) -> usize {
    // `lens[j]` is the length for the words of `left` processed so far and `right[..j]`.
    let mut lens = vec![0; right.len() + 1];
    for word in left {
        let mut diagonal = 0;
        for (j, other) in right.iter().enumerate() {
            let above = lens[j + 1];
            lens[j + 1] = if word == other { diagonal + 1 } else { above.max(lens[j]) };
            diagonal = above;
        }
    }
    lens[right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::text::words::words;

    #[test]
    fn subsequence_may_skip_words_but_keeps_their_order() {
        for (left, right, expected) in [
            ("a b c d", "a b c d", 4),
            ("a b c d", "a x c", 2),
            ("a b c", "c b a", 1),
            ("a a b", "b a a", 2),
            ("a b", "", 0),
        ] {
            assert_eq!(common_subsequence_len(&words(left), &words(right)), expected);
            assert_eq!(common_subsequence_len(&words(right), &words(left)), expected);
        }
    }

    #[test]
    fn best_precision_and_best_recall_may_come_from_two_references() {
        let references = ["a dog runs on the wide beach today", "dog"].map(words);
        // Precision 3/3 from the first, recall 1/1 from the second.
        assert!((rouge_l(&words("a dog runs"), &references) - 1.0).abs() < 1e-9);
    }

    #[test]
    fn nothing_in_common_scores_zero() {
        assert_eq!(rouge_l(&words("a cat"), &["two dogs"].map(words)), 0.0);
        assert_eq!(rouge_l(&[], &["two dogs"].map(words)), 0.0);
    }
}
