//! Every backend against the definition, for all sizes and the extremes of every input.
#![allow(clippy::cast_possible_truncation, reason = "random numbers are cut to size")]

use super::*;
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

mod ternary;

/// Xorshift: the same numbers natively and in a browser.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, bound: u64) -> u64 {
        (self.next() >> 11) % bound
    }

    fn integers(&mut self, count: usize, low: i8, high: i8) -> Vec<i8> {
        let span = u64::from(high.abs_diff(low)) + 1;
        (0..count).map(|_| low.wrapping_add(self.below(span) as i8)).collect()
    }

    fn floats(&mut self, count: usize, magnitude: f32) -> Vec<f32> {
        (0..count)
            .map(|_| (self.below(1 << 24) as f32 / (1 << 23) as f32 - 1.0) * magnitude)
            .collect()
    }
}

/// The definition of a matrix product, independent of every layout.
fn product(rows: usize, cols: usize, weights: &[i8], values: &[i8]) -> Vec<i32> {
    let mut out = vec![];
    for values in values.chunks_exact(cols) {
        for weights in weights.chunks_exact(cols).take(rows) {
            let products = weights.iter().zip(values).map(|(&w, &x)| i32::from(w) * i32::from(x));
            out.push(products.sum());
        }
    }
    out
}

fn requantize(random: &mut Random, channels: usize) -> Requantize {
    let multiplier = random.floats(channels, 0.01);
    Requantize { multiplier, bias: random.floats(channels, 20.0), low: -128, high: 127 }
}

fn requantized(sums: &[i32], requantize: &Requantize) -> Vec<i8> {
    let channels = requantize.bias.len();
    sums.iter().enumerate().map(|(i, &sum)| requantize.apply(i % channels, sum)).collect()
}

fn assert_ternary_matmul(rows: usize, cols: usize, weights: &[i8], values: &[i8]) {
    let matrix = TernaryMatrix::from_weights(rows, cols, weights);
    let expected = product(rows, cols, weights, values);
    for kernels in available() {
        let mut out = vec![i32::MIN; expected.len()];
        (kernels.ternary_matmul)(&matrix, values, &mut out);
        let tokens = values.len() / cols;
        assert!(out == expected, "{}: {rows} x {cols}, {tokens} tokens", kernels.name);
    }
}

fn assert_int8_matmul(rows: usize, cols: usize, weights: &[i8], values: &[i8]) {
    let matrix = Int8Matrix::from_weights(rows, cols, weights);
    let expected = product(rows, cols, weights, values);
    let requantize = requantize(&mut Random(7), rows);
    let expected_bytes = requantized(&expected, &requantize);
    for kernels in available() {
        let tokens = values.len() / cols;
        let mut out = vec![i32::MIN; expected.len()];
        (kernels.int8_matmul)(&matrix, values, &mut out);
        assert!(out == expected, "{}: {rows} x {cols}, {tokens} tokens", kernels.name);
        let mut out = vec![99; expected.len()];
        (kernels.pointwise)(&matrix, values, &requantize, &mut out);
        assert!(out == expected_bytes, "{}: pointwise {rows} x {cols}, {tokens}", kernels.name);
    }
}

/// The definition of TensorFlow's depthwise convolution with "SAME" padding.
fn convolution(
    channels: usize,
    size: usize,
    stride: usize,
    weights: &[i8],
    input: &[i8],
    (height, width): (usize, usize),
) -> Vec<i32> {
    let before = |n: usize| ((n.div_ceil(stride) - 1) * stride + size).saturating_sub(n) / 2;
    let mut out = vec![];
    for top in (0..height).step_by(stride) {
        for left in (0..width).step_by(stride) {
            for channel in 0..channels {
                let mut sum = 0;
                for tap in 0..size * size {
                    let y = (top + tap / size).checked_sub(before(height)).filter(|y| *y < height);
                    let x = (left + tap % size).checked_sub(before(width)).filter(|x| *x < width);
                    if let (Some(y), Some(x)) = (y, x) {
                        let value = input[(y * width + x) * channels + channel];
                        sum += i32::from(weights[tap * channels + channel]) * i32::from(value);
                    }
                }
                out.push(sum);
            }
        }
    }
    out
}

