//! AVX2: int8 products, depthwise convolution, quantization.
//!
//! `madd` on `i16` gives `2 * 127 * 128` at most, added up in `i32` over at most 2^16 columns.
#![allow(unsafe_code, reason = "vector loads and stores, calls into AVX2 functions")]

use std::arch::x86_64::*;

use super::super::depthwise_filter::Taps;
use super::super::int8_loops::{self, zero_padded, InnerLoops, Sums, CHANNELS, TILE};
use super::super::int8_matrix::{COL_GROUP, PANEL_ROWS, PANEL_STEP};
use super::super::quantize::LARGEST_VALUE;
use super::super::{DepthwiseFilter, Int8Matrix, Requantize};
use super::{load8, store4, store8};

static INT8: InnerLoops = InnerLoops {
    // SAFETY: these are reached through `AVX2` only, so the processor has AVX2.
    pack: |values, cols| unsafe { pack_pairs(values, cols) },
    // SAFETY: as above.
    multiply: |panel, tiles, sums| unsafe { int8_panel(panel, tiles, sums) },
    // SAFETY: as above.
    requantize: |requantize, first, sums, out| unsafe {
        requantize_panel(requantize, first, sums, out)
    },
};

pub(super) fn matmul(matrix: &Int8Matrix, values: &[i8], out: &mut [i32]) {
    int8_loops::matmul(&INT8, matrix, values, out);
}

pub(super) fn pointwise(
    matrix: &Int8Matrix,
    values: &[i8],
    requantize: &Requantize,
    out: &mut [i8],
) {
    int8_loops::pointwise(&INT8, matrix, values, requantize, out);
}

pub(super) fn depthwise(
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
        // SAFETY: this is reached through `AVX2` only, so the processor has AVX2.
        |taps, first, out| unsafe { depthwise_group(filter, taps, requantize, first, out) },
    );
}

pub(super) fn quantize_row(values: &[f32], out: &mut [i8]) -> f32 {
    int8_loops::quantize_row(
        values,
        out,
        // SAFETY: this is reached through `AVX2` only, so the processor has AVX2.
        |values| unsafe { largest_magnitudes(values) },
        // SAFETY: as above.
        |values, scale, out| unsafe { scale_values(values, scale, out) },
    )
}

#[target_feature(enable = "avx2")]
fn int8_panel(panel: &[i16], tiles: &[i32], sums: &mut [Sums]) {
    let tile = int8_loops::tile_len(panel.len() / PANEL_ROWS);
    for (pairs, out) in tiles.chunks_exact(tile).zip(sums.chunks_exact_mut(TILE)) {
        let mut sums = [_mm256_setzero_si256(); TILE];
        for (weights, pairs) in panel.chunks_exact(PANEL_STEP).zip(pairs.chunks_exact(TILE)) {
            let weights = load_weights(weights);
            for (sum, pair) in sums.iter_mut().zip(pairs) {
                let products = _mm256_madd_epi16(weights, _mm256_set1_epi32(*pair));
                *sum = _mm256_add_epi32(*sum, products);
            }
        }
        for (out, sum) in out.iter_mut().zip(sums) {
            store8(out, sum);
        }
    }
}

/// Widens activations to `i16` and orders them `[tiles, padded cols / 2, 4 tokens]`, each `i32` the
/// pair of a token; missing tokens and columns are zero.
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

/// The channels from `first` on of an output pixel.
///
/// # Safety
///
/// Each tap has at least `first + CHANNELS` values.
#[target_feature(enable = "avx2")]
unsafe fn depthwise_group(
    filter: &DepthwiseFilter,
    taps: &Taps<'_>,
    requantize: &Requantize,
    first: usize,
    out: &mut [i8],
) {
    let mut sums = [_mm256_setzero_si256(); CHANNELS / 8];
    for (weights, taps) in filter.weights_from(first).zip(taps.chunks_exact(2)) {
        // SAFETY: the caller promises as much; checked slices cost a third of the time.
        let [a, b] = [0, 1].map(|tap| unsafe { taps[tap].get_unchecked(first..first + CHANNELS) });
        let weights = &weights[..2 * CHANNELS];
        for (group, sum) in sums.iter_mut().enumerate() {
            let pairs = _mm_unpacklo_epi8(load8(&a[8 * group..]), load8(&b[8 * group..]));
            let weights = load_weights(&weights[16 * group..][..16]);
            let products = _mm256_madd_epi16(weights, _mm256_cvtepi8_epi16(pairs));
            *sum = _mm256_add_epi32(*sum, products);
        }
    }
    for (group, (sums, out)) in sums.into_iter().zip(out.chunks_exact_mut(8)).enumerate() {
        let scale = Scale::of_channels(requantize, first + 8 * group);
        out.copy_from_slice(&scale.apply(sums));
    }
}

