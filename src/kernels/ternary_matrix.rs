//! Ternary weights in memory: two bits each, in the order the kernels read them.
//!
//! A file holds five weights a byte (`from_packed`). They are repacked once, on load, into blocks of 16 rows. A block holds one 16-byte step per 4 columns:
//!
//! ```text
//! byte 4 * r + k of step s, bit pair f   =   weight [16 * block + 4 * f + r][4 * s + k] + 1
//! ```
//!
//! so 4 activations, repeated four times over a 16-byte register, meet 64 weights, and the pairs that
//! belong to one row lie side by side. Missing rows of the last block hold weight 0.

use std::sync::OnceLock;

/// Rows of a block.
pub(super) const BLOCK_ROWS: usize = 16;
/// Bytes of a step: 4 columns of a block.
pub(super) const STEP_BYTES: usize = 16;
/// Columns of a step.
pub(super) const STEP_COLS: usize = 4;
/// A row sum stays inside an `i32` with room to spare: `2^16 * 128 * 127 < 2^31`.
pub(super) const MAX_COLS: usize = 1 << 16;

/// Weights in a byte of a model file: `3^5 = 243` fits.
const DIGITS: usize = 5;
/// What [`DIGITS_OF_BYTE`] holds for bytes that are no number of five digits.
const NO_DIGIT: u8 = 3;
/// The digits of every byte, lowest first.
const DIGITS_OF_BYTE: [[u8; DIGITS]; 256] = digits_of_byte();

/// Bytes that a model file spends on a row of `cols` weights.
pub fn packed_width(cols: usize) -> usize {
    cols.div_ceil(DIGITS)
}

const fn digits_of_byte() -> [[u8; DIGITS]; 256] {
    let mut table = [[NO_DIGIT; DIGITS]; 256];
    let mut byte = 0;
    while byte < 243 {
        let (mut rest, mut digit) = (byte, 0);
        while digit < DIGITS {
            #[allow(clippy::cast_possible_truncation, reason = "a remainder of 3 is below 3")]
            {
                table[byte][digit] = (rest % 3) as u8;
            }
            rest /= 3;
            digit += 1;
        }
        byte += 1;
    }
    table
}

/// Four weights 0, each stored as code 1.
const ZERO_WEIGHTS: u8 = 0b0101_0101;

/// A matrix of weights -1, 0 and 1, `[rows, cols]`: `rows` outputs, `cols` inputs.
#[derive(Clone)]
pub struct TernaryMatrix {
    rows: usize,
    cols: usize,
    /// `[blocks, cols / STEP_COLS, STEP_BYTES]`
    steps: Vec<u8>,
    /// One `i16` for two rows, see `simd128.rs`; empty until that backend asks for it.
    #[cfg_attr(
        not(all(target_arch = "wasm32", target_feature = "simd128")),
        allow(dead_code, reason = "only simd128.rs reads it")
    )]
    pub(super) row_pairs: OnceLock<Vec<i16>>,
    /// The codes in the order of `simd128/one_token.rs`; empty until that kernel asks for it.
    #[cfg_attr(
        not(all(target_arch = "wasm32", target_feature = "simd128")),
        allow(dead_code, reason = "only simd128/one_token.rs reads it")
    )]
    pub(super) staggered: OnceLock<Vec<u8>>,
}

/// Why packed bytes are not a ternary matrix.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PackError {
    /// The shape has no packed form.
    #[error("a {rows} x {cols} ternary matrix: rows must be a positive multiple of 4, columns of 32 and at most 65536")]
    WrongShape {
        /// Outputs asked for.
        rows: usize,
        /// Inputs asked for.
        cols: usize,
    },
    /// The shape needs another number of bytes.
    #[error("expected {expected} bytes of packed weights, found {found}")]
    WrongLength {
        /// `rows` times [`packed_width`] of the columns.
        expected: usize,
        /// Bytes given.
        found: usize,
    },
    /// A byte is above 242 or holds a digit behind the last column.
    #[error("the byte of row {row}, column {col} stands for no weights")]
    InvalidCode {
        /// Row of the byte.
        row: usize,
        /// The first column it gets wrong.
        col: usize,
    },
}

impl TernaryMatrix {
    /// Takes `weights`, `[rows, cols]` in row order.
    ///
    /// # Panics
    ///
    /// If `rows` is no positive multiple of 4, `cols` no positive multiple of 32 or above 65536, the
    /// length is not `rows * cols`, or a weight is none of -1, 0, 1.
    pub fn from_weights(rows: usize, cols: usize, weights: &[i8]) -> Self {
        assert!(has_packed_form(rows, cols), "no packed form for {rows} x {cols} ternary weights");
        assert_eq!(weights.len(), rows * cols, "weights do not fill {rows} x {cols}");
        let mut matrix = Self::zeros(rows, cols);
        for (row, weights) in weights.chunks_exact(cols).enumerate() {
            for (col, &weight) in weights.iter().enumerate() {
                assert!((-1..=1).contains(&weight), "weight {weight} at row {row}, column {col}");
                matrix.set_code(row, col, (weight + 1).unsigned_abs());
            }
        }
        matrix
    }

