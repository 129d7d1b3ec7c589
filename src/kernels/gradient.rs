//! Products for the trainer: of a gradient with the integers a layer worked with (ternary weights or int8
//! activations, one scale a row), and of two matrices of floats.

#[cfg(target_arch = "x86_64")]
use super::bf16;

/// Integers `[rows, cols]` with one scale a row.
pub struct ScaledIntegers<'a> {
    /// `[rows, cols]`.
    pub values: &'a [i8],
    /// `[rows]`.
    pub scales: &'a [f32],
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
    pub fn left_multiplied(&self, gradient: &[f32]) -> Vec<f32> {
        let (terms, cols) = (self.scales.len(), self.cols());
        assert!(gradient.len().is_multiple_of(terms), "a gradient row is {terms} wide");
        #[cfg(target_arch = "x86_64")]
        if bf16::is_available() && cols.is_multiple_of(bf16::TILE_COLS) {
            let gradient = bf16::Panels::of_rows(gradient, self.scales);
            return bf16::product(&gradient, &bf16::Panels::of_integers(self.values, cols));
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
    pub fn left_multiplied_transposed(&self, gradient: &[f32]) -> Vec<f32> {
        let (terms, cols) = (self.scales.len(), self.cols());
        assert!(gradient.len().is_multiple_of(terms), "a gradient has {terms} rows");
        let rows = gradient.len() / terms;
        #[cfg(target_arch = "x86_64")]
        if bf16::is_available() && cols.is_multiple_of(bf16::TILE_COLS) {
            let gradient = bf16::Panels::of_transposed(gradient, rows, self.scales);
            return bf16::product(&gradient, &bf16::Panels::of_integers(self.values, cols));
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
pub fn rounded_product(a: &[f32], b: &[f32], terms: usize) -> Vec<f32> {
    assert!(a.len().is_multiple_of(terms) && b.len().is_multiple_of(terms), "{terms} terms");
    let columns = b.len() / terms;
    #[cfg(target_arch = "x86_64")]
    if bf16::is_available() && columns.is_multiple_of(bf16::TILE_COLS) {
        let a = bf16::Panels::of_rows(a, &vec![1.0; terms]);
        return bf16::product(&a, &bf16::Panels::of_floats(b, columns));
    }
    let mut out = vec![0.0; a.len() / terms * columns];
    for (out, a) in out.chunks_exact_mut(columns).zip(a.chunks_exact(terms)) {
        for (a, b) in a.iter().zip(b.chunks_exact(columns)) {
            out.iter_mut().zip(b).for_each(|(out, b)| *out += a * b);
        }
    }
    out
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
    fn a_product_of_floats_is_right_within_bfloat16() {
        let (rows, terms, columns) = (5, 33, 64);
        let a: Vec<f32> = (0..rows * terms).map(|i| (i as f32 * 0.61).sin()).collect();
        let b: Vec<f32> = (0..terms * columns).map(|i| (i as f32 * 0.23).cos()).collect();
        for (i, found) in rounded_product(&a, &b, terms).into_iter().enumerate() {
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
