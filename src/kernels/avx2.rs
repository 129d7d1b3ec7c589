//! AVX2: 256-bit registers, chosen when the processor has them.
//!
//! Ternary: `maddubs` multiplies codes 0..=2 by activations and adds two neighbours into an `i16`. A
//! lane gains at most `2 * 2 * 128 = 512` in magnitude a step; codes left in place by a shift of 2 bits
//! count four times that, 2048. With activations down to -128, 64 steps reach -32768 and 16 shifted
//! ones -32768, and upwards at most 32512: both inside an `i16`. Then the lanes are widened to `i32`.
//!
//! Int8: `madd` on `i16` gives `2 * 127 * 128` at most, added up in `i32` over at most 2^16 columns.
#![allow(unsafe_code, reason = "vector loads and stores, calls into AVX2 functions")]

use std::arch::x86_64::*;

use super::depthwise_filter::{Taps, CHANNEL_GROUP, GROUP_PAIR};
use super::int8_matrix::{COL_GROUP, PANEL_ROWS, PANEL_STEP};
use super::quantize::{to_int8, LARGEST_VALUE, SMALLEST_MAGNITUDE};
use super::ternary_matrix::{BLOCK_ROWS, STEP_BYTES, STEP_COLS};
use super::{checks, DepthwiseFilter, Int8Matrix, Kernels, Requantize, TernaryMatrix};

/// Only [`super::available`] and [`super::active`] hand this out, after they found AVX2.
pub(super) static AVX2: Kernels =
    Kernels { name: "avx2", ternary_matmul, int8_matmul, pointwise, depthwise, quantize_row };

/// Tokens that share a load of weights.
const TILE: usize = 4;
/// Tokens packed at once: their activations stay in the second-level cache.
const BLOCK_TOKENS: usize = 64;
/// Steps an `i16` lane can add up, see above.
const STEPS: usize = 64;
/// Steps when some codes are left shifted by 2 bits. They come in twos, one for each half.
const SHIFTED_STEPS: usize = 2 * 16;
/// Bytes of a step when the codes of a block have a byte each.
const WIDE_STEP: usize = BLOCK_ROWS * STEP_COLS;

fn ternary_matmul(matrix: &TernaryMatrix, values: &[i8], out: &mut [i32]) {
    let tokens = checks::ternary_matmul(matrix, values, out);
    // SAFETY: this is reached through `AVX2` only, so the processor has AVX2.
    unsafe {
        if tokens <= 2 {
            for (values, out) in
                values.chunks_exact(matrix.cols()).zip(out.chunks_exact_mut(matrix.rows()))
            {
                ternary_matvec(matrix, values, out);
            }
        } else {
            ternary_tiles(matrix, values, out);
        }
    }
}

fn int8_matmul(matrix: &Int8Matrix, values: &[i8], out: &mut [i32]) {
    checks::int8_matmul(matrix, values, out.len());
    // SAFETY: this is reached through `AVX2` only, so the processor has AVX2.
    unsafe { int8_sums(matrix, values, out) }
}

fn pointwise(matrix: &Int8Matrix, values: &[i8], requantize: &Requantize, out: &mut [i8]) {
    checks::int8_matmul(matrix, values, out.len());
    checks::requantize(requantize, matrix.rows());
    // SAFETY: this is reached through `AVX2` only, so the processor has AVX2.
    unsafe { pointwise_sums(matrix, values, requantize, out) }
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
    for (pixel, out) in out.chunks_exact_mut(filter.channels()).enumerate() {
        let taps = filter.taps(input, height, width, pixel);
        // SAFETY: this is reached through `AVX2` only, so the processor has AVX2.
        unsafe { depthwise_pixel(filter, &taps, requantize, out) }
    }
}

fn quantize_row(values: &[f32], out: &mut [i8]) -> f32 {
    checks::quantize_row(values, out);
    // SAFETY: this is reached through `AVX2` only, so the processor has AVX2.
    unsafe { quantize(values, out) }
}

