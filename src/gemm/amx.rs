#![allow(unsafe_code, reason = "tile instructions, which have no stable intrinsics")]
//! Products in bfloat16 on AMX, the tile unit of server processors from Intel since 2023:
//! `out = a . b` with f32 sums, for the trainer. It multiplies what [`bf16`](super::bf16) does,
//! several times as fast.
//!
//! A tile register has 16 rows of 64 bytes. `tdpbf16ps` adds to 16 x 16 sums the products of 16
//! rows of 16 pairs of terms (first factor: rows as they are, a pair in one `u32`) with 16 pairs of
//! 16 columns (second factor: the panels of [`bf16::Panels`](super::bf16::Panels)). Four registers
//! of sums use every loaded tile twice.

use std::arch::asm;
use std::arch::x86_64::__cpuid_count;
use std::sync::OnceLock;

use super::bf16::{bf16_pair, Panels, TILE_COLS};

/// Rows, columns and pairs of terms of one tile register.
const TILE: usize = 16;
/// Rows that two registers hold.
const ROWS: usize = 2 * TILE;
/// Pairs of a second factor that stay in the second cache: 1 MB.
const CACHED: usize = 1 << 18;

/// Whether this machine has the instructions and the kernel lets this process use them.
pub(super) fn is_available() -> bool {
    static AVAILABLE: OnceLock<bool> = OnceLock::new();
    *AVAILABLE.get_or_init(|| {
        let [bf16, tiles] = [1 << 22, 1 << 24];
        std::arch::is_x86_feature_detected!("avx512bf16")
            && __cpuid_count(7, 0).edx & (bf16 | tiles) == bf16 | tiles
            && is_permitted()
    })
}

/// Asks Linux for the state of tile registers, which threads do not carry unless their process has
/// asked.
#[cfg(target_os = "linux")]
fn is_permitted() -> bool {
    /// `ARCH_REQ_XCOMP_PERM`, asm/prctl.h.
    const REQUEST_PERMISSION: libc::c_ulong = 0x1023;
    /// `XFEATURE_XTILEDATA`, asm/fpu/types.h.
    const TILE_DATA: libc::c_ulong = 18;
    // SAFETY: the call takes two numbers and changes no memory of this process.
    unsafe { libc::syscall(libc::SYS_arch_prctl, REQUEST_PERMISSION, TILE_DATA) == 0 }
}

#[cfg(not(target_os = "linux"))]
fn is_permitted() -> bool {
    false
}

/// The first factor: rows of pairs of terms, filled up with zeros to whole tiles.
pub(super) struct Rows {
    rows: usize,
    pairs: usize,
    data: Vec<u32>,
}

impl Rows {
    fn new(rows: usize, terms: usize) -> Self {
        let pairs = terms.div_ceil(2).next_multiple_of(TILE);
        Self { rows, pairs, data: vec![0; rows.next_multiple_of(ROWS) * pairs] }
    }

    /// `[rows, terms]`, each term times its scale.
    pub(super) fn of_rows(values: &[f32], scales: &[f32]) -> Self {
        let terms = scales.len();
        let mut out = Self::new(values.len() / terms, terms);
        for (row, values) in out.data.chunks_exact_mut(out.pairs).zip(values.chunks_exact(terms)) {
            let (values, last) = values.as_chunks::<2>();
            let (scales, last_scale) = scales.as_chunks::<2>();
            for ((out, [a, b]), [s, t]) in row.iter_mut().zip(values).zip(scales) {
                *out = bf16_pair(a * s, b * t);
            }
            if let ([a], [s]) = (last, last_scale) {
                row[terms / 2] = bf16_pair(a * s, 0.0);
            }
        }
        out
    }

