//! The source of a part's parameters: a model file, or fresh variables to train.
//!
//! Every part is built by `Part::new(&weights.pp("name"), &config)`, whatever the source. Large
//! matrices from a file are packed; fresh ones are full-precision and differentiable.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use candle_core::{Device, Tensor, Var};
use safetensors::{Dtype, SafeTensors};

use crate::config::ConfigError;
use crate::kernels::{packed_width, PackError, TernaryMatrix};
use crate::tensor_file::RawTensor;

/// Why a model file was refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ModelError {
    /// The bytes are not a safetensors file.
    #[error("not a safetensors file: {0}")]
    Container(#[from] safetensors::SafeTensorError),
    /// A metadata entry is absent.
    #[error("metadata has no {name}")]
    MissingMetadata {
        /// Name of the entry.
        name: &'static str,
    },
    /// A metadata entry has an invalid value.
    #[error("metadata {name} is {found}, expected {expected}")]
    InvalidMetadata {
        /// Name of the entry.
        name: &'static str,
        /// Its value.
        found: String,
        /// The valid values.
        expected: &'static str,
    },
    /// The configuration breaks a rule.
    #[error("config: {0}")]
    Config(#[from] ConfigError),
    /// A tensor the configuration asks for is absent.
    #[error("no tensor {name}")]
    MissingTensor {
        /// Its full name.
        name: String,
    },
    /// The file holds a tensor that no part uses.
    #[error("unknown tensor {name}")]
    UnknownTensor {
        /// Its full name.
        name: String,
    },
    /// A tensor has another shape than the configuration implies.
    #[error("tensor {name} has shape {found:?}, expected {expected:?}")]
    WrongShape {
        /// Its full name.
        name: String,
        /// The configuration's shape.
        expected: Vec<usize>,
        /// The file's shape.
        found: Vec<usize>,
    },
    /// A tensor has another element type than the format says.
    #[error("tensor {name} holds {found}, expected {expected}")]
    WrongType {
        /// Its full name.
        name: String,
        /// The format's element type.
        expected: &'static str,
        /// The file's element type.
        found: String,
    },
    /// A number is infinite or NaN.
    #[error("tensor {name} holds a number that is not finite")]
    NotFinite {
        /// Its full name.
        name: String,
    },
    /// Packed ternary codes are invalid.
    #[error("tensor {name}: {source}")]
    InvalidCode {
        /// Its full name.
        name: String,
        /// What is wrong with them.
        source: PackError,
    },
    /// The model was trained with another tokenizer.
    #[error("the model was trained with tokenizer {expected}, not {found}")]
    OtherTokenizer {
        /// SHA-256 in the model's metadata.
        expected: String,
        /// SHA-256 of the tokenizer given.
        found: String,
    },
    /// Candle refused a tensor.
    #[error(transparent)]
    Tensor(#[from] candle_core::Error),
}

/// How a fresh parameter is initialized.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Init {
    /// Every element has this value.
    Constant(f32),
    /// Independent normal numbers of mean 0 and this standard deviation.
    Normal(f32),
}

/// The part that a variable plays. It decides how the model file stores the variable and how the
/// trainer updates it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VariableKind {
    /// The latent weight of a BitLinear, `[rows, columns]`.
    BitLinear,
    /// The token table, `[tokens, columns]`.
    Embedding,
    /// A gate of the decoder, `[1]`: 0 leaves its layer unconditioned by the memory.
    Gate,
    /// Anything else.
    Float,
}

/// A trainable variable.
#[derive(Debug, Clone)]
pub struct Variable {
    /// Its values.
    pub var: Var,
    /// Its part.
    pub kind: VariableKind,
}

impl std::ops::Deref for Variable {
    type Target = Var;

    fn deref(&self) -> &Var {
        &self.var
    }
}

/// Variables by full name.
pub type Variables = BTreeMap<String, Variable>;

enum Source {
    File(BTreeMap<String, RawTensor>),
    Fresh {
        seed: u64,
        #[cfg(feature = "train")]
        is_float: bool,
        variables: Variables,
    },
}

