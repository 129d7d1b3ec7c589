//! Floating-point matrix products of the trainer: a gradient by the integers a layer worked with
//! (ternary weights or int8 activations, one scale per row), and two matrices of floats. The
//! captioner needs none of them: it is compiled without this module.

#[cfg(target_arch = "x86_64")]
mod amx;
#[cfg(target_arch = "x86_64")]
mod bf16;

/// Integers `[rows, cols]` with one scale a row.
pub(crate) struct ScaledIntegers<'a> {
    /// `[rows, cols]`.
    pub(crate) values: &'a [i8],
    /// `[rows]`.
    pub(crate) scales: &'a [f32],
}

impl ScaledIntegers<'_> {
    fn cols(&self) -> usize {
        assert!(!self.scales.is_empty() && self.values.len().is_multiple_of(self.scales.len()));
        self.values.len() / self.scales.len()
    }

    /// `gradient` `[n, rows]` by these integers: `[n, cols]`, sums in f32. Rounds the gradient to bfloat16
    /// where the machine multiplies that faster.
    ///
    /// # Panics
    ///
    /// If the gradient has no whole number of rows.
    pub(crate) fn left_multiplied(&self, gradient: &[f32]) -> Vec<f32> {
        let (terms, cols) = (self.scales.len(), self.cols());
        assert!(gradient.len().is_multiple_of(terms), "a gradient row is {terms} wide");
        #[cfg(target_arch = "x86_64")]
        if has_bf16(cols) {
            let integers = bf16::Panels::of_integers(self.values, cols);
            return product(&Left::Rows(gradient), self.scales, &integers);
        }
        let mut out = vec![0.0; gradient.len() / terms * cols];
        for (out, row) in out.chunks_exact_mut(cols).zip(gradient.chunks_exact(terms)) {
            let terms = row.iter().zip(self.scales).zip(self.values.chunks_exact(cols));
            terms.for_each(|((g, scale), integers)| add(out, g * scale, integers));
        }
        out
    }

    /// The transpose of `gradient` `[rows, n]` by these integers: `[n, cols]`, as
    /// [`left_multiplied`](Self::left_multiplied).
    ///
    /// # Panics
    ///
    /// If the gradient has another number of rows.
    pub(crate) fn left_multiplied_transposed(&self, gradient: &[f32]) -> Vec<f32> {
        let (terms, cols) = (self.scales.len(), self.cols());
        assert!(gradient.len().is_multiple_of(terms), "a gradient has {terms} rows");
        let rows = gradient.len() / terms;
        #[cfg(target_arch = "x86_64")]
        if has_bf16(cols) {
            let integers = bf16::Panels::of_integers(self.values, cols);
            return product(&Left::Transposed(gradient, rows), self.scales, &integers);
        }
        let mut out = vec![0.0; rows * cols];
        let terms = gradient.chunks_exact(rows).zip(self.scales);
        for ((gradient, scale), integers) in terms.zip(self.values.chunks_exact(cols)) {
            for (out, g) in out.chunks_exact_mut(cols).zip(gradient) {
                add(out, g * scale, integers);
            }
        }
        out
    }
}

/// `a` `[rows, terms]` by `b` `[terms, columns]`: `[rows, columns]`, sums in f32. Rounds both factors to
/// bfloat16 where the machine multiplies that faster.
///
/// # Panics
///
/// If a factor has no whole number of rows.
pub(crate) fn rounded_product(a: &[f32], b: &[f32], terms: usize) -> Vec<f32> {
    assert!(a.len().is_multiple_of(terms) && b.len().is_multiple_of(terms), "{terms} terms");
    let columns = b.len() / terms;
    #[cfg(target_arch = "x86_64")]
    if has_bf16(columns) {
        let b = bf16::Panels::of_floats(b, columns);
        return product(&Left::Rows(a), &vec![1.0; terms], &b);
    }
    let mut out = vec![0.0; a.len() / terms * columns];
    for (out, a) in out.chunks_exact_mut(columns).zip(a.chunks_exact(terms)) {
        for (a, b) in a.iter().zip(b.chunks_exact(columns)) {
            out.iter_mut().zip(b).for_each(|(out, b)| *out += a * b);
        }
    }
    out
}

