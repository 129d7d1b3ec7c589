//! WebAssembly relaxed SIMD: `i16x8.relaxed_dot_i8x16_i7x16`, 16 products for the price of 8.
//!
//! The instruction leaves engines two freedoms: whether the second operand is signed when its top
//! bit is set, and whether sums saturate. Neither can occur: the second operand is a code of at
//! most 2, and a sum of two products at most `2 * 2 * 128`. So every engine returns the same bits.
//!
//! A lane gains at most `2 * 2 * 128 = 512` in magnitude a step. With activations down to -128, 64
//! steps reach -32768, and upward at most 32512: both inside an `i16`. Then lanes are widened to
//! `i32`.
//!
//! Int8 weights do not fit the seven bits of the second operand, so those kernels are `simd128`'s;
//! so is the product with one or two tokens.
#![allow(unsafe_code, reason = "vector loads and stores")]

use std::arch::wasm32::*;

use super::int8_loops::{BLOCK_TOKENS, TILE};
use super::simd128::{load_codes, store4, transpose, SIMD128};
use super::ternary_matrix::{BLOCK_ROWS, STEP_BYTES, STEP_COLS};
use super::{checks, Kernels, TernaryMatrix};

pub(super) static RELAXED: Kernels = Kernels { name: "relaxed", ternary_matmul, ..SIMD128 };

/// Steps an `i16` lane can add up, see above.
const STEPS: usize = 64;
/// Bytes of a step when the codes of 8 rows have a byte each.
const WIDE_STEP: usize = 8 * STEP_COLS;

fn ternary_matmul(matrix: &TernaryMatrix, values: &[i8], out: &mut [i32]) {
    let (rows, cols) = (matrix.rows(), matrix.cols());
    let tokens = checks::ternary_matmul(matrix, values, out);
    if tokens <= 2 {
        // No faster with these instructions, which need more bytes of codes for as many products.
        return (SIMD128.ternary_matmul)(matrix, values, out);
    }
    let mut panels = vec![0; BLOCK_ROWS * cols];
    let blocks = values.chunks(BLOCK_TOKENS * cols).zip(out.chunks_mut(BLOCK_TOKENS * rows));
    for (values, out) in blocks {
        let tiles = pack_quads(values, cols);
        let offsets: Vec<i32> = values.chunks_exact(cols).map(sum).collect();
        for (index, block) in matrix.blocks().enumerate() {
            spread(block, &mut panels);
            for (half, panel) in panels.chunks_exact(8 * cols).enumerate() {
                let first = index * BLOCK_ROWS + 8 * half;
                if first >= rows {
                    break;
                }
                let tiles = tiles.chunks_exact(cols).zip(offsets.chunks(TILE));
                for ((tile, offsets), out) in tiles.zip(out.chunks_mut(TILE * rows)) {
                    let sums = ternary_tile(panel, tile);
                    for ((sums, offset), out) in
                        sums.into_iter().zip(offsets).zip(out.chunks_exact_mut(rows))
                    {
                        for (out, sum) in out[first..].chunks_exact_mut(4).zip(sums) {
                            store4(out, i32x4_sub(sum, i32x4_splat(*offset)));
                        }
                    }
                }
            }
        }
    }
}

/// Gives each code of a block its own byte: a panel of 8 rows, then a panel of 8 rows.
fn spread(block: &[u8], panels: &mut [u8]) {
    let mask = u8x16_splat(3);
    let (first, second) = panels.split_at_mut(panels.len() / 2);
    let wide = first.chunks_exact_mut(WIDE_STEP).zip(second.chunks_exact_mut(WIDE_STEP));
    for (step, (first, second)) in block.chunks_exact(STEP_BYTES).zip(wide) {
        let codes = load_codes(step);
        store_codes(&mut first[..16], v128_and(codes, mask));
        store_codes(&mut first[16..], v128_and(u16x8_shr(codes, 2), mask));
        store_codes(&mut second[..16], v128_and(u16x8_shr(codes, 4), mask));
        store_codes(&mut second[16..], v128_and(u16x8_shr(codes, 6), mask));
    }
}

/// Sums of code * value for 8 rows, as 4 and 4, of 4 tokens.
///
/// Not unrolled: LLVM would then hoist the loads, and engines run out of registers.
#[inline(always)]
fn ternary_tile(panel: &[u8], tile: &[i32]) -> [[v128; 2]; TILE] {
    let mut sums = [[i32x4_splat(0); 2]; TILE];
    for (panel, tile) in panel.chunks(STEPS * WIDE_STEP).zip(tile.chunks(STEPS * TILE)) {
        let mut lanes = [[i16x8_splat(0); 2]; TILE];
        for (codes, quads) in panel.chunks_exact(WIDE_STEP).zip(tile.chunks_exact(TILE)) {
            let codes = [load_codes(&codes[..16]), load_codes(&codes[16..])];
            for (lanes, quad) in lanes.iter_mut().zip(quads) {
                let quad = i32x4_splat(*quad);
                for (lane, codes) in lanes.iter_mut().zip(codes) {
                    *lane = i16x8_add(*lane, i16x8_relaxed_dot_i8x16_i7x16(quad, codes));
                }
            }
        }
        for (sum, lane) in sums.as_flattened_mut().iter_mut().zip(lanes.as_flattened()) {
            *sum = i32x4_add(*sum, widen(*lane));
        }
    }
    sums
}

/// Orders activations `[tiles, cols / 4, 4 tokens]`, each `i32` 4 activations of a token; missing
/// tokens are zero.
fn pack_quads(values: &[i8], cols: usize) -> Vec<i32> {
    let tokens = values.len() / cols;
    let mut tiles = vec![0; tokens.div_ceil(TILE) * cols];
    for (values, tile) in values.chunks(TILE * cols).zip(tiles.chunks_exact_mut(cols)) {
        for (group, quads) in tile.chunks_exact_mut(4 * TILE).enumerate() {
            let mut tokens = [i32x4_splat(0); TILE];
            for (token, values) in tokens.iter_mut().zip(values.chunks_exact(cols)) {
                *token = load_values(&values[16 * group..]);
            }
            for (quads, column) in quads.chunks_exact_mut(TILE).zip(transpose(tokens)) {
                store4(quads, column);
            }
        }
    }
    tiles
}

fn sum(values: &[i8]) -> i32 {
    values.iter().map(|&value| i32::from(value)).sum()
}

/// Adds pairs of neighbors: 8 `i16` to 4 `i32`.
#[inline(always)]
fn widen(lanes: v128) -> v128 {
    i32x4_dot_i16x8(lanes, i16x8_splat(1))
}

#[inline(always)]
fn load_values(values: &[i8]) -> v128 {
    assert!(values.len() >= 16);
    // SAFETY: the slice has the 16 values read.
    unsafe { v128_load(values.as_ptr().cast()) }
}

#[inline(always)]
fn store_codes(out: &mut [u8], codes: v128) {
    assert!(out.len() == 16);
    // SAFETY: the slice has the 16 bytes written.
    unsafe { v128_store(out.as_mut_ptr().cast(), codes) }
}
