//! The stem against its definition, and its tensors against the file.

use super::*;
use crate::config::HEAD_CHANNELS;

const SMALL: StemConfig = StemConfig { input_size: 32, num_blocks: 5 };

/// A generator of weights and pixels: the high bits of a linear congruential sequence.
struct Numbers(u32);

impl Numbers {
    fn next(&mut self) -> u8 {
        self.0 = self.0.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        self.0.to_le_bytes()[3]
    }

    fn layer(&mut self, inputs: usize, outputs: usize) -> StemLayer {
        let weight = (0..inputs * outputs).map(|_| i8::from_ne_bytes([self.next()]).max(-127));
        let weight = weight.collect();
        let spread = 127.0 * 40.0 * (inputs as f32).sqrt();
        let multiplier = (0..outputs).map(|_| f32::from(self.next()) / spread).collect();
        let bias = (0..outputs).map(|_| f32::from(self.next()) / 8.0 - 12.0).collect();
        StemLayer { weight, multiplier, bias }
    }

    fn layers(&mut self, config: &StemConfig) -> StemLayers {
        let conv = self.layer(CONV_INPUTS, CONV_CHANNELS);
        let blocks = config.block_shapes().map(|shape| self.block(shape)).collect();
        StemLayers { conv, blocks, output_scale: 0.05 }
    }

    fn extension(&mut self, config: &StemConfig) -> ExtensionLayers {
        ExtensionLayers {
            blocks: config.extension_shapes().map(|shape| self.block(shape)).collect(),
            grid_scale: 0.04,
            head: self.layer(320, HEAD_CHANNELS),
            head_scale: 0.03,
        }
    }

    fn block(&mut self, shape: BlockShape) -> StemBlock {
        StemBlock {
            expand: shape.has_expansion().then(|| self.layer(shape.inputs, shape.hidden)),
            depthwise: self.layer(shape.filter_size * shape.filter_size, shape.hidden),
            project: self.layer(shape.hidden, shape.outputs),
            residual_scale: shape.has_residual().then_some(0.75),
        }
    }

    fn pixels(&mut self, size: usize) -> Vec<u8> {
        (0..3 * size * size).map(|_| self.next()).collect()
    }
}

/// The stem computed by its definition, one output at a time.
fn reference(config: &StemConfig, layers: &StemLayers, pixels: &[u8]) -> Vec<i8> {
    let input: Vec<i8> = pixels
        .iter()
        .map(|&pixel| i8::try_from(i16::from(pixel) - 127).unwrap_or(i8::MAX))
        .collect();
    let size = config.input_size;
    let weight = |o: usize, tap: usize, c: usize| layers.conv.weight[o * 27 + tap * 3 + c];
    let side = size / 2;
    let mut hidden = vec![0; side * side * CONV_CHANNELS];
    for (index, out) in hidden.iter_mut().enumerate() {
        let (pixel, o) = (index / CONV_CHANNELS, index % CONV_CHANNELS);
        let mut sum = 0;
        for (tap, at) in taps(size, 3, 2, pixel) {
            for c in 0..3 {
                sum += i32::from(weight(o, tap, c)) * i32::from(input[3 * at + c]);
            }
        }
        *out = requantized(&layers.conv, o, sum, 0.0, RELU6);
    }
    let (hidden, _) = reference_blocks(&layers.blocks, config.block_shapes(), (hidden, side));
    hidden
}

/// Runs blocks on a map and its side; returns the last one's output and its side.
fn reference_blocks(
    blocks: &[StemBlock],
    shapes: impl Iterator<Item = BlockShape>,
    (mut hidden, mut side): (Vec<i8>, usize),
) -> (Vec<i8>, usize) {
    for (block, shape) in blocks.iter().zip(shapes) {
        let expanded = match &block.expand {
            Some(layer) => reference_pointwise(layer, shape.inputs, &hidden, None, RELU6),
            None => hidden.clone(),
        };
        let out_side = side.div_ceil(shape.stride);
        let mut filtered = vec![0; out_side * out_side * shape.hidden];
        for (index, out) in filtered.iter_mut().enumerate() {
            let (pixel, c) = (index / shape.hidden, index % shape.hidden);
            let taps = taps(side, shape.filter_size, shape.stride, pixel);
            let product = |(tap, at): (usize, usize)| {
                let weight = block.depthwise.weight[tap * shape.hidden + c];
                i32::from(weight) * i32::from(expanded[at * shape.hidden + c])
            };
            let sum = taps.into_iter().map(product).sum();
            *out = requantized(&block.depthwise, c, sum, 0.0, RELU6);
        }
        let residual = block.residual_scale.map(|scale| (scale, hidden.as_slice()));
        hidden = reference_pointwise(&block.project, shape.hidden, &filtered, residual, LINEAR);
        side = out_side;
    }
    (hidden, side)
}

