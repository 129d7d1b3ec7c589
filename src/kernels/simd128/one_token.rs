//! WebAssembly SIMD: the ternary product of one token.
//!
//! Every weight is used once, so it is read in its two bits: the form for many tokens takes four
//! times the memory traffic. No code is moved either: an `i16` of two bytes has pairs of codes 12
//! bits apart at bits 0 and 12 and at bits 2 and 14, so two masks make two weights of two rows
//! each, `a + 2^12 * b`, and a second load, a byte further on, finds the other halves of the bytes
//! at the same places. That takes an order of codes of its own, see `staggered`.
//!
//! `S_a` has 12 bits, which is enough while the magnitudes of the activations sum up to `2^11 - 1`:
//! a run of steps. Its length depends on the activations, not on the weights, and is found once for
//! all rows. An accumulator starts a run with `2^11 - sum(x)` in those bits (`a` is the code,
//! weight + 1, which adds `sum(x)`) and ends it with `2^11 + S_a`, in `0..2^12`, whatever passed in
//! between. There the bits are taken out and added up; `S_b` stays above them, exact up to the
//! accumulator's end: 18 bits are left to the second pair, and 64 runs give at most
//! `64 * 2047 < 2^17`. In the first pair `b` is a code too; `S_b + sum(x)` is at most twice that
//! and has 20 bits.
#![allow(unsafe_code, reason = "vector loads and stores")]

use std::arch::wasm32::*;
use std::hint::black_box;

use super::super::ternary_matrix::{BLOCK_ROWS, STEP_BYTES, STEP_COLS};
use super::super::TernaryMatrix;
use super::{load_codes, store4};

/// The largest sum of magnitudes whose products a run may add up, see above.
const RUN_MAGNITUDE: i32 = (1 << 11) - 1;
/// What a run adds to `S_a`, so that no sum is negative.
const RUN_BIAS: i32 = 1 << 11;
/// Runs that the upper bits of an accumulator hold, see above.
const GROUP_RUNS: usize = 64;
/// Bytes of a step of two blocks.
const PAIR_BYTES: usize = 2 * STEP_BYTES;
/// Activations that [`Activations::new`] takes at once.
const LOAD_COLS: usize = 16;

/// The sums of a block: for `k` in 0..2, rows `4 * k..4 * k + 4` in the lower bits of accumulator
/// `k` and rows `8 + 4 * k..12 + 4 * k` in the upper ones.
#[derive(Clone, Copy)]
struct Accumulators {
    both: [v128; 2],
    lower: [v128; 2],
}

pub(super) fn ternary_matvec(matrix: &TernaryMatrix, values: &[i8], out: &mut [i32]) {
    let activations = Activations::new(values);
    let bytes = PAIR_BYTES / STEP_COLS * matrix.cols();
    let blocks = staggered(matrix).windows(bytes + 1).step_by(bytes);
    for (codes, out) in blocks.zip(out.chunks_mut(2 * BLOCK_ROWS)) {
        let sums = activations.multiply(codes);
        for (out, sum) in out.chunks_exact_mut(4).zip(sums.as_flattened()) {
            store4(out, *sum);
        }
    }
}

/// The codes in the order of this kernel, made when first asked for: steps of two blocks take
/// turns, the upper half of every byte comes a byte later, and its upper code is the weight in
/// two's complement, as the sign of an `i16` demands. A last block without a partner meets itself.
fn staggered(matrix: &TernaryMatrix) -> &[u8] {
    matrix.staggered.get_or_init(|| {
        let block = STEP_BYTES / STEP_COLS * matrix.cols();
        let mut codes = Vec::with_capacity(matrix.steps().len().next_multiple_of(2 * block) + 1);
        let mut upper = 0;
        for blocks in matrix.steps().chunks(2 * block) {
            let (first, second) = (&blocks[..block], &blocks[blocks.len() - block..]);
            let steps = first.chunks_exact(STEP_BYTES).zip(second.chunks_exact(STEP_BYTES));
            for byte in steps.flat_map(<[_; 2]>::from).flatten() {
                codes.push(byte & 0x0f | upper);
                // Adding 3 to a code of two bits takes 1 off.
                upper = byte.wrapping_add(0xc0) & 0xf0;
            }
        }
        codes.push(upper);
        codes
    })
}

/// The activations of a token, as the kernel reads them.
struct Activations {
    /// `[cols / STEP_COLS]`: columns 0 and 2 of a step as `i16`, then columns 1 and 3.
    pairs: Vec<[i32; 2]>,
    runs: Vec<Run>,
    sum: i32,
    /// [`RUN_BIAS`] of every run.
    bias: i32,
}

/// Steps whose lower sums fit their 12 bits, see above.
#[derive(Clone, Copy)]
struct Run {
    steps: usize,
    /// What the accumulators start with, see above.
    start: i32,
}