/// `a` `[rows, terms]` by its own transpose: `[rows, rows]`, as [`rounded_product`].
///
/// # Panics
///
/// If `a` has no whole number of rows.
pub(crate) fn rounded_gram(a: &[f32], terms: usize) -> Vec<f32> {
    assert!(a.len().is_multiple_of(terms), "a row is {terms} wide");
    #[cfg(target_arch = "x86_64")]
    if has_bf16(a.len() / terms) && amx::is_available() {
        let a = amx::Rows::of_rows(a, &vec![1.0; terms]);
        return amx::product(&a, &a.transposed());
    }
    rounded_product(a, &transposed(a, terms), terms)
}

/// The transpose of `a` `[terms, rows]` by `b` `[terms, columns]`, as [`rounded_product`].
///
/// # Panics
///
/// If a factor has no whole number of rows.
pub(crate) fn rounded_product_transposed(a: &[f32], b: &[f32], terms: usize) -> Vec<f32> {
    assert!(a.len().is_multiple_of(terms) && b.len().is_multiple_of(terms), "{terms} terms");
    let (rows, columns) = (a.len() / terms, b.len() / terms);
    #[cfg(target_arch = "x86_64")]
    if has_bf16(columns) {
        let b = bf16::Panels::of_floats(b, columns);
        return product(&Left::Transposed(a, rows), &vec![1.0; terms], &b);
    }
    let mut out = vec![0.0; rows * columns];
    for (a, b) in a.chunks_exact(rows).zip(b.chunks_exact(columns)) {
        for (out, a) in out.chunks_exact_mut(columns).zip(a) {
            out.iter_mut().zip(b).for_each(|(out, b)| *out += a * b);
        }
    }
    out
}

/// `[rows, columns]` to `[columns, rows]`.
pub(crate) fn transposed(matrix: &[f32], columns: usize) -> Vec<f32> {
    /// Numbers of a cache line: rows and columns of what is turned at once.
    const BLOCK: usize = 16;
    let rows = matrix.len() / columns;
    let mut out = vec![0.0; matrix.len()];
    // Whole lines are read and written; between, the block lies in the first cache.
    let mut block = [[0.0; BLOCK]; BLOCK];
    for (first_row, matrix) in (0..).step_by(BLOCK).zip(matrix.chunks(BLOCK * columns)) {
        let height = matrix.len() / columns;
        for first in (0..columns).step_by(BLOCK) {
            let width = BLOCK.min(columns - first);
            for (block, row) in block.iter_mut().zip(matrix.chunks_exact(columns)) {
                match row[first..].first_chunk() {
                    Some(whole) => *block = *whole,
                    None => block[..width].copy_from_slice(&row[first..]),
                }
            }
            for column in 0..width {
                let turned: [f32; BLOCK] = std::array::from_fn(|row| block[row][column]);
                let out = &mut out[(first + column) * rows + first_row..];
                match out.first_chunk_mut() {
                    Some(whole) if height == BLOCK => *whole = turned,
                    _ => out[..height].copy_from_slice(&turned[..height]),
                }
            }
        }
    }
    out
}