/// One token: two steps at a time, one in each half of a register, codes used where they lie.
#[target_feature(enable = "avx2")]
fn ternary_matvec(matrix: &TernaryMatrix, values: &[i8], out: &mut [i32]) {
    let offset = _mm_set1_epi32(values.iter().map(|&value| i32::from(value)).sum());
    for (block, out) in matrix.blocks().zip(out.chunks_mut(BLOCK_ROWS)) {
        let mut sums = [_mm256_setzero_si256(); 4];
        let parts = block.chunks(SHIFTED_STEPS * STEP_BYTES);
        for (codes, values) in parts.zip(values.chunks(SHIFTED_STEPS * STEP_COLS)) {
            add_fields(&mut sums, codes, values);
        }
        let shifts = [0, 2, 0, 2].map(|shift| _mm_cvtsi32_si128(shift));
        for ((sum, shift), out) in sums.into_iter().zip(shifts).zip(out.chunks_exact_mut(4)) {
            let halves =
                _mm_add_epi32(_mm256_castsi256_si128(sum), _mm256_extracti128_si256(sum, 1));
            store4(out, _mm_sub_epi32(_mm_sra_epi32(halves, shift), offset));
        }
    }
}

/// Adds code * value for up to `SHIFTED_STEPS` steps to the sums of the four fields; fields 1 and 3
/// count four times.
#[target_feature(enable = "avx2")]
#[inline]
fn add_fields(sums: &mut [__m256i; 4], codes: &[u8], values: &[i8]) {
    let (low, high) = (_mm256_set1_epi8(0b0011), _mm256_set1_epi8(0b1100));
    // Each half repeats its own 4 of the 8 activations.
    let repeat = _mm256_setr_epi32(
        0x0302_0100,
        0x0302_0100,
        0x0302_0100,
        0x0302_0100,
        0x0706_0504,
        0x0706_0504,
        0x0706_0504,
        0x0706_0504,
    );
    let mut lanes = [_mm256_setzero_si256(); 4];
    for (codes, values) in
        codes.chunks_exact(2 * STEP_BYTES).zip(values.chunks_exact(2 * STEP_COLS))
    {
        let values = _mm256_shuffle_epi8(_mm256_broadcastq_epi64(load8(values)), repeat);
        let codes = load_codes(codes);
        let upper = _mm256_srli_epi16(codes, 4);
        for (lane, (codes, mask)) in
            lanes.iter_mut().zip([(codes, low), (codes, high), (upper, low), (upper, high)])
        {
            let products = _mm256_maddubs_epi16(_mm256_and_si256(codes, mask), values);
            *lane = _mm256_add_epi16(*lane, products);
        }
    }
    for (sum, lane) in sums.iter_mut().zip(lanes) {
        *sum = _mm256_add_epi32(*sum, widen(lane));
    }
}

/// Many tokens: the codes of a block are spread to bytes once, then met by tiles of 4 tokens.
#[target_feature(enable = "avx2")]
fn ternary_tiles(matrix: &TernaryMatrix, values: &[i8], out: &mut [i32]) {
    let (rows, cols) = (matrix.rows(), matrix.cols());
    let mut panel = vec![0; cols / STEP_COLS * WIDE_STEP];
    let blocks = values.chunks(BLOCK_TOKENS * cols).zip(out.chunks_mut(BLOCK_TOKENS * rows));
    for (values, out) in blocks {
        let tiles = pack_quads(values, cols);
        let offsets: Vec<i32> = values
            .chunks_exact(cols)
            .map(|values| values.iter().map(|&value| i32::from(value)).sum())
            .collect();
        for (index, block) in matrix.blocks().enumerate() {
            spread(block, &mut panel);
            for (tile, (out, offsets)) in
                tiles.chunks_exact(cols).zip(out.chunks_mut(TILE * rows).zip(offsets.chunks(TILE)))
            {
                let sums = ternary_tile(&panel, tile);
                for ((out, offset), sums) in out.chunks_exact_mut(rows).zip(offsets).zip(sums) {
                    let out = &mut out[index * BLOCK_ROWS..];
                    let offset = _mm256_set1_epi32(*offset);
                    for (out, sum) in out.chunks_mut(8).zip(sums) {
                        store_rows(out, _mm256_sub_epi32(sum, offset));
                    }
                }
            }
        }
    }
}

