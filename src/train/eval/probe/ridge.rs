//! Ridge regression with standardized inputs, by its normal equations (Hoerl and Kennard 1970).
//!
//! With inputs z of mean 0 and variance 1, targets t of mean 0 and n examples, the weights W
//! minimize `|t - z W|^2 / n + penalty |W|^2` and solve `(z^T z / n + penalty) W = z^T t / n`.

use nalgebra::{Cholesky, DMatrix, RowDVector};

/// Lower bound of the standard deviation of an input, which is a divisor.
const SMALLEST: f64 = 1e-6;

/// The normal equations of a set of examples, from which a fit with any penalty is computed.
#[derive(Debug)]
pub struct Ridge {
    standard: Standard,
    /// `z^T z / n`, `[inputs, inputs]`
    gram: DMatrix<f64>,
    /// `z^T t / n`, `[inputs, outputs]`
    cross: DMatrix<f64>,
    target_means: RowDVector<f64>,
}

/// The statistics that standardize inputs.
#[derive(Debug, Clone)]
struct Standard {
    means: RowDVector<f64>,
    deviations: RowDVector<f64>,
}

/// A fitted map from inputs to targets.
#[derive(Debug)]
pub struct LinearMap {
    standard: Standard,
    /// The weights of the standardized inputs, `[inputs, outputs]`.
    pub weights: DMatrix<f64>,
    /// The bias, `[outputs]`.
    pub bias: RowDVector<f64>,
}

impl Ridge {
    /// The equations of `inputs`, `[examples, inputs]`, and `targets`, `[examples, outputs]`.
    ///
    /// # Panics
    ///
    /// If there are no examples, or `inputs` and `targets` differ in their number.
    pub fn new(inputs: &DMatrix<f64>, targets: &DMatrix<f64>) -> Self {
        assert!(inputs.nrows() > 0, "nothing to fit");
        assert_eq!(inputs.nrows(), targets.nrows(), "inputs and targets differ in number");
        let deviations = inputs.row_variance().map(|variance| variance.sqrt().max(SMALLEST));
        let standard = Standard { means: inputs.row_mean(), deviations };
        let target_means = targets.row_mean();
        // The targets need not be centered: the inputs are, so the targets' means cancel.
        let z = standard.apply(inputs).transpose() / inputs.nrows() as f64;
        let gram = &z * z.transpose() * inputs.nrows() as f64;
        Self { gram, cross: z * targets, standard, target_means }
    }

    /// The mean of each target, `[outputs]`.
    pub fn target_means(&self) -> &RowDVector<f64> {
        &self.target_means
    }

    /// The map with the lowest penalized error.
    ///
    /// # Panics
    ///
    /// If `penalty` is not above 0.
    pub fn fit(&self, penalty: f64) -> LinearMap {
        assert!(penalty > 0.0, "expected a penalty above 0, found {penalty}");
        let mut matrix = self.gram.clone();
        (0..matrix.nrows()).for_each(|i| matrix[(i, i)] += penalty);
        let cholesky = Cholesky::new(matrix).expect("a Gram matrix and a penalty are definite");
        // For thousands of outputs the inverse takes fewer operations than solving for each.
        let weights = cholesky.inverse() * &self.cross;
        LinearMap { weights, bias: self.target_means.clone(), standard: self.standard.clone() }
    }
}

impl LinearMap {
    /// Predicts the targets of `inputs`, `[examples, inputs]`; returns `[examples, outputs]`.
    pub fn predict(&self, inputs: &DMatrix<f64>) -> DMatrix<f64> {
        let mut out = self.standard.apply(inputs) * &self.weights;
        out.row_iter_mut().for_each(|mut row| row += &self.bias);
        out
    }
}

impl Standard {
    fn apply(&self, inputs: &DMatrix<f64>) -> DMatrix<f64> {
        DMatrix::from_fn(inputs.nrows(), inputs.ncols(), |row, column| {
            (inputs[(row, column)] - self.means[column]) / self.deviations[column]
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    #[test]
    fn one_input_shrinks_by_one_plus_the_penalty() {
        // Deviation 2 and mean 5: z is -1 and 1, z t / n is 3.
        let inputs = DMatrix::from_row_slice(2, 1, &[3.0, 7.0]);
        let targets = DMatrix::from_row_slice(2, 1, &[1.0, 7.0]);
        let map = Ridge::new(&inputs, &targets).fit(0.5);
        assert!((map.weights[(0, 0)] - 3.0 / 1.5).abs() < 1e-12);
        let predicted = map.predict(&DMatrix::from_row_slice(1, 1, &[9.0]));
        assert!((predicted[(0, 0)] - (4.0 + 2.0 * 2.0)).abs() < 1e-12);
    }

    #[test]
    fn no_other_weights_have_a_lower_penalized_error() {
        let mut random = Random::new(1);
        let mut normal = |rows, columns| {
            DMatrix::from_fn(rows, columns, |_, column| {
                f64::from(random.normal()) * (1.0 + column as f64) + column as f64
            })
        };
        let (mut inputs, targets) = (normal(40, 5), normal(40, 3));
        // Two inputs are nearly equal, and one is constant.
        for row in 0..40 {
            inputs[(row, 1)] = inputs[(row, 0)] + 1e-3 * inputs[(row, 2)];
            inputs[(row, 4)] = 2.0;
        }
        for penalty in [0.01, 1.0] {
            let mut map = Ridge::new(&inputs, &targets).fit(penalty);
            let error = |map: &LinearMap| {
                let residual = map.predict(&inputs) - &targets;
                residual.norm_squared() / 40.0 + penalty * map.weights.norm_squared()
            };
            let least = error(&map);
            for place in 0..15 {
                for step in [-1e-3, 1e-3] {
                    map.weights[place] += step;
                    assert!(error(&map) > least, "{place}, {step}");
                    map.weights[place] -= step;
                }
            }
        }
    }
}
