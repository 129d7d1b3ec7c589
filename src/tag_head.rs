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
    pub probability: f32,
}

/// The tensors of one layer.
#[derive(Debug, Clone, PartialEq)]
pub struct TagLayer {
    /// `[rows, columns]`, -127 to 127.
    pub weight: Vec<i8>,
    /// The factor of each row.
    pub weight_scale: Vec<f32>,
    /// What is added to each row.
    pub bias: Vec<f32>,
}

/// The head that recognizes things: a linear map, or two with a ReLU between them.
#[derive(Clone)]
pub struct TagHead {
    names: Vec<String>,
    layers: Vec<(Int8Matrix, TagLayer)>,
}

impl TagHead {
    /// Builds the head from its layers, the last of which has a row for each of `names`.
    ///
    /// # Panics
    ///
    /// If the sizes of the layers do not fit each other, or a weight is -128.
    pub fn new(names: Vec<String>, layers: Vec<TagLayer>) -> Self {
        let last = layers.last().expect("a head has a layer");
        assert_eq!(last.bias.len(), names.len(), "the last layer has a row for each name");
        let matrix = |layer: TagLayer| {
            let rows = layer.bias.len();
            assert_eq!(layer.weight_scale.len(), rows, "a scale for each row");
            (Int8Matrix::from_weights(rows, layer.weight.len() / rows, &layer.weight), layer)
        };
        Self { names, layers: layers.into_iter().map(matrix).collect() }
    }

    /// Takes the head's tensors out of a file: `weight`, `weight_scale` and `bias`, and the same in
    /// the scope `hidden` if that layer has rows.
    ///
    /// # Errors
    ///
    /// If a tensor is missing or invalid.
    pub fn from_weights(
        weights: &Weights,
        names: Vec<String>,
        columns: usize,
        hidden: usize,
    ) -> Result<Self, ModelError> {
        let layer = |weights: &Weights, rows: usize, columns: usize| {
            Ok::<_, ModelError>(TagLayer {
                weight: weights.take_int8_weights("weight", &[rows, columns])?,
                weight_scale: weights.take_f32("weight_scale", &[rows])?,
                bias: weights.take_f32("bias", &[rows])?,
            })
        };
        let mut layers = Vec::new();
        let mut width = columns;
        if hidden > 0 {
            layers.push(layer(&weights.pp("hidden"), hidden, columns)?);
            width = hidden;
        }
        layers.push(layer(weights, names.len(), width)?);
        Ok(Self::new(names, layers))
    }

    /// The names, in the order of [`TagHead::log_odds`].
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// The layers, the last one with a row for each name.
    pub fn layers(&self) -> impl Iterator<Item = &TagLayer> {
        self.layers.iter().map(|(_, layer)| layer)
    }

    /// Multiplies all log-odds by `slope` and adds `offsets`, one for each name.
    pub fn calibrate(&mut self, slope: f32, offsets: &[f32]) {
        let (_, layer) = self.layers.last_mut().expect("a head has a layer");
        layer.weight_scale.iter_mut().for_each(|scale| *scale *= slope);
        layer.bias.iter_mut().zip(offsets).for_each(|(bias, offset)| {
            *bias = *bias * slope + offset;
        });
    }

    /// The log-odds of each name, given pooled features.
    ///
    /// # Panics
    ///
    /// If the number of features is not that of the first layer's columns.
    pub fn log_odds(&self, pooled: &[f32]) -> Vec<f32> {
        let mut values = pooled.to_vec();
        for (number, (matrix, layer)) in self.layers.iter().enumerate() {
            if number > 0 {
                values.iter_mut().for_each(|value| *value = value.max(0.0));
            }
            let mut quantized = vec![0; values.len()];
            let scale = quantize_row(&values, &mut quantized);
            let mut sums = vec![0; matrix.rows()];
            int8_matmul(matrix, &quantized, &mut sums);
            let rows = sums.iter().zip(&layer.weight_scale).zip(&layer.bias);
            values =
                rows.map(|((&sum, factor), bias)| sum as f32 * (scale * factor) + bias).collect();
        }
        values
    }

    /// The things of at least `smallest` probability, the most probable first, given pooled
    /// features.
    ///
    /// # Panics
    ///
    /// As [`TagHead::log_odds`].
    pub fn tags(&self, pooled: &[f32], smallest: f32) -> Vec<Tag> {
        let log_odds = self.log_odds(pooled);
        let tags = self.names.iter().zip(log_odds).map(|(name, log_odds)| Tag {
            name: name.clone(),
            probability: 1.0 / (1.0 + (-log_odds).exp()),
        });
        let mut tags: Vec<Tag> = tags.filter(|tag| tag.probability >= smallest).collect();
        tags.sort_by(|a, b| b.probability.total_cmp(&a.probability));
        tags
    }
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
        TagHead::new(["cat", "dog", "sky"].map(String::from).to_vec(), vec![layer])
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