/// A named scope in a set of parameters. Cheap to clone; clones share the set.
#[derive(Clone)]
pub struct Weights {
    source: Rc<RefCell<Source>>,
    prefix: String,
}

/// A ternary matrix from a file with its scale, or a latent one to train.
pub(crate) enum Ternary {
    Packed {
        matrix: TernaryMatrix,
        scale: f32,
    },
    Latent(Tensor),
    /// A float matrix that is not quantized.
    #[cfg(feature = "train")]
    Float(Tensor),
}

impl Weights {
    /// Fresh trainable variables, initialized from `seed` and their names.
    pub fn fresh(seed: u64) -> Self {
        Self::root(Source::Fresh {
            seed,
            #[cfg(feature = "train")]
            is_float: false,
            variables: Variables::new(),
        })
    }

    /// [`fresh`](Self::fresh) for the float twin, a model without ternary weights for comparison.
    #[cfg(feature = "train")]
    pub fn fresh_float(seed: u64) -> Self {
        Self::root(Source::Fresh { seed, is_float: true, variables: Variables::new() })
    }

    /// The tensors of a safetensors file.
    pub fn from_safetensors(tensors: &SafeTensors) -> Self {
        let tensors = tensors.tensors().into_iter().map(|(name, view)| {
            let shape = view.shape().to_vec();
            (name, RawTensor { dtype: view.dtype(), shape, data: view.data().to_vec() })
        });
        Self::from_tensors(tensors.collect())
    }

    /// Tensors in the form that a file stores.
    pub(crate) fn from_tensors(tensors: BTreeMap<String, RawTensor>) -> Self {
        Self::root(Source::File(tensors))
    }

    fn root(source: Source) -> Self {
        Self { source: Rc::new(RefCell::new(source)), prefix: String::new() }
    }

    /// The scope `name` inside this one.
    pub fn pp(&self, name: impl std::fmt::Display) -> Self {
        Self { source: self.source.clone(), prefix: self.full(&name.to_string()) }
    }

    /// The variables created so far, by full name. Empty for a file.
    pub fn variables(&self) -> Variables {
        match &*self.source.borrow() {
            Source::File(_) => Variables::new(),
            Source::Fresh { variables, .. } => variables.clone(),
        }
    }

    /// Errs if the file holds a tensor that no part has taken.
    pub fn expect_empty(&self) -> Result<(), ModelError> {
        match &*self.source.borrow() {
            Source::File(tensors) => match tensors.keys().next() {
                Some(name) => Err(ModelError::UnknownTensor { name: name.clone() }),
                None => Ok(()),
            },
            Source::Fresh { .. } => Ok(()),
        }
    }

    /// A float tensor.
    pub(crate) fn tensor(
        &self,
        name: &str,
        shape: &[usize],
        init: Init,
    ) -> Result<Tensor, ModelError> {
        self.float(name, shape, init, VariableKind::Float)
    }

    /// The gate of a decoder layer, `[1]`, which starts closed.
    pub(crate) fn gate(&self) -> Result<Tensor, ModelError> {
        self.float("gate", &[1], Init::Constant(0.0), VariableKind::Gate)
    }

    /// The latent token table `[tokens, columns]` to train; a file stores it as int8.
    pub(crate) fn latent_embedding(
        &self,
        tokens: usize,
        columns: usize,
        init: Init,
    ) -> Result<Tensor, ModelError> {
        self.float("weight", &[tokens, columns], init, VariableKind::Embedding)
    }

    fn float(
        &self,
        name: &str,
        shape: &[usize],
        init: Init,
        kind: VariableKind,
    ) -> Result<Tensor, ModelError> {
        if let Some(latent) = self.variable(name, shape, init, kind)? {
            return Ok(latent);
        }
        Ok(Tensor::from_vec(self.take_f32(name, shape)?, shape, &Device::Cpu)?)
    }

