//! The training state file: everything a run needs to go on exactly as if it had not been stopped.
//!
//! A safetensors file. `latent.NAME` is a variable, `first.NAME` and `second.NAME` are its moments, all
//! f32; the metadata entry `state` is [`TrainingState`] as JSON, `steps` the optimiser's step counts.
//! The file before it is kept beside it with `.previous` at the end of its name.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use candle_core::Var;
use safetensors::{Dtype, SafeTensorError, SafeTensors, View};
use serde::{Deserialize, Serialize};

use super::balance::ModalityBalance;
use super::optimizer::{set_values, values_of, AdamW, Moments};
use crate::random::Random;

/// Why a training state could not be written or read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StateError {
    /// The file is missing or cannot be read or written.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// The file is not safetensors, or could not be written as such.
    #[error("training state: {0}")]
    Container(#[from] SafeTensorError),
    /// A metadata entry is absent.
    #[error("training state has no metadata entry {name}")]
    MissingMetadata {
        /// Its name.
        name: &'static str,
    },
    /// A metadata entry is not the JSON it should be.
    #[error("training state: {0}")]
    Metadata(#[from] serde_json::Error),
    /// A variable of the model, or a moment of a variable that took steps, is absent.
    #[error("training state has no tensor {name}")]
    MissingTensor {
        /// Its name.
        name: String,
    },
    /// The file is that of another model.
    #[error("training state holds {name}, which the model does not have")]
    UnknownTensor {
        /// Its name.
        name: String,
    },
    /// A tensor is not f32 or has another shape than the model's variable.
    #[error("training state holds {name} as {dtype:?} {found:?}, expected F32 {expected:?}")]
    WrongTensor {
        /// Its name.
        name: String,
        /// Its element type.
        dtype: Dtype,
        /// Its shape.
        found: Vec<usize>,
        /// The variable's shape.
        expected: Vec<usize>,
    },
}

/// Where in the data a run is. The order within an epoch follows from the run's seed and the epoch.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataPosition {
    /// Passes over the data that are complete.
    pub epoch: u64,
    /// Items of this pass that were taken.
    pub item: usize,
}

/// A run between two steps, but for the variables and the optimiser.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainingState {
    /// Steps taken.
    pub step: u64,
    /// Draws everything random from here on.
    pub random: Random,
    /// The next item of data.
    pub position: DataPosition,
    /// The controller.
    pub balance: ModalityBalance,
    /// Moving averages of the losses, by name.
    pub averages: BTreeMap<String, f32>,
    /// The model's configuration.
    pub config: serde_json::Value,
    /// What else a stage has to remember.
    pub extra: serde_json::Value,
}

impl TrainingState {
    /// A run that has not begun.
    pub fn new(random: Random, config: serde_json::Value) -> Self {
        Self {
            step: 0,
            random,
            position: DataPosition::default(),
            balance: ModalityBalance::new(),
            averages: BTreeMap::new(),
            config,
            extra: serde_json::Value::Null,
        }
    }

    /// Writes the state beside `path` and renames it to `path`; what was there becomes the previous one.
    pub fn save(
        &self,
        path: &Path,
        variables: &BTreeMap<String, Var>,
        optimizer: &AdamW,
    ) -> Result<(), StateError> {
        let steps: BTreeMap<&String, u64> =
            optimizer.moments().iter().map(|(name, moments)| (name, moments.steps)).collect();
        let metadata = HashMap::from([
            ("state".to_owned(), serde_json::to_string(self)?),
            ("steps".to_owned(), serde_json::to_string(&steps)?),
        ]);
        let part = with_suffix(path, ".part");
        let tensors = tensors_of(variables, optimizer);
        safetensors::serialize_to_file(tensors, Some(metadata), &part)?;
        File::open(&part).and_then(|file| file.sync_all()).map_err(at(&part))?;
        if path.exists() {
            fs::rename(path, previous(path)).map_err(at(path))?;
        }
        fs::rename(&part, path).map_err(at(path))
    }

    /// Reads `path`, or the previous state if a stop between two renames left only that, and sets the
    /// variables and the optimiser. They are unchanged if it errs.
    pub fn load(
        path: &Path,
        variables: &BTreeMap<String, Var>,
        optimizer: &mut AdamW,
    ) -> Result<Self, StateError> {
        let path = if path.exists() { path.to_owned() } else { previous(path) };
        let bytes = fs::read(&path).map_err(at(&path))?;
        let (_, header) = SafeTensors::read_metadata(&bytes)?;
        let metadata = |name| {
            let entries = header.metadata().as_ref();
            let entry = entries.and_then(|entries| entries.get(name));
            entry.ok_or(StateError::MissingMetadata { name })
        };
        let state = serde_json::from_str(metadata("state")?)?;
        let steps: BTreeMap<String, u64> = serde_json::from_str(metadata("steps")?)?;
        let mut source = Source::new(SafeTensors::deserialize(&bytes)?);
        let latents = source.latents(variables)?;
        let moments = source.moments(variables, steps)?;
        source.expect_empty()?;
        for (name, values) in latents {
            set_values(&variables[&name], values);
        }
        optimizer.set_moments(moments);
        Ok(state)
    }
}