fn reference_pointwise(
    layer: &StemLayer,
    inputs: usize,
    pixels: &[i8],
    residual: Option<(f32, &[i8])>,
    limits: (i8, i8),
) -> Vec<i8> {
    let outputs = layer.bias.len();
    let value = |index: usize| {
        let pixel = &pixels[index / outputs * inputs..][..inputs];
        let weights = &layer.weight[index % outputs * inputs..][..inputs];
        let sum = weights.iter().zip(pixel).map(|(&w, &x)| i32::from(w) * i32::from(x)).sum();
        let residual = residual.map_or(0.0, |(scale, input)| scale * f32::from(input[index]));
        requantized(layer, index % outputs, sum, residual, limits)
    };
    (0..pixels.len() / inputs * outputs).map(value).collect()
}

fn requantized(layer: &StemLayer, o: usize, sum: i32, residual: f32, limits: (i8, i8)) -> i8 {
    let value = sum as f32 * layer.multiplier[o] + layer.bias[o] + residual;
    let clamped = value.clamp(f32::from(limits.0), f32::from(limits.1));
    #[allow(clippy::cast_possible_truncation, reason = "clamped to the range of i8")]
    let rounded = clamped.round_ties_even() as i8;
    rounded
}

/// The taps of an output pixel that lie inside the map, each with its input pixel.
fn taps(side: usize, filter: usize, stride: usize, pixel: usize) -> Vec<(usize, usize)> {
    let out_side = side.div_ceil(stride);
    let padding = ((out_side - 1) * stride + filter).saturating_sub(side) / 2;
    let mut taps = Vec::new();
    for tap in 0..filter * filter {
        let y = (pixel / out_side * stride + tap / filter).checked_sub(padding);
        let x = (pixel % out_side * stride + tap % filter).checked_sub(padding);
        if let (Some(y), Some(x)) = (y.filter(|&y| y < side), x.filter(|&x| x < side)) {
            taps.push((tap, y * side + x));
        }
    }
    taps
}

fn small_stem() -> Stem {
    Stem::from_layers(&SMALL, Numbers(7).layers(&SMALL)).expect("good layers")
}

/// Leaves blocks with and without a residual sum to the extension.
const BASE: StemConfig = StemConfig { input_size: 64, num_blocks: 12 };

fn extended_stem() -> Stem {
    let mut numbers = Numbers(7);
    let stem = Stem::from_layers(&BASE, numbers.layers(&BASE)).expect("good layers");
    stem.with_extension(numbers.extension(&BASE)).expect("good layers")
}

/// Builds a stem from the tensors of `small_stem` after `change` has modified them.
fn reload(change: impl Fn(&str, &mut StemTensor)) -> Result<Stem, StemError> {
    let mut tensors = small_stem().tensors().into_iter();
    Stem::from_tensors(&SMALL, &mut |name, shape| {
        let (expected, expected_shape, mut tensor) = tensors.next().expect("one more tensor");
        assert_eq!((name, shape), (expected.as_str(), expected_shape.as_slice()));
        change(name, &mut tensor);
        Ok(tensor)
    })
}

#[test]
fn the_grid_follows_from_the_blocks() {
    for (num_blocks, grid, channels) in [(11, 14, 112), (15, 7, 192), (16, 7, 320), (3, 56, 24)] {
        let config = StemConfig { input_size: 224, num_blocks };
        config.validate().expect("Lite0 has these blocks");
        assert_eq!((config.output_grid(), config.output_channels()), (grid, channels));
    }
}

#[test]
fn a_stem_lite0_does_not_have_is_refused() {
    let refused = |input_size, num_blocks| {
        StemConfig { input_size, num_blocks }.validate().expect_err("no such stem").field
    };
    assert_eq!(refused(225, 15), "stem.input_size");
    assert_eq!(refused(0, 15), "stem.input_size");
    assert_eq!(refused(1 << 20, 15), "stem.input_size");
    assert_eq!(refused(224, 0), "stem.num_blocks");
    assert_eq!(refused(224, 17), "stem.num_blocks");
}