    /// The same given as its transpose, `[terms, rows]`.
    pub(super) fn of_transposed(values: &[f32], rows: usize, scales: &[f32]) -> Self {
        let mut out = Self::new(rows, scales.len());
        let mut block = [[0u32; TILE]; TILE];
        let pairs = values.chunks(2 * TILE * rows).zip(scales.chunks(2 * TILE));
        for (first_pair, (values, scales)) in pairs.enumerate() {
            for first in (0..rows).step_by(TILE) {
                let used = TILE.min(rows - first);
                let terms = values.chunks(2 * rows).zip(scales.chunks(2)).zip(&mut block);
                let mut filled = 0;
                for ((values, scales), block) in terms {
                    let a = &values[first..][..used];
                    match values.get(rows + first..rows + first + used) {
                        Some(b) => {
                            for ((out, a), b) in block.iter_mut().zip(a).zip(b) {
                                *out = bf16_pair(a * scales[0], b * scales[1]);
                            }
                        }
                        None => {
                            for (out, a) in block.iter_mut().zip(a) {
                                *out = bf16_pair(a * scales[0], 0.0);
                            }
                        }
                    }
                    filled += 1;
                }
                let to = &mut out.data[first * out.pairs..];
                for (row, to) in to.chunks_mut(out.pairs).take(used).enumerate() {
                    let to = &mut to[first_pair * TILE..][..filled];
                    for (to, block) in to.iter_mut().zip(&block) {
                        *to = block[row];
                    }
                }
            }
        }
        out
    }

    /// The transpose as a second factor.
    pub(super) fn transposed(&self) -> Panels {
        Panels::of_pairs(&self.data, self.rows, self.pairs)
    }
}

/// What `ldtilecfg` reads: eight registers of 16 rows of 64 bytes.
#[repr(C, align(64))]
struct TileConfig {
    palette: u8,
    start_row: u8,
    reserved: [u8; 14],
    row_bytes: [u16; 16],
    rows: [u8; 16],
}

static WHOLE_TILES: TileConfig = TileConfig {
    palette: 1,
    start_row: 0,
    reserved: [0; 14],
    row_bytes: [64, 64, 64, 64, 64, 64, 64, 64, 0, 0, 0, 0, 0, 0, 0, 0],
    rows: [16, 16, 16, 16, 16, 16, 16, 16, 0, 0, 0, 0, 0, 0, 0, 0],
};

/// `out[r][c] = sum over t of a[r][t] * b[t][c]`, `[rows, columns]`.
///
/// # Panics
///
/// If the factors differ in terms, `b` has a number of columns that 32 does not divide, or the machine
/// lacks the instructions.
pub(super) fn product(a: &Rows, b: &Panels) -> Vec<f32> {
    assert!(is_available(), "this machine has no tiles");
    assert_eq!(a.pairs, b.pairs(), "the factors differ in terms");
    assert!(b.columns().is_multiple_of(TILE_COLS), "columns do not fill tiles");
    let (rows, columns, pairs) = (a.rows, b.columns(), a.pairs);
    let size = rows * columns;
    let mut out = Vec::with_capacity(size);
    let mut sums = [0f32; ROWS * TILE_COLS];
    // SAFETY: the instructions are there (first assertion). The registers of this thread are let go
    // below; nothing between can unwind past that but a failed slice, after which the configuration
    // stays, unused.
    unsafe { asm!("ldtilecfg [{}]", in(reg) &raw const WHOLE_TILES, options(nostack)) };
    // Two rows of tiles go by all of a small second factor; a large one is gone through once, panel
    // by panel.
    let chunk = if pairs * columns <= CACHED { ROWS } else { (a.data.len() / pairs).max(1) };
    let chunks = a.data.chunks_exact(chunk * pairs).zip((0..).step_by(chunk));
    for ((rows_of_chunk, first), (j, panel)) in
        chunks.flat_map(|chunk| std::iter::repeat(chunk).zip(b.panels().enumerate()))
    {
        for (i, rows_of_a) in rows_of_chunk.chunks_exact(ROWS * pairs).enumerate() {
            let row = first + i * ROWS;
            let used = ROWS.min(rows - row);
            let corner = &mut out.spare_capacity_mut()[row * columns + j * TILE_COLS..size];
            assert!(corner.len() >= (used - 1) * columns + TILE_COLS, "a tile lies inside");
            let corner: *mut f32 = corner.as_mut_ptr().cast();
            if used == ROWS {
                // SAFETY: whole tiles of both factors (`chunks_exact`), a whole tile of sums
                // (assertion).
                unsafe { tile(rows_of_a, panel, pairs, corner, columns) };
            } else {
                // SAFETY: as above; the sums are `ROWS` times `TILE_COLS`.
                unsafe { tile(rows_of_a, panel, pairs, sums.as_mut_ptr(), TILE_COLS) };
                for (row, sums) in sums.chunks_exact(TILE_COLS).take(used).enumerate() {
                    // SAFETY: `used` rows lie inside (assertion).
                    unsafe {
                        let to = corner.add(row * columns);
                        to.copy_from_nonoverlapping(sums.as_ptr(), TILE_COLS);
                    }
                }
            }
        }
    }
    // SAFETY: no register is in use.
    unsafe { asm!("tilerelease", options(nostack, nomem)) };
    // SAFETY: every row and column lies in a tile that was written: 32 divides the columns.
    unsafe { out.set_len(size) };
    out
}

