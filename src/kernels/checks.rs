//! The length checks every backend makes before it reads: what its unsafe blocks rely on.

use super::{DepthwiseFilter, Int8Matrix, Requantize, TernaryMatrix};

/// `values` is `[tokens, cols]` and `out` `[tokens, rows]`; returns `tokens`.
pub(super) fn ternary_matmul(matrix: &TernaryMatrix, values: &[i8], out: &[i32]) -> usize {
    tokens(matrix.rows(), matrix.cols(), values.len(), out.len())
}

/// `values` is `[tokens, cols]` and `out_len` is `tokens * rows`; returns `tokens`.
pub(super) fn int8_matmul(matrix: &Int8Matrix, values: &[i8], out_len: usize) -> usize {
    tokens(matrix.rows(), matrix.cols(), values.len(), out_len)
}

/// `requantize` has a multiplier and a bias for each of `channels`, and a range.
pub(super) fn requantize(requantize: &Requantize, channels: usize) {
    assert_eq!(requantize.multiplier.len(), channels, "one multiplier for each channel");
    assert_eq!(requantize.bias.len(), channels, "one bias for each channel");
    assert!(requantize.low <= requantize.high, "the range of the result is empty");
}

/// `input` is `[height, width, channels]` and `out` has the size of the filter's output.
pub(super) fn depthwise(
    filter: &DepthwiseFilter,
    input: &[i8],
    height: usize,
    width: usize,
    out: &[i8],
) {
    assert!(height > 0 && width > 0, "the image is empty");
    let out_pixels = filter.output_size(height) * filter.output_size(width);
    assert_eq!(
        input.len(),
        height * width * filter.channels(),
        "input is not height x width x channels"
    );
    assert_eq!(
        out.len(),
        out_pixels * filter.channels(),
        "output is not height x width x channels"
    );
}

/// `values` and `out` have the same length.
pub(super) fn quantize_row(values: &[f32], out: &[i8]) {
    assert_eq!(values.len(), out.len(), "values and quantized values differ in length");
}

fn tokens(rows: usize, cols: usize, values: usize, out: usize) -> usize {
    let tokens = values / cols;
    assert_eq!(values, tokens * cols, "values do not fill rows of {cols}");
    assert_eq!(out, tokens * rows, "output is not {tokens} x {rows}");
    tokens
}
