//! AVX2: 256-bit registers, chosen when the processor has them.
//!
//! Ternary: `maddubs` multiplies codes 0..=2 by activations and adds two neighbors into an `i16`. A
//! lane gains at most `2 * 2 * 128 = 512` in magnitude a step; codes left in place by a shift of 2
//! bits count four times that, 2048. With activations down to -128, 64 steps reach -32768 and 16
//! shifted ones -32768, and upward at most 32512: both inside an `i16`. Then the lanes are widened
//! to `i32`.
//!
//! [`int8`] holds the other kernels.
#![allow(unsafe_code, reason = "vector loads and stores, calls into AVX2 functions")]

use std::arch::x86_64::*;

use super::int8_loops::{BLOCK_TOKENS, TILE};
use super::ternary_matrix::{BLOCK_ROWS, STEP_BYTES, STEP_COLS};
use super::{checks, Kernels, TernaryMatrix};

mod int8;

/// Only [`super::available`] and [`super::active`] hand this out, after they found AVX2.
pub(super) static AVX2: Kernels = Kernels {
    name: "avx2",
    ternary_matmul,
    int8_matmul: int8::matmul,
    pointwise: int8::pointwise,
    depthwise: int8::depthwise,
    quantize_row: int8::quantize_row,
};

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
    let [first, second] = [0x0302_0100, 0x0706_0504];
    let repeat = _mm256_setr_m128i(_mm_set1_epi32(first), _mm_set1_epi32(second));
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

/// Many tokens: the codes of a block are spread to bytes once, then multiplied with tiles of 4
/// tokens.
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
            for (tile, (out, offsets)) in tiles
                .chunks_exact(TILE * cols)
                .zip(out.chunks_mut(TILE * rows).zip(offsets.chunks(TILE)))
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

/// Adds pairs of neighbors: 16 `i16` to 8 `i32`.
#[target_feature(enable = "avx2")]
#[inline]
fn widen(lanes: __m256i) -> __m256i {
    _mm256_madd_epi16(lanes, _mm256_set1_epi16(1))
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
