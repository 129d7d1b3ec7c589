//! AdamW (Loshchilov and Hutter 2019) over named variables, with the gradients as plain numbers so that
//! the graphs of two cores can be summed.

use std::collections::BTreeMap;

use candle_core::backprop::GradStore;
use candle_core::{Tensor, Var};

/// Decay of the mean and of the uncentred variance of the gradient.
const BETAS: (f32, f32) = (0.9, 0.95);
/// Keeps the quotient finite.
const EPSILON: f32 = 1e-8;
/// Longest gradient, over all variables together, that a step follows in full.
const CLIP_NORM: f32 = 1.0;

/// Gradients by the variable's name, each as long as the variable.
pub type Gradients = BTreeMap<String, Vec<f32>>;

/// What the optimiser remembers of a variable.
#[derive(Debug, Clone, PartialEq)]
pub struct Moments {
    /// Steps the variable has taken: those it was frozen in, or had no gradient in, do not count.
    pub steps: u64,
    /// Decaying mean of the gradient.
    pub first: Vec<f32>,
    /// Decaying mean of the squared gradient.
    pub second: Vec<f32>,
}

/// The optimiser and the variables it trains.
pub struct AdamW {
    variables: BTreeMap<String, Var>,
    moments: BTreeMap<String, Moments>,
}

impl AdamW {
    /// An optimiser that has taken no step. Clones of a variable share its storage, so the model sees
    /// every step.
    pub fn new(variables: BTreeMap<String, Var>) -> Self {
        Self { variables, moments: BTreeMap::new() }
    }

    /// The moments of every variable that took a step.
    pub fn moments(&self) -> &BTreeMap<String, Moments> {
        &self.moments
    }

    /// Goes on from `moments`, whose lengths must be those of the variables.
    ///
    /// # Panics
    ///
    /// If they are not.
    pub fn set_moments(&mut self, moments: BTreeMap<String, Moments>) {
        for (name, moments) in &moments {
            let elements = self.variables[name].elem_count();
            assert_eq!((moments.first.len(), moments.second.len()), (elements, elements), "{name}");
        }
        self.moments = moments;
    }

    /// Moves every variable against its gradient and returns the gradients' norm before clipping.
    ///
    /// Variables whose name is `frozen` stay, and do not count in the norm. Only matrices decay. If the
    /// norm is not finite, nothing moves.
    ///
    /// # Panics
    ///
    /// If a gradient has no variable, or another length than it.
    pub fn step(
        &mut self,
        gradients: &Gradients,
        learning_rate: f32,
        weight_decay: f32,
        frozen: &dyn Fn(&str) -> bool,
    ) -> f32 {
        let norm = gradient_norm(gradients, &|name| !frozen(name));
        if !norm.is_finite() {
            return norm;
        }
        let clip = if norm > CLIP_NORM { CLIP_NORM / norm } else { 1.0 };
        for (name, gradient) in gradients.iter().filter(|(name, _)| !frozen(name)) {
            let variable =
                self.variables.get(name).unwrap_or_else(|| panic!("no variable {name} to move"));
            assert_eq!(gradient.len(), variable.elem_count(), "gradient of {name}");
            let moments = self.moments.entry(name.clone()).or_insert_with(|| Moments {
                steps: 0,
                first: vec![0.0; gradient.len()],
                second: vec![0.0; gradient.len()],
            });
            let is_matrix = variable.dims().len() == 2;
            let weight_decay = if is_matrix { weight_decay } else { 0.0 };
            let mut weights = values_of(variable);
            moments.update(&mut weights, gradient, clip, learning_rate, weight_decay);
            set_values(variable, weights);
        }
        norm
    }
}

impl Moments {
    fn update(
        &mut self,
        weights: &mut [f32],
        gradient: &[f32],
        clip: f32,
        learning_rate: f32,
        weight_decay: f32,
    ) {
        self.steps += 1;
        // In f64, where 1 - beta^steps keeps its digits; beyond i32::MAX steps both powers are zero.
        let steps = i32::try_from(self.steps).unwrap_or(i32::MAX);
        let unbias = |beta: f32| 1.0 - f64::from(beta).powi(steps);
        let rate = narrow(f64::from(learning_rate) / unbias(BETAS.0));
        let second_scale = narrow(unbias(BETAS.1).recip());
        let kept = 1.0 - learning_rate * weight_decay;
        let moments = self.first.iter_mut().zip(&mut self.second);
        for ((weight, gradient), (first, second)) in weights.iter_mut().zip(gradient).zip(moments) {
            let gradient = clip * gradient;
            *first = BETAS.0 * *first + (1.0 - BETAS.0) * gradient;
            *second = BETAS.1 * *second + (1.0 - BETAS.1) * gradient * gradient;
            let deviation = (*second * second_scale).sqrt() + EPSILON;
            *weight = kept * *weight - rate * *first / deviation;
        }
    }
}

#[allow(clippy::cast_possible_truncation, reason = "a factor near one loses only precision")]
fn narrow(value: f64) -> f32 {
    value as f32
}

/// The gradients of `variables` that a backward pass found.
pub fn collect_gradients(variables: &BTreeMap<String, Var>, found: &GradStore) -> Gradients {
    let found = variables.iter().filter_map(|(name, variable)| {
        let gradient = found.get(variable.as_tensor())?;
        Some((name.clone(), values_of(gradient)))
    });
    found.collect()
}