#[test]
fn the_stem_equals_its_definition() {
    for seed in 1..4 {
        let mut numbers = Numbers(seed);
        let layers = numbers.layers(&SMALL);
        let pixels = numbers.pixels(SMALL.input_size);
        let stem = Stem::from_layers(&SMALL, layers.clone()).expect("good layers");
        let output = stem.forward(&pixels);
        assert_eq!(output, reference(&SMALL, &layers, &pixels), "seed {seed}");
        let extremes = output.iter().filter(|value| value.unsigned_abs() == 127).count();
        assert!(extremes < output.len() / 2, "too many outputs saturate for the test to mean much");
    }
}

#[test]
fn the_extension_equals_its_definition() {
    for num_blocks in [12, 15, 16] {
        let config = StemConfig { num_blocks, ..BASE };
        let mut numbers = Numbers(5);
        let (layers, extension) = (numbers.layers(&config), numbers.extension(&config));
        let pixels = numbers.pixels(config.input_size);
        let stem = Stem::from_layers(&config, layers).expect("good layers");
        let stem = stem.with_extension(extension.clone()).expect("good layers");
        let output = stem.forward(&pixels);
        let found = stem.deep_features(&output).expect("an extension");
        let map = (output, config.output_grid());
        let (grid, side) = reference_blocks(&extension.blocks, config.extension_shapes(), map);
        assert_eq!((found.grid_scale, &found.grid), (0.04, &grid));
        let head = reference_pointwise(&extension.head, 320, &grid, None, RELU6);
        for (channel, &found) in found.pooled.iter().enumerate() {
            let values = head.iter().skip(channel).step_by(HEAD_CHANNELS);
            let sum: f32 = values.map(|&value| f32::from(value)).sum();
            let expected = 0.03 * sum / (side * side) as f32;
            assert!((found - expected).abs() < 1e-5, "{channel}: {found}, {expected}");
        }
        let distinct: std::collections::BTreeSet<i8> = head.iter().copied().collect();
        assert!(distinct.len() > 100, "too few values for the test to mean much");
    }
}

#[test]
fn an_extension_leaves_the_stem_as_it_is() {
    let extended = extended_stem();
    let stem = Stem::from_layers(&BASE, Numbers(7).layers(&BASE)).expect("good layers");
    let pixels = Numbers(3).pixels(BASE.input_size);
    let output = stem.forward(&pixels);
    assert_eq!(output, extended.forward(&pixels));
    assert_eq!(stem.deep_features(&output), None);
    assert_eq!(stem.output_sha256(), extended.output_sha256());
    assert_ne!(stem.sha256(), extended.sha256());
    assert!(extended.tensors().starts_with(&stem.tensors()));
}

#[test]
fn an_extension_is_rebuilt_from_its_tensors() {
    let stem = extended_stem();
    let base = Stem::from_layers(&BASE, Numbers(7).layers(&BASE)).expect("good layers");
    let mut tensors = stem.tensors().into_iter().skip(base.tensors().len());
    let again = base.with_extension_tensors::<StemError>(&mut |name, shape| {
        let (expected, expected_shape, tensor) = tensors.next().expect("one more tensor");
        assert_eq!((name, shape), (expected.as_str(), expected_shape.as_slice()));
        Ok(tensor)
    });
    assert_eq!(again.expect("the same tensors").tensors(), stem.tensors());
    assert_eq!(tensors.next(), None);
}

#[test]
fn a_bad_extension_is_refused() {
    let refused = |change: fn(&mut ExtensionLayers)| {
        let mut numbers = Numbers(7);
        let stem = Stem::from_layers(&BASE, numbers.layers(&BASE)).expect("good layers");
        let mut layers = numbers.extension(&BASE);
        change(&mut layers);
        stem.with_extension(layers).expect_err("a bad extension")
    };
    let head_scale = StemError::NotFinite { name: "head_scale".into() };
    assert_eq!(refused(|layers| layers.head_scale = f32::NAN), head_scale);
    let grid_scale = StemError::NotFinite { name: "grid_scale".into() };
    assert_eq!(refused(|layers| layers.grid_scale = f32::INFINITY), grid_scale);
    let weight = StemError::WeightOutOfRange { name: "blocks.15.project.weight".into() };
    assert_eq!(refused(|layers| layers.blocks[3].project.weight[5] = -128), weight);
    let length = refused(|layers| layers.head.weight.push(1));
    assert!(matches!(length, StemError::WrongLength { name, .. } if name == "head.weight"));
    let missing = refused(|layers| drop(layers.blocks.pop()));
    assert_eq!(missing, StemError::WrongBlock { block: 15 });
}

