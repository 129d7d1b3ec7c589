//! Muon (Jordan 2024): the update of a matrix is its momentum with all singular values brought near
//! 1, so that rare directions move as far as common ones. A ternary code flips only after its
//! latent weight has moved far, and Muon trains such weights in far fewer steps than AdamW
//! (docs/training.md, "Optimizer").

use crate::gemm::{rounded_gram, rounded_product, transposed};

const MOMENTUM: f32 = 0.95;
/// Newton-Schulz steps, and the coefficients of their odd polynomial `a x + b x^3 + c x^5` (Jordan
/// 2024). It does not converge to 1 but quickly brings every singular value between 0.7 and 1.2.
const STEPS: usize = 5;
const COEFFICIENTS: [f32; 3] = [3.4445, -4.7750, 2.0315];
/// Root mean square of an update at learning rate 1, about that of AdamW (Liu et al. 2025, arXiv
/// 2502.16982).
const UPDATE_RMS: f32 = 0.2;

/// Updates `momentum` by `gradient`, both `[rows, columns]`, and returns the step to subtract at
/// learning rate 1.
pub fn muon_step(gradient: &[f32], momentum: &mut [f32], rows: usize, columns: usize) -> Vec<f32> {
    let lerp = |from: f32, to: f32| from + MOMENTUM * (to - from);
    let ahead: Vec<f32> = momentum
        .iter_mut()
        .zip(gradient)
        .map(|(momentum, &gradient)| {
            *momentum = lerp(gradient, *momentum);
            // Nesterov momentum looks one step ahead.
            lerp(gradient, *momentum)
        })
        .collect();
    let scale = UPDATE_RMS * (rows.max(columns) as f32).sqrt();
    let mut step = orthogonalized(&ahead, rows, columns);
    step.iter_mut().for_each(|x| *x *= scale);
    step
}

/// Approximates `U V^T`, the orthogonal factor of the singular value decomposition of `matrix`.
fn orthogonalized(matrix: &[f32], rows: usize, columns: usize) -> Vec<f32> {
    if rows > columns {
        let wide = orthogonalized(&transposed(matrix, columns), columns, rows);
        return transposed(&wide, rows);
    }
    let norm = matrix.iter().map(|x| x * x).sum::<f32>().sqrt() + 1e-7;
    let mut x: Vec<f32> = matrix.iter().map(|x| x / norm).collect();
    let [a, b, c] = COEFFICIENTS;
    for _ in 0..STEPS {
        let gram = rounded_gram(&x, columns);
        let mut polynomial = rounded_product(&gram, &gram, rows);
        polynomial
            .iter_mut()
            .zip(&gram)
            .for_each(|(square, gram)| *square = b * gram + c * *square);
        let odd = rounded_product(&polynomial, &x, rows);
        x.iter_mut().zip(&odd).for_each(|(x, odd)| *x = a * *x + odd);
    }
    x
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    #[test]
    fn a_step_is_about_equally_long_in_every_direction() {
        for (rows, columns) in [(32, 96), (64, 32)] {
            let mut random = Random::new(1);
            // The rows differ much in length; the plain gradient would move the first ones only.
            let gradient: Vec<f32> = (0..rows * columns)
                .map(|i| random.normal() * 0.9f32.powi(i32::try_from(i / columns).unwrap()))
                .collect();
            let mut momentum = vec![0.0; gradient.len()];
            let step = muon_step(&gradient, &mut momentum, rows, columns);
            let small = rows.min(columns);
            let wide = if rows > columns { transposed(&step, columns) } else { step.clone() };
            let length = UPDATE_RMS * (rows.max(columns) as f32).sqrt();
            let gram = rounded_gram(&wide, wide.len() / small);
            for i in 0..small {
                let singular = gram[i * small + i].sqrt() / length;
                assert!((0.5..1.4).contains(&singular), "{rows} x {columns}: {singular}");
            }
            let dot: f32 = step.iter().zip(&gradient).map(|(s, g)| s * g).sum();
            assert!(dot > 0.0, "the step points along the gradient: {dot}");
        }
    }

    #[test]
    fn a_zero_gradient_gives_a_zero_step() {
        let mut momentum = vec![0.0; 32 * 32];
        let step = muon_step(&vec![0.0; 32 * 32], &mut momentum, 32, 32);
        assert!(step.iter().all(|x| *x == 0.0));
    }
}