/// Adds `gradients` to `sum`.
pub fn sum_gradients(sum: &mut Gradients, gradients: Gradients) {
    for (name, gradient) in gradients {
        match sum.get_mut(&name) {
            None => _ = sum.insert(name, gradient),
            Some(sum) => {
                assert_eq!(sum.len(), gradient.len(), "gradients of {name}");
                sum.iter_mut().zip(gradient).for_each(|(sum, value)| *sum += value);
            }
        }
    }
}

/// The Euclidean norm of the gradients whose names are `counted`, all together.
pub fn gradient_norm(gradients: &Gradients, counted: &dyn Fn(&str) -> bool) -> f32 {
    let counted = gradients.iter().filter(|(name, _)| counted(name));
    // Each tensor's sum is in f32 lanes, where the compiler has whole vector registers to use.
    let squares = counted.map(|(_, gradient)| f64::from(sum_of_squares(gradient)));
    narrow(squares.sum::<f64>().sqrt())
}

fn sum_of_squares(values: &[f32]) -> f32 {
    const LANES: usize = 16;
    let mut sums = [0.0; LANES];
    for chunk in values.chunks(LANES) {
        for (sum, value) in sums.iter_mut().zip(chunk) {
            *sum += value * value;
        }
    }
    sums.iter().sum()
}

/// The elements of an f32 tensor, row by row.
pub(super) fn values_of(tensor: &Tensor) -> Vec<f32> {
    let flat = tensor.flatten_all().and_then(|flat| flat.to_vec1());
    flat.expect("variables and gradients are f32 on the processor")
}

/// Overwrites a variable with as many elements as it has.
pub(super) fn set_values(variable: &Var, values: Vec<f32>) {
    let tensor = Tensor::from_vec(values, variable.shape(), variable.device());
    let set = tensor.and_then(|tensor| variable.set(&tensor));
    set.expect("a variable takes as many values as it holds");
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;

    fn variable(values: &[f32], shape: &[usize]) -> Var {
        Var::from_vec(values.to_vec(), shape, &Device::Cpu).unwrap()
    }

    fn named<T>(name: &str, value: T) -> BTreeMap<String, T> {
        BTreeMap::from([(name.to_owned(), value)])
    }

    fn assert_close(variable: &Var, expected: &[f32]) {
        let found = values_of(variable);
        let close = found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-6);
        assert!(close && found.len() == expected.len(), "{found:?} is not {expected:?}");
    }

    #[test]
    fn two_steps_are_those_computed_by_hand() {
        let matrix = variable(&[1.0, -2.0], &[1, 2]);
        let mut optimizer = AdamW::new(named("w", matrix.clone()));
        // Bias correction makes the first step the gradient's sign: w - 0.1 (sign + 0.1 w).
        let norm = optimizer.step(&named("w", vec![0.3, -0.4]), 0.1, 0.1, &|_| false);
        assert!((norm - 0.5).abs() < 1e-6);
        assert_close(&matrix, &[0.89, -1.88]);
        // First: mean 0.3, deviation 0.3. Second: mean 0.004 / 0.19, deviation 0.4.
        optimizer.step(&named("w", vec![0.3, 0.4]), 0.1, 0.1, &|_| false);
        assert_close(&matrix, &[0.7811, -1.866_463_2]);
    }

    #[test]
    fn vectors_do_not_decay() {
        let vector = variable(&[1.0], &[1]);
        let mut optimizer = AdamW::new(named("v", vector.clone()));
        optimizer.step(&named("v", vec![0.3]), 0.1, 0.1, &|_| false);
        assert_close(&vector, &[0.9]);
    }

    #[test]
    fn long_gradient_is_clipped_to_norm_one() {
        let mut optimizer = AdamW::new(named("w", variable(&[0.0, 0.0], &[2])));
        let norm = optimizer.step(&named("w", vec![3.0, 4.0]), 0.1, 0.0, &|_| false);
        assert!((norm - 5.0).abs() < 1e-6);
        let first = &optimizer.moments()["w"].first;
        assert!((first[0] - 0.06).abs() < 1e-6 && (first[1] - 0.08).abs() < 1e-6, "{first:?}");
    }

    #[test]
    fn frozen_variable_and_its_moments_stay() {
        let matrix = variable(&[1.0], &[1, 1]);
        let mut optimizer = AdamW::new(named("w", matrix.clone()));
        let norm = optimizer.step(&named("w", vec![3.0]), 0.1, 0.1, &|name| name == "w");
        assert_eq!((norm, values_of(&matrix)), (0.0, vec![1.0]));
        assert!(optimizer.moments().is_empty());
    }

    #[test]
    fn gradient_that_is_not_finite_moves_nothing() {
        let matrix = variable(&[1.0], &[1, 1]);
        let mut optimizer = AdamW::new(named("w", matrix.clone()));
        assert!(optimizer.step(&named("w", vec![f32::NAN]), 0.1, 0.1, &|_| false).is_nan());
        assert_eq!(values_of(&matrix), [1.0]);
    }

    #[test]
    fn gradients_of_two_graphs_add_up() {
        let matrix = variable(&[1.0, 2.0], &[1, 2]);
        let variables = named("w", matrix.clone());
        let graph = || matrix.sqr().unwrap().sum_all().unwrap().backward().unwrap();
        let mut sum = Gradients::new();
        sum_gradients(&mut sum, collect_gradients(&variables, &graph()));
        sum_gradients(&mut sum, collect_gradients(&variables, &graph()));
        assert_eq!(sum["w"], [4.0, 8.0]);
        assert!((gradient_norm(&sum, &|_| true) - 80f32.sqrt()).abs() < 1e-5);
    }
}
