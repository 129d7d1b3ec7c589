//! The stem's tensors as plain data: what the model file holds, and the checks it has to pass.

use std::fmt::Display;

use super::CONV_INPUTS;
use crate::config::{BlockShape, StemConfig, CONV_CHANNELS, MAX_BLOCKS};

/// Why a stem's tensors were refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StemError {
    /// A tensor has another number of elements than the configuration implies.
    #[error("tensor {name} has {found} elements, expected {expected}")]
    WrongLength {
        /// Its name.
        name: String,
        /// The configuration's count.
        expected: usize,
        /// The tensor's count.
        found: usize,
    },
    /// A weight is not int8, or a multiplier, a bias or a scale is not f32.
    #[error("tensor {name} does not hold {expected}")]
    WrongType {
        /// Its name.
        name: String,
        /// `int8` or `f32`.
        expected: &'static str,
    },
    /// A number is infinite or not a number.
    #[error("tensor {name} holds a number that is not finite")]
    NotFinite {
        /// Its name.
        name: String,
    },
    /// A weight is -128, which quantization never writes and the kernels do not take.
    #[error("tensor {name} holds the weight -128")]
    WeightOutOfRange {
        /// Its name.
        name: String,
    },
    /// There are more or fewer blocks than configured, or a block lacks or has an expansion or a
    /// residual sum against Lite0's plan.
    #[error("block {block} is not the one of Lite0")]
    WrongBlock {
        /// Its index.
        block: usize,
    },
}

/// A tensor of the stem as the model file holds it.
#[derive(Debug, Clone, PartialEq)]
pub enum StemTensor {
    /// Weights.
    I8(Vec<i8>),
    /// Multipliers, biases and scales.
    F32(Vec<f32>),
}

/// Where tensors come from: asked for a name and a shape, gives the tensor or says why not.
pub type GetTensor<'a, E> = &'a mut dyn FnMut(&str, &[usize]) -> Result<StemTensor, E>;

/// One convolution: `clamp(round(sum * multiplier + bias))` of the sums over `weight`.
#[derive(Debug, Clone, PartialEq)]
pub struct StemLayer {
    /// `[out, in]`; of a depthwise convolution `[size * size, channels]`; of the first convolution
    /// `[32, 27]` in the order row, column, colour.
    pub weight: Vec<i8>,
    /// `[out]`
    pub multiplier: Vec<f32>,
    /// `[out]`
    pub bias: Vec<f32>,
}

/// The layers of an inverted residual block.
#[derive(Debug, Clone, PartialEq)]
pub struct StemBlock {
    /// Absent in block 0.
    pub expand: Option<StemLayer>,
    /// The spatial convolution.
    pub depthwise: StemLayer,
    /// Back to few channels; the bias is in steps of the block's output.
    pub project: StemLayer,
    /// What the block's input is multiplied by when it is added to the output, if it is.
    pub residual_scale: Option<f32>,
}

/// All layers of the stem.
#[derive(Debug, Clone, PartialEq)]
pub struct StemLayers {
    /// The first convolution.
    pub conv: StemLayer,
    /// The inverted residual blocks.
    pub blocks: Vec<StemBlock>,
    /// What the output is multiplied by to give Lite0's activations.
    pub output_scale: f32,
}

impl StemLayers {
    pub(super) fn from_tensors<E: From<StemError>>(
        config: &StemConfig,
        get: GetTensor<'_, E>,
    ) -> Result<Self, E> {
        let conv = get_layer("conv", &[CONV_CHANNELS, CONV_INPUTS], CONV_CHANNELS, get)?;
        let mut blocks = Vec::with_capacity(config.num_blocks.min(MAX_BLOCKS));
        for (index, shape) in config.block_shapes().enumerate() {
            blocks.push(get_block(index, shape, get)?);
        }
        let output_scale = get_scale("output_scale", get)?;
        Ok(Self { conv, blocks, output_scale })
    }

    pub(super) fn tensors(&self, config: &StemConfig) -> Vec<(String, Vec<usize>, StemTensor)> {
        let mut tensors = Vec::new();
        let conv = vec![CONV_CHANNELS, CONV_INPUTS];
        put_layer("conv", conv, &self.conv, &mut tensors);
        for (index, (block, shape)) in self.blocks.iter().zip(config.block_shapes()).enumerate() {
            let name = |part: &str| format!("blocks.{index}.{part}");
            if let Some(expand) = &block.expand {
                put_layer(name("expand"), vec![shape.hidden, shape.inputs], expand, &mut tensors);
            }
            let depthwise = vec![shape.filter_size * shape.filter_size, shape.hidden];
            put_layer(name("depthwise"), depthwise, &block.depthwise, &mut tensors);
            put_layer(
                name("project"),
                vec![shape.outputs, shape.hidden],
                &block.project,
                &mut tensors,
            );
            if let Some(scale) = block.residual_scale {
                tensors.push((name("residual_scale"), vec![1], StemTensor::F32(vec![scale])));
            }
        }
        let output_scale = StemTensor::F32(vec![self.output_scale]);
        tensors.push(("output_scale".into(), vec![1], output_scale));
        tensors
    }

