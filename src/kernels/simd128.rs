//! WebAssembly SIMD: 128-bit registers, without the relaxed instructions.
//!
//! Everything is `i32x4.dot_i16x8`, which multiplies `i16` and adds two neighbours into an `i32`.
//!
//! Ternary, one token: see `one_token`. More tokens: an `i16` carries the weights of two rows,
//! `w + 2^14 * v`, so that one product sums both rows: `S_w + 2^14 * S_v`. With activations down to
//! -128, a sum over 62 columns (31 steps of 2) stays within `62 * 128 = 7936 < 2^13`, the lower 14
//! bits as a signed number give `S_w` back, the rest `S_v`, and both are added to `i32` sums before
//! the next 31 steps. The whole is within `7936 * (2^14 + 1) < 2^31`.
//!
//! Int8: a product pair is at most `2 * 127 * 128`, added up in `i32` over at most 2^16 columns.
#![allow(unsafe_code, reason = "vector loads and stores")]

use std::arch::wasm32::*;

use super::depthwise_filter::Taps;
use super::int8_loops::{self, zero_padded, InnerLoops, Sums, BLOCK_TOKENS, CHANNELS, TILE};
use super::int8_matrix::{COL_GROUP, PAIR, PANEL_ROWS, PANEL_STEP};
use super::quantize::LARGEST_VALUE;
use super::ternary_matrix::{BLOCK_ROWS, STEP_BYTES};
use super::{checks, DepthwiseFilter, Int8Matrix, Kernels, Requantize, TernaryMatrix};

mod one_token;

pub(super) static SIMD128: Kernels =
    Kernels { name: "simd128", ternary_matmul, int8_matmul, pointwise, depthwise, quantize_row };

/// Steps whose sums of two rows can be told apart, see above.
const STEPS: usize = 31;

fn ternary_matmul(matrix: &TernaryMatrix, values: &[i8], out: &mut [i32]) {
    let (rows, cols) = (matrix.rows(), matrix.cols());
    let tokens = checks::ternary_matmul(matrix, values, out);
    if tokens <= 2 {
        for (values, out) in values.chunks_exact(cols).zip(out.chunks_exact_mut(rows)) {
            one_token::ternary_matvec(matrix, values, out);
        }
        return;
    }
    let blocks = values.chunks(BLOCK_TOKENS * cols).zip(out.chunks_mut(BLOCK_TOKENS * rows));
    for (values, out) in blocks {
        let tiles = pack_pairs(values, cols);
        for (index, block) in row_pairs(matrix).chunks_exact(PANEL_STEP / PAIR * cols).enumerate() {
            for (tile, out) in
                tiles.chunks_exact(TILE / PAIR * cols).zip(out.chunks_mut(TILE * rows))
            {
                let sums = ternary_tile(block, tile);
                for (sums, out) in sums.into_iter().zip(out.chunks_exact_mut(rows)) {
                    store_block(&mut out[index * BLOCK_ROWS..], sums);
                }
            }
        }
    }
}

/// Sums of 16 rows of 4 tokens, for each token `[rows 0..8, rows 8..16]` as two times 4 rows.
#[inline(always)]
fn ternary_tile(block: &[i16], tile: &[i32]) -> [[[v128; 2]; 2]; TILE] {
    let mut sums = [[[i32x4_splat(0); 2]; 2]; TILE];
    for (weights, pairs) in block.chunks(STEPS * PANEL_STEP).zip(tile.chunks(STEPS * TILE)) {
        for (sums, both) in sums.iter_mut().zip(multiply(weights, pairs)) {
            add_split(sums, both);
        }
    }
    sums
}

/// Splits `S_w + 2^14 * S_v` and adds both.
#[inline(always)]
fn add_split<const N: usize>(sums: &mut [[v128; 2]; N], both: [v128; N]) {
    for (sums, both) in sums.iter_mut().zip(both) {
        let low = i32x4_shr(i32x4_shl(both, 18), 18);
        let high = i32x4_shr(i32x4_sub(both, low), 14);
        *sums = [i32x4_add(sums[0], low), i32x4_add(sums[1], high)];
    }
}

