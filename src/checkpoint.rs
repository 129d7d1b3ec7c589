//! The shipped model file: reads safetensors into a model, and writes trained variables.
//!
//! The format is specified in docs/model-format.md. Reading checks, in this order: container,
//! version, configuration, the presence, type, shape and numbers of every tensor, and that there
//! are no others.

use std::collections::{BTreeMap, HashMap};

use safetensors::{Dtype, SafeTensors};
use serde::{Deserialize, Serialize};

use crate::config::Config;
use crate::kernels::{packed_width, quantize_row, ternarize, TernaryMatrix};
use crate::model::BitMar;
use crate::stem::{Stem, StemError, StemTensor};
use crate::tensor_file::{to_safetensors, RawTensor};
use crate::weights::{ModelError, VariableKind, Variables, Weights};

pub use crate::hash::sha256;

const FORMAT: &str = "bitmar";
const FORMAT_VERSION: &str = "2";
/// How `weight_scale` is applied to the codes: other tools store its reciprocal.
const WEIGHT_SCALE: &str = "multiply";
const EMBEDDING: &str = "embedding";
/// Scope of the stem's tensors in the file.
const STEM: &str = "stem";

/// The origin of a model, as its file states it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Provenance {
    /// SHA-256 of the tokenizer.json it was trained with.
    pub tokenizer_sha256: String,
    /// Commit of the trainer.
    pub commit: String,
    /// JSON: date, command, data, steps and score.
    pub trained: String,
}

/// A model file, read and checked.
pub struct LoadedModel {
    /// The model above the stem.
    pub model: BitMar,
    /// The frozen stem.
    pub stem: Stem,
    /// The configuration of both.
    pub config: Config,
    /// SHA-256 of the file.
    pub sha256: String,
    /// Every metadata entry.
    pub metadata: BTreeMap<String, String>,
}

impl LoadedModel {
    /// Errs unless `sha256` is that of the tokenizer the model was trained with.
    pub fn check_tokenizer(&self, sha256: &str) -> Result<(), ModelError> {
        let expected = &self.metadata["tokenizer_sha256"];
        if expected == sha256 {
            return Ok(());
        }
        Err(ModelError::OtherTokenizer { expected: expected.clone(), found: sha256.to_owned() })
    }
}

/// Shape and values of every trainable variable, by name.
pub type Latents = BTreeMap<String, (Vec<usize>, Vec<f32>)>;

/// The shipped file of a model and its stem.
pub struct ModelFile;

impl ModelFile {
    /// Reads a model file.
    pub fn read(bytes: &[u8]) -> Result<LoadedModel, ModelError> {
        let (config, metadata) = read_header(bytes)?;
        let tensors = SafeTensors::deserialize(bytes)?;
        check_embedding(&tensors)?;
        let weights = Weights::from_safetensors(&tensors);
        let stem = read_stem(&weights.pp(STEM), &config)?;
        let model = BitMar::new(&weights, &config)?;
        weights.expect_empty()?;
        Ok(LoadedModel { model, stem, config, sha256: sha256(bytes), metadata })
    }

    /// Writes trained variables, named as in [`Weights::variables`], with their stem.
    ///
    /// # Panics
    ///
    /// If a variable is not an f32 tensor in main memory, or that of a BitLinear has no packed
    /// form.
    pub fn write(
        variables: &Variables,
        stem: &Stem,
        config: &Config,
        provenance: &Provenance,
    ) -> candle_core::Result<Vec<u8>> {
        let mut tensors = packed(variables)?;
        for (name, shape, tensor) in stem.tensors() {
            let (dtype, data) = match tensor {
                StemTensor::I8(values) => (Dtype::I8, i8_bytes(&values)),
                StemTensor::F32(values) => (Dtype::F32, f32_bytes(&values)),
            };
            put(&mut tensors, format!("{STEM}.{name}"), dtype, shape, data);
        }
        let config = serde_json::to_string(config).expect("a configuration is plain data");
        let metadata = [
            ("format", FORMAT),
            ("format_version", FORMAT_VERSION),
            ("config", &config),
            ("weight_scale", WEIGHT_SCALE),
            ("tokenizer_sha256", &provenance.tokenizer_sha256),
            ("commit", &provenance.commit),
            ("trained", &provenance.trained),
        ];
        let metadata = metadata.map(|(name, value)| (name.to_owned(), value.to_owned()));
        Ok(to_safetensors(&tensors, &BTreeMap::from(metadata)))
    }