/// Gives each code of a block its own byte: for each step 8 rows, then 8 rows.
#[target_feature(enable = "avx2")]
fn spread(block: &[u8], panel: &mut [u8]) {
    let mask = _mm256_set1_epi8(3);
    let (first, second) =
        (_mm256_setr_epi32(0, 0, 0, 0, 2, 2, 2, 2), _mm256_setr_epi32(4, 4, 4, 4, 6, 6, 6, 6));
    for (step, wide) in block.chunks_exact(STEP_BYTES).zip(panel.chunks_exact_mut(WIDE_STEP)) {
        let codes = load_step(step);
        let (upper, lower) = wide.split_at_mut(WIDE_STEP / 2);
        store_codes(upper, _mm256_and_si256(_mm256_srlv_epi32(codes, first), mask));
        store_codes(lower, _mm256_and_si256(_mm256_srlv_epi32(codes, second), mask));
    }
}

/// Sums of code * value for 16 rows, as 8 and 8, of 4 tokens.
#[target_feature(enable = "avx2")]
#[inline]
fn ternary_tile(panel: &[u8], tile: &[u8]) -> [[__m256i; 2]; TILE] {
    let mut sums = [[_mm256_setzero_si256(); 2]; TILE];
    let parts = panel.chunks(STEPS * WIDE_STEP).zip(tile.chunks(STEPS * TILE * STEP_COLS));
    for (panel, tile) in parts {
        let mut lanes = [[_mm256_setzero_si256(); 2]; TILE];
        for (codes, quads) in panel.chunks_exact(WIDE_STEP).zip(tile.chunks_exact(TILE * STEP_COLS))
        {
            let (upper, lower) = codes.split_at(WIDE_STEP / 2);
            let codes = [load_codes(upper), load_codes(lower)];
            for (lanes, quad) in lanes.iter_mut().zip(quads.chunks_exact(STEP_COLS)) {
                let quad = _mm256_set1_epi32(i32_of(quad));
                for (lane, codes) in lanes.iter_mut().zip(codes) {
                    *lane = _mm256_add_epi16(*lane, _mm256_maddubs_epi16(codes, quad));
                }
            }
        }
        for (sum, lane) in sums.as_flattened_mut().iter_mut().zip(lanes.as_flattened()) {
            *sum = _mm256_add_epi32(*sum, widen(*lane));
        }
    }
    sums
}

/// Orders activations `[tiles, cols / 4, 4 tokens, 4]`; missing tokens are zero.
fn pack_quads(values: &[i8], cols: usize) -> Vec<u8> {
    let tokens = values.len() / cols;
    let mut tiles = vec![0; tokens.next_multiple_of(TILE) * cols];
    for (token, values) in values.chunks_exact(cols).enumerate() {
        let tile = &mut tiles[token / TILE * TILE * cols..];
        let quads = tile.chunks_exact_mut(STEP_COLS).skip(token % TILE).step_by(TILE);
        for (quad, values) in quads.zip(values.chunks_exact(STEP_COLS)) {
            for (byte, value) in quad.iter_mut().zip(values) {
                *byte = value.cast_unsigned();
            }
        }
    }
    tiles
}

#[target_feature(enable = "avx2")]
fn int8_sums(matrix: &Int8Matrix, values: &[i8], out: &mut [i32]) {
    let rows = matrix.rows();
    int8_tiles(matrix, values, |token, row, sums| {
        let out = &mut out[token * rows..][..rows];
        store_rows(&mut out[row..], sums);
    });
}

#[target_feature(enable = "avx2")]
fn pointwise_sums(matrix: &Int8Matrix, values: &[i8], requantize: &Requantize, out: &mut [i8]) {
    let rows = matrix.rows();
    int8_tiles(matrix, values, |token, row, sums| {
        let out = &mut out[token * rows..][..rows];
        requantize_group(requantize, row, sums, &mut out[row..]);
    });
}