/// Where the state before the one at `path` is kept.
pub fn previous(path: &Path) -> PathBuf {
    with_suffix(path, ".previous")
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    name.into()
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> StateError + '_ {
    move |source| StateError::File { path: path.to_owned(), source }
}

/// An f32 tensor on its way into a file.
struct Floats<'a> {
    shape: Vec<usize>,
    values: Cow<'a, [f32]>,
}

impl View for Floats<'_> {
    fn dtype(&self) -> Dtype {
        Dtype::F32
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        self.values.iter().flat_map(|value| value.to_le_bytes()).collect()
    }

    fn data_len(&self) -> usize {
        4 * self.values.len()
    }
}

fn tensors_of<'a>(
    variables: &BTreeMap<String, Var>,
    optimizer: &'a AdamW,
) -> BTreeMap<String, Floats<'a>> {
    let mut tensors = BTreeMap::new();
    for (name, variable) in variables {
        let mut put = |part: &str, values| {
            let shape = variable.dims().to_vec();
            tensors.insert(format!("{part}.{name}"), Floats { shape, values });
        };
        put("latent", values_of(variable).into());
        if let Some(moments) = optimizer.moments().get(name) {
            put("first", (&moments.first).into());
            put("second", (&moments.second).into());
        }
    }
    tensors
}

/// The tensors of a file that nobody took yet.
struct Source<'a> {
    tensors: BTreeMap<String, safetensors::tensor::TensorView<'a>>,
}

impl<'a> Source<'a> {
    fn new(tensors: SafeTensors<'a>) -> Self {
        Self { tensors: tensors.tensors().into_iter().collect() }
    }

    fn latents(
        &mut self,
        variables: &BTreeMap<String, Var>,
    ) -> Result<BTreeMap<String, Vec<f32>>, StateError> {
        let take =
            |(name, var): (&String, &Var)| Ok((name.clone(), self.take("latent", name, var)?));
        variables.iter().map(take).collect()
    }

    fn moments(
        &mut self,
        variables: &BTreeMap<String, Var>,
        steps: BTreeMap<String, u64>,
    ) -> Result<BTreeMap<String, Moments>, StateError> {
        let take = |(name, steps): (String, u64)| {
            let variable = variables
                .get(&name)
                .ok_or_else(|| StateError::UnknownTensor { name: name.clone() })?;
            let first = self.take("first", &name, variable)?;
            let second = self.take("second", &name, variable)?;
            Ok((name, Moments { steps, first, second }))
        };
        steps.into_iter().map(take).collect()
    }

    fn take(&mut self, part: &str, name: &str, variable: &Var) -> Result<Vec<f32>, StateError> {
        let name = format!("{part}.{name}");
        let Some(tensor) = self.tensors.remove(&name) else {
            return Err(StateError::MissingTensor { name });
        };
        let (dtype, found, expected) = (tensor.dtype(), tensor.shape(), variable.dims());
        if dtype != Dtype::F32 || found != expected {
            let (found, expected) = (found.to_vec(), expected.to_vec());
            return Err(StateError::WrongTensor { name, dtype, found, expected });
        }
        let words = tensor.data().chunks_exact(4);
        let word = |word: &[u8]| f32::from_le_bytes(word.try_into().expect("chunks of four bytes"));
        Ok(words.map(word).collect())
    }

    fn expect_empty(&self) -> Result<(), StateError> {
        match self.tensors.keys().next() {
            None => Ok(()),
            Some(name) => Err(StateError::UnknownTensor { name: name.clone() }),
        }
    }
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::super::optimizer::Gradients;
    use super::*;

    /// A folder of this test's own, removed when it ends.
    struct Folder(PathBuf);

    impl Folder {
        fn new(test: &str) -> Self {
            let name = format!("bitmar-state-{test}-{}", std::process::id());
            let path = std::env::temp_dir().join(name);
            fs::create_dir_all(&path).unwrap();
            Self(path)
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            _ = fs::remove_dir_all(&self.0);
        }
    }