/// Stores the sums of up to 16 rows.
#[inline(always)]
fn store_block(out: &mut [i32], sums: [[v128; 2]; 2]) {
    for (out, sums) in out.chunks_exact_mut(4).zip(sums.as_flattened()) {
        store4(out, *sums);
    }
}

/// The weights with two rows in an `i16`: value `2 * r + k` of half `h` of step `s` is
/// `weight [16 * block + 8 * h + r][2 * s + k] + 2^14 * weight [16 * block + 8 * h + r + 4][2 * s + k]`.
/// A byte for each weight, made when first asked for.
fn row_pairs(matrix: &TernaryMatrix) -> &[i16] {
    matrix.row_pairs.get_or_init(|| {
        let mut pairs = vec![0; matrix.rows().next_multiple_of(BLOCK_ROWS) / 2 * matrix.cols()];
        let steps = matrix.blocks().flat_map(|block| block.chunks_exact(STEP_BYTES));
        for (step, pairs) in steps.zip(pairs.chunks_exact_mut(2 * PANEL_STEP)) {
            for (lane, codes) in step.iter().enumerate() {
                let (r, k) = (lane / 4, lane % 4);
                for half in 0..2 {
                    let weight = |field: usize| i16::from(codes >> (2 * field) & 3) - 1;
                    pairs[k / 2 * PANEL_STEP + 8 * half + 2 * r + k % 2] =
                        weight(2 * half) + (weight(2 * half + 1) << 14);
                }
            }
        }
        pairs
    })
}

static INT8: InnerLoops =
    InnerLoops { pack: pack_pairs, multiply: int8_panel, requantize: requantize_panel };

fn int8_matmul(matrix: &Int8Matrix, values: &[i8], out: &mut [i32]) {
    int8_loops::matmul(&INT8, matrix, values, out);
}

fn pointwise(matrix: &Int8Matrix, values: &[i8], requantize: &Requantize, out: &mut [i8]) {
    int8_loops::pointwise(&INT8, matrix, values, requantize, out);
}

fn int8_panel(panel: &[i16], tiles: &[i32], sums: &mut [Sums]) {
    let tile = int8_loops::tile_len(panel.len() / PANEL_ROWS);
    for (pairs, sums) in tiles.chunks_exact(tile).zip(sums.chunks_exact_mut(TILE)) {
        for (sums, out) in multiply(panel, pairs).into_iter().zip(sums) {
            store4(&mut out[..4], sums[0]);
            store4(&mut out[4..], sums[1]);
        }
    }
}

/// Products of weights `[steps, 16]` and activation pairs `[steps, 4 tokens]`, summed over the
/// steps.
///
/// Not unrolled: LLVM would then hoist the loads, and engines run out of registers.
#[inline(always)]
fn multiply(weights: &[i16], pairs: &[i32]) -> [[v128; 2]; TILE] {
    let mut sums = [[i32x4_splat(0); 2]; TILE];
    for (weights, pairs) in weights.chunks_exact(PANEL_STEP).zip(pairs.chunks_exact(TILE)) {
        let weights = [load_weights(&weights[..8]), load_weights(&weights[8..])];
        for (sums, pair) in sums.iter_mut().zip(pairs) {
            let pair = i32x4_splat(*pair);
            for (sum, weights) in sums.iter_mut().zip(weights) {
                *sum = i32x4_add(*sum, i32x4_dot_i16x8(weights, pair));
            }
        }
    }
    sums
}

/// Widens activations to `i16` and orders them `[tiles, padded cols / 2, 4 tokens]`, each `i32` the
/// pair of a token; missing tokens and columns are zero.
fn pack_pairs(values: &[i8], cols: usize) -> Vec<i32> {
    let padded = cols.next_multiple_of(COL_GROUP);
    let tokens = values.len() / cols;
    let mut tiles = vec![0; tokens.div_ceil(TILE) * TILE / PAIR * padded];
    for (values, tile) in
        values.chunks(TILE * cols).zip(tiles.chunks_exact_mut(TILE / PAIR * padded))
    {
        for (group, pairs) in tile.chunks_exact_mut(4 * TILE).enumerate() {
            let mut wide = [i32x4_splat(0); TILE];
            for (wide, values) in wide.iter_mut().zip(values.chunks_exact(cols)) {
                let values = &values[group * COL_GROUP..];
                *wide = match values.len() {
                    COL_GROUP.. => load_extend(values),
                    _ => load_extend(&zero_padded(values)),
                };
            }
            for (pairs, column) in pairs.chunks_exact_mut(TILE).zip(transpose(wide)) {
                store4(pairs, column);
            }
        }
    }
    tiles
}

