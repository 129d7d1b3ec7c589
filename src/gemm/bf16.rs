#![allow(unsafe_code, reason = "vector instructions")]
//! Products of gradients in bfloat16, for the trainer: `out = a . b` with f32 sums.
//!
//! One factor of every gradient of a quantized layer is made of small integers (ternary weights or
//! int8 activations), which bfloat16 holds exactly; the other, the gradient, is rounded to 8 bits
//! of mantissa with ties to even, an error of at most 2^-9 of each term. (The optimizer needs less
//! precision and rounds both factors.) AVX-512's `dpbf16` multiplies and adds two terms per lane:
//! twice the rate of f32.
//!
//! Layout: both factors lie in panels of `WIDTH` columns, pair of terms by pair of terms:
//! `panel[pair][column] = (term 2 * pair, term 2 * pair + 1)` in one `u32`. A tile of [`TILE_ROWS`]
//! x [`TILE_COLS`] sums stays in registers: 24 of 32.

use std::arch::x86_64::{
    __m512bh, __m512i, _mm512_add_ps, _mm512_dpbf16_ps, _mm512_loadu_ps, _mm512_loadu_si512,
    _mm512_set1_epi32, _mm512_setzero_ps, _mm512_storeu_ps,
};

/// Rows of a tile: panels of the first factor are this wide.
const TILE_ROWS: usize = 12;
/// Columns of a tile: panels of the second factor are this wide, two registers.
pub(super) const TILE_COLS: usize = 32;
/// Panels are padded with zeros to a multiple of this many pairs of terms, as `amx` needs.
const PAIRS_MULTIPLE: usize = 16;
/// Pairs of terms summed at a stretch: a panel of the second factor is then 16 kB and stays in L1.
const PAIRS: usize = 128;

/// Whether this machine has the instructions.
pub(super) fn is_available() -> bool {
    std::arch::is_x86_feature_detected!("avx512f")
        && std::arch::is_x86_feature_detected!("avx512bf16")
}

/// One factor in panels.
pub(super) struct Panels {
    width: usize,
    columns: usize,
    pairs: usize,
    data: Vec<u32>,
}

impl Panels {
    fn new(width: usize, columns: usize, terms: usize) -> Self {
        let pairs = terms.div_ceil(2).next_multiple_of(PAIRS_MULTIPLE);
        Self { width, columns, pairs, data: vec![0; columns.div_ceil(width) * pairs * width] }
    }

    /// Columns of the factor.
    pub(super) fn columns(&self) -> usize {
        self.columns
    }

    /// Pairs of terms.
    pub(super) fn pairs(&self) -> usize {
        self.pairs
    }

    /// Each panel, `[pairs, width]`.
    pub(super) fn panels(&self) -> impl Iterator<Item = &[u32]> {
        self.data.chunks_exact(self.pairs * self.width)
    }

    /// The first factor `[rows, terms]`, each term times its scale.
    pub(super) fn of_rows(values: &[f32], scales: &[f32]) -> Self {
        let terms = scales.len();
        let mut panels = Self::new(TILE_ROWS, values.len() / terms, terms);
        let size = panels.pairs * TILE_ROWS;
        for (row, values) in values.chunks_exact(terms).enumerate() {
            let panel = &mut panels.data[row / TILE_ROWS * size..][..size];
            let values = values.chunks(2).zip(scales.chunks(2));
            for (pair, (values, scales)) in panel.chunks_exact_mut(TILE_ROWS).zip(values) {
                let second = values.get(1).map_or(0.0, |value| value * scales[1]);
                pair[row % TILE_ROWS] = bf16_pair(values[0] * scales[0], second);
            }
        }
        panels
    }

    /// The first factor given as its transpose `[terms, rows]`, each term times its scale.
    pub(super) fn of_transposed(values: &[f32], rows: usize, scales: &[f32]) -> Self {
        Self::of_terms(TILE_ROWS, values, rows, |term, value| value * scales[term])
    }

    /// The second factor, integers `[terms, columns]` that bfloat16 holds exactly.
    pub(super) fn of_integers(values: &[i8], columns: usize) -> Self {
        Self::of_terms(TILE_COLS, values, columns, |_, value| f32::from(value))
    }