    fn variables(seed: u64) -> BTreeMap<String, Var> {
        let mut random = Random::new(seed);
        let shapes: [(&str, &[usize]); 3] = [("a.weight", &[3, 4]), ("b", &[5]), ("unused", &[1])];
        let made = shapes.map(|(name, shape)| {
            let values = (0..shape.iter().product()).map(|_| random.normal()).collect::<Vec<f32>>();
            (name.to_owned(), Var::from_vec(values, shape, &Device::Cpu).unwrap())
        });
        made.into()
    }

    fn train(state: &mut TrainingState, optimizer: &mut AdamW, steps: u64) {
        for _ in 0..steps {
            let mut normal = |len| (0..len).map(|_| state.random.normal()).collect::<Vec<f32>>();
            let gradients =
                Gradients::from([("a.weight".into(), normal(12)), ("b".into(), normal(5))]);
            let norm = optimizer.step(&gradients, 0.01, 0.1, &|_| false);
            state.step += 1;
            state.position.item += 7;
            state.averages.insert("caption".into(), norm);
            state.balance.observe(state.step, norm / 10.0, norm, norm / 3.0);
        }
    }

    fn all_values(variables: &BTreeMap<String, Var>) -> Vec<Vec<f32>> {
        variables.values().map(|variable| values_of(variable)).collect()
    }

    #[test]
    fn resumed_run_equals_one_that_never_stopped() {
        let folder = Folder::new("resume");
        let path = folder.0.join("state.safetensors");
        let vars = variables(1);
        let mut optimizer = AdamW::new(vars.clone());
        let mut state = TrainingState::new(Random::new(9), serde_json::json!({ "size": "tiny" }));
        train(&mut state, &mut optimizer, 250);
        state.save(&path, &vars, &optimizer).unwrap();
        train(&mut state, &mut optimizer, 50);

        let resumed_vars = variables(2);
        let mut resumed_optimizer = AdamW::new(resumed_vars.clone());
        let mut resumed =
            TrainingState::load(&path, &resumed_vars, &mut resumed_optimizer).unwrap();
        assert_eq!(resumed.step, 250);
        train(&mut resumed, &mut resumed_optimizer, 50);
        assert_eq!(resumed, state);
        assert_eq!(resumed_optimizer.moments(), optimizer.moments());
        assert_eq!(all_values(&resumed_vars), all_values(&vars));
    }

    #[test]
    fn last_two_states_are_kept() {
        let folder = Folder::new("previous");
        let path = folder.0.join("state.safetensors");
        let vars = variables(1);
        let mut optimizer = AdamW::new(vars.clone());
        let mut state = TrainingState::new(Random::new(9), serde_json::Value::Null);
        for _ in 0..3 {
            train(&mut state, &mut optimizer, 1);
            state.save(&path, &vars, &optimizer).unwrap();
        }
        assert_eq!(fs::read_dir(&folder.0).unwrap().count(), 2);
        assert_eq!(TrainingState::load(&path, &vars, &mut optimizer).unwrap().step, 3);
        fs::remove_file(&path).unwrap();
        assert_eq!(TrainingState::load(&path, &vars, &mut optimizer).unwrap().step, 2);
    }

    #[test]
    fn state_of_another_model_is_refused_and_changes_nothing() {
        let folder = Folder::new("other");
        let path = folder.0.join("state.safetensors");
        let mut vars = variables(1);
        let state = TrainingState::new(Random::new(9), serde_json::Value::Null);
        state.save(&path, &vars, &AdamW::new(vars.clone())).unwrap();

        vars.remove("b");
        set_values(&vars["a.weight"], vec![0.5; 12]);
        let mut optimizer = AdamW::new(vars.clone());
        let error = TrainingState::load(&path, &vars, &mut optimizer).unwrap_err();
        assert_eq!(
            error.to_string(),
            "training state holds latent.b, which the model does not have"
        );
        vars.insert("b".into(), Var::from_vec(vec![0f32; 4], 4, &Device::Cpu).unwrap());
        let error = TrainingState::load(&path, &vars, &mut optimizer).unwrap_err();
        assert!(matches!(error, StateError::WrongTensor { .. }), "{error}");
        assert_eq!(values_of(&vars["a.weight"]), [0.5; 12]);
    }

    #[test]
    fn damaged_file_is_refused() {
        let folder = Folder::new("damaged");
        let path = folder.0.join("state.safetensors");
        let vars = variables(1);
        let mut optimizer = AdamW::new(vars.clone());
        let state = TrainingState::new(Random::new(9), serde_json::Value::Null);
        state.save(&path, &vars, &optimizer).unwrap();
        let bytes = fs::read(&path).unwrap();
        for len in [0, 7, 100, bytes.len() - 1] {
            fs::write(&path, &bytes[..len]).unwrap();
            assert!(TrainingState::load(&path, &vars, &mut optimizer).is_err(), "{len} bytes");
        }
    }
}
