//! Quantizes float Lite0 to the int8 stem and its extension, with one weight scale per output
//! channel and activation scales measured on calibration photos.
//!
//! A layer with input scale `s_in`, output scale `s_out` and weights `w ~ s_w[c] * int8` has the
//! multiplier `s_w[c] * s_in / s_out` and the bias `b[c] / s_out`.

mod range;

use std::collections::HashMap;
use std::ops::Range;

use range::ActivationRange;

use crate::stem::{ExtensionLayers, Stem, StemBlock, StemConfig, StemLayer, StemLayers};
use crate::train::teacher::efficientnet::{Depthwise, EfficientNet, Layer, Pointwise};

/// Scale of the int8 input `clamp(pixel - 127)`, which stands for Lite0's `(pixel - 127) / 128`.
const INPUT_SCALE: f32 = 1.0 / 128.0;

/// The activation scale of every layer.
type Scales = HashMap<Layer, f32>;

/// Builds the stem of `config` from the first layers of `lite0`, with activation scales measured on
/// the photos of `calibration`, each `[input_size, input_size, 3]` RGB8. Two hundred photos are
/// enough.
///
/// # Panics
///
/// If `config` is invalid, `lite0` is not Lite0, or `calibration` is empty.
pub fn build_stem(
    lite0: &EfficientNet,
    config: &StemConfig,
    calibration: impl Iterator<Item = Vec<u8>>,
) -> Stem {
    config.validate().expect("the stem's configuration is valid");
    let scales = activation_scales(lite0, config, calibration);
    let conv = pointwise(lite0.stem(), INPUT_SCALE, scales[&Layer::Stem]);
    let (blocks, output_scale) =
        quantized_blocks(lite0, 0..config.num_blocks, scales[&Layer::Stem], &scales);
    let layers = StemLayers { conv, blocks, output_scale };
    Stem::from_layers(config, layers).expect("the layers are those of Lite0")
}

/// Gives `stem` an extension from the other layers of `lite0`, calibrated as in [`build_stem`].
///
/// # Panics
///
/// If `lite0` is not Lite0, or `calibration` is empty.
pub fn extend_stem(
    lite0: &EfficientNet,
    stem: Stem,
    calibration: impl Iterator<Item = Vec<u8>>,
) -> Stem {
    let scales = activation_scales(lite0, stem.config(), calibration);
    let range = stem.config().num_blocks..lite0.blocks().len();
    let (blocks, grid_scale) = quantized_blocks(lite0, range, stem.output_scale(), &scales);
    let head_scale = scales[&Layer::Head];
    let head = pointwise(lite0.head(), grid_scale, head_scale);
    let layers = ExtensionLayers { blocks, grid_scale, head, head_scale };
    stem.with_extension(layers).expect("the layers are those of Lite0")
}

/// Quantizes a range of blocks, the first of which has inputs of this scale; returns them with the
/// scale of the last one's output.
fn quantized_blocks(
    lite0: &EfficientNet,
    range: Range<usize>,
    mut input_scale: f32,
    scales: &Scales,
) -> (Vec<StemBlock>, f32) {
    let mut blocks = Vec::with_capacity(range.len());
    for index in range {
        let block = &lite0.blocks()[index];
        let output_scale = scales[&Layer::Block(index)];
        let filtered_scale = scales[&Layer::Depthwise(index)];
        let expanded_scale = match &block.expand {
            Some(_) => scales[&Layer::Expand(index)],
            None => input_scale,
        };
        blocks.push(StemBlock {
            expand: block.expand.as_ref().map(|conv| pointwise(conv, input_scale, expanded_scale)),
            depthwise: depthwise(&block.depthwise, expanded_scale, filtered_scale),
            project: pointwise(&block.project, filtered_scale, output_scale),
            residual_scale: block.has_residual.then_some(input_scale / output_scale),
        });
        input_scale = output_scale;
    }
    (blocks, input_scale)
}

/// Measures the activation scales.
fn activation_scales(
    lite0: &EfficientNet,
    config: &StemConfig,
    calibration: impl Iterator<Item = Vec<u8>>,
) -> Scales {
    let mut ranges = HashMap::<Layer, ActivationRange>::new();
    for pixels in calibration {
        lite0.forward_observed(&pixels, config.input_size, &mut |layer, values| {
            ranges.entry(layer).or_default().add(values);
        });
    }
    assert!(!ranges.is_empty(), "calibration needs at least one photo");
    ranges.into_iter().map(|(layer, range)| (layer, range.best_limit() / 127.0)).collect()
}

fn pointwise(layer: &Pointwise, input_scale: f32, output_scale: f32) -> StemLayer {
    let outputs = layer.bias.len();
    let inputs = layer.weight.len() / outputs;
    let mut weight = Vec::with_capacity(layer.weight.len());
    let mut scales = Vec::with_capacity(outputs);
    for row in layer.weight.chunks_exact(inputs) {
        let scale = weight_scale(row.iter());
        weight.extend(row.iter().map(|value| quantize(value / scale)));
        scales.push(scale);
    }
    stem_layer(weight, &scales, &layer.bias, input_scale, output_scale)
}