/// Writes 32 x 32 sums to `out`, whose rows are `stride` numbers apart.
///
/// # Safety
///
/// The registers are configured as [`WHOLE_TILES`]; `a` has 32 rows of `pairs`, a multiple of 16; `b` has
/// `pairs` rows of 32; 32 rows of 32 numbers may be written to `out`.
unsafe fn tile(a: &[u32], b: &[u32], pairs: usize, out: *mut f32, stride: usize) {
    let (a_row, b_row) = (4 * pairs, 4 * TILE_COLS);
    // SAFETY: what the caller says. Each instruction reads or writes 16 rows of 64 bytes.
    unsafe {
        asm!(
            "tilezero tmm0",
            "tilezero tmm1",
            "tilezero tmm2",
            "tilezero tmm3",
            "2:",
            "tileloadd tmm4, [{a} + {a_row}]",
            "tileloadd tmm6, [{b} + {b_row}]",
            "tdpbf16ps tmm0, tmm4, tmm6",
            "tileloadd tmm7, [{b} + {b_row} + 64]",
            "tdpbf16ps tmm1, tmm4, tmm7",
            "tileloadd tmm5, [{lower_a} + {a_row}]",
            "tdpbf16ps tmm2, tmm5, tmm6",
            "tdpbf16ps tmm3, tmm5, tmm7",
            "add {a}, 64",
            "add {lower_a}, 64",
            "add {b}, {b_step}",
            "dec {steps}",
            "jnz 2b",
            "tilestored [{out} + {out_row}], tmm0",
            "tilestored [{out} + {out_row} + 64], tmm1",
            "tilestored [{lower_out} + {out_row}], tmm2",
            "tilestored [{lower_out} + {out_row} + 64], tmm3",
            a = inout(reg) a.as_ptr() => _,
            lower_a = inout(reg) a.as_ptr().add(TILE * pairs) => _,
            b = inout(reg) b.as_ptr() => _,
            a_row = in(reg) a_row,
            b_row = in(reg) b_row,
            b_step = const 4 * TILE * TILE_COLS,
            steps = inout(reg) pairs / TILE => _,
            out = in(reg) out,
            lower_out = in(reg) out.add(TILE * stride),
            out_row = in(reg) 4 * stride,
            out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
            out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
            options(nostack),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::super::bf16::tests::numbers;
    use super::*;

    #[test]
    fn products_of_exact_numbers_are_exact_for_all_remainders() {
        if !is_available() {
            return;
        }
        for (rows, terms, columns) in
            [(1, 1, 32), (13, 5, 64), (33, 300, 32), (64, 257, 96), (700, 220, 64), (40, 9000, 64)]
        {
            let a = numbers(rows * terms, 1);
            let b = numbers(terms * columns, 2);
            let scales: Vec<f32> = (0..terms).map(|t| [1.0, 0.5, 2.0][t % 3]).collect();
            let expected: Vec<f32> = (0..rows * columns)
                .map(|i| {
                    let (r, c) = (i / columns, i % columns);
                    (0..terms).map(|t| a[r * terms + t] * scales[t] * b[t * columns + c]).sum()
                })
                .collect();
            let transposed: Vec<f32> =
                (0..terms * rows).map(|i| a[i % rows * terms + i / rows]).collect();
            let b = Panels::of_floats(&b, columns);
            let by_rows = product(&Rows::of_rows(&a, &scales), &b);
            assert_eq!(by_rows, expected, "{rows} x {terms} x {columns}");
            let by_terms = product(&Rows::of_transposed(&transposed, rows, &scales), &b);
            assert_eq!(by_terms, expected, "{rows} x {terms} x {columns}, transposed");
        }
    }
}
