//! Dense int8 weights in memory, widened and ordered for 16-bit multiply-and-add-pairs.
//!
//! Panels of 8 rows; a panel holds one step per 2 columns:
//!
//! ```text
//! value 2 * r + k of step s   =   weight [8 * panel + r][2 * s + k]
//! ```
//!
//! Columns are padded to a multiple of 8 and rows to a multiple of 8, both with zeros. The 16-bit
//! form costs a second byte for each weight; it saves the kernels a widening for each product.

use super::ternary_matrix::MAX_COLS;

/// Rows of a panel.
pub(super) const PANEL_ROWS: usize = 8;
/// Columns of a step.
pub(super) const PAIR: usize = 2;
/// Values of a step: two columns of a panel.
pub(super) const PANEL_STEP: usize = PANEL_ROWS * PAIR;
/// Columns are padded to a multiple of this.
pub(super) const COL_GROUP: usize = 8;

/// A matrix of weights -127..=127, `[rows, cols]`: `rows` outputs, `cols` inputs.
#[derive(Clone)]
pub struct Int8Matrix {
    rows: usize,
    cols: usize,
    /// `[panels, padded_cols / 2, 8, 2]`
    steps: Vec<i16>,
}

impl Int8Matrix {
    /// Takes `weights`, `[rows, cols]` in row order.
    ///
    /// # Panics
    ///
    /// If a side is 0, `cols` is above 65536, the length is not `rows * cols`, or a weight is -128.
    pub fn from_weights(rows: usize, cols: usize, weights: &[i8]) -> Self {
        assert!(rows > 0 && cols > 0 && cols <= MAX_COLS, "no int8 matrix of {rows} x {cols}");
        assert_eq!(weights.len(), rows * cols, "weights do not fill {rows} x {cols}");
        let panel = PANEL_ROWS * cols.next_multiple_of(COL_GROUP);
        let mut steps = vec![0; rows.div_ceil(PANEL_ROWS) * panel];
        for (row, weights) in weights.chunks_exact(cols).enumerate() {
            let start = row / PANEL_ROWS * panel + row % PANEL_ROWS * PAIR;
            for (col, &weight) in weights.iter().enumerate() {
                assert!(weight != i8::MIN, "weight -128 at row {row}, column {col}");
                steps[start + col / PAIR * PANEL_STEP + col % PAIR] = i16::from(weight);
            }
        }
        Self { rows, cols, steps }
    }

    /// Number of outputs.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Number of inputs.
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// Number of inputs including the zeros that pad them.
    pub(super) fn padded_cols(&self) -> usize {
        self.cols.next_multiple_of(COL_GROUP)
    }

    /// Panels of 8 rows, each `[padded_cols / 2, 8, 2]`; the last one may have rows beyond `rows`.
    pub(super) fn panels(&self) -> std::slice::ChunksExact<'_, i16> {
        self.steps.chunks_exact(PANEL_ROWS * self.padded_cols())
    }
}

impl std::fmt::Debug for Int8Matrix {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Int8Matrix({} x {})", self.rows, self.cols)
    }
}