/// The first factor of a product.
#[cfg(target_arch = "x86_64")]
enum Left<'a> {
    /// `[rows, terms]`.
    Rows(&'a [f32]),
    /// `[terms, rows]`, and how many rows.
    Transposed(&'a [f32], usize),
}

/// `left`, each term times its scale, by `right`, by the fastest instructions there are.
#[cfg(target_arch = "x86_64")]
fn product(left: &Left, scales: &[f32], right: &bf16::Panels) -> Vec<f32> {
    match (left, amx::is_available()) {
        (Left::Rows(values), true) => amx::product(&amx::Rows::of_rows(values, scales), right),
        (Left::Rows(values), false) => bf16::product(&bf16::Panels::of_rows(values, scales), right),
        (Left::Transposed(values, rows), true) => {
            amx::product(&amx::Rows::of_transposed(values, *rows, scales), right)
        }
        (Left::Transposed(values, rows), false) => {
            bf16::product(&bf16::Panels::of_transposed(values, *rows, scales), right)
        }
    }
}

/// Whether the machine multiplies in bfloat16 and `columns` of a second factor fill whole tiles.
#[cfg(target_arch = "x86_64")]
fn has_bf16(columns: usize) -> bool {
    bf16::is_available() && columns.is_multiple_of(bf16::TILE_COLS)
}

fn add(out: &mut [f32], factor: f32, integers: &[i8]) {
    for (out, &integer) in out.iter_mut().zip(integers) {
        *out += factor * f32::from(integer);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transposed_matrix_has_rows_for_columns() {
        for (rows, columns) in [(1, 5), (17, 3), (40, 33)] {
            let matrix: Vec<f32> = (0..rows * columns).map(|i| i as f32).collect();
            let turned = transposed(&matrix, columns);
            for (i, value) in turned.iter().enumerate() {
                assert_eq!(*value, matrix[i % rows * columns + i / rows]);
            }
            assert_eq!(transposed(&turned, rows), matrix);
        }
    }

    #[test]
    fn a_product_of_floats_is_right_within_bfloat16() {
        let (rows, terms, columns) = (5, 33, 64);
        let a: Vec<f32> = (0..rows * terms).map(|i| (i as f32 * 0.61).sin()).collect();
        let b: Vec<f32> = (0..terms * columns).map(|i| (i as f32 * 0.23).cos()).collect();
        let by_rows = rounded_product(&a, &b, terms);
        let by_terms = rounded_product_transposed(&transposed(&a, terms), &b, terms);
        let grams = [&a[..rows * terms], &b].map(|matrix| {
            let (columns, turned) = (matrix.len() / terms, transposed(matrix, terms));
            (rounded_gram(matrix, terms), rounded_product(matrix, &turned, terms), columns)
        });
        for (gram, product, side) in grams {
            assert_eq!((&gram, gram.len()), (&product, side * side));
        }
        for (i, found) in by_rows.into_iter().chain(by_terms).enumerate() {
            let i = i % (rows * columns);
            let products = (0..terms).map(|t| {
                f64::from(a[i / columns * terms + t]) * f64::from(b[t * columns + i % columns])
            });
            let size: f64 = products.clone().map(f64::abs).sum();
            let expected: f64 = products.sum();
            assert!((f64::from(found) - expected).abs() <= size / 128.0, "{found} {expected}");
        }
    }

    /// Both products against sums in f64; the gradient may be rounded to 8 bits, each term by 2^-9.
    #[test]
    fn products_are_those_of_the_definition_within_bfloat16() {
        let (rows, cols, n) = (37, 64, 29);
        let values: Vec<i8> =
            (0..rows * cols).map(|i| i8::try_from(i * 7 % 255).unwrap_or(-128)).collect();
        let scales: Vec<f32> = (0..rows).map(|r| 0.01 + r as f32 / 100.0).collect();
        let gradient: Vec<f32> = (0..n * rows).map(|i| (i as f32 * 0.37).sin()).collect();
        let transposed: Vec<f32> = (0..rows * n).map(|i| gradient[i % n * rows + i / n]).collect();
        let integers = ScaledIntegers { values: &values, scales: &scales };
        let by_rows = integers.left_multiplied(&gradient);
        let by_columns = integers.left_multiplied_transposed(&transposed);
        for i in 0..n * cols {
            let terms = (0..rows).map(|t| {
                f64::from(gradient[i / cols * rows + t])
                    * f64::from(scales[t])
                    * f64::from(values[t * cols + i % cols])
            });
            let size: f64 = terms.clone().map(f64::abs).sum();
            let expected: f64 = terms.sum();
            for found in [by_rows[i], by_columns[i]] {
                assert!((f64::from(found) - expected).abs() <= size / 256.0, "{found} {expected}");
            }
        }
    }
}
