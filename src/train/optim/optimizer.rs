//! The optimizer: Muon for the matrices of BitLinear layers, AdamW (Loshchilov and Hutter 2019) for
//! all other variables.

use std::collections::BTreeMap;

use candle_core::{Device, Result, Tensor};

use crate::train::optim::muon::muon_step;
use crate::train::parallel;
use crate::weights::{Variable, VariableKind, Variables};

const BETA1: f32 = 0.9;
const BETA2: f32 = 0.95;
const EPSILON: f32 = 1e-8;
/// Gradients with a larger global norm are scaled down to this one.
const CLIP: f32 = 1.0;
/// Learning rates of Muon's matrices and of the token table, relative to that of the other
/// variables. A row of the table gets a useful gradient only in steps in which its token occurs.
const MATRIX_RATE: f32 = 3.0;
const TABLE_RATE: f32 = 4.0;

/// First and second moments of a variable; the second is empty for Muon.
pub type Moments = (Vec<f32>, Vec<f32>);

/// The state of the optimizer.
#[derive(Debug, Default)]
pub struct Optimizer {
    /// Moments by variable name.
    pub moments: BTreeMap<String, Moments>,
    /// Number of updates so far.
    pub step: i32,
}

/// The update of one variable.
struct Update<'a> {
    name: &'a str,
    variable: &'a Variable,
    gradient: &'a [f32],
    moments: Moments,
}

/// The hyperparameters of one step, which all variables share.
#[derive(Clone, Copy)]
struct Rates {
    learning_rate: f32,
    weight_decay: f32,
    clip: f32,
    step: i32,
}

impl Optimizer {
    /// Updates every variable that has a gradient and that `is_frozen` does not exempt, on all
    /// cores. Weight decay is decoupled and applies to matrices only. Returns the global
    /// norm of the gradients before clipping.
    pub fn update(
        &mut self,
        variables: &Variables,
        gradients: &BTreeMap<String, Vec<f32>>,
        learning_rate: f32,
        weight_decay: f32,
        is_frozen: impl Fn(&str, VariableKind) -> bool,
    ) -> Result<f32> {
        let norm = global_norm(gradients.values());
        self.step += 1;
        let clip = if norm > CLIP { CLIP / norm } else { 1.0 };
        let rates = Rates { learning_rate, weight_decay, clip, step: self.step };
        let mut updates: Vec<Update<'_>> = gradients
            .iter()
            .filter_map(|(name, gradient)| Some((name, gradient, variables.get(name)?)))
            .filter(|(name, _, variable)| !is_frozen(name, variable.kind))
            .map(|(name, gradient, variable)| {
                let moments = self.moments.remove(name).unwrap_or_default();
                Update { name, variable, gradient, moments }
            })
            .collect();
        // The largest come first, so that the cores finish at about the same time.
        updates.sort_by_key(|update| std::cmp::Reverse(update.gradient.len()));
        let done: Result<Vec<Update<'_>>> =
            parallel::map(updates, |mut update| update.apply(rates).map(|()| update));
        for update in done? {
            self.moments.insert(update.name.to_owned(), update.moments);
        }
        Ok(norm)
    }
}

impl Update<'_> {
    fn apply(&mut self, rates: Rates) -> Result<()> {
        let mut values = self.variable.flatten_all()?.to_vec1::<f32>()?;
        let gradient: Vec<f32> = self.gradient.iter().map(|g| g * rates.clip).collect();
        match (self.variable.kind, self.variable.dims()) {
            (VariableKind::BitLinear, &[rows, columns]) => {
                let rate = MATRIX_RATE * rates.learning_rate;
                let momentum = &mut self.moments.0;
                momentum.resize(values.len(), 0.0);
                let step = muon_step(&gradient, momentum, rows, columns);
                for (value, step) in values.iter_mut().zip(step) {
                    *value -= rate * (step + rates.weight_decay * *value);
                }
            }
            (kind, dims) => {
                let weight_decay = if dims.len() == 2 { rates.weight_decay } else { 0.0 };
                let factor = if kind == VariableKind::Embedding { TABLE_RATE } else { 1.0 };
                let learning_rate = factor * rates.learning_rate;
                let rates = Rates { learning_rate, weight_decay, ..rates };
                adamw_step(&mut values, &gradient, &mut self.moments, rates);
            }
        }
        self.variable.set(&Tensor::from_vec(values, self.variable.shape(), &Device::Cpu)?)
    }
}

fn adamw_step(
    values: &mut [f32],
    gradient: &[f32],
    (first, second): &mut Moments,
    Rates { learning_rate, weight_decay, step, .. }: Rates,
) {
    first.resize(values.len(), 0.0);
    second.resize(values.len(), 0.0);
    let (correction1, correction2) = (1.0 - BETA1.powi(step), 1.0 - BETA2.powi(step));
    let moments = first.iter_mut().zip(second.iter_mut());
    for ((value, gradient), (m, v)) in values.iter_mut().zip(gradient).zip(moments) {
        *m += (1.0 - BETA1) * (gradient - *m);
        *v += (1.0 - BETA2) * (gradient * gradient - *v);
        let update = (*m / correction1) / ((*v / correction2).sqrt() + EPSILON);
        *value -= learning_rate * (update + weight_decay * *value);
    }
}

/// Euclidean norm of the concatenation of all gradients.
pub fn global_norm<'a>(gradients: impl Iterator<Item = &'a Vec<f32>>) -> f32 {
    let squares = gradients.map(|g| g.iter().map(|x| f64::from(*x) * f64::from(*x)).sum::<f64>());
    let norm = squares.sum::<f64>().sqrt();
    #[allow(clippy::cast_possible_truncation, reason = "f32 is the precision of everything here")]
    {
        norm as f32
    }
}

#[cfg(test)]
mod tests {
    use candle_core::Var;

    use super::*;

    fn variables(name: &str, var: Var) -> Variables {
        Variables::from([(name.to_owned(), Variable { var, kind: VariableKind::Float })])
    }

    #[test]
    fn the_first_step_moves_by_the_learning_rate_against_the_gradient() {
        let var = Var::from_vec(vec![1.0f32, -1.0], 2, &Device::Cpu).expect("two numbers");
        let variables = variables("x", var);
        let gradients = BTreeMap::from([("x".to_owned(), vec![0.3f32, -0.4])]);
        let mut optimizer = Optimizer::default();
        let norm =
            optimizer.update(&variables, &gradients, 0.01, 0.1, |_, _| false).expect("same shapes");
        assert!((norm - 0.5).abs() < 1e-6);
        let values = variables["x"].to_vec1::<f32>().expect("a vector");
        assert!((values[0] - 0.99).abs() < 1e-5 && (values[1] + 0.99).abs() < 1e-5, "{values:?}");
    }

    #[test]
    fn a_frozen_variable_keeps_its_value() {
        let var = Var::from_vec(vec![1.0f32], 1, &Device::Cpu).expect("one number");
        let variables = variables("vision.x", var);
        let gradients = BTreeMap::from([("vision.x".to_owned(), vec![1.0f32])]);
        let mut optimizer = Optimizer::default();
        optimizer
            .update(&variables, &gradients, 0.1, 0.0, |name, _| name.starts_with("vision."))
            .expect("same shapes");
        assert_eq!(variables["vision.x"].to_vec1::<f32>().expect("a vector"), [1.0]);
    }
}