    /// Takes the bytes of a model file, `[rows, packed_width(cols)]`: byte b of a row is the base-3
    /// number whose digits, lowest first, are the codes (weight + 1) of columns `5 b` to `5 b + 4`;
    /// digits beyond the last column are 0.
    pub fn from_packed(rows: usize, cols: usize, packed: &[u8]) -> Result<Self, PackError> {
        if !has_packed_form(rows, cols) {
            return Err(PackError::WrongShape { rows, cols });
        }
        let width = packed_width(cols);
        let expected = rows.checked_mul(width).ok_or(PackError::WrongShape { rows, cols })?;
        if packed.len() != expected {
            return Err(PackError::WrongLength { expected, found: packed.len() });
        }
        let mut matrix = Self::zeros(rows, cols);
        let mut codes = vec![0; width * DIGITS];
        for (row, bytes) in packed.chunks_exact(width).enumerate() {
            for (codes, &byte) in codes.chunks_exact_mut(DIGITS).zip(bytes) {
                codes.copy_from_slice(&DIGITS_OF_BYTE[usize::from(byte)]);
            }
            let is_wrong = |(col, &digit): (usize, &u8)| match col < cols {
                true => digit == NO_DIGIT,
                false => digit != 0,
            };
            if let Some(col) = codes.iter().enumerate().position(is_wrong) {
                return Err(PackError::InvalidCode { row, col });
            }
            matrix.set_row(row, &codes[..cols]);
        }
        Ok(matrix)
    }

    /// Takes the codes of a row, `[cols]`.
    fn set_row(&mut self, row: usize, codes: &[u8]) {
        /// A code in each byte: four columns at once, because a module that just started runs
        /// slowly.
        const CODES: u32 = 0x0303_0303;
        let (first, to) = self.position(row, 0);
        let steps = self.steps[first..].chunks_mut(STEP_BYTES);
        for (codes, place) in codes.chunks_exact(STEP_COLS).zip(steps) {
            let codes = u32::from_le_bytes([codes[0], codes[1], codes[2], codes[3]]);
            let others = u32::from_le_bytes([place[0], place[1], place[2], place[3]]);
            let all = others & !(CODES << to) | codes << to;
            place[..STEP_COLS].copy_from_slice(&all.to_le_bytes());
        }
    }

    /// The bytes of a model file, as `from_packed` takes them.
    pub fn to_packed(&self) -> Vec<u8> {
        let byte = |row, first: usize| {
            let columns = (first..self.cols.min(first + DIGITS)).rev();
            columns.fold(0, |number, col| 3 * number + self.code(row, col))
        };
        let firsts = || (0..self.cols).step_by(DIGITS);
        (0..self.rows).flat_map(|row| firsts().map(move |first| byte(row, first))).collect()
    }

    /// The weights in row order, `[rows, cols]`.
    pub fn to_weights(&self) -> Vec<i8> {
        let positions = (0..self.rows).flat_map(|row| (0..self.cols).map(move |col| (row, col)));
        positions.map(|(row, col)| WEIGHT_OF_CODE[usize::from(self.code(row, col))]).collect()
    }

    /// Number of outputs.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Number of inputs.
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// All blocks, one after the other.
    #[cfg_attr(
        not(all(target_arch = "wasm32", target_feature = "simd128")),
        allow(dead_code, reason = "only simd128.rs takes two blocks at once")
    )]
    pub(super) fn steps(&self) -> &[u8] {
        &self.steps
    }

    /// Blocks of 16 rows, each `[cols / 4, 16]` bytes; the last one may have rows beyond `rows`.
    pub(super) fn blocks(&self) -> std::slice::ChunksExact<'_, u8> {
        self.steps.chunks_exact(self.cols / STEP_COLS * STEP_BYTES)
    }

    fn zeros(rows: usize, cols: usize) -> Self {
        let bytes = rows.div_ceil(BLOCK_ROWS) * (cols / STEP_COLS) * STEP_BYTES;
        let steps = vec![ZERO_WEIGHTS; bytes];
        Self { rows, cols, steps, row_pairs: OnceLock::new(), staggered: OnceLock::new() }
    }

    fn set_code(&mut self, row: usize, col: usize, code: u8) {
        let (byte, shift) = self.position(row, col);
        let others = self.steps[byte] & !(3 << shift);
        self.steps[byte] = others | code << shift;
    }

    fn code(&self, row: usize, col: usize) -> u8 {
        let (byte, shift) = self.position(row, col);
        self.steps[byte] >> shift & 3
    }

    /// Byte and bit at which a code starts.
    fn position(&self, row: usize, col: usize) -> (usize, usize) {
        let step = row / BLOCK_ROWS * (self.cols / STEP_COLS) + col / STEP_COLS;
        let (field, r) = (row % BLOCK_ROWS / 4, row % 4);
        (step * STEP_BYTES + 4 * r + col % STEP_COLS, 2 * field)
    }
}

const WEIGHT_OF_CODE: [i8; 4] = [-1, 0, 1, 2];

fn has_packed_form(rows: usize, cols: usize) -> bool {
    rows > 0 && rows.is_multiple_of(4) && cols > 0 && cols.is_multiple_of(32) && cols <= MAX_COLS
}

impl std::fmt::Debug for TernaryMatrix {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "TernaryMatrix({} x {})", self.rows, self.cols)
    }
}
