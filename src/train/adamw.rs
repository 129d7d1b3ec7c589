//! AdamW (Loshchilov and Hutter 2019) over named variables, one pass over each.

use std::collections::BTreeMap;

use candle_core::{Device, Result, Tensor, Var};

const BETA1: f32 = 0.9;
const BETA2: f32 = 0.95;
const EPSILON: f32 = 1e-8;
/// Gradients are scaled down to this global norm.
const CLIP: f32 = 1.0;

/// Moments of every variable, and the steps they have seen.
#[derive(Debug, Default)]
pub struct AdamW {
    /// First and second moment by variable name.
    pub moments: BTreeMap<String, (Vec<f32>, Vec<f32>)>,
    /// Updates so far.
    pub step: i32,
}

impl AdamW {
    /// Updates every variable that has a gradient and whose name `is_frozen` denies. Weight decay is
    /// decoupled and touches matrices only. Returns the gradients' norm before clipping.
    pub fn update(
        &mut self,
        variables: &BTreeMap<String, Var>,
        gradients: &BTreeMap<String, Vec<f32>>,
        learning_rate: f32,
        weight_decay: f32,
        is_frozen: impl Fn(&str) -> bool,
    ) -> Result<f32> {
        let norm = global_norm(gradients.values());
        let clip = if norm > CLIP { CLIP / norm } else { 1.0 };
        self.step += 1;
        let correction1 = 1.0 - BETA1.powi(self.step);
        let correction2 = 1.0 - BETA2.powi(self.step);
        for (name, gradient) in gradients.iter().filter(|(name, _)| !is_frozen(name)) {
            let Some(variable) = variables.get(name) else { continue };
            let decay = if variable.rank() == 2 { weight_decay * learning_rate } else { 0.0 };
            let zeros = || (vec![0.0; gradient.len()], vec![0.0; gradient.len()]);
            let (first, second) = self.moments.entry(name.clone()).or_insert_with(zeros);
            let mut values = variable.flatten_all()?.to_vec1::<f32>()?;
            let moments = first.iter_mut().zip(second.iter_mut());
            for ((value, gradient), (m, v)) in values.iter_mut().zip(gradient).zip(moments) {
                let gradient = gradient * clip;
                *m += (1.0 - BETA1) * (gradient - *m);
                *v += (1.0 - BETA2) * (gradient * gradient - *v);
                let update = (*m / correction1) / ((*v / correction2).sqrt() + EPSILON);
                *value -= learning_rate * update + decay * *value;
            }
            variable.set(&Tensor::from_vec(values, variable.shape(), &Device::Cpu)?)?;
        }
        Ok(norm)
    }
}

/// Euclidean norm of all gradients together.
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
    use super::*;

    #[test]
    fn the_first_step_moves_by_the_learning_rate_against_the_gradient() {
        let var = Var::from_vec(vec![1.0f32, -1.0], 2, &Device::Cpu).expect("two numbers");
        let variables = BTreeMap::from([("x".to_owned(), var)]);
        let gradients = BTreeMap::from([("x".to_owned(), vec![0.3f32, -0.4])]);
        let mut adamw = AdamW::default();
        let norm = adamw.update(&variables, &gradients, 0.01, 0.1, |_| false).expect("same shapes");
        assert!((norm - 0.5).abs() < 1e-6);
        let values = variables["x"].to_vec1::<f32>().expect("a vector");
        assert!((values[0] - 0.99).abs() < 1e-5 && (values[1] + 0.99).abs() < 1e-5, "{values:?}");
    }

    #[test]
    fn a_frozen_variable_stays() {
        let var = Var::from_vec(vec![1.0f32], 1, &Device::Cpu).expect("one number");
        let variables = BTreeMap::from([("vision.x".to_owned(), var)]);
        let gradients = BTreeMap::from([("vision.x".to_owned(), vec![1.0f32])]);
        let mut adamw = AdamW::default();
        adamw
            .update(&variables, &gradients, 0.1, 0.0, |n| n.starts_with("vision."))
            .expect("same shapes");
        assert_eq!(variables["vision.x"].to_vec1::<f32>().expect("a vector"), [1.0]);
    }
}