    /// A ternary matrix `[rows, cols]`: `weight` and `weight_scale` of the file, or a latent
    /// variable.
    pub(crate) fn ternary(&self, rows: usize, cols: usize) -> Result<Ternary, ModelError> {
        // The variance that keeps a row's length through the layer; see architecture.md, BitLinear.
        let init = Init::Normal((cols as f32).sqrt().recip());
        if let Some(latent) =
            self.variable("weight", &[rows, cols], init, VariableKind::BitLinear)?
        {
            #[cfg(feature = "train")]
            if matches!(&*self.source.borrow(), Source::Fresh { is_float: true, .. }) {
                return Ok(Ternary::Float(latent));
            }
            return Ok(Ternary::Latent(latent));
        }
        let packed = self.take("weight", &[rows, packed_width(cols)], Dtype::U8, "U8")?;
        let scale = self.take_f32("weight_scale", &[1])?[0];
        let matrix = TernaryMatrix::from_packed(rows, cols, &packed)
            .map_err(|source| ModelError::InvalidCode { name: self.full("weight"), source })?;
        Ok(Ternary::Packed { matrix, scale })
    }

    /// Takes a float tensor from the file.
    pub(crate) fn take_f32(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>, ModelError> {
        let bytes = self.take(name, shape, Dtype::F32, "F32")?;
        let values: Vec<f32> = bytes
            .chunks_exact(4)
            .map(|b| f32::from_le_bytes(b.try_into().expect("chunks of four bytes")))
            .collect();
        if values.iter().any(|v| !v.is_finite()) {
            return Err(ModelError::NotFinite { name: self.full(name) });
        }
        Ok(values)
    }

    /// Takes an int8 tensor from the file.
    pub(crate) fn take_i8(&self, name: &str, shape: &[usize]) -> Result<Vec<i8>, ModelError> {
        let bytes = self.take(name, shape, Dtype::I8, "I8")?;
        Ok(bytes.into_iter().map(|b| i8::from_le_bytes([b])).collect())
    }

    /// Whether the parameters come from a file.
    pub(crate) fn is_file(&self) -> bool {
        matches!(&*self.source.borrow(), Source::File(_))
    }

    fn take(
        &self,
        name: &str,
        shape: &[usize],
        dtype: Dtype,
        expected: &'static str,
    ) -> Result<Vec<u8>, ModelError> {
        let name = self.full(name);
        let Source::File(tensors) = &mut *self.source.borrow_mut() else {
            panic!("{name} is stored in files only and cannot be trained");
        };
        let raw = tensors.remove(&name).ok_or(ModelError::MissingTensor { name: name.clone() })?;
        if raw.dtype != dtype {
            return Err(ModelError::WrongType {
                name,
                expected,
                found: format!("{:?}", raw.dtype),
            });
        }
        if raw.shape != shape {
            return Err(ModelError::WrongShape {
                name,
                expected: shape.to_vec(),
                found: raw.shape,
            });
        }
        Ok(raw.data)
    }

    fn variable(
        &self,
        name: &str,
        shape: &[usize],
        init: Init,
        kind: VariableKind,
    ) -> Result<Option<Tensor>, ModelError> {
        let name = self.full(name);
        let Source::Fresh { seed, variables, .. } = &mut *self.source.borrow_mut() else {
            return Ok(None);
        };
        let values = fresh_values(*seed, &name, shape.iter().product(), init);
        let var = Var::from_vec(values, shape, &Device::Cpu)?;
        let tensor = var.as_tensor().clone();
        let previous = variables.insert(name.clone(), Variable { var, kind });
        assert!(previous.is_none(), "two parts are named {name}");
        Ok(Some(tensor))
    }

    fn full(&self, name: &str) -> String {
        if self.prefix.is_empty() {
            name.to_owned()
        } else {
            format!("{}.{name}", self.prefix)
        }
    }
}

fn fresh_values(seed: u64, name: &str, len: usize, init: Init) -> Vec<f32> {
    match init {
        Init::Constant(value) => vec![value; len],
        Init::Normal(deviation) => {
            let mut random = crate::random::Random::named(seed, name);
            (0..len).map(|_| deviation * random.normal()).collect()
        }
    }
}