impl Activations {
    fn new(values: &[i8]) -> Self {
        let mut pairs = vec![[0; 2]; values.len() / STEP_COLS];
        let mut runs = Vec::with_capacity(pairs.len());
        let (mut run, mut magnitude, mut sum) = (Run { steps: 0, start: RUN_BIAS }, 0, 0);
        let loads = values.chunks_exact(LOAD_COLS);
        for (values, pairs) in loads.zip(pairs.chunks_exact_mut(LOAD_COLS / STEP_COLS)) {
            let values = load_values(values);
            store_pairs(pairs, values);
            let (mut sums, mut magnitudes) = ([0; 4], [0; 4]);
            store4(&mut sums, i32x4_extadd_pairwise_i16x8(i16x8_extadd_pairwise_i8x16(values)));
            // Unsigned, since 128 is the magnitude of -128.
            let absolute = i16x8_extadd_pairwise_u8x16(i8x16_abs(values));
            store4(&mut magnitudes, i32x4_extadd_pairwise_u16x8(absolute));
            for (step_sum, step_magnitude) in sums.into_iter().zip(magnitudes) {
                if magnitude + step_magnitude > RUN_MAGNITUDE {
                    runs.push(run);
                    (run, magnitude) = (Run { steps: 0, start: RUN_BIAS }, 0);
                }
                run.steps += 1;
                run.start -= step_sum;
                sum += step_sum;
                magnitude += step_magnitude;
            }
        }
        runs.push(run);
        let bias = runs.iter().map(|_| RUN_BIAS).sum();
        Self { pairs, runs, sum, bias }
    }

    /// The sums of two blocks.
    #[inline(always)]
    fn multiply(&self, mut codes: &[u8]) -> [[v128; 4]; 2] {
        // Opaque: as constants they would be made anew in each round.
        let masks = black_box([u16x8_splat(0x3003), u16x8_splat(0xc00c)]);
        let lower = black_box([u32x4_splat(0xfff), u32x4_splat(0xfff << 2)]);
        let mut pairs = &self.pairs[..];
        let mut sums = [[i32x4_splat(0); 4]; 2];
        for runs in self.runs.chunks(GROUP_RUNS) {
            let mut blocks = [Accumulators::zero(); 2];
            for run in runs {
                blocks.iter_mut().for_each(|block| block.start(run));
                let (these, later) = pairs.split_at(run.steps);
                add_products(&mut blocks, masks, codes, these);
                blocks.iter_mut().for_each(|block| block.end(lower));
                (codes, pairs) = (&codes[PAIR_BYTES * run.steps..], later);
            }
            for (sums, block) in sums.iter_mut().zip(blocks) {
                for (sum, more) in sums.iter_mut().zip(block.finish()) {
                    *sum = i32x4_add(*sum, more);
                }
            }
        }
        let surplus = [self.bias, self.bias, self.sum, 0].map(|surplus| i32x4_splat(surplus));
        sums.map(|sums| std::array::from_fn(|field| i32x4_sub(sums[field], surplus[field])))
    }
}

impl Accumulators {
    fn zero() -> Self {
        Self { both: [i32x4_splat(0); 2], lower: [i32x4_splat(0); 2] }
    }

    #[inline(always)]
    fn start(&mut self, run: &Run) {
        let start = i32x4_splat(run.start);
        self.both[0] = i32x4_add(self.both[0], start);
        self.both[1] = i32x4_add(self.both[1], i32x4_shl(start, 2));
    }

    #[inline(always)]
    fn end(&mut self, masks: [v128; 2]) {
        for ((both, lower), mask) in self.both.iter_mut().zip(&mut self.lower).zip(masks) {
            let low = v128_and(*both, mask);
            *lower = i32x4_add(*lower, low);
            *both = v128_xor(*both, low);
        }
    }

    #[inline(always)]
    fn finish(self) -> [v128; 4] {
        let Self { both, lower } = self;
        [lower[0], i32x4_shr(lower[1], 2), i32x4_shr(both[0], 12), i32x4_shr(both[1], 14)]
    }
}

/// Adds the products of some steps of two blocks; `codes` go on for a byte at least.
#[inline(always)]
fn add_products(
    blocks: &mut [Accumulators; 2],
    masks: [v128; 2],
    codes: &[u8],
    pairs: &[[i32; 2]],
) {
    let steps = codes.chunks_exact(PAIR_BYTES).zip(codes[1..].chunks_exact(PAIR_BYTES));
    for ((even, odd), pair) in steps.zip(pairs) {
        for (codes, pair) in [even, odd].into_iter().zip(pair) {
            let pair = i32x4_splat(*pair);
            for (block, codes) in blocks.iter_mut().zip(codes.chunks_exact(STEP_BYTES)) {
                let codes = load_codes(codes);
                for (both, mask) in block.both.iter_mut().zip(masks) {
                    *both = i32x4_add(*both, i32x4_dot_i16x8(v128_and(codes, mask), pair));
                }
            }
        }
    }
}

#[inline(always)]
fn load_values(values: &[i8]) -> v128 {
    assert!(values.len() == LOAD_COLS);
    // SAFETY: the slice has the 16 values read.
    unsafe { v128_load(values.as_ptr().cast()) }
}

/// Widens 16 values to `i16`, of each four the columns 0, 2, 1, 3.
#[inline(always)]
fn store_pairs(pairs: &mut [[i32; 2]], values: v128) {
    let turned =
        i8x16_shuffle::<0, 2, 1, 3, 4, 6, 5, 7, 8, 10, 9, 11, 12, 14, 13, 15>(values, values);
    let (first, second) = pairs.as_flattened_mut().split_at_mut(4);
    store4(first, i16x8_extend_low_i8x16(turned));
    store4(second, i16x8_extend_high_i8x16(turned));
}
