//! Baselines, which caption photos without a model: by the most frequent caption, and by captions
//! of similar training photos.
//!
//! Photos are feature vectors of equal length, compared by cosine. Each function returns one
//! caption for each dev photo, in their order, as input of [`score`](crate::train::metrics::score).

use std::cmp::Reverse;
use std::collections::HashMap;

use crate::train::data::consensus::agreements;
use crate::train::metrics::{CaptionVector, Cider};
use crate::train::text::words::words;

/// Photos with their captions: two slices of equal length.
#[derive(Debug, Clone, Copy)]
pub struct CaptionedPhotos<'a> {
    /// The feature vector of each photo.
    pub features: &'a [Vec<f32>],
    /// The captions of each photo, at least one.
    pub captions: &'a [Vec<String>],
}

/// The most frequent of `captions`, once for each of `num_photos` photos; the first in the alphabet
/// if several are. The captions should be normalized, because only exact copies are counted as one.
///
/// # Panics
/// When there are no captions.
pub fn most_frequent_caption(captions: &[Vec<String>], num_photos: usize) -> Vec<String> {
    let mut counts: HashMap<&str, usize> = HashMap::new();
    for caption in captions.iter().flatten() {
        *counts.entry(caption).or_default() += 1;
    }
    let (most_frequent, _) = counts
        .into_iter()
        .max_by_key(|&(caption, count)| (count, Reverse(caption)))
        .expect("the training set has captions");
    vec![most_frequent.to_owned(); num_photos]
}

/// The first caption of the most similar training photo.
///
/// # Panics
/// When there are no training photos, one has no caption, or feature vectors differ in length.
pub fn nearest_caption(train: CaptionedPhotos<'_>, dev: &[Vec<f32>]) -> Vec<String> {
    let nearest = nearest_photos(train, dev, 1);
    nearest.iter().map(|photos| train.captions[photos[0]][0].clone()).collect()
}

/// The caption that is most similar to the others by CIDEr-D, among those of the `num_neighbors`
/// most similar training photos (Devlin et al. 2015). What only one neighbor shows is outvoted.
///
/// # Panics
/// As [`nearest_caption`], and when `num_neighbors` is 0.
pub fn consensus_caption(
    train: CaptionedPhotos<'_>,
    dev: &[Vec<f32>],
    num_neighbors: usize,
) -> Vec<String> {
    assert!(num_neighbors > 0, "a consensus needs a neighbor");
    let documents: Vec<Vec<Vec<String>>> = train
        .captions
        .iter()
        .map(|captions| captions.iter().map(|caption| words(caption)).collect())
        .collect();
    let cider = Cider::new(&documents);
    let vectors: Vec<Vec<CaptionVector>> = documents
        .iter()
        .map(|captions| captions.iter().map(|words| cider.vector(words)).collect())
        .collect();
    nearest_photos(train, dev, num_neighbors)
        .iter()
        .map(|photos| {
            let (captions, vectors): (Vec<_>, Vec<_>) = photos
                .iter()
                .flat_map(|&photo| train.captions[photo].iter().zip(&vectors[photo]))
                .unzip();
            captions[most_agreed(&vectors)].clone()
        })
        .collect()
}

/// The index of the caption with the highest total similarity to the others. Of several, it is the
/// first, whose photo is nearest.
fn most_agreed(pool: &[&CaptionVector]) -> usize {
    let mut best = (0, f64::NEG_INFINITY);
    for (index, agreement) in agreements(pool).into_iter().enumerate() {
        if agreement > best.1 {
            best = (index, agreement);
        }
    }
    best.0
}

/// The indices of the `num_neighbors` most similar training photos of each dev photo, nearest
/// first.
fn nearest_photos(
    train: CaptionedPhotos<'_>,
    dev: &[Vec<f32>],
    num_neighbors: usize,
) -> Vec<Vec<usize>> {
    assert!(!train.features.is_empty(), "no training photos");
    assert_eq!(train.features.len(), train.captions.len(), "each photo needs its captions");
    assert!(train.captions.iter().all(|captions| !captions.is_empty()), "a photo has no caption");
    let train: Vec<Vec<f32>> = train.features.iter().map(|features| unit(features)).collect();
    dev.iter()
        .map(|photo| {
            let photo = unit(photo);
            let cosines: Vec<f32> = train.iter().map(|other| dot(&photo, other)).collect();
            let mut order: Vec<usize> = (0..train.len()).collect();
            order.sort_by(|&a, &b| cosines[b].total_cmp(&cosines[a]));
            order.truncate(num_neighbors);
            order
        })
        .collect()
}