    /// The second factor as floats `[terms, columns]`.
    pub(super) fn of_floats(values: &[f32], columns: usize) -> Self {
        Self::of_terms(TILE_COLS, values, columns, |_, value| value)
    }

    /// The second factor given as its transpose, `columns` rows of pairs of terms, both
    /// multiples of 16.
    pub(super) fn of_pairs(rows: &[u32], columns: usize, pairs: usize) -> Self {
        const BLOCK: usize = 16;
        let mut panels = Self::new(TILE_COLS, columns, 2 * pairs);
        let mut block = [[0; BLOCK]; BLOCK];
        for (first, rows) in (0..columns).step_by(BLOCK).zip(rows.chunks(BLOCK * pairs)) {
            let panel = &mut panels.data[first / TILE_COLS * pairs * TILE_COLS..];
            for first_pair in (0..pairs).step_by(BLOCK) {
                for (block, row) in block.iter_mut().zip(rows.chunks_exact(pairs)) {
                    block.copy_from_slice(&row[first_pair..][..BLOCK]);
                }
                let out = panel[first_pair * TILE_COLS..].chunks_exact_mut(TILE_COLS).take(BLOCK);
                for (pair, out) in out.enumerate() {
                    let turned: [u32; BLOCK] = std::array::from_fn(|column| block[column][pair]);
                    out[first % TILE_COLS..][..BLOCK].copy_from_slice(&turned);
                }
            }
        }
        panels
    }

    fn of_terms<T: Copy>(
        width: usize,
        values: &[T],
        columns: usize,
        number: impl Fn(usize, T) -> f32,
    ) -> Self {
        let terms = values.len() / columns;
        let mut panels = Self::new(width, columns, terms);
        let size = panels.pairs * width;
        for (pair, rows) in values.chunks(2 * columns).enumerate() {
            let (first, second) = rows.split_at(columns);
            for (index, first) in first.chunks(width).enumerate() {
                let out = &mut panels.data[index * size + pair * width..][..first.len()];
                match second.get(index * width..index * width + first.len()) {
                    Some(second) => {
                        for ((out, &a), &b) in out.iter_mut().zip(first).zip(second) {
                            *out = bf16_pair(number(2 * pair, a), number(2 * pair + 1, b));
                        }
                    }
                    None => {
                        for (out, &a) in out.iter_mut().zip(first) {
                            *out = bf16_pair(number(2 * pair, a), 0.0);
                        }
                    }
                }
            }
        }
        panels
    }
}

/// Two numbers rounded to bfloat16, ties to even, the first in the low half. Finite numbers only.
#[inline(always)]
pub(super) fn bf16_pair(first: f32, second: f32) -> u32 {
    let rounded = |x: f32| {
        let bits = x.to_bits();
        bits.wrapping_add(0x7fff + (bits >> 16 & 1))
    };
    rounded(first) >> 16 | rounded(second) & 0xffff_0000
}

/// `out[r][c] = sum over t of a[r][t] * b[t][c]`, `[rows, columns]`.
///
/// # Panics
///
/// If the factors differ in terms, `b` has a number of columns that 32 does not divide, or the machine
/// lacks the instructions.
pub(super) fn product(a: &Panels, b: &Panels) -> Vec<f32> {
    assert!(is_available(), "this machine has no bfloat16 products");
    assert_eq!(a.pairs, b.pairs, "the factors differ in terms");
    assert_eq!((a.width, b.width), (TILE_ROWS, TILE_COLS), "a factor stands on the wrong side");
    assert!(b.columns.is_multiple_of(TILE_COLS), "columns do not fill tiles");
    let (rows, columns) = (a.columns, b.columns);
    let mut out = vec![0.0; rows * columns];
    for first in (0..a.pairs).step_by(PAIRS) {
        let pairs = PAIRS.min(a.pairs - first);
        for (j, b_panel) in b.data.chunks_exact(b.pairs * TILE_COLS).enumerate() {
            let b_part = &b_panel[first * TILE_COLS..][..pairs * TILE_COLS];
            for (i, a_panel) in a.data.chunks_exact(a.pairs * TILE_ROWS).enumerate() {
                let a_part = &a_panel[first * TILE_ROWS..][..pairs * TILE_ROWS];
                let used = TILE_ROWS.min(rows - i * TILE_ROWS);
                let corner = &mut out[i * TILE_ROWS * columns + j * TILE_COLS..];
                assert!(corner.len() >= (used - 1) * columns + TILE_COLS, "a tile lies inside");
                // SAFETY: the instructions are there (first assertion); both parts hold `pairs`
                // times their width (slicing); the tile's rows lie inside `corner` (last
                // assertion).
                unsafe { tile(a_part, b_part, corner, columns, used) }
            }
        }
    }
    out
}