/// Calls `finish(token, first row, sums of 8 rows)` for everything; the rows of a last panel may reach
/// beyond the matrix.
#[target_feature(enable = "avx2")]
#[inline]
fn int8_tiles(matrix: &Int8Matrix, values: &[i8], mut finish: impl FnMut(usize, usize, __m256i)) {
    let cols = matrix.cols();
    let panels: Vec<&[i16]> = matrix.panels().collect();
    for (block, values) in values.chunks(BLOCK_TOKENS * cols).enumerate() {
        let tokens = values.len() / cols;
        let tiles = pack_pairs(values, cols);
        for (group, panels) in panels.chunks(2).enumerate() {
            for (tile, pairs) in tiles.chunks_exact(TILE / 2 * matrix.padded_cols()).enumerate() {
                let sums = match panels {
                    [first, second] => int8_tile([first, second], pairs),
                    [first, ..] => {
                        let [sums] = int8_tile([first], pairs);
                        [sums, sums]
                    }
                    [] => continue,
                };
                for (panel, sums) in sums.iter().take(panels.len()).enumerate() {
                    for (t, sums) in sums.iter().enumerate().take(tokens - tile * TILE) {
                        let token = block * BLOCK_TOKENS + tile * TILE + t;
                        finish(token, (2 * group + panel) * PANEL_ROWS, *sums);
                    }
                }
            }
        }
    }
}

/// Sums of `PANELS` times 8 rows of 4 tokens.
#[target_feature(enable = "avx2")]
#[inline]
fn int8_tile<const PANELS: usize>(
    panels: [&[i16]; PANELS],
    pairs: &[i32],
) -> [[__m256i; TILE]; PANELS] {
    let mut sums = [[_mm256_setzero_si256(); TILE]; PANELS];
    let panels = panels.map(|panel| &panel[..pairs.len() / TILE * PANEL_STEP]);
    for (step, pairs) in pairs.chunks_exact(TILE).enumerate() {
        let weights = panels.map(|panel| load_weights(&panel[step * PANEL_STEP..][..PANEL_STEP]));
        for (token, pair) in pairs.iter().enumerate() {
            let pair = _mm256_set1_epi32(*pair);
            for (sums, weights) in sums.iter_mut().zip(weights) {
                sums[token] = _mm256_add_epi32(sums[token], _mm256_madd_epi16(weights, pair));
            }
        }
    }
    sums
}

/// Widens activations to `i16` and orders them `[tiles, padded cols / 2, 4 tokens]`, each `i32` the pair
/// of a token; missing tokens and columns are zero.
#[target_feature(enable = "avx2")]
fn pack_pairs(values: &[i8], cols: usize) -> Vec<i32> {
    let padded = cols.next_multiple_of(COL_GROUP);
    let tokens = values.len() / cols;
    let mut tiles = vec![0; tokens.div_ceil(TILE) * TILE / 2 * padded];
    for (values, tile) in values.chunks(TILE * cols).zip(tiles.chunks_exact_mut(TILE / 2 * padded))
    {
        for (group, pairs) in tile.chunks_exact_mut(4 * TILE).enumerate() {
            let mut wide = [_mm_setzero_si128(); TILE];
            for (wide, values) in wide.iter_mut().zip(values.chunks_exact(cols)) {
                let values = &values[group * COL_GROUP..];
                *wide = _mm_cvtepi8_epi16(match values.len() {
                    COL_GROUP.. => load8(values),
                    _ => load8(&zero_padded(values)),
                });
            }
            for (pairs, column) in pairs.chunks_exact_mut(TILE).zip(transpose(wide)) {
                store4(pairs, column);
            }
        }
    }
    tiles
}

/// Transposes 4 rows of 4 `i32`.
#[target_feature(enable = "avx2")]
#[inline]
fn transpose([a, b, c, d]: [__m128i; 4]) -> [__m128i; 4] {
    let (ab_low, ab_high) = (_mm_unpacklo_epi32(a, b), _mm_unpackhi_epi32(a, b));
    let (cd_low, cd_high) = (_mm_unpacklo_epi32(c, d), _mm_unpackhi_epi32(c, d));
    [
        _mm_unpacklo_epi64(ab_low, cd_low),
        _mm_unpackhi_epi64(ab_low, cd_low),
        _mm_unpacklo_epi64(ab_high, cd_high),
        _mm_unpackhi_epi64(ab_high, cd_high),
    ]
}