    /// Latent values and shapes by variable name, to continue the training of a shipped model.
    ///
    /// A ternary weight becomes 0 or ±`scale` / p, where p is the fraction of weights that are not
    /// 0: the mean magnitude is then the scale again, and every code stays the same. The stem is
    /// left out.
    pub fn latents(bytes: &[u8]) -> Result<Latents, ModelError> {
        // Reading the whole model first checks every shape and number.
        ModelFile::read(bytes)?;
        let file = SafeTensors::deserialize(bytes)?;
        let mut latents = BTreeMap::new();
        for (name, tensor) in file.tensors() {
            let is_stem = name.strip_prefix(STEM).is_some_and(|rest| rest.starts_with('.'));
            if is_stem || name.ends_with(".weight_scale") {
                continue;
            }
            let scales =
                || Ok::<_, ModelError>(f32s(file.tensor(&format!("{name}_scale"))?.data()));
            let mut shape = tensor.shape().to_vec();
            let values = match tensor.dtype() {
                Dtype::U8 => {
                    // Columns are multiples of 32, so the number of bytes determines the number of
                    // columns.
                    shape[1] = 5 * shape[1] / 32 * 32;
                    latent_ternary(&name, &shape, tensor.data(), scales()?[0])?
                }
                Dtype::I8 => latent_embedding(shape[1], tensor.data(), &scales()?),
                _ => f32s(tensor.data()),
            };
            latents.insert(name, (shape, values));
        }
        Ok(latents)
    }
}

/// The model that a file of these variables would hold, without writing the file.
///
/// # Panics
///
/// As [`ModelFile::write`].
pub fn packed_model(variables: &Variables, config: &Config) -> Result<BitMar, ModelError> {
    BitMar::new(&Weights::from_tensors(packed(variables)?), config)
}

/// The variables in the form that the file stores.
fn packed(variables: &Variables) -> candle_core::Result<Tensors> {
    let mut tensors = BTreeMap::new();
    for (name, variable) in variables {
        let shape = variable.dims().to_vec();
        let values = variable.flatten_all()?.to_vec1::<f32>()?;
        match variable.kind {
            VariableKind::BitLinear => put_ternary(&mut tensors, name, &shape, &values),
            VariableKind::Embedding => put_embedding(&mut tensors, name, &shape, &values),
            VariableKind::Gate | VariableKind::Float => {
                put(&mut tensors, name.clone(), Dtype::F32, shape, f32_bytes(&values));
            }
        }
    }
    Ok(tensors)
}

fn read_header(bytes: &[u8]) -> Result<(Config, BTreeMap<String, String>), ModelError> {
    let (_, header) = SafeTensors::read_metadata(bytes)?;
    let metadata: HashMap<String, String> = header.metadata().clone().unwrap_or_default();
    let get = |name: &'static str| metadata.get(name).ok_or(ModelError::MissingMetadata { name });
    let fixed =
        [("format", FORMAT), ("format_version", FORMAT_VERSION), ("weight_scale", WEIGHT_SCALE)];
    for (name, expected) in fixed {
        let found = get(name)?;
        if found != expected {
            return Err(ModelError::InvalidMetadata { name, found: found.clone(), expected });
        }
    }
    let config: Config =
        serde_json::from_str(get("config")?).map_err(|error| ModelError::InvalidMetadata {
            name: "config",
            found: error.to_string(),
            expected: "the JSON of a configuration",
        })?;
    config.validate()?;
    for name in ["tokenizer_sha256", "commit", "trained"] {
        get(name)?;
    }
    Ok((config, metadata.into_iter().collect()))
}

/// The int8 kernels do not accept -128, which quantization never writes.
fn check_embedding(tensors: &SafeTensors) -> Result<(), ModelError> {
    let name = format!("{EMBEDDING}.weight");
    match tensors.tensor(&name) {
        Ok(tensor) if tensor.data().contains(&i8::MIN.to_le_bytes()[0]) => {
            Err(ModelError::WrongType { name, expected: "-127 to 127", found: "-128".into() })
        }
        _ => Ok(()),
    }
}

/// Either error of a stem, so that `Stem::from_tensors` can return both.
enum StemFileError {
    Stem(StemError),
    Model(ModelError),
}