#[test]
fn a_stem_is_rebuilt_from_its_tensors() {
    let stem = reload(|_, _| {}).expect("the same tensors");
    assert_eq!(stem.layers, small_stem().layers);
    let pixels = Numbers(3).pixels(SMALL.input_size);
    assert_eq!(stem.forward(&pixels), small_stem().forward(&pixels));
}

#[test]
fn tensors_have_the_names_of_the_model_file() {
    let names: Vec<String> = small_stem().tensors().into_iter().map(|(name, ..)| name).collect();
    assert_eq!(
        names[..4],
        ["conv.weight", "conv.multiplier", "conv.bias", "blocks.0.depthwise.weight"]
    );
    assert!(names.contains(&"blocks.2.residual_scale".to_string()));
    assert!(!names.contains(&"blocks.3.residual_scale".to_string()));
    assert_eq!(names.last().map(String::as_str), Some("output_scale"));

    let tensors = extended_stem().tensors();
    let names: Vec<&str> = tensors.iter().map(|(name, ..)| name.as_str()).collect();
    let after = names.iter().position(|&name| name == "output_scale").expect("the stem's scale");
    assert_eq!(names[after + 1], "blocks.12.expand.weight");
    let last = ["grid_scale", "head.weight", "head.multiplier", "head.bias", "head_scale"];
    assert!(names.ends_with(&last), "{names:?}");
}

#[test]
fn numbers_that_are_not_finite_are_refused() {
    for name in
        ["conv.bias", "blocks.1.expand.multiplier", "blocks.2.residual_scale", "output_scale"]
    {
        for bad in [f32::NAN, f32::INFINITY] {
            let error = reload(|found, tensor| match tensor {
                StemTensor::F32(values) if found == name => values[0] = bad,
                _ => {}
            });
            let error = error.expect_err("a bad number");
            assert_eq!(error, StemError::NotFinite { name: name.into() });
        }
    }
}

#[test]
fn weights_the_kernels_do_not_take_are_refused() {
    let error = reload(|name, tensor| match tensor {
        StemTensor::I8(values) if name == "blocks.1.depthwise.weight" => values[5] = -128,
        _ => {}
    });
    let name = "blocks.1.depthwise.weight".into();
    assert_eq!(error.expect_err("a bad weight"), StemError::WeightOutOfRange { name });
}

#[test]
fn tensors_of_another_type_or_length_are_refused() {
    let error = reload(|name, tensor| {
        if name == "conv.weight" {
            *tensor = StemTensor::F32(vec![0.0; CONV_CHANNELS * CONV_INPUTS]);
        }
    });
    let name = "conv.weight".into();
    assert_eq!(error.expect_err("floats"), StemError::WrongType { name, expected: "int8" });

    for tensor_name in ["blocks.0.project.bias", "output_scale"] {
        let error = reload(|name, tensor| match tensor {
            StemTensor::F32(values) if name == tensor_name => values.push(1.0),
            _ => {}
        });
        let error = error.expect_err("one too many");
        assert!(matches!(error, StemError::WrongLength { name, .. } if name == tensor_name));
    }
}

#[test]
fn blocks_that_are_not_those_of_lite0_are_refused() {
    let mut layers = Numbers(7).layers(&SMALL);
    layers.blocks[1].residual_scale = Some(1.0);
    let error = Stem::from_layers(&SMALL, layers).expect_err("block 1 has no residual sum");
    assert_eq!(error, StemError::WrongBlock { block: 1 });
    let mut layers = Numbers(7).layers(&SMALL);
    layers.blocks.pop();
    let error = Stem::from_layers(&SMALL, layers).expect_err("a block is missing");
    assert_eq!(error, StemError::WrongBlock { block: 4 });
}