#[target_feature(enable = "avx2")]
fn requantize_panel(requantize: &Requantize, first: usize, sums: &[Sums], out: &mut [i8]) {
    let scale = Scale::of_channels(requantize, first);
    for (sums, out) in sums.iter().zip(out.chunks_exact_mut(requantize.bias.len())) {
        out[first..][..8].copy_from_slice(&scale.apply(load_sums(sums)));
    }
}

/// The requantization of 8 channels.
struct Scale {
    multiplier: __m256,
    bias: __m256,
    low: __m256,
    high: __m256,
}

impl Scale {
    #[target_feature(enable = "avx2")]
    #[inline]
    fn of_channels(requantize: &Requantize, first: usize) -> Self {
        Self {
            multiplier: load_floats(&requantize.multiplier[first..]),
            bias: load_floats(&requantize.bias[first..]),
            low: _mm256_set1_ps(f32::from(requantize.low)),
            high: _mm256_set1_ps(f32::from(requantize.high)),
        }
    }

    #[target_feature(enable = "avx2")]
    #[inline]
    fn apply(&self, sums: __m256i) -> [i8; 8] {
        let scaled = _mm256_mul_ps(_mm256_cvtepi32_ps(sums), self.multiplier);
        round_between(self.low, self.high, _mm256_add_ps(scaled, self.bias))
    }
}

#[target_feature(enable = "avx2")]
fn largest_magnitudes(values: &[[f32; 8]]) -> [f32; 8] {
    let magnitude = _mm256_castsi256_ps(_mm256_set1_epi32(i32::MAX));
    let mut largest = _mm256_setzero_ps();
    for values in values {
        // The first operand may be NaN; then the second is the maximum.
        largest = _mm256_max_ps(_mm256_and_ps(load_floats(values), magnitude), largest);
    }
    let mut bits = [0; 8];
    store8(&mut bits, _mm256_castps_si256(largest));
    bits.map(|bits| f32::from_bits(bits.cast_unsigned()))
}

#[target_feature(enable = "avx2")]
fn scale_values(values: &[[f32; 8]], scale: f32, out: &mut [[i8; 8]]) {
    let (low, high) = (_mm256_set1_ps(-LARGEST_VALUE), _mm256_set1_ps(LARGEST_VALUE));
    for (values, out) in values.iter().zip(out) {
        *out = round_between(low, high, _mm256_mul_ps(load_floats(values), _mm256_set1_ps(scale)));
    }
}

/// Clamps to `low..=high` and rounds to the nearest integer, ties to even.
#[target_feature(enable = "avx2")]
#[inline]
fn round_between(low: __m256, high: __m256, values: __m256) -> [i8; 8] {
    // The first operand may be NaN; then the second, `low`, is the maximum.
    let rounded = _mm256_cvtps_epi32(_mm256_min_ps(_mm256_max_ps(values, low), high));
    let upper = _mm256_extracti128_si256(rounded, 1);
    let words = _mm_packs_epi32(_mm256_castsi256_si128(rounded), upper);
    _mm_cvtsi128_si64(_mm_packs_epi16(words, words)).to_le_bytes().map(u8::cast_signed)
}

#[target_feature(enable = "avx2")]
#[inline]
fn load_sums(sums: &Sums) -> __m256i {
    // SAFETY: these are the 8 values read.
    unsafe { _mm256_loadu_si256(sums.as_ptr().cast()) }
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
