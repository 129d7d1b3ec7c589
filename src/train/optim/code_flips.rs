//! How often ternary codes change while the latent weights are trained (BitMar, arXiv 2510.10560,
//! figure 3).

use std::collections::BTreeMap;

use candle_core::Result;

use crate::kernels::ternarize;
use crate::nn::fused::with_values;
use crate::weights::{VariableKind, Variables};

/// Compares the codes of all ternary matrices with those of the previous observation.
#[derive(Default)]
pub(crate) struct CodeTracker {
    codes: BTreeMap<String, Vec<i8>>,
}

/// The codes' statistics since the previous observation.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct CodeChange {
    /// Share of codes that are 0.
    pub(crate) zeros: f32,
    /// Share of codes that have changed; `None` at the first observation.
    pub(crate) flips: Option<f32>,
}

impl CodeTracker {
    /// Observes the ternary matrices among `variables`; `None` if there are none.
    pub(crate) fn observe(&mut self, variables: &Variables) -> Result<Option<CodeChange>> {
        let (mut total, mut zeros, mut flips, mut known) = (0usize, 0usize, 0usize, true);
        for (name, var) in variables.iter().filter(|(_, v)| v.kind == VariableKind::BitLinear) {
            let mut codes = vec![0; var.elem_count()];
            with_values(var, |latent| ternarize(latent, &mut codes))?;
            total += codes.len();
            zeros += codes.iter().filter(|&&code| code == 0).count();
            let before = self.codes.insert(name.clone(), codes);
            let now = &self.codes[name];
            known &= before.is_some();
            flips +=
                before.map_or(0, |before| now.iter().zip(&before).filter(|(a, b)| a != b).count());
        }
        let share = |count: usize| count as f32 / total as f32;
        let change = || CodeChange { zeros: share(zeros), flips: known.then(|| share(flips)) };
        Ok((total > 0).then(change))
    }
}

#[cfg(test)]
mod tests {
    use candle_core::{Device, Tensor, Var};

    use super::*;
    use crate::weights::Variable;

    #[test]
    fn zeros_and_changed_codes_are_counted() -> Result<()> {
        // The mean of the absolute values is 1, so values below a half become 0.
        let variable = |values: [f32; 4]| Var::from_tensor(&Tensor::new(&[values], &Device::Cpu)?);
        let matrix = variable([1.8, -1.8, 0.2, 0.2])?;
        let norm = variable([9.0, 9.0, 9.0, 9.0])?;
        let variable = |var: &Var, kind| Variable { var: var.clone(), kind };
        let variables = Variables::from([
            ("q_proj.weight".to_owned(), variable(&matrix, VariableKind::BitLinear)),
            ("norm".to_owned(), variable(&norm, VariableKind::Float)),
        ]);
        let mut tracker = CodeTracker::default();
        assert_eq!(tracker.observe(&variables)?, Some(CodeChange { zeros: 0.5, flips: None }));
        matrix.set(&Tensor::new(&[[1.8f32, 1.8, 0.2, 0.2]], &Device::Cpu)?)?;
        let change = tracker.observe(&variables)?;
        assert_eq!(change, Some(CodeChange { zeros: 0.5, flips: Some(0.25) }));
        assert_eq!(CodeTracker::default().observe(&BTreeMap::new())?, None);
        Ok(())
    }
}
