//! Weights each caption by its agreement with the other captions of its photo, so that typical
//! descriptions count more than unusual ones (Phan et al. 2017, "Consensus-based sequence
//! training").

use crate::train::data::sample::Sample;
use crate::train::metrics::{CaptionVector, Cider};
use crate::train::text::words::words;

/// The part of the weight that all captions share equally; the rest is proportional to CIDEr-D.
const UNIFORM: f64 = 0.5;

/// For each caption the sum of its CIDEr-D against each of the others.
pub(crate) fn agreements(captions: &[&CaptionVector]) -> Vec<f64> {
    let agreement = |candidate: usize| -> f64 {
        let others = captions.iter().enumerate().filter(|&(other, _)| other != candidate);
        others.map(|(_, other)| captions[candidate].similarity(other)).sum()
    };
    (0..captions.len()).map(agreement).collect()
}

/// Multiplies the weight of each caption by a factor that grows with its CIDEr-D against the other
/// captions of its photo. The factors average 1 over each photo.
pub fn weigh_by_consensus(samples: &mut [Sample]) {
    let documents: Vec<Vec<Vec<String>>> = samples
        .iter()
        .map(|sample| sample.captions.iter().map(|caption| words(&caption.text)).collect())
        .collect();
    let cider = Cider::new(&documents);
    for (sample, document) in samples.iter_mut().zip(&documents) {
        let vectors: Vec<CaptionVector> = document.iter().map(|text| cider.vector(text)).collect();
        let agreements = agreements(&vectors.iter().collect::<Vec<_>>());
        let mean = agreements.iter().sum::<f64>() / agreements.len().max(1) as f64;
        if mean > 0.0 {
            for (caption, agreement) in sample.captions.iter_mut().zip(agreements) {
                #[allow(clippy::cast_possible_truncation, reason = "a weight of a few units")]
                {
                    caption.weight *= (UNIFORM + (1.0 - UNIFORM) * agreement / mean) as f32;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::data::sample::CaptionTokens;

    fn sample(texts: &[&str]) -> Sample {
        let caption = |text: &&str| CaptionTokens {
            text: (*text).into(),
            tokens: vec![],
            start: 0,
            weight: 1.0,
        };
        let captions = texts.iter().map(caption).collect();
        Sample { views: vec![], mirrored: vec![], captions, weight: 1.0, label_words: vec![] }
    }

    #[test]
    fn captions_that_agree_weigh_more_and_the_mean_stays_one() {
        let mut samples = vec![
            sample(&["a dog runs on grass", "a brown dog runs on grass", "what a lovely day"]),
            sample(&["a man on a bike", "two children swim"]),
            sample(&["a boat"]),
        ];
        weigh_by_consensus(&mut samples);
        let weights: Vec<f32> = samples[0].captions.iter().map(|c| c.weight).collect();
        assert!(weights[0] > weights[2] && weights[1] > weights[2], "{weights:?}");
        assert!((weights.iter().sum::<f32>() / 3.0 - 1.0).abs() < 1e-5, "{weights:?}");
        assert!((weights[2] - 0.5).abs() < 0.01, "{weights:?}");
        assert_eq!(samples[2].captions[0].weight, 1.0, "one caption has nothing to agree with");
    }
}