/// One output pixel, 8 channels at a time.
#[target_feature(enable = "avx2")]
fn depthwise_pixel(
    filter: &DepthwiseFilter,
    taps: &Taps<'_>,
    requantize: &Requantize,
    out: &mut [i8],
) {
    let whole = out.len() / CHANNEL_GROUP * CHANNEL_GROUP;
    for (first, weights) in (0..whole).step_by(CHANNEL_GROUP).zip(filter.groups()) {
        let mut sums = _mm256_setzero_si256();
        for (weights, taps) in weights.chunks_exact(GROUP_PAIR).zip(taps.chunks_exact(2)) {
            let pair = _mm_unpacklo_epi8(load8(&taps[0][first..]), load8(&taps[1][first..]));
            let products = _mm256_madd_epi16(_mm256_cvtepi8_epi16(pair), load_weights(weights));
            sums = _mm256_add_epi32(sums, products);
        }
        requantize_group(requantize, first, sums, &mut out[first..]);
    }
    for (channel, out) in out.iter_mut().enumerate().skip(whole) {
        *out = requantize.apply(channel, filter.channel_sum(taps, channel));
    }
}

/// Requantizes 8 channels from `first` into the front of `out`, fewer if `out` ends before.
#[target_feature(enable = "avx2")]
#[inline]
fn requantize_group(requantize: &Requantize, first: usize, sums: __m256i, out: &mut [i8]) {
    if out.len() < 8 {
        let mut all = [0; 8];
        store_rows(&mut all, sums);
        for (r, (out, sum)) in out.iter_mut().zip(all).enumerate() {
            *out = requantize.apply(first + r, sum);
        }
        return;
    }
    let multiplier = load_floats(&requantize.multiplier[first..]);
    let bias = load_floats(&requantize.bias[first..]);
    let scaled = _mm256_add_ps(_mm256_mul_ps(_mm256_cvtepi32_ps(sums), multiplier), bias);
    store_int8(out, scaled, f32::from(requantize.low), f32::from(requantize.high));
}

#[target_feature(enable = "avx2")]
fn quantize(values: &[f32], out: &mut [i8]) -> f32 {
    let (chunks, rest) = values.as_chunks::<8>();
    let magnitude = _mm256_castsi256_ps(_mm256_set1_epi32(i32::MAX));
    let mut largest = _mm256_set1_ps(SMALLEST_MAGNITUDE);
    for chunk in chunks {
        // The first operand may be NaN; then the second is the maximum.
        largest = _mm256_max_ps(_mm256_and_ps(load_floats(chunk), magnitude), largest);
    }
    let mut lanes = [0; 8];
    store_rows(&mut lanes, _mm256_castps_si256(largest));
    let lanes = lanes.map(|bits| f32::from_bits(bits.cast_unsigned()));
    let rest = rest.iter().map(|value| value.abs());
    let largest = lanes.into_iter().chain(rest).fold(SMALLEST_MAGNITUDE, f32::max);

    let scale = LARGEST_VALUE / largest;
    let (out_chunks, out_rest) = out.as_chunks_mut::<8>();
    for (chunk, out) in chunks.iter().zip(out_chunks) {
        let scaled = _mm256_mul_ps(load_floats(chunk), _mm256_set1_ps(scale));
        store_int8(out, scaled, -LARGEST_VALUE, LARGEST_VALUE);
    }
    for (value, out) in values.as_chunks::<8>().1.iter().zip(out_rest) {
        *out = to_int8(value * scale, -LARGEST_VALUE, LARGEST_VALUE);
    }
    largest / LARGEST_VALUE
}

