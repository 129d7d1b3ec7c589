//! Checkpoints: writes a run to a file, continues it, and starts another run from its weights.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use anyhow::{Context, Result};
use candle_core::{Device, Tensor};

use super::run::{Run, RunOptions, State};
use crate::train::files;
use crate::train::optim::optimizer::Optimizer;
use crate::weights::Variables;

impl Run {
    /// Writes the checkpoint: everything from which [`resume`](Self::resume) continues.
    ///
    /// # Errors
    ///
    /// If the file cannot be written.
    pub fn save(&self, file: &Path) -> Result<()> {
        let mut tensors: HashMap<String, Tensor> = HashMap::new();
        for (name, var) in &self.variables {
            tensors.insert(format!("latent.{name}"), var.as_tensor().clone());
        }
        for (name, (first, second)) in &self.optimizer.moments {
            for (moment, values) in [("first", first), ("second", second)] {
                let tensor = Tensor::from_slice(values, values.len(), &Device::Cpu)?;
                tensors.insert(format!("{moment}.{name}"), tensor);
            }
        }
        let mut state = self.state.clone();
        state.updates = self.optimizer.step;
        let json = serde_json::to_vec(&state)?;
        let len = json.len();
        tensors.insert("state".into(), Tensor::from_vec(json, len, &Device::Cpu)?);
        files::write(file, &safetensors::serialize(tensors, None)?)
    }

    /// Continues from a checkpoint: the next step is the one that the saved run would have taken.
    /// The options are those of the checkpoint.
    ///
    /// # Errors
    ///
    /// If the file is no checkpoint of these variables.
    pub fn resume(variables: Variables, file: &Path) -> Result<Self> {
        let mut tensors = load(file)?;
        let mut take = |name: String| {
            let missing = || format!("{name} is not in {}", file.display());
            tensors.remove(&name).with_context(missing)
        };
        let state: State = serde_json::from_slice(&take("state".into())?.to_vec1::<u8>()?)?;
        let mut optimizer = Optimizer { step: state.updates, ..Optimizer::default() };
        for (name, var) in &variables {
            var.set(&take(format!("latent.{name}"))?)?;
            // Variables that had no gradient yet have no moments.
            if let (Ok(first), Ok(second)) =
                (take(format!("first.{name}")), take(format!("second.{name}")))
            {
                let moments = (first.to_vec1::<f32>()?, second.to_vec1::<f32>()?);
                optimizer.moments.insert(name.clone(), moments);
            }
        }
        Ok(Self { variables, optimizer, state })
    }
}

/// The options of the run that wrote a checkpoint.
///
/// # Errors
///
/// If the file is no checkpoint.
pub fn checkpoint_options(file: &Path) -> Result<RunOptions> {
    let state = load(file)?.remove("state");
    let state = state.with_context(|| format!("state is not in {}", file.display()))?;
    let state: State = serde_json::from_slice(&state.to_vec1::<u8>()?)?;
    Ok(state.options)
}

/// The variables of a checkpoint by name.
///
/// # Errors
///
/// If the file cannot be read.
pub fn checkpoint_latents(file: &Path) -> Result<BTreeMap<String, Vec<f32>>> {
    let mut latents = BTreeMap::new();
    for (name, tensor) in load(file)? {
        if let Some(name) = name.strip_prefix("latent.") {
            latents.insert(name.to_owned(), tensor.flatten_all()?.to_vec1::<f32>()?);
        }
    }
    Ok(latents)
}

/// Loads the tensors of a checkpoint.
fn load(file: &Path) -> Result<HashMap<String, Tensor>> {
    candle_core::safetensors::load(file, &Device::Cpu)
        .with_context(|| format!("cannot read the checkpoint {}", file.display()))
}

/// Sets each variable for which `latents` has values of the same name and number. Returns how many
/// were set.
///
/// # Errors
///
/// If a variable cannot be set.
pub fn warm_start(variables: &Variables, latents: &BTreeMap<String, Vec<f32>>) -> Result<usize> {
    let mut set = 0;
    for (name, var) in variables {
        if let Some(values) = latents.get(name).filter(|v| v.len() == var.elem_count()) {
            var.set(&Tensor::from_slice(values, var.shape(), &Device::Cpu)?)?;
            set += 1;
        }
    }
    Ok(set)
}
