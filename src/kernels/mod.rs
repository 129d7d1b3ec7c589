//! Integer kernels: ternary and int8 matrix products, depthwise convolution, quantization.
//!
//! Activations are int8, `[tokens, cols]` in row order; sums are `i32`, `[tokens, rows]`. Every
//! backend returns the same integers, whatever the input, so results do not depend on the machine.
//! `scalar` says what is computed, the other files how to do it fast; `docs/kernels.md` has the
//! measurements.
//!
//! The functions here run on the fastest backend: AVX2 where an x86 processor has it, on
//! WebAssembly what the module was compiled for.

use std::sync::OnceLock;

mod checks;
mod depthwise_filter;
#[cfg(any(target_arch = "x86_64", all(target_arch = "wasm32", target_feature = "simd128")))]
mod int8_loops;
mod int8_matrix;
mod quantize;
mod scalar;
mod ternary_matrix;

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(all(target_arch = "wasm32", target_feature = "relaxed-simd"))]
mod relaxed;
#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
mod simd128;

#[cfg(test)]
mod tests;

pub use depthwise_filter::DepthwiseFilter;
pub use int8_matrix::Int8Matrix;
pub use quantize::{ternarize, Requantize};
pub use ternary_matrix::{packed_width, PackError, TernaryMatrix};

/// One implementation of the kernels. Each function panics if the lengths do not fit.
#[non_exhaustive]
pub struct Kernels {
    /// `scalar`, `avx2`, `simd128` or `relaxed`.
    pub name: &'static str,
    /// See [`ternary_matmul`].
    pub ternary_matmul: fn(&TernaryMatrix, &[i8], &mut [i32]),
    /// See [`int8_matmul`].
    pub int8_matmul: fn(&Int8Matrix, &[i8], &mut [i32]),
    /// See [`pointwise`].
    pub pointwise: fn(&Int8Matrix, &[i8], &Requantize, &mut [i8]),
    /// See [`depthwise`].
    pub depthwise: fn(&DepthwiseFilter, &[i8], usize, usize, &Requantize, &mut [i8]),
    /// See [`quantize_row`].
    pub quantize_row: fn(&[f32], &mut [i8]) -> f32,
}

/// The backends this build can run on this machine, slowest first.
pub fn available() -> Vec<&'static Kernels> {
    #[allow(unused_mut, reason = "nothing is added in a build without vector instructions")]
    let mut all = vec![&scalar::SCALAR];
    // The standard library detects the processor's features once and keeps them.
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("avx2") {
        all.push(&avx2::AVX2);
    }
    #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
    all.push(&simd128::SIMD128);
    #[cfg(all(target_arch = "wasm32", target_feature = "relaxed-simd"))]
    all.push(&relaxed::RELAXED);
    all
}

/// The backend in use: the fastest available one.
pub fn active() -> &'static Kernels {
    static ACTIVE: OnceLock<&Kernels> = OnceLock::new();
    ACTIVE.get_or_init(|| available().pop().expect("the scalar backend is always there"))
}

/// `out[t][r] = sum over c of matrix[r][c] * values[t][c]`: `values` is `[tokens, cols]`, `out`
/// `[tokens, rows]`. One token is the fast path of the decoder.
///
/// # Panics
///
/// If the lengths do not fit.
pub fn ternary_matmul(matrix: &TernaryMatrix, values: &[i8], out: &mut [i32]) {
    (active().ternary_matmul)(matrix, values, out);
}

/// [`ternary_matmul`] for int8 weights.
///
/// # Panics
///
/// If the lengths do not fit.
pub fn int8_matmul(matrix: &Int8Matrix, values: &[i8], out: &mut [i32]) {
    (active().int8_matmul)(matrix, values, out);
}

/// A 1 x 1 convolution: [`int8_matmul`] over pixels, its sums requantized to int8.
///
/// # Panics
///
/// If the lengths do not fit, or `requantize` is not made for `matrix.rows()` channels.
pub fn pointwise(matrix: &Int8Matrix, values: &[i8], requantize: &Requantize, out: &mut [i8]) {
    (active().pointwise)(matrix, values, requantize, out);
}

/// A depthwise convolution of one image, `[height, width, channels]`, with TensorFlow's "SAME" padding;
/// `out` is `[filter.output_size(height), filter.output_size(width), channels]`.
///
/// # Panics
///
/// If the image is empty, the lengths do not fit, or `requantize` is made for other channels.
pub fn depthwise(
    filter: &DepthwiseFilter,
    input: &[i8],
    height: usize,
    width: usize,
    requantize: &Requantize,
    out: &mut [i8],
) {
    (active().depthwise)(filter, input, height, width, requantize, out);
}

/// Quantizes the activations of one token to -127..=127 and returns the scale that multiplies back
/// (absmax, BitNet b1.58): `m = max(max |x|, 1e-5)`, `out = round_ties_even(x * (127 / m))`, `m / 127`.
///
/// # Panics
///
/// If the lengths differ.
pub fn quantize_row(values: &[f32], out: &mut [i8]) -> f32 {
    (active().quantize_row)(values, out)
}