/// Transposes 4 rows of 4 `i32`.
#[inline(always)]
pub(super) fn transpose([a, b, c, d]: [v128; 4]) -> [v128; 4] {
    let (ab_low, ab_high) = (i32x4_shuffle::<0, 4, 1, 5>(a, b), i32x4_shuffle::<2, 6, 3, 7>(a, b));
    let (cd_low, cd_high) = (i32x4_shuffle::<0, 4, 1, 5>(c, d), i32x4_shuffle::<2, 6, 3, 7>(c, d));
    [
        i64x2_shuffle::<0, 2>(ab_low, cd_low),
        i64x2_shuffle::<1, 3>(ab_low, cd_low),
        i64x2_shuffle::<0, 2>(ab_high, cd_high),
        i64x2_shuffle::<1, 3>(ab_high, cd_high),
    ]
}

fn depthwise(
    filter: &DepthwiseFilter,
    input: &[i8],
    height: usize,
    width: usize,
    requantize: &Requantize,
    out: &mut [i8],
) {
    int8_loops::depthwise(
        filter,
        input,
        (height, width),
        requantize,
        out,
        // SAFETY: `int8_loops` promises as much.
        |taps, first, out| unsafe { depthwise_group(filter, taps, requantize, first, out) },
    );
}

/// The channels from `first` on of an output pixel.
///
/// # Safety
///
/// Each tap has at least `first + CHANNELS` values.
#[inline(always)]
unsafe fn depthwise_group(
    filter: &DepthwiseFilter,
    taps: &Taps<'_>,
    requantize: &Requantize,
    first: usize,
    out: &mut [i8],
) {
    let mut sums = [i32x4_splat(0); CHANNELS / 4];
    for (weights, taps) in filter.weights_from(first).zip(taps.chunks_exact(2)) {
        // SAFETY: the caller promises as much; checked slices cost a third of the time.
        let [a, b] = [0, 1].map(|tap| unsafe { taps[tap].get_unchecked(first..first + CHANNELS) });
        let weights = &weights[..2 * CHANNELS];
        for half in 0..2 {
            let (a, b) = (load_extend(&a[8 * half..]), load_extend(&b[8 * half..]));
            let low = i16x8_shuffle::<0, 8, 1, 9, 2, 10, 3, 11>(a, b);
            let high = i16x8_shuffle::<4, 12, 5, 13, 6, 14, 7, 15>(a, b);
            for (quarter, values) in [(2 * half, low), (2 * half + 1, high)] {
                let products = i32x4_dot_i16x8(load_weights(&weights[8 * quarter..][..8]), values);
                sums[quarter] = i32x4_add(sums[quarter], products);
            }
        }
    }
    for (half, sums) in sums.chunks_exact(2).enumerate() {
        let scale = Scale::of_channels(requantize, first + 8 * half);
        store_int8(&mut out[8 * half..], scale.apply([sums[0], sums[1]]));
    }
}

fn quantize_row(values: &[f32], out: &mut [i8]) -> f32 {
    int8_loops::quantize_row(values, out, largest_magnitude, scale_values)
}

fn largest_magnitude(values: &[[f32; 8]]) -> [f32; 4] {
    let mut largest = f32x4_splat(0.0);
    for values in values.as_flattened().chunks_exact(4) {
        // The second operand may be NaN; then the first is the maximum.
        largest = f32x4_pmax(largest, f32x4_abs(load_floats(values)));
    }
    [
        f32x4_extract_lane::<0>(largest),
        f32x4_extract_lane::<1>(largest),
        f32x4_extract_lane::<2>(largest),
        f32x4_extract_lane::<3>(largest),
    ]
}

fn scale_values(values: &[[f32; 8]], scale: f32, out: &mut [[i8; 8]]) {
    let (low, high) = (f32x4_splat(-LARGEST_VALUE), f32x4_splat(LARGEST_VALUE));
    for (values, out) in values.iter().zip(out) {
        let halves = [load_floats(&values[..4]), load_floats(&values[4..])];
        let scaled = halves.map(|values| f32x4_mul(values, f32x4_splat(scale)));
        store_int8(out, scaled.map(|scaled| round_between(low, high, scaled)));
    }
}