impl From<StemError> for StemFileError {
    fn from(error: StemError) -> Self {
        Self::Stem(error)
    }
}

fn read_stem(weights: &Weights, config: &Config) -> Result<Stem, ModelError> {
    let mut get = |name: &str, shape: &[usize]| {
        let tensor = if name.ends_with(".weight") {
            weights.take_i8(name, shape).map(StemTensor::I8)
        } else {
            weights.take_f32(name, shape).map(StemTensor::F32)
        };
        tensor.map_err(StemFileError::Model)
    };
    Stem::from_tensors(&config.stem, &mut get).map_err(|error| match error {
        StemFileError::Model(error) => error,
        StemFileError::Stem(error) => stem_error(error),
    })
}

fn stem_error(error: StemError) -> ModelError {
    let full = |name: String| format!("{STEM}.{name}");
    match error {
        StemError::WrongLength { name, expected, found } => ModelError::WrongShape {
            name: full(name),
            expected: vec![expected],
            found: vec![found],
        },
        StemError::WrongType { name, expected } => {
            ModelError::WrongType { name: full(name), expected, found: "another type".into() }
        }
        StemError::NotFinite { name } => ModelError::NotFinite { name: full(name) },
        StemError::WeightOutOfRange { name } => ModelError::WrongType {
            name: full(name),
            expected: "-127 to 127",
            found: "-128".into(),
        },
        StemError::WrongBlock { block } => {
            ModelError::MissingTensor { name: full(format!("blocks.{block}")) }
        }
    }
}

type Tensors = BTreeMap<String, RawTensor>;

fn put(tensors: &mut Tensors, name: String, dtype: Dtype, shape: Vec<usize>, data: Vec<u8>) {
    tensors.insert(name, RawTensor { dtype, shape, data });
}

fn put_ternary(tensors: &mut Tensors, name: &str, shape: &[usize], latent: &[f32]) {
    let (rows, cols) = (shape[0], shape[1]);
    let mut weights = vec![0; latent.len()];
    let scale = ternarize(latent, &mut weights);
    let packed = TernaryMatrix::from_weights(rows, cols, &weights).to_packed();
    put(tensors, name.to_owned(), Dtype::U8, vec![rows, packed_width(cols)], packed);
    put(tensors, format!("{name}_scale"), Dtype::F32, vec![1], f32_bytes(&[scale]));
}

fn put_embedding(tensors: &mut Tensors, name: &str, shape: &[usize], latent: &[f32]) {
    let mut codes = vec![0; latent.len()];
    let rows = latent.chunks_exact(shape[1]).zip(codes.chunks_exact_mut(shape[1]));
    let scales: Vec<f32> = rows.map(|(row, codes)| quantize_row(row, codes)).collect();
    put(tensors, name.to_owned(), Dtype::I8, shape.to_vec(), i8_bytes(&codes));
    put(tensors, format!("{name}_scale"), Dtype::F32, vec![shape[0]], f32_bytes(&scales));
}

fn latent_ternary(
    name: &str,
    shape: &[usize],
    packed: &[u8],
    scale: f32,
) -> Result<Vec<f32>, ModelError> {
    let matrix = TernaryMatrix::from_packed(shape[0], shape[1], packed)
        .map_err(|source| ModelError::InvalidCode { name: name.to_owned(), source })?;
    let weights = matrix.to_weights();
    let nonzero = weights.iter().filter(|&&weight| weight != 0).count().max(1);
    let magnitude = scale * (weights.len() as f32 / nonzero as f32);
    Ok(weights.into_iter().map(|weight| f32::from(weight) * magnitude).collect())
}

fn latent_embedding(width: usize, codes: &[u8], scales: &[f32]) -> Vec<f32> {
    let rows = codes.chunks_exact(width).zip(scales);
    rows.flat_map(|(row, scale)| {
        row.iter().map(move |&code| f32::from(i8::from_le_bytes([code])) * scale)
    })
    .collect()
}

fn f32s(bytes: &[u8]) -> Vec<f32> {
    let number = |bytes: &[u8]| f32::from_le_bytes(bytes.try_into().expect("chunks of four bytes"));
    bytes.chunks_exact(4).map(number).collect()
}

fn f32_bytes(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

fn i8_bytes(values: &[i8]) -> Vec<u8> {
    values.iter().map(|value| value.to_le_bytes()[0]).collect()
}

#[cfg(test)]
mod tests;
