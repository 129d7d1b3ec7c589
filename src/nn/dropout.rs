//! Dropout (Srivastava et al. 2014): while a loss is computed, parts of what the blocks add are
//! left out, so that few photos are not learned by heart. Outside of [`with_dropout`] nothing is
//! ever left out, and a build that cannot train has `no_dropout.rs` in this module's place.

use std::cell::RefCell;

use candle_core::{Device, Result, Shape, Tensor};

use super::fused::{apply1, with_values, Backward, FusedOp};
use crate::random::Random;

thread_local! {
    /// The share that is left out and what decides which, while a loss is computed on this thread.
    static ACTIVE: RefCell<Option<(f32, Random)>> = const { RefCell::new(None) };
}

/// Runs `body` with a `share` (0 to 1) of every block's additions left out; which ones follows from
/// `seed`.
pub(crate) fn with_dropout<T>(share: f32, seed: u64, body: impl FnOnce() -> T) -> T {
    /// Ends the dropout even if `body` panics.
    struct Ended;
    impl Drop for Ended {
        fn drop(&mut self) {
            ACTIVE.set(None);
        }
    }
    ACTIVE.set((share > 0.0).then(|| (share, Random::new(seed))));
    let _ended = Ended;
    body()
}

/// Runs `body` with nothing left out, within [`with_dropout`].
pub(crate) fn without_dropout<T>(body: impl FnOnce() -> T) -> T {
    let active = ACTIVE.take();
    let result = body();
    ACTIVE.set(active);
    result
}

/// Sets a share of the numbers to 0 and scales the others, so that the expected sum stays.
pub(crate) fn dropout(rows: &Tensor) -> Result<Tensor> {
    let factors = ACTIVE.with_borrow_mut(|active| {
        let (share, random) = active.as_mut()?;
        Some(factors(*share, rows.elem_count(), random))
    });
    match factors {
        Some(factors) => apply1(rows, Multiply { factors }),
        None => Ok(rows.clone()),
    }
}

/// Sets a share of whole rows, `[rows, width]`, to 0: rows a photo is then seen without.
pub(crate) fn hide_rows(rows: &Tensor, share: f32) -> Result<Tensor> {
    let (count, width) = rows.dims2()?;
    let shown: Option<Vec<f32>> = ACTIVE.with_borrow_mut(|active| {
        let (_, random) = active.as_mut()?;
        Some((0..count).map(|_| f32::from(u8::from(random.uniform() >= share))).collect())
    });
    let Some(shown) = shown else { return Ok(rows.clone()) };
    let factors = shown.iter().flat_map(|&shown| std::iter::repeat_n(shown, width)).collect();
    apply1(rows, Multiply { factors })
}

/// 0 for a share of them in steps of 1/256, the same number above 1 for the others.
fn factors(share: f32, count: usize, random: &mut Random) -> Vec<f32> {
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a share of 256 below 256"
    )]
    let left_out = (share * 256.0).round().clamp(0.0, 255.0) as u8;
    let kept = 256.0 / (256.0 - f32::from(left_out));
    let mut factors = Vec::with_capacity(count + 7);
    while factors.len() < count {
        let bytes = random.next_u64().to_le_bytes();
        factors.extend(bytes.map(|byte| if byte < left_out { 0.0 } else { kept }));
    }
    factors.truncate(count);
    factors
}

/// Product with constants.
struct Multiply {
    factors: Vec<f32>,
}

impl Multiply {
    fn product(&self, values: &[f32]) -> Vec<f32> {
        values.iter().zip(&self.factors).map(|(value, factor)| value * factor).collect()
    }
}

impl FusedOp<1> for Multiply {
    const NAME: &'static str = "dropout";

    fn forward(&self, [rows]: [&[f32]; 1], [shape]: [&Shape; 1]) -> Result<(Vec<f32>, Shape)> {
        Ok((self.product(rows), shape.clone()))
    }
}

impl Backward<1> for Multiply {
    fn backward(&self, [rows]: [&Tensor; 1], gradient: &Tensor) -> Result<[Option<Tensor>; 1]> {
        let values = with_values(gradient, |gradient| self.product(gradient))?;
        Ok([Some(Tensor::from_vec(values, rows.shape(), &Device::Cpu)?)])
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on should panic")]
mod tests {
    use candle_core::Var;

    use super::*;

    fn ones() -> Tensor {
        Tensor::ones((100, 64), candle_core::DType::F32, &Device::Cpu).unwrap()
    }

    #[test]
    fn nothing_is_left_out_outside_of_a_loss() {
        for rows in [dropout(&ones()).unwrap(), hide_rows(&ones(), 0.5).unwrap()] {
            assert_eq!(rows.to_vec2::<f32>().unwrap(), ones().to_vec2::<f32>().unwrap());
        }
        with_dropout(0.5, 1, || ());
        assert_eq!(
            dropout(&ones()).unwrap().sum_all().unwrap().to_scalar::<f32>().unwrap(),
            6400.0
        );
    }

    #[test]
    fn nothing_is_left_out_for_a_while() {
        let sums = with_dropout(0.5, 1, || {
            let meanwhile = without_dropout(|| dropout(&ones()).unwrap());
            [meanwhile, dropout(&ones()).unwrap()].map(|rows| rows.sum_all().unwrap())
        });
        let sums = sums.map(|sum| sum.to_scalar::<f32>().unwrap());
        assert!(sums[0] == 6400.0 && sums[1] != 6400.0, "{sums:?}");
    }

    #[test]
    fn the_share_is_left_out_and_the_expectation_kept() {
        let values = with_dropout(0.25, 7, || dropout(&ones())).unwrap();
        let values = values.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        let zeros = values.iter().filter(|v| **v == 0.0).count();
        assert!((1450..1750).contains(&zeros), "{zeros} of 6400");
        assert!(values.iter().all(|v| *v == 0.0 || (v - 4.0 / 3.0).abs() < 1e-6));
        let again = with_dropout(0.25, 7, || dropout(&ones())).unwrap();
        assert_eq!(again.flatten_all().unwrap().to_vec1::<f32>().unwrap(), values);
    }

    #[test]
    fn hidden_rows_are_hidden_whole() {
        let rows = with_dropout(0.1, 3, || hide_rows(&ones(), 0.3)).unwrap();
        let rows = rows.to_vec2::<f32>().unwrap();
        let hidden = rows.iter().filter(|row| row.iter().all(|v| *v == 0.0)).count();
        assert!((15..45).contains(&hidden), "{hidden} of 100");
        assert!(rows.iter().all(|row| row.iter().all(|v| *v == row[0])));
    }

    #[test]
    fn what_was_left_out_gets_no_gradient() {
        let rows = Var::from_tensor(&ones()).unwrap();
        let out = with_dropout(0.5, 9, || dropout(rows.as_tensor())).unwrap();
        let gradients = out.sum_all().unwrap().backward().unwrap();
        let gradient = gradients.get(&rows).unwrap().to_vec2::<f32>().unwrap();
        assert_eq!(gradient, out.to_vec2::<f32>().unwrap());
    }
}