/// Adds one tile's sums to the first `used` rows of `out`, whose rows are `stride` apart.
#[target_feature(enable = "avx512f,avx512bf16")]
unsafe fn tile(a: &[u32], b: &[u32], out: &mut [f32], stride: usize, used: usize) {
    let mut sums = [[_mm512_setzero_ps(); 2]; TILE_ROWS];
    for (a, b) in a.chunks_exact(TILE_ROWS).zip(b.chunks_exact(TILE_COLS)) {
        // SAFETY: `b` holds two registers of 16 pairs.
        let columns = unsafe {
            [_mm512_loadu_si512(b.as_ptr().cast()), _mm512_loadu_si512(b.as_ptr().add(16).cast())]
        };
        for (sums, &pair) in sums.iter_mut().zip(a) {
            let pair = _mm512_set1_epi32(pair.cast_signed());
            for (sum, column) in sums.iter_mut().zip(columns) {
                // SAFETY: 512 bits are 512 bits; every pattern is a value of both types.
                let (pair, column): (__m512bh, __m512bh) = unsafe {
                    (
                        std::mem::transmute::<__m512i, __m512bh>(pair),
                        std::mem::transmute::<__m512i, __m512bh>(column),
                    )
                };
                *sum = _mm512_dpbf16_ps(*sum, pair, column);
            }
        }
    }
    for (row, sums) in sums.iter().enumerate().take(used) {
        for (half, &sum) in sums.iter().enumerate() {
            // SAFETY: the caller says that the tile lies inside `out`.
            unsafe {
                let at: *mut f32 = out.as_mut_ptr().add(row * stride + 16 * half);
                _mm512_storeu_ps(at, _mm512_add_ps(_mm512_loadu_ps(at), sum));
            }
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Numbers of few bits, so that bfloat16 rounds none of them.
    pub(in crate::gemm) fn numbers(count: usize, seed: usize) -> Vec<f32> {
        (0..count).map(|i| ((i * 7 + seed * 13) % 31) as f32 - 15.0).collect()
    }

    #[test]
    fn products_of_exact_numbers_are_exact_for_all_remainders() {
        if !is_available() {
            return;
        }
        for (rows, terms, columns) in [(1, 1, 32), (13, 5, 64), (24, 300, 32), (30, 257, 96)] {
            let a = numbers(rows * terms, 1);
            let b: Vec<i8> =
                (0..terms * columns).map(|i| i8::try_from(i % 255).unwrap_or(-3)).collect();
            let expected: Vec<f32> = (0..rows * columns)
                .map(|i| {
                    let (r, c) = (i / columns, i % columns);
                    (0..terms).map(|t| a[r * terms + t] * f32::from(b[t * columns + c])).sum()
                })
                .collect();
            let transposed: Vec<f32> =
                (0..terms * rows).map(|i| a[i % rows * terms + i / rows]).collect();
            let b = Panels::of_integers(&b, columns);
            let by_rows = product(&Panels::of_rows(&a, &vec![1.0; terms]), &b);
            assert_eq!(by_rows, expected, "{rows} x {terms} x {columns}");
            let by_terms =
                product(&Panels::of_transposed(&transposed, rows, &vec![1.0; terms]), &b);
            assert_eq!(by_terms, expected, "{rows} x {terms} x {columns}, transposed");
        }
    }

    #[test]
    fn terms_are_scaled_and_rounded_to_eight_bits() {
        if !is_available() {
            return;
        }
        let b = Panels::of_integers(&[1; 64], 32);
        let a = Panels::of_rows(&[1.0 + 1.0 / 256.0, 2.0], &[1.0, 0.5]);
        // 1 + 2^-8 lies between 1 and 1 + 2^-7, and 1 is even.
        assert_eq!(product(&a, &b), [2.0; 32]);
    }
}