fn assert_depthwise(
    random: &mut Random,
    channels: usize,
    size: usize,
    stride: usize,
    shape: (usize, usize),
) {
    let weights = random.integers(size * size * channels, -127, 127);
    let input = random.integers(shape.0 * shape.1 * channels, -128, 127);
    let filter = DepthwiseFilter::new(channels, size, stride, &weights);
    let requantize = requantize(random, channels);
    let sums = convolution(channels, size, stride, &weights, &input, shape);
    let expected = requantized(&sums, &requantize);
    for kernels in available() {
        let mut out = vec![99; expected.len()];
        (kernels.depthwise)(&filter, &input, shape.0, shape.1, &requantize, &mut out);
        let name = kernels.name;
        assert!(out == expected, "{name}: {channels} channels, {size}/{stride}, {shape:?}");
    }
}

fn assert_quantize_row(values: &[f32]) {
    let [scalar, others @ ..] = &available()[..] else { panic!("no backend") };
    let mut expected = vec![99; values.len()];
    let scale = (scalar.quantize_row)(values, &mut expected);
    for kernels in others {
        let mut out = vec![99; values.len()];
        let found = (kernels.quantize_row)(values, &mut out);
        assert_eq!(
            found.to_bits(),
            scale.to_bits(),
            "{}: scale of {} values",
            kernels.name,
            values.len()
        );
        assert_eq!(out, expected, "{}", kernels.name);
    }
}

#[test]
fn the_backends_of_this_build_are_available() {
    let names: Vec<_> = available().iter().map(|kernels| kernels.name).collect();
    let simd = cfg!(target_feature = "simd128");
    let relaxed = cfg!(target_feature = "relaxed-simd");
    let wasm = [("scalar", true), ("simd128", simd), ("relaxed", relaxed)];
    if cfg!(target_arch = "wasm32") {
        assert_eq!(names, wasm.iter().filter(|b| b.1).map(|b| b.0).collect::<Vec<_>>());
    }
    assert_eq!(names.last(), Some(&active().name));
}

#[test]
fn int8_products_equal_the_definition() {
    let mut random = Random(3);
    for rows in [1, 7, 8, 9, 16, 24, 33] {
        for cols in [1, 3, 8, 15, 16, 27, 96] {
            for tokens in [0, 1, 2, 3, 4, 5, 49, 67] {
                let weights = random.integers(rows * cols, -127, 127);
                let values = random.integers(tokens * cols, -128, 127);
                assert_int8_matmul(rows, cols, &weights, &values);
            }
        }
    }
}

#[test]
fn int8_sums_survive_the_extremes() {
    for cols in [8, 257, 2000] {
        for weight in [-127, 127] {
            for value in [-128, 127] {
                assert_int8_matmul(9, cols, &vec![weight; 9 * cols], &vec![value; 5 * cols]);
            }
        }
    }
}

#[test]
fn requantizing_rounds_ties_to_even_and_clamps() {
    let requantize =
        Requantize { multiplier: vec![0.5; 10], bias: vec![1.0; 10], low: -3, high: 4 };
    let matrix = Int8Matrix::from_weights(10, 1, &[-20, -9, -3, -1, 0, 1, 3, 5, 7, 90]);
    for kernels in available() {
        let mut out = [0; 10];
        (kernels.pointwise)(&matrix, &[1], &requantize, &mut out);
        assert_eq!(out, [-3, -3, 0, 0, 1, 2, 2, 4, 4, 4], "{}", kernels.name);
    }
}

#[test]
fn depthwise_equals_the_definition() {
    let mut random = Random(4);
    for channels in [1, 8, 12, 16, 24, 40] {
        for (size, stride) in [(3, 1), (3, 2), (5, 1), (5, 2)] {
            for shape in [(1, 1), (1, 6), (2, 3), (5, 5), (6, 7), (8, 8)] {
                assert_depthwise(&mut random, channels, size, stride, shape);
            }
        }
    }
}

#[test]
fn depthwise_pads_like_tensorflow() {
    // 4 inputs, stride 2, size 3: one zero, behind. The first output sees inputs 0, 1, 2.
    let mut weights = [0; 9];
    weights[3..6].copy_from_slice(&[1, 10, 100]);
    weights[0] = 0;
    let filter = DepthwiseFilter::new(1, 3, 2, &weights);
    let requantize = Requantize { multiplier: vec![1.0], bias: vec![0.0], low: -128, high: 127 };
    let mut out = [0; 2];
    // One row: zero rows above and below, so only the middle row of the filter meets the input.
    depthwise(&filter, &[1, 0, 1, 2], 1, 4, &requantize, &mut out);
    assert_eq!(out, [101, 21]);
}