fn depthwise(layer: &Depthwise, input_scale: f32, output_scale: f32) -> StemLayer {
    let channels = layer.bias.len();
    let channel_scale =
        |channel: usize| weight_scale(layer.weight[channel..].iter().step_by(channels));
    let scales: Vec<f32> = (0..channels).map(channel_scale).collect();
    let weight = layer.weight.iter().zip(scales.iter().cycle());
    let weight = weight.map(|(value, scale)| quantize(value / scale)).collect();
    stem_layer(weight, &scales, &layer.bias, input_scale, output_scale)
}

fn stem_layer(
    weight: Vec<i8>,
    weight_scales: &[f32],
    bias: &[f32],
    input_scale: f32,
    output_scale: f32,
) -> StemLayer {
    let multiplier = weight_scales.iter().map(|scale| scale * input_scale / output_scale).collect();
    StemLayer { weight, multiplier, bias: bias.iter().map(|bias| bias / output_scale).collect() }
}

/// The scale that maps the largest weight of a channel to 127.
fn weight_scale<'a>(weights: impl Iterator<Item = &'a f32>) -> f32 {
    let largest = weights.fold(0f32, |largest, weight| largest.max(weight.abs()));
    // Any scale fits a channel of zeros; this one is not 0.
    largest.max(f32::MIN_POSITIVE * 128.0) / 127.0
}

#[allow(clippy::cast_possible_truncation, reason = "clamped to the range of i8 before the cast")]
fn quantize(scaled: f32) -> i8 {
    scaled.round_ties_even().clamp(-127.0, 127.0) as i8
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::teacher::efficientnet::tests::made_up_lite0;

    #[test]
    fn weights_are_rounded_by_at_most_half_a_step() {
        let weight = [0.5f32, -1.0, 0.01, 0.0, 2.0, -0.3];
        let scale = weight_scale(weight.iter());
        for weight in weight {
            let error = f32::from(quantize(weight / scale)) * scale - weight;
            assert!(error.abs() <= scale * 0.5001, "{weight}");
        }
        assert_eq!(quantize(2.0 / scale), 127);
    }

    #[test]
    fn a_channel_of_zeros_stays_zero() {
        let scale = weight_scale([0.0f32; 4].iter());
        assert!(scale > 0.0 && quantize(0.0 / scale) == 0);
    }

    #[test]
    fn multiplier_and_bias_carry_the_scales() {
        let layer = stem_layer(vec![1, 2], &[0.5, 0.25], &[3.0, -1.0], 0.1, 0.2);
        assert_eq!(layer.multiplier, [0.5 * 0.1 / 0.2, 0.25 * 0.1 / 0.2]);
        assert_eq!(layer.bias, [3.0 / 0.2, -1.0 / 0.2]);
    }

    #[test]
    fn a_depthwise_filter_is_quantized_per_channel() {
        let weight = vec![1.0, 0.01, -0.51, 0.03, 0.25, -0.04];
        let layer = Depthwise { weight, bias: vec![0.0, 0.0], size: 3, stride: 1 };
        let layer = depthwise(&layer, 1.0, 1.0);
        assert_eq!(layer.weight, [127, 32, -65, 95, 32, -127]);
    }

    #[test]
    fn the_int8_stem_follows_the_float_network() {
        let lite0 = made_up_lite0();
        let config = StemConfig { input_size: 64, num_blocks: 15 };
        let stem = build_stem(&lite0, &config, (1..5).map(photo));
        let pixels = photo(7);
        let mut expected = Vec::new();
        lite0.forward_observed(&pixels, 64, &mut |layer, values| {
            if layer == Layer::Block(14) {
                expected = values.to_vec();
            }
        });
        let output = stem.forward(&pixels);
        let found = output.iter().map(|&value| f32::from(value) * stem.output_scale());
        let error = relative_error(&found.collect::<Vec<f32>>(), &expected);
        // 45 layers are rounded to eight bits; one wrong scale or order gives about 1.
        assert!(error < 0.02, "{error}");
    }

    #[test]
    fn the_extension_follows_the_float_network() {
        let lite0 = made_up_lite0();
        let config = StemConfig { input_size: 64, num_blocks: 15 };
        let stem = build_stem(&lite0, &config, (1..5).map(photo));
        let stem = extend_stem(&lite0, stem, (1..5).map(photo));
        let pixels = photo(7);
        let expected = lite0.forward(&pixels, 64);
        let found = stem.deep_features(&stem.forward(&pixels)).expect("an extension");
        let grid: Vec<f32> =
            found.grid.iter().map(|&value| f32::from(value) * found.grid_scale).collect();
        let [grid, pooled] = [(&grid, &expected.grid), (&found.pooled, &expected.pooled)]
            .map(|(found, expected)| relative_error(found, expected));
        // The same as for the stem, with four layers more.
        assert!(grid < 0.02 && pooled < 0.02, "{grid} and {pooled}");
    }

    fn photo(seed: usize) -> Vec<u8> {
        let wave = |index: usize| (index * seed / 3 % 256).abs_diff(128) * 2;
        (0..64 * 64 * 3).map(|index| u8::try_from(wave(index)).unwrap_or(255)).collect()
    }

    /// The squared error in relation to the squared length.
    fn relative_error(found: &[f32], expected: &[f32]) -> f32 {
        assert_eq!(found.len(), expected.len());
        let error: f32 = found.iter().zip(expected).map(|(a, b)| (a - b).powi(2)).sum();
        error / expected.iter().map(|value| value.powi(2)).sum::<f32>()
    }
}
