//! What the vector backends share of the int8 kernels: the loops around their inner loops.

use super::depthwise_filter::Taps;
use super::int8_matrix::{COL_GROUP, PAIR, PANEL_ROWS};
use super::quantize::{to_int8, LARGEST_VALUE, SMALLEST_MAGNITUDE};
use super::{checks, DepthwiseFilter, Int8Matrix, Requantize};

/// Tokens that share a load of weights.
pub(super) const TILE: usize = 4;
/// Tokens taken at once: with 1152 columns their activations fill 147 KB, a part of any
/// second-level cache.
pub(super) const BLOCK_TOKENS: usize = 64;

/// Channels of a depthwise convolution taken at once.
pub(super) const CHANNELS: usize = 16;

/// Sums of the 8 rows of a panel, or of 8 channels.
pub(super) type Sums = [i32; PANEL_ROWS];

/// What a backend brings along.
pub(super) struct InnerLoops {
    /// Widens activations `[tokens, cols]` and orders them `[tiles, padded cols / 2, 4 tokens]`,
    /// each `i32` the pair of a token; missing tokens and columns are zero.
    pub(super) pack: fn(&[i8], usize) -> Vec<i32>,
    /// Multiplies a panel with each tile; sums are `[tiles * 4]`.
    pub(super) multiply: fn(&[i16], &[i32], &mut [Sums]),
    /// Requantizes the 8 channels from the given one on, for each token.
    pub(super) requantize: fn(&Requantize, usize, &[Sums], &mut [i8]),
}

pub(super) fn matmul(loops: &InnerLoops, matrix: &Int8Matrix, values: &[i8], out: &mut [i32]) {
    checks::int8_matmul(matrix, values, out.len());
    let rows = matrix.rows();
    for_each_panel(loops, matrix, values, |token, row, sums| {
        for (sums, out) in sums.iter().zip(out[token * rows..].chunks_exact_mut(rows)) {
            let out = &mut out[row..];
            let count = out.len().min(PANEL_ROWS);
            out[..count].copy_from_slice(&sums[..count]);
        }
    });
}

pub(super) fn pointwise(
    loops: &InnerLoops,
    matrix: &Int8Matrix,
    values: &[i8],
    requantize: &Requantize,
    out: &mut [i8],
) {
    checks::int8_matmul(matrix, values, out.len());
    checks::requantize(requantize, matrix.rows());
    let rows = matrix.rows();
    for_each_panel(loops, matrix, values, |token, row, sums| {
        let out = &mut out[token * rows..];
        if rows - row >= PANEL_ROWS {
            (loops.requantize)(requantize, row, sums, out);
            return;
        }
        for (sums, out) in sums.iter().zip(out.chunks_exact_mut(rows)) {
            for (r, out) in out[row..].iter_mut().enumerate() {
                *out = requantize.apply(row + r, sums[r]);
            }
        }
    });
}

/// Calls `finish(first token, first row, sums of 8 rows for some tokens)` until all is done; rows
/// of the last panel may reach beyond the matrix.
fn for_each_panel(
    loops: &InnerLoops,
    matrix: &Int8Matrix,
    values: &[i8],
    mut finish: impl FnMut(usize, usize, &[Sums]),
) {
    let cols = matrix.cols();
    let mut sums = [[0; PANEL_ROWS]; BLOCK_TOKENS];
    for (block, values) in values.chunks(BLOCK_TOKENS * cols).enumerate() {
        let tokens = values.len() / cols;
        let tiles = (loops.pack)(values, cols);
        for (index, panel) in matrix.panels().enumerate() {
            (loops.multiply)(panel, &tiles, &mut sums[..tokens.next_multiple_of(TILE)]);
            finish(block * BLOCK_TOKENS, index * PANEL_ROWS, &sums[..tokens]);
        }
    }
}

/// `i32`s of a tile of packed activations.
pub(super) fn tile_len(padded_cols: usize) -> usize {
    TILE * padded_cols / PAIR
}

/// Calls `group(taps, first channel, out)` for each output pixel and each `CHANNELS` channels: each
/// tap has at least `first + CHANNELS` values, and `out` has `CHANNELS`.
pub(super) fn depthwise(
    filter: &DepthwiseFilter,
    input: &[i8],
    (height, width): (usize, usize),
    requantize: &Requantize,
    out: &mut [i8],
    group: impl Fn(&Taps<'_>, usize, &mut [i8]),
) {
    checks::depthwise(filter, input, height, width, out);
    checks::requantize(requantize, filter.channels());
    let channels = filter.channels();
    filter.for_each_pixel(input, (height, width), out, |taps, out| {
        if channels < CHANNELS {
            for (channel, out) in out.iter_mut().enumerate() {
                *out = requantize.apply(channel, filter.channel_sum(taps, channel));
            }
            return;
        }
        for first in (0..channels).step_by(CHANNELS) {
            // The last group may overlap the one before.
            let first = first.min(channels - CHANNELS);
            group(taps, first, &mut out[first..first + CHANNELS]);
        }
    });
}

/// [`super::quantize_row`] around the loops of a backend: the largest magnitudes in some lanes, and
/// the scaled values, rounded and clamped, both over groups of 8 values.
pub(super) fn quantize_row<const LANES: usize>(
    values: &[f32],
    out: &mut [i8],
    largest_magnitudes: impl Fn(&[[f32; 8]]) -> [f32; LANES],
    scale_values: impl Fn(&[[f32; 8]], f32, &mut [[i8; 8]]),
) -> f32 {
    checks::quantize_row(values, out);
    let (groups, rest) = values.as_chunks();
    let magnitudes = rest.iter().map(|value| value.abs());
    let lanes = largest_magnitudes(groups).into_iter();
    let largest = lanes.chain(magnitudes).fold(SMALLEST_MAGNITUDE, f32::max);
    let scale = LARGEST_VALUE / largest;

    let (out_groups, out_rest) = out.as_chunks_mut();
    scale_values(groups, scale, out_groups);
    for (value, out) in rest.iter().zip(out_rest) {
        *out = to_int8(value * scale, -LARGEST_VALUE, LARGEST_VALUE);
    }
    largest / LARGEST_VALUE
}

/// The last values of a row, filled up with zeros.
pub(super) fn zero_padded(values: &[i8]) -> [i8; COL_GROUP] {
    let mut padded = [0; COL_GROUP];
    padded[..values.len()].copy_from_slice(values);
    padded
}
