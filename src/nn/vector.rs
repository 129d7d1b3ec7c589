//! Arithmetic of plain vectors, written so that compilers use vector instructions.

/// `softmax(scale * scores)`, in place.
pub(crate) fn softmax(scores: &mut [f32], scale: f32) {
    let largest = largest(scores);
    for score in scores.iter_mut() {
        *score = exp((*score - largest) * scale);
    }
    let factor = sum(scores).recip();
    scores.iter_mut().for_each(|score| *score *= factor);
}

/// e^x to within 2e-7 of its value, in plain arithmetic that compilers turn into vector
/// instructions and that gives the same bits on every machine; the system's `exp` does neither.
/// Below -87 the result is that of -87, 1.6e-38: as good as nothing beside a largest term of 1.
pub(crate) fn exp(x: f32) -> f32 {
    /// ln 2 in two parts, the first short enough that its multiples are exact (Cody and Waite
    /// 1980).
    const LN2_HIGH: f32 = 355.0 / 512.0;
    const LN2_LOW: f32 = -2.121_944_4e-4;
    /// Adding and subtracting it rounds to the nearest whole number.
    const ROUND: f32 = 12_582_912.0;
    let x = x.clamp(-87.0, 88.0);
    let powers = (x * std::f32::consts::LOG2_E + ROUND) - ROUND;
    let r = x - powers * LN2_HIGH - powers * LN2_LOW;
    // Taylor's polynomial, its high coefficients fitted to |r| <= ln(2) / 2 (Cephes, expf).
    let p = 1.987_569_1e-4;
    let p = p * r + 1.398_2e-3;
    let p = p * r + 8.333_452e-3;
    let p = p * r + 4.166_579_6e-2;
    let p = p * r + 1.666_666_5e-1;
    let p = p * r + 0.5;
    let value = p * r * r + r + 1.0;
    #[allow(clippy::cast_possible_truncation, reason = "a whole number between -126 and 127")]
    #[allow(clippy::cast_sign_loss, reason = "the biased exponent is positive")]
    let scale = f32::from_bits(((powers as i32 + 127) as u32) << 23);
    value * scale
}

/// The natural logarithm, rounded from double precision: what systems compute differs in the last
/// place, and so rounded it is the same everywhere.
pub(crate) fn ln(x: f32) -> f32 {
    #[allow(clippy::cast_possible_truncation, reason = "rounded to the nearest")]
    let rounded = f64::from(x).ln() as f32;
    rounded
}

/// The largest number among the values; not by `f32::max`, for which WebAssembly calls a function.
pub(crate) fn largest(values: &[f32]) -> f32 {
    values.iter().fold(f32::NEG_INFINITY, |largest, &v| if v > largest { v } else { largest })
}

/// The sum of all values, by [`dot`]'s partial sums.
pub(crate) fn sum(values: &[f32]) -> f32 {
    let mut lanes = [0.0f32; 8];
    let chunks = values.chunks_exact(8);
    let rest: f32 = chunks.remainder().iter().sum();
    for values in chunks {
        for i in 0..8 {
            lanes[i] += values[i];
        }
    }
    lanes.iter().sum::<f32>() + rest
}

/// Eight partial sums, so that the compiler may use vector registers.
pub(crate) fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut lanes = [0.0f32; 8];
    let (a, b) = (a.chunks_exact(8), b.chunks_exact(8));
    let rest: f32 = a.remainder().iter().zip(b.remainder()).map(|(a, b)| a * b).sum();
    for (a, b) in a.zip(b) {
        for i in 0..8 {
            lanes[i] += a[i] * b[i];
        }
    }
    lanes.iter().sum::<f32>() + rest
}

pub(crate) fn add_scaled(out: &mut [f32], factor: f32, values: &[f32]) {
    for (out, value) in out.iter_mut().zip(values) {
        *out += factor * value;
    }
}