#[test]
fn quantized_rows_are_equal_bit_by_bit() {
    let mut random = Random(5);
    for count in (0..40).chain([255, 256, 1000]) {
        for magnitude in [1e-9, 1e-5, 0.3, 1.0, 1e6, 1e38] {
            assert_quantize_row(&random.floats(count, magnitude));
        }
    }
    // Ties: with 127 as the maximum every half is one.
    let halves: Vec<f32> = (-254..=254).map(|i| i as f32 / 2.0).collect();
    assert_quantize_row(&halves);
    for odd in [f32::NAN, f32::INFINITY, -f32::INFINITY, -0.0] {
        for place in [0, 9, 18] {
            let mut values = random.floats(19, 2.0);
            values[place] = odd;
            assert_quantize_row(&values);
        }
    }
}

#[test]
fn quantizing_scales_the_largest_to_127() {
    let mut out = [0; 4];
    let scale = quantize_row(&[0.5, -2.0, 0.0, 1.0], &mut out);
    assert_eq!(out, [32, -127, 0, 64]);
    assert_eq!(scale, 2.0 / 127.0);
    assert_eq!(quantize_row(&[0.0; 4], &mut out), 1e-5 / 127.0);
    assert_eq!(out, [0; 4]);
}

#[test]
fn ternarizing_divides_by_the_mean_magnitude() {
    let mut out = [9; 5];
    let gamma = ternarize(&[2.0, -1.0, 0.25, -3.5, 0.75], &mut out);
    assert_eq!(gamma, 1.5);
    assert_eq!(out, [1, -1, 0, -1, 0]);
    assert_eq!(ternarize(&[], &mut []), 1e-5);
}

#[test]
fn ternarizing_rounds_a_half_to_zero() {
    let mut out = [9; 4];
    assert_eq!(ternarize(&[0.5, -0.5, 1.5, 1.5], &mut out), 1.0);
    assert_eq!(out, [0, 0, 1, 1]);
}

#[cfg(not(target_arch = "wasm32"))]
mod properties {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    fn ternary() -> impl Strategy<Value = (usize, usize, Vec<i8>, Vec<i8>)> {
        (1usize..20, 1usize..12, 0usize..10).prop_flat_map(|(rows, cols, tokens)| {
            let (rows, cols) = (4 * rows, 32 * cols);
            let values = vec(any::<i8>(), tokens * cols);
            (Just(rows), Just(cols), vec(-1i8..=1, rows * cols), values)
        })
    }

    fn int8() -> impl Strategy<Value = (usize, usize, Vec<i8>, Vec<i8>)> {
        (1usize..40, 1usize..80, 0usize..10).prop_flat_map(|(rows, cols, tokens)| {
            let values = vec(any::<i8>(), tokens * cols);
            (Just(rows), Just(cols), vec(-127i8..=127, rows * cols), values)
        })
    }

    proptest! {
        #[test]
        fn ternary_products((rows, cols, weights, values) in ternary()) {
            assert_ternary_matmul(rows, cols, &weights, &values);
        }

        #[test]
        fn int8_products((rows, cols, weights, values) in int8()) {
            assert_int8_matmul(rows, cols, &weights, &values);
        }

        #[test]
        fn depthwise(seed in 1u64.., channels in 1usize..40, size in 0usize..2, stride in 1usize..3,
            height in 1usize..12, width in 1usize..12) {
            assert_depthwise(&mut Random(seed), channels, 3 + 2 * size, stride, (height, width));
        }

        #[test]
        fn quantized_rows(values in vec(any::<f32>(), 0..100)) {
            assert_quantize_row(&values);
        }

        #[test]
        fn packing((rows, cols, weights, _) in ternary()) {
            let matrix = TernaryMatrix::from_weights(rows, cols, &weights);
            prop_assert_eq!(matrix.to_weights(), weights);
            let again = TernaryMatrix::from_packed(rows, cols, &matrix.to_packed());
            let again = again.expect("packed");
            prop_assert_eq!(again.to_packed(), matrix.to_packed());
        }
    }
}