/// Scales `features` to length 1. A vector of zeros stays as it is.
fn unit(features: &[f32]) -> Vec<f32> {
    let length = dot(features, features).sqrt().max(f32::MIN_POSITIVE);
    features.iter().map(|feature| feature / length).collect()
}

fn dot(left: &[f32], right: &[f32]) -> f32 {
    /// Number of independent sums, so that the compiler can use vector instructions.
    const LANES: usize = 8;
    assert_eq!(left.len(), right.len(), "feature vectors differ in length");
    let mut sums = [0.0; LANES];
    let (left_chunks, right_chunks) = (left.chunks_exact(LANES), right.chunks_exact(LANES));
    let rest = left_chunks.remainder().iter().zip(right_chunks.remainder());
    let rest: f32 = rest.map(|(left, right)| left * right).sum();
    for (left, right) in left_chunks.zip(right_chunks) {
        for lane in 0..LANES {
            sums[lane] += left[lane] * right[lane];
        }
    }
    sums.iter().sum::<f32>() + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn captions(photos: &[&[&str]]) -> Vec<Vec<String>> {
        photos.iter().map(|photo| photo.iter().map(|text| (*text).to_owned()).collect()).collect()
    }

    #[test]
    fn dot_covers_every_lane_and_the_rest() {
        for len in 0..20_u8 {
            let left: Vec<f32> = (0..len).map(f32::from).collect();
            let expected: f32 = left.iter().map(|value| value * 2.0).sum();
            assert_eq!(dot(&left, &vec![2.0; left.len()]), expected);
        }
    }

    #[test]
    fn most_frequent_caption_is_given_to_every_photo() {
        let train = captions(&[&["two dogs", "a dog"], &["a dog", "two dogs"], &["a cat"]]);
        assert_eq!(most_frequent_caption(&train, 3), ["a dog"; 3], "the first in the alphabet");
    }

    #[test]
    fn nearest_is_by_direction_not_by_length() {
        let features = [vec![1.0, 0.1], vec![0.1, 1.0], vec![0.0, 0.0]];
        let captions = captions(&[&["a beach", "the sea"], &["a forest"], &["nothing"]]);
        let train = CaptionedPhotos { features: &features, captions: &captions };
        let dev = [vec![0.0, 0.5], vec![90.0, 10.0]];
        assert_eq!(nearest_caption(train, &dev), ["a forest", "a beach"]);
        assert_eq!(nearest_photos(train, &dev, 9)[0], [1, 0, 2], "no more than there are");
    }

    #[test]
    fn consensus_outvotes_the_nearest_photo() {
        let features = [vec![1.0, 0.0], vec![0.9, 0.1], vec![0.8, 0.2], vec![-1.0, 0.0]];
        let captions = captions(&[
            &["a red balloon rises", "my birthday party"],
            &["a dog runs on the beach", "one wet dog"],
            &["a brown dog runs on the beach", "a dog runs along the sea"],
            &["a tall tower", "a tower at night"],
        ]);
        let train = CaptionedPhotos { features: &features, captions: &captions };
        let dev = [vec![1.0, 0.0]];
        assert_eq!(nearest_caption(train, &dev), ["a red balloon rises"]);
        assert_eq!(consensus_caption(train, &dev, 3), ["a dog runs on the beach"]);
        assert_eq!(consensus_caption(train, &dev, 1), ["a red balloon rises"], "equals: the first");
    }

    #[test]
    fn lone_caption_is_its_own_consensus() {
        let features = [vec![1.0]];
        let captions = captions(&[&["a dog"]]);
        let train = CaptionedPhotos { features: &features, captions: &captions };
        assert_eq!(consensus_caption(train, &[vec![2.0]], 40), ["a dog"]);
    }
}
