//! The reference: every kernel as plain loops. The other backends give the same integers.

use super::int8_matrix::{PAIR, PANEL_ROWS, PANEL_STEP};
use super::quantize::{to_int8, LARGEST_VALUE, SMALLEST_MAGNITUDE};
use super::ternary_matrix::{BLOCK_ROWS, STEP_BYTES, STEP_COLS};
use super::{checks, DepthwiseFilter, Int8Matrix, Kernels, Requantize, TernaryMatrix};

pub(super) static SCALAR: Kernels =
    Kernels { name: "scalar", ternary_matmul, int8_matmul, pointwise, depthwise, quantize_row };

/// Sums code * x and subtracts sum(x), since weight = code - 1.
fn ternary_matmul(matrix: &TernaryMatrix, values: &[i8], out: &mut [i32]) {
    checks::ternary_matmul(matrix, values, out);
    for (values, out) in values.chunks_exact(matrix.cols()).zip(out.chunks_exact_mut(matrix.rows()))
    {
        let offset: i32 = values.iter().map(|&value| i32::from(value)).sum();
        for (block, out) in matrix.blocks().zip(out.chunks_mut(BLOCK_ROWS)) {
            let sums = block_sums(block, values);
            for (out, sum) in out.iter_mut().zip(sums) {
                *out = sum - offset;
            }
        }
    }
}

/// Sum of code * value for each of the 16 rows of a block.
fn block_sums(block: &[u8], values: &[i8]) -> [i32; BLOCK_ROWS] {
    let mut sums = [0; BLOCK_ROWS];
    for (step, values) in block.chunks_exact(STEP_BYTES).zip(values.chunks_exact(STEP_COLS)) {
        for (lane, codes) in step.iter().enumerate() {
            let value = i32::from(values[lane % STEP_COLS]);
            for field in 0..4 {
                let code = i32::from(codes >> (2 * field) & 3);
                sums[4 * field + lane / STEP_COLS] += code * value;
            }
        }
    }
    sums
}

fn int8_matmul(matrix: &Int8Matrix, values: &[i8], out: &mut [i32]) {
    checks::int8_matmul(matrix, values, out.len());
    for (values, out) in values.chunks_exact(matrix.cols()).zip(out.chunks_exact_mut(matrix.rows()))
    {
        for (panel, out) in matrix.panels().zip(out.chunks_mut(PANEL_ROWS)) {
            let sums = panel_sums(panel, values);
            out.copy_from_slice(&sums[..out.len()]);
        }
    }
}

fn pointwise(matrix: &Int8Matrix, values: &[i8], requantize: &Requantize, out: &mut [i8]) {
    checks::int8_matmul(matrix, values, out.len());
    checks::requantize(requantize, matrix.rows());
    for (values, out) in values.chunks_exact(matrix.cols()).zip(out.chunks_exact_mut(matrix.rows()))
    {
        for (index, (panel, out)) in matrix.panels().zip(out.chunks_mut(PANEL_ROWS)).enumerate() {
            let sums = panel_sums(panel, values);
            for (r, out) in out.iter_mut().enumerate() {
                *out = requantize.apply(index * PANEL_ROWS + r, sums[r]);
            }
        }
    }
}

/// Sum of weight * value for each of the 8 rows of a panel.
fn panel_sums(panel: &[i16], values: &[i8]) -> [i32; PANEL_ROWS] {
    let mut sums = [0; PANEL_ROWS];
    for (step, values) in panel.chunks_exact(PANEL_STEP).zip(values.chunks(PAIR)) {
        for (sum, weights) in sums.iter_mut().zip(step.chunks_exact(PAIR)) {
            for (&weight, &value) in weights.iter().zip(values) {
                *sum += i32::from(weight) * i32::from(value);
            }
        }
    }
    sums
}

fn depthwise(
    filter: &DepthwiseFilter,
    input: &[i8],
    height: usize,
    width: usize,
    requantize: &Requantize,
    out: &mut [i8],
) {
    checks::depthwise(filter, input, height, width, out);
    checks::requantize(requantize, filter.channels());
    filter.for_each_pixel(input, (height, width), out, |taps, out| {
        for (channel, out) in out.iter_mut().enumerate() {
            *out = requantize.apply(channel, filter.channel_sum(taps, channel));
        }
    });
}

fn quantize_row(values: &[f32], out: &mut [i8]) -> f32 {
    checks::quantize_row(values, out);
    let largest = values.iter().map(|value| value.abs()).fold(SMALLEST_MAGNITUDE, f32::max);
    let scale = LARGEST_VALUE / largest;
    for (value, out) in values.iter().zip(out) {
        *out = to_int8(value * scale, -LARGEST_VALUE, LARGEST_VALUE);
    }
    largest / LARGEST_VALUE
}