    pub(super) fn check(&self, config: &StemConfig) -> Result<(), StemError> {
        self.conv.check("conv", CONV_CHANNELS * CONV_INPUTS, CONV_CHANNELS)?;
        if self.blocks.len() != config.num_blocks {
            return Err(StemError::WrongBlock { block: self.blocks.len().min(config.num_blocks) });
        }
        for (index, (block, shape)) in self.blocks.iter().zip(config.block_shapes()).enumerate() {
            block.check(index, shape)?;
        }
        check_finite("output_scale", &[self.output_scale])
    }
}

impl StemBlock {
    fn check(&self, index: usize, shape: BlockShape) -> Result<(), StemError> {
        let BlockShape { inputs, hidden, outputs, filter_size, .. } = shape;
        let name = |part: &str| format!("blocks.{index}.{part}");
        if self.expand.is_some() != shape.has_expansion()
            || self.residual_scale.is_some() != shape.has_residual()
        {
            return Err(StemError::WrongBlock { block: index });
        }
        if let Some(expand) = &self.expand {
            expand.check(name("expand"), hidden * inputs, hidden)?;
        }
        self.depthwise.check(name("depthwise"), filter_size * filter_size * hidden, hidden)?;
        self.project.check(name("project"), outputs * hidden, outputs)?;
        check_finite(name("residual_scale"), self.residual_scale.as_slice())
    }
}

impl StemLayer {
    fn check(&self, name: impl Display, weights: usize, outputs: usize) -> Result<(), StemError> {
        let lengths = [
            ("weight", weights, self.weight.len()),
            ("multiplier", outputs, self.multiplier.len()),
            ("bias", outputs, self.bias.len()),
        ];
        for (part, expected, found) in lengths {
            if expected != found {
                let name = format!("{name}.{part}");
                return Err(StemError::WrongLength { name, expected, found });
            }
        }
        if self.weight.contains(&i8::MIN) {
            return Err(StemError::WeightOutOfRange { name: format!("{name}.weight") });
        }
        check_finite(format_args!("{name}.multiplier"), &self.multiplier)?;
        check_finite(format_args!("{name}.bias"), &self.bias)
    }
}

fn check_finite(name: impl Display, values: &[f32]) -> Result<(), StemError> {
    if values.iter().all(|value| value.is_finite()) {
        Ok(())
    } else {
        Err(StemError::NotFinite { name: name.to_string() })
    }
}

fn get_block<E: From<StemError>>(
    index: usize,
    shape: BlockShape,
    get: GetTensor<'_, E>,
) -> Result<StemBlock, E> {
    let BlockShape { inputs, hidden, outputs, filter_size, .. } = shape;
    let name = |part: &str| format!("blocks.{index}.{part}");
    let expand = match shape.has_expansion() {
        true => Some(get_layer(&name("expand"), &[hidden, inputs], hidden, get)?),
        false => None,
    };
    let depthwise =
        get_layer(&name("depthwise"), &[filter_size * filter_size, hidden], hidden, get)?;
    let project = get_layer(&name("project"), &[outputs, hidden], outputs, get)?;
    let residual_scale = match shape.has_residual() {
        true => Some(get_scale(&name("residual_scale"), get)?),
        false => None,
    };
    Ok(StemBlock { expand, depthwise, project, residual_scale })
}

fn get_layer<E: From<StemError>>(
    name: &str,
    shape: &[usize],
    outputs: usize,
    get: GetTensor<'_, E>,
) -> Result<StemLayer, E> {
    let weight_name = format!("{name}.weight");
    let StemTensor::I8(weight) = get(&weight_name, shape)? else {
        return Err(StemError::WrongType { name: weight_name, expected: "int8" }.into());
    };
    let multiplier = get_f32(format!("{name}.multiplier"), outputs, get)?;
    let bias = get_f32(format!("{name}.bias"), outputs, get)?;
    Ok(StemLayer { weight, multiplier, bias })
}

fn get_f32<E: From<StemError>>(
    name: String,
    length: usize,
    get: GetTensor<'_, E>,
) -> Result<Vec<f32>, E> {
    match get(&name, &[length])? {
        StemTensor::F32(values) => Ok(values),
        StemTensor::I8(_) => Err(StemError::WrongType { name, expected: "f32" }.into()),
    }
}

fn get_scale<E: From<StemError>>(name: &str, get: GetTensor<'_, E>) -> Result<f32, E> {
    let values = get_f32(name.to_string(), 1, get)?;
    let [scale] = values[..] else {
        let error = StemError::WrongLength { name: name.into(), expected: 1, found: values.len() };
        return Err(error.into());
    };
    Ok(scale)
}

fn put_layer(
    name: impl Display,
    shape: Vec<usize>,
    layer: &StemLayer,
    tensors: &mut Vec<(String, Vec<usize>, StemTensor)>,
) {
    let outputs = vec![layer.bias.len()];
    tensors.push((format!("{name}.weight"), shape, StemTensor::I8(layer.weight.clone())));
    let multiplier = StemTensor::F32(layer.multiplier.clone());
    tensors.push((format!("{name}.multiplier"), outputs.clone(), multiplier));
    tensors.push((format!("{name}.bias"), outputs, StemTensor::F32(layer.bias.clone())));
}
