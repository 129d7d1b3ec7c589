//! The steps between floats and integers that surround the kernels.

/// Smallest absolute maximum or mean a scale is made from, as in BitNet b1.58: keeps zeros finite.
pub(super) const SMALLEST_MAGNITUDE: f32 = 1e-5;
/// Largest quantized activation.
pub(super) const LARGEST_VALUE: f32 = 127.0;

/// Turns integer sums into int8:
/// `clamp(round_ties_even(sum * multiplier[c] + bias[c]), low, high)`, with `c` the channel, the
/// last axis.
///
/// The product is rounded before the sum (no fused multiply-add), so every backend gives equal
/// bytes. Multipliers and biases are expected to be finite.
#[derive(Debug, Clone, PartialEq)]
pub struct Requantize {
    /// One for each channel: scale of the sums over the scale of the result.
    pub multiplier: Vec<f32>,
    /// One for each channel, in steps of the result; holds the zero point, too.
    pub bias: Vec<f32>,
    /// Smallest result.
    pub low: i8,
    /// Largest result.
    pub high: i8,
}

impl Requantize {
    /// The result for `sum` in channel `c`.
    #[inline]
    pub(super) fn apply(&self, c: usize, sum: i32) -> i8 {
        let scaled = sum as f32 * self.multiplier[c] + self.bias[c];
        to_int8(scaled, f32::from(self.low), f32::from(self.high))
    }
}

/// Rounds to the nearest integer, ties to even, and clamps to integers `low..=high` inside `i8`.
#[inline]
#[allow(clippy::cast_possible_truncation, reason = "clamped to the range of i8 before the cast")]
pub(super) fn to_int8(value: f32, low: f32, high: f32) -> i8 {
    // `max` before `min`, as the vector instructions order them: NaN becomes `low` everywhere.
    value.max(low).min(high).round_ties_even() as i8
}

/// Makes weights -1, 0, 1 of `latent` ones and returns the scale that multiplies back (absmean,
/// BitNet b1.58): `gamma = max(mean |w|, 1e-5)`, `out = clamp(round_ties_even(w / gamma), -1, 1)`.
///
/// # Panics
///
/// If the lengths differ.
pub fn ternarize(latent: &[f32], out: &mut [i8]) -> f32 {
    assert_eq!(latent.len(), out.len(), "latent and ternary weights differ in length");
    let gamma = mean_magnitude(latent).max(SMALLEST_MAGNITUDE);
    for (weight, ternary) in latent.iter().zip(out) {
        let scaled = weight / gamma;
        // Beyond a half rounds away from 0; exactly a half is a tie, and 0 is even.
        *ternary = i8::from(scaled > 0.5) - i8::from(scaled < -0.5);
    }
    gamma
}

/// Mean of the absolute values, summed in `f64` over 8 interleaved lanes: a fixed order a compiler
/// can still vectorize.
#[allow(clippy::cast_possible_truncation, reason = "a mean of f32 values is in the range of f32")]
fn mean_magnitude(values: &[f32]) -> f32 {
    let mut lanes = [0f64; 8];
    for chunk in values.chunks(8) {
        for (lane, value) in lanes.iter_mut().zip(chunk) {
            *lane += f64::from(value.abs());
        }
    }
    let count = values.len().max(1);
    (lanes.iter().sum::<f64>() / count as f64) as f32
}