fn requantize_panel(requantize: &Requantize, first: usize, sums: &[Sums], out: &mut [i8]) {
    let scale = Scale::of_channels(requantize, first);
    for (sums, out) in sums.iter().zip(out.chunks_exact_mut(requantize.bias.len())) {
        let sums = [load_sums(&sums[..4]), load_sums(&sums[4..])];
        store_int8(&mut out[first..], scale.apply(sums));
    }
}

/// The requantization of 8 channels.
struct Scale {
    multiplier: [v128; 2],
    bias: [v128; 2],
    low: v128,
    high: v128,
}

impl Scale {
    #[inline(always)]
    fn of_channels(requantize: &Requantize, first: usize) -> Self {
        let eight = |values: &[f32]| [load_floats(&values[..4]), load_floats(&values[4..8])];
        Self {
            multiplier: eight(&requantize.multiplier[first..]),
            bias: eight(&requantize.bias[first..]),
            low: f32x4_splat(f32::from(requantize.low)),
            high: f32x4_splat(f32::from(requantize.high)),
        }
    }

    #[inline(always)]
    fn apply(&self, sums: [v128; 2]) -> [v128; 2] {
        std::array::from_fn(|half| {
            let scaled = f32x4_mul(f32x4_convert_i32x4(sums[half]), self.multiplier[half]);
            round_between(self.low, self.high, f32x4_add(scaled, self.bias[half]))
        })
    }
}

/// Clamps to `low..=high` and rounds to the nearest integer, ties to even.
#[inline(always)]
fn round_between(low: v128, high: v128, values: v128) -> v128 {
    // 1.5 * 2^23: floats of this size are integers, so the addition rounds, and the lower bits of
    // the sum are the integer. Cheaper than `f32x4.nearest` and a saturating truncation.
    let magic = f32x4_splat(12_582_912.0);
    // `pmax` and `pmin` give the first operand where the second is NaN.
    let clamped = f32x4_pmin(high, f32x4_pmax(low, values));
    i32x4_sub(f32x4_add(clamped, magic), magic)
}

/// Stores 8 integers that fit.
#[inline(always)]
fn store_int8(out: &mut [i8], [a, b]: [v128; 2]) {
    let words = i16x8_narrow_i32x4(a, b);
    let bytes = i8x16_narrow_i16x8(words, words);
    assert!(out.len() >= 8);
    // SAFETY: the slice has the 8 values written.
    unsafe { v128_store64_lane::<0>(bytes, out.as_mut_ptr().cast()) }
}

#[inline(always)]
fn load_sums(sums: &[i32]) -> v128 {
    assert!(sums.len() == 4);
    // SAFETY: the slice has the 4 values read.
    unsafe { v128_load(sums.as_ptr().cast()) }
}

#[inline(always)]
fn load_weights(weights: &[i16]) -> v128 {
    assert!(weights.len() == 8);
    // SAFETY: the slice has the 8 values read.
    unsafe { v128_load(weights.as_ptr().cast()) }
}

#[inline(always)]
pub(super) fn load_codes(codes: &[u8]) -> v128 {
    assert!(codes.len() == 16);
    // SAFETY: the slice has the 16 bytes read.
    unsafe { v128_load(codes.as_ptr().cast()) }
}

#[inline(always)]
fn load_floats(values: &[f32]) -> v128 {
    assert!(values.len() >= 4);
    // SAFETY: the slice has the 4 values read.
    unsafe { v128_load(values.as_ptr().cast()) }
}

/// 8 values, widened to `i16`.
#[inline(always)]
fn load_extend(values: &[i8]) -> v128 {
    assert!(values.len() >= 8);
    // SAFETY: the slice has the 8 values read.
    unsafe { i16x8_load_extend_i8x8(values.as_ptr()) }
}

#[inline(always)]
pub(super) fn store4(out: &mut [i32], values: v128) {
    assert!(out.len() == 4);
    // SAFETY: the slice has the 4 values written.
    unsafe { v128_store(out.as_mut_ptr().cast(), values) }
}
