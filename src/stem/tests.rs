//! The stem against its definition, and its tensors against the file.

use super::*;

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
        let block = |shape: BlockShape| StemBlock {
            expand: shape.has_expansion().then(|| self.layer(shape.inputs, shape.hidden)),
            depthwise: self.layer(shape.filter_size * shape.filter_size, shape.hidden),
            project: self.layer(shape.hidden, shape.outputs),
            residual_scale: shape.has_residual().then_some(0.75),
        };
        let blocks = config.block_shapes().map(block).collect();
        StemLayers { conv, blocks, output_scale: 0.05 }
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
    let mut side = size / 2;
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
    for (block, shape) in layers.blocks.iter().zip(config.block_shapes()) {
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
    hidden
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
