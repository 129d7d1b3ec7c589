//! Metrics of a probe. Right answers are ranked after wrong ones with the same score, so that a
//! constant representation gains nothing.

use nalgebra::DMatrix;

/// Mean average precision, over words, of ranking the photos by `scores`, `[photos, words]`; the
/// right photos of a word are those in which it is `present`, `[photos, words]`. Words that are
/// present in no photo are left out. 0 if no word is left.
///
/// # Panics
///
/// If the shapes differ.
pub fn mean_average_precision(scores: &DMatrix<f64>, present: &DMatrix<bool>) -> f64 {
    assert_eq!(scores.shape(), present.shape(), "scores and words differ");
    let precisions: Vec<f64> = (0..scores.ncols())
        .filter_map(|word| {
            let (scores, present) = (scores.column(word), present.column(word));
            average_precision(scores.iter().copied().zip(present.iter().copied()).collect())
        })
        .collect();
    precisions.iter().sum::<f64>() / precisions.len().max(1) as f64
}

/// The mean, over the right answers, of the precision at their rank. `None` without a right answer.
fn average_precision(mut scored: Vec<(f64, bool)>) -> Option<f64> {
    scored.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
    let (mut found, mut sum) = (0.0, 0.0);
    for ((_, is_right), place) in scored.into_iter().zip(1u32..) {
        if is_right {
            found += 1.0;
            sum += found / f64::from(place);
        }
    }
    (found > 0.0).then(|| sum / found)
}

/// The share of photos with one of their own captions among the `k` captions that `scores`,
/// `[photos, captions]`, ranks highest. `owners` has the photo of each caption.
///
/// # Panics
///
/// If captions and `owners` differ in number.
pub fn recall_at(k: usize, scores: &DMatrix<f64>, owners: &[usize]) -> f64 {
    assert_eq!(scores.ncols(), owners.len(), "captions and owners differ");
    let is_found = |photo: &usize| {
        let row = scores.row(*photo);
        let (own, others): (Vec<_>, Vec<_>) =
            row.iter().copied().zip(owners).partition(|(_, owner)| *owner == photo);
        let best = own.iter().map(|(score, _)| *score).fold(f64::NEG_INFINITY, f64::max);
        !own.is_empty() && others.iter().filter(|(score, _)| *score >= best).count() < k
    };
    let found = (0..scores.nrows()).filter(is_found).count();
    found as f64 / scores.nrows().max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn average_precision_matches_a_calculation_by_hand() {
        // Right at inputs 1, 3 and 4.
        let scored = vec![(0.1, false), (0.9, true), (0.5, true), (0.7, false), (0.4, true)];
        let expected = (1.0 + 2.0 / 3.0 + 3.0 / 4.0) / 3.0;
        assert!((average_precision(scored).expect("three right") - expected).abs() < 1e-12);
        assert_eq!(average_precision(vec![(1.0, false)]), None);
        // With equal scores the right answer is ranked last.
        assert_eq!(average_precision(vec![(0.0, true), (0.0, false)]), Some(0.5));
    }

    #[test]
    fn words_that_no_photo_has_are_left_out_of_the_mean() {
        let scores = DMatrix::from_row_slice(2, 3, &[0.9, 0.1, 0.3, 0.1, 0.8, 0.2]);
        let present = DMatrix::from_row_slice(2, 3, &[true, true, false, false, false, false]);
        assert!((mean_average_precision(&scores, &present) - (1.0 + 0.5) / 2.0).abs() < 1e-12);
    }

    #[test]
    fn a_photo_is_found_by_its_best_caption() {
        let owners = [0, 0, 1, 1];
        let scores = DMatrix::from_row_slice(
            2,
            4,
            &[
                0.1, 0.8, 0.9, 0.2, // photo 0: its best is second
                0.7, 0.6, 0.1, 0.5, // photo 1: its best is third
            ],
        );
        let found: Vec<f64> = (1..4).map(|k| recall_at(k, &scores, &owners)).collect();
        assert_eq!(found, [0.0, 0.5, 1.0]);
        assert_eq!(recall_at(2, &DMatrix::zeros(2, 4), &owners), 0.0);
    }
}
