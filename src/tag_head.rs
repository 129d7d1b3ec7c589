//! Image tags: how probable it is that a photo shows each thing of a fixed list.
//!
//! ```text
//! pooled features of the whole Lite0 [1280] -> int8, int8 weights [names, 1280]
//!   -> scale and bias of each name -> log-odds -> probability
//! ```
//!
//! Scales and biases include the calibration: of the tags with probability 0.8, about 80 % are
//! things that at least one of five people mentions.

use serde::Serialize;

use crate::kernels::{int8_matmul, quantize_row, Int8Matrix};
use crate::weights::{ModelError, Weights};

/// A thing in a photo.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Tag {
    /// Its name, a noun in the singular where people would say it so.
    pub name: String,
    /// How probable it is that a person would mention it, 0 to 1.
    pub probability: f64,
}

/// The tensors of the head.
#[derive(Debug, Clone, PartialEq)]
pub struct TagLayer {
    /// `[names, features]`, -127 to 127.
    pub weight: Vec<i8>,
    /// The factor of each row.
    pub weight_scale: Vec<f32>,
    /// What is added to each row.
    pub bias: Vec<f32>,
}

/// The head that recognizes things: a linear map.
#[derive(Clone)]
pub struct TagHead {
    names: Vec<String>,
    layer: TagLayer,
    matrix: Int8Matrix,
}

impl TagHead {
    /// The head with these tensors, which have a row for each of `names`.
    ///
    /// # Panics
    ///
    /// If the lengths do not match, there is no name, or a weight is -128.
    pub fn new(names: Vec<String>, layer: TagLayer) -> Self {
        let rows = names.len();
        assert!(rows > 0, "a head has a name");
        assert_eq!(
            (layer.weight_scale.len(), layer.bias.len()),
            (rows, rows),
            "a row for each name"
        );
        let matrix = Int8Matrix::from_weights(rows, layer.weight.len() / rows, &layer.weight);
        Self { names, layer, matrix }
    }

    /// Takes the head's tensors `weight`, `weight_scale` and `bias` out of a file.
    ///
    /// # Errors
    ///
    /// If a tensor is missing or invalid.
    pub(crate) fn from_weights(
        weights: &Weights,
        names: Vec<String>,
        features: usize,
    ) -> Result<Self, ModelError> {
        let rows = names.len();
        let layer = TagLayer {
            weight: weights.take_int8_weights("weight", &[rows, features])?,
            weight_scale: weights.take_f32("weight_scale", &[rows])?,
            bias: weights.take_f32("bias", &[rows])?,
        };
        Ok(Self::new(names, layer))
    }

    /// The names, in the order of [`TagHead::log_odds`].
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// The tensors.
    pub fn layer(&self) -> &TagLayer {
        &self.layer
    }

    /// Multiplies all log-odds by `slope` and adds `offsets`, one for each name.
    pub fn calibrate(&mut self, slope: f32, offsets: &[f32]) {
        let TagLayer { weight_scale, bias, .. } = &mut self.layer;
        weight_scale.iter_mut().for_each(|scale| *scale *= slope);
        bias.iter_mut().zip(offsets).for_each(|(bias, offset)| *bias = *bias * slope + offset);
    }

    /// The log-odds of each name, given pooled features.
    ///
    /// # Panics
    ///
    /// If the number of features is not that of the weights' columns.
    pub fn log_odds(&self, pooled: &[f32]) -> Vec<f32> {
        let mut quantized = vec![0; pooled.len()];
        let scale = quantize_row(pooled, &mut quantized);
        let mut sums = vec![0; self.names.len()];
        int8_matmul(&self.matrix, &quantized, &mut sums);
        let rows = sums.iter().zip(&self.layer.weight_scale).zip(&self.layer.bias);
        rows.map(|((&sum, factor), bias)| sum as f32 * (scale * factor) + bias).collect()
    }

    /// The things of at least `smallest` probability, the most probable first, given pooled
    /// features. Probabilities are rounded to thousandths.
    ///
    /// # Panics
    ///
    /// As [`TagHead::log_odds`].
    pub fn tags(&self, pooled: &[f32], smallest: f64) -> Vec<Tag> {
        let log_odds = self.log_odds(pooled);
        let tags = self
            .names
            .iter()
            .zip(log_odds)
            .map(|(name, log_odds)| Tag { name: name.clone(), probability: probability(log_odds) });
        let mut tags: Vec<Tag> = tags.filter(|tag| tag.probability >= smallest).collect();
        // Stable: equally probable names keep the order of the list.
        tags.sort_by(|a, b| b.probability.total_cmp(&a.probability));
        tags
    }
}

/// The probability in thousandths: libraries differ in the last bit of an exponential.
fn probability(log_odds: f32) -> f64 {
    (1e3 / (1.0 + (-f64::from(log_odds)).exp())).round() / 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head() -> TagHead {
        let layer = TagLayer {
            weight: vec![127, 0, 0, 127, -127, 0],
            weight_scale: vec![0.01, 0.02, 0.01],
            bias: vec![-1.0, -2.0, 0.5],
        };
        TagHead::new(["cat", "dog", "sky"].map(String::from).to_vec(), layer)
    }

    #[test]
    fn log_odds_are_the_linear_map_of_the_features() {
        let found = head().log_odds(&[2.0, 1.0]);
        // Features are rounded to steps of 2 / 127.
        for (found, expected) in found.iter().zip([1.54, 0.54, -2.04]) {
            assert!((found - expected).abs() < 0.03, "{found} {expected}");
        }
    }

    #[test]
    fn tags_are_the_probable_names_best_first() {
        let tags = head().tags(&[2.0, 1.0], 0.5);
        let names: Vec<&str> = tags.iter().map(|tag| tag.name.as_str()).collect();
        assert_eq!(names, ["cat", "dog"]);
        assert!((tags[0].probability - 0.823).abs() < 0.01, "{tags:?}");
    }

    #[test]
    fn calibration_scales_and_shifts_the_log_odds() {
        let mut calibrated = head();
        calibrated.calibrate(0.5, &[1.0, 0.0, -1.0]);
        let before = head().log_odds(&[0.3, 0.7]);
        let after = calibrated.log_odds(&[0.3, 0.7]);
        for ((before, after), offset) in before.iter().zip(after).zip([1.0, 0.0, -1.0]) {
            assert!((0.5 * before + offset - after).abs() < 1e-5);
        }
    }
}
