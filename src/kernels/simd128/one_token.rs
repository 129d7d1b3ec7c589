//! WebAssembly SIMD: the ternary product of one token.
//!
//! Every weight is used once, so it is read in its two bits: the form for many tokens takes four times the
//! memory traffic. Two blocks share a register: an `i16` holds the byte of the first below the byte of the
//! second, eight codes, and is multiplied four times as `a + 2^14 * b`, `a` a code of the first block in the
//! lowest two bits and `b` one of the second in the highest two. A code is weight + 1, and with its upper
//! bit flipped it is weight - 1 in two's complement, as the sign of an `i16` demands of `b`. What that adds
//! to a sum, or takes off, is the sum of the activations.
#![allow(unsafe_code, reason = "vector loads and stores")]

use std::arch::wasm32::*;

use super::super::ternary_matrix::{BLOCK_ROWS, STEP_BYTES, STEP_COLS};
use super::super::TernaryMatrix;
use super::{add_split, load_codes, load_extend, store4};

/// Steps of 4 columns whose sums can be told apart where codes take the place of weights: 32 products of
/// at most `2 * 128` in magnitude give `-2^13..2^13`, the upper end not reached.
const CODE_STEPS: usize = 16;

pub(super) fn ternary_matvec(matrix: &TernaryMatrix, values: &[i8], out: &mut [i32]) {
    let mut wide = vec![0; values.len()];
    for (wide, values) in wide.chunks_exact_mut(8).zip(values.chunks_exact(8)) {
        store8(wide, load_extend(values));
    }
    let offset = i32x4_splat(wide.iter().map(|&value| i32::from(value)).sum());
    let block = STEP_BYTES / STEP_COLS * matrix.cols();
    let blocks = matrix.steps().chunks(2 * block);
    for (blocks, out) in blocks.zip(out.chunks_mut(2 * BLOCK_ROWS)) {
        let (first, second) = blocks.split_at(block);
        // A last block without a partner meets itself.
        let second = if second.is_empty() { first } else { second };
        let mut sums = [[[i32x4_splat(0); 2]; 4]; 2];
        let parts =
            first.chunks(CODE_STEPS * STEP_BYTES).zip(second.chunks(CODE_STEPS * STEP_BYTES));
        for ((first, second), wide) in parts.zip(wide.chunks(CODE_STEPS * STEP_COLS)) {
            for (sums, both) in sums.iter_mut().zip(multiply_codes([first, second], wide)) {
                add_split(sums, both);
            }
        }
        let [upper, lower] = sums;
        for (field, (upper, lower)) in upper.into_iter().zip(lower).enumerate() {
            let [first, second] = [0, 1].map(|block| add_column_pairs(upper[block], lower[block]));
            store_rows(out, 4 * field, i32x4_sub(first, offset));
            store_rows(out, BLOCK_ROWS + 4 * (3 - field), i32x4_add(second, offset));
        }
    }
}

/// Sums of `a + 2^14 * b` over some steps for rows 0 and 1 of each field, then for rows 2 and 3; of each
/// row, the first two columns of a step apart from the other two.
#[inline(always)]
fn multiply_codes([first, second]: [&[u8]; 2], wide: &[i16]) -> [[v128; 4]; 2] {
    // Opaque: as constants they would be made anew in each round.
    let (flip, ends) =
        std::hint::black_box((i16x8_splat(0xaa00_u16.cast_signed()), u16x8_splat(0xc003)));
    let mut sums = [[i32x4_splat(0); 4]; 2];
    let steps = first.chunks_exact(STEP_BYTES).zip(second.chunks_exact(STEP_BYTES));
    for ((first, second), values) in steps.zip(wide.chunks_exact(STEP_COLS)) {
        let values = load_repeated(values);
        let (first, second) = (load_codes(first), load_codes(second));
        let rows = [
            i8x16_shuffle::<0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23>(first, second),
            i8x16_shuffle::<8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31>(
                first, second,
            ),
        ];
        for (sums, codes) in sums.iter_mut().zip(rows) {
            let codes = v128_xor(codes, flip);
            for (shift, sum) in (0..).step_by(2).zip(sums) {
                let moved = v128_or(u16x8_shr(codes, shift), i16x8_shl(codes, shift));
                *sum = i32x4_add(*sum, i32x4_dot_i16x8(v128_and(moved, ends), values));
            }
        }
    }
    sums
}

/// Adds the two lanes of every row: `[0, 0, 1, 1]` and `[2, 2, 3, 3]` to `[0, 1, 2, 3]`.
#[inline(always)]
fn add_column_pairs(upper: v128, lower: v128) -> v128 {
    let even = i32x4_shuffle::<0, 2, 4, 6>(upper, lower);
    i32x4_add(even, i32x4_shuffle::<1, 3, 5, 7>(upper, lower))
}

/// Stores the sums of 4 rows, if there are such rows.
#[inline(always)]
fn store_rows(out: &mut [i32], row: usize, sums: v128) {
    if let Some(out) = out.get_mut(row..row + 4) {
        store4(out, sums);
    }
}

/// 4 values, twice.
#[inline(always)]
fn load_repeated(values: &[i16]) -> v128 {
    assert!(values.len() == 4);
    // SAFETY: the slice has the 4 values read.
    unsafe { v128_load64_splat(values.as_ptr().cast()) }
}

#[inline(always)]
fn store8(out: &mut [i16], values: v128) {
    assert!(out.len() == 8);
    // SAFETY: the slice has the 8 values written.
    unsafe { v128_store(out.as_mut_ptr().cast(), values) }
}