/// Clamps 8 floats, rounds them to the nearest integer, ties to even, and stores them as int8.
#[target_feature(enable = "avx2")]
#[inline]
fn store_int8(out: &mut [i8], values: __m256, low: f32, high: f32) {
    let clamped = _mm256_min_ps(_mm256_max_ps(values, _mm256_set1_ps(low)), _mm256_set1_ps(high));
    let rounded = _mm256_cvtps_epi32(clamped);
    let halves = (_mm256_castsi256_si128(rounded), _mm256_extracti128_si256(rounded, 1));
    let words = _mm_packs_epi32(halves.0, halves.1);
    let bytes = _mm_cvtsi128_si64(_mm_packs_epi16(words, words)).to_le_bytes();
    out[..8].copy_from_slice(&bytes.map(u8::cast_signed));
}

/// Stores 8 sums, fewer if `out` ends before.
#[target_feature(enable = "avx2")]
#[inline]
fn store_rows(out: &mut [i32], sums: __m256i) {
    if out.len() >= 8 {
        store8(&mut out[..8], sums);
    } else {
        let mut all = [0; 8];
        store8(&mut all, sums);
        out.copy_from_slice(&all[..out.len()]);
    }
}

/// Adds neighbours of 16 `i16` into 8 `i32`.
#[target_feature(enable = "avx2")]
#[inline]
fn widen(lanes: __m256i) -> __m256i {
    _mm256_madd_epi16(lanes, _mm256_set1_epi16(1))
}

fn zero_padded(values: &[i8]) -> [i8; COL_GROUP] {
    let mut padded = [0; COL_GROUP];
    padded[..values.len()].copy_from_slice(values);
    padded
}

#[inline]
fn i32_of(quad: &[u8]) -> i32 {
    i32::from_le_bytes([quad[0], quad[1], quad[2], quad[3]])
}

#[target_feature(enable = "avx2")]
#[inline]
fn load_codes(codes: &[u8]) -> __m256i {
    assert!(codes.len() == 32);
    // SAFETY: the slice has the 32 bytes read.
    unsafe { _mm256_loadu_si256(codes.as_ptr().cast()) }
}

#[target_feature(enable = "avx2")]
#[inline]
fn load_weights(weights: &[i16]) -> __m256i {
    assert!(weights.len() == 16);
    // SAFETY: the slice has the 16 values read.
    unsafe { _mm256_loadu_si256(weights.as_ptr().cast()) }
}

#[target_feature(enable = "avx2")]
#[inline]
fn load_floats(values: &[f32]) -> __m256 {
    assert!(values.len() >= 8);
    // SAFETY: the slice has the 8 values read.
    unsafe { _mm256_loadu_ps(values.as_ptr()) }
}

/// The 16 bytes of a step, in both halves.
#[target_feature(enable = "avx2")]
#[inline]
fn load_step(step: &[u8]) -> __m256i {
    assert!(step.len() == 16);
    // SAFETY: the slice has the 16 bytes read.
    _mm256_broadcastsi128_si256(unsafe { _mm_loadu_si128(step.as_ptr().cast()) })
}

/// 8 values in the low half.
#[target_feature(enable = "avx2")]
#[inline]
fn load8(values: &[i8]) -> __m128i {
    assert!(values.len() >= 8);
    // SAFETY: the slice has the 8 values read.
    unsafe { _mm_loadl_epi64(values.as_ptr().cast()) }
}

#[target_feature(enable = "avx2")]
#[inline]
fn store_codes(out: &mut [u8], codes: __m256i) {
    assert!(out.len() == 32);
    // SAFETY: the slice has the 32 bytes written.
    unsafe { _mm256_storeu_si256(out.as_mut_ptr().cast(), codes) }
}

#[target_feature(enable = "avx2")]
#[inline]
fn store4(out: &mut [i32], values: __m128i) {
    assert!(out.len() == 4);
    // SAFETY: the slice has the 4 values written.
    unsafe { _mm_storeu_si128(out.as_mut_ptr().cast(), values) }
}

#[target_feature(enable = "avx2")]
#[inline]
fn store8(out: &mut [i32], values: __m256i) {
    assert!(out.len() == 8);
    // SAFETY: the slice has the 8 values written.
    unsafe { _mm256_storeu_si256(out.as_mut_ptr().cast(), values) }
}
