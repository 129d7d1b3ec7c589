//! The stem's tensors as plain data: what the model file holds, and the checks it has to pass.

use std::fmt::Display;

use super::CONV_INPUTS;
use crate::config::{BlockShape, StemConfig, CONV_CHANNELS, HEAD_CHANNELS, MAX_BLOCKS};

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
    /// The number of blocks differs from the configuration, or a block's expansion or residual sum
    /// differs from Lite0's.
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

/// The name, shape and values of a tensor.
pub type NamedTensor = (String, Vec<usize>, StemTensor);

/// A source of tensors: takes a name and a shape, returns the tensor or an error.
pub type GetTensor<'a, E> = &'a mut dyn FnMut(&str, &[usize]) -> Result<StemTensor, E>;

/// One convolution: `clamp(round(sum * multiplier + bias))` of the sums over `weight`.
#[derive(Debug, Clone, PartialEq)]
pub struct StemLayer {
    /// `[out, in]`; of a depthwise convolution `[size * size, channels]`; of the first convolution
    /// `[32, 27]` in the order row, column, color.
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
    /// The projection to few channels; its bias is in steps of the block's output.
    pub project: StemLayer,
    /// Factor of the block's input when it is added to the output; `None` without a residual sum.
    pub residual_scale: Option<f32>,
}

/// All layers of the stem.
#[derive(Debug, Clone, PartialEq)]
pub struct StemLayers {
    /// The first convolution.
    pub conv: StemLayer,
    /// The inverted residual blocks.
    pub blocks: Vec<StemBlock>,
    /// The scale that turns the output into Lite0's activations.
    pub output_scale: f32,
}

/// The layers of Lite0's trunk behind the stem.
#[derive(Debug, Clone, PartialEq)]
pub struct ExtensionLayers {
    /// The other inverted residual blocks; the first reads the stem's output.
    pub blocks: Vec<StemBlock>,
    /// The scale that turns the output of the last block into Lite0's activations.
    pub grid_scale: f32,
    /// The head convolution, `[1280, channels of the last block]`.
    pub head: StemLayer,
    /// The scale that turns the head's output into Lite0's activations.
    pub head_scale: f32,
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

    pub(super) fn tensors(&self, config: &StemConfig) -> Vec<NamedTensor> {
        let mut tensors = Vec::new();
        let conv = vec![CONV_CHANNELS, CONV_INPUTS];
        put_layer("conv", conv, &self.conv, &mut tensors);
        for (index, (block, shape)) in self.blocks.iter().zip(config.block_shapes()).enumerate() {
            put_block(index, shape, block, &mut tensors);
        }
        put_scale("output_scale", self.output_scale, &mut tensors);
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

impl ExtensionLayers {
    pub(super) fn from_tensors<E: From<StemError>>(
        config: &StemConfig,
        get: GetTensor<'_, E>,
    ) -> Result<Self, E> {
        let (mut blocks, mut channels) = (Vec::new(), config.output_channels());
        for (index, shape) in (config.num_blocks..).zip(config.extension_shapes()) {
            blocks.push(get_block(index, shape, get)?);
            channels = shape.outputs;
        }
        let grid_scale = get_scale("grid_scale", get)?;
        let head = get_layer("head", &[HEAD_CHANNELS, channels], HEAD_CHANNELS, get)?;
        let head_scale = get_scale("head_scale", get)?;
        Ok(Self { blocks, grid_scale, head, head_scale })
    }

    pub(super) fn tensors(&self, config: &StemConfig) -> Vec<NamedTensor> {
        let mut tensors = Vec::new();
        let blocks = self.blocks.iter().zip(config.extension_shapes());
        for (index, (block, shape)) in (config.num_blocks..).zip(blocks) {
            put_block(index, shape, block, &mut tensors);
        }
        put_scale("grid_scale", self.grid_scale, &mut tensors);
        let head = vec![HEAD_CHANNELS, self.head.weight.len() / HEAD_CHANNELS];
        put_layer("head", head, &self.head, &mut tensors);
        put_scale("head_scale", self.head_scale, &mut tensors);
        tensors
    }

    pub(super) fn check(&self, config: &StemConfig) -> Result<(), StemError> {
        let shapes: Vec<BlockShape> = config.extension_shapes().collect();
        if self.blocks.len() != shapes.len() {
            return Err(StemError::WrongBlock { block: config.num_blocks + self.blocks.len() });
        }
        let mut channels = config.output_channels();
        for (index, (block, shape)) in (config.num_blocks..).zip(self.blocks.iter().zip(shapes)) {
            block.check(index, shape)?;
            channels = shape.outputs;
        }
        check_finite("grid_scale", &[self.grid_scale])?;
        self.head.check("head", HEAD_CHANNELS * channels, HEAD_CHANNELS)?;
        check_finite("head_scale", &[self.head_scale])
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
    let expand = if shape.has_expansion() {
        Some(get_layer(&name("expand"), &[hidden, inputs], hidden, get)?)
    } else {
        None
    };
    let depthwise =
        get_layer(&name("depthwise"), &[filter_size * filter_size, hidden], hidden, get)?;
    let project = get_layer(&name("project"), &[outputs, hidden], outputs, get)?;
    let residual_scale =
        if shape.has_residual() { Some(get_scale(&name("residual_scale"), get)?) } else { None };
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

fn put_block(index: usize, shape: BlockShape, block: &StemBlock, tensors: &mut Vec<NamedTensor>) {
    let BlockShape { inputs, hidden, outputs, filter_size, .. } = shape;
    let name = |part: &str| format!("blocks.{index}.{part}");
    if let Some(expand) = &block.expand {
        put_layer(name("expand"), vec![hidden, inputs], expand, tensors);
    }
    let depthwise = vec![filter_size * filter_size, hidden];
    put_layer(name("depthwise"), depthwise, &block.depthwise, tensors);
    put_layer(name("project"), vec![outputs, hidden], &block.project, tensors);
    if let Some(scale) = block.residual_scale {
        put_scale(name("residual_scale"), scale, tensors);
    }
}

fn put_scale(name: impl Into<String>, scale: f32, tensors: &mut Vec<NamedTensor>) {
    tensors.push((name.into(), vec![1], StemTensor::F32(vec![scale])));
}

fn put_layer(
    name: impl Display,
    shape: Vec<usize>,
    layer: &StemLayer,
    tensors: &mut Vec<NamedTensor>,
) {
    let outputs = vec![layer.bias.len()];
    tensors.push((format!("{name}.weight"), shape, StemTensor::I8(layer.weight.clone())));
    let multiplier = StemTensor::F32(layer.multiplier.clone());
    tensors.push((format!("{name}.multiplier"), outputs.clone(), multiplier));
    tensors.push((format!("{name}.bias"), outputs, StemTensor::F32(layer.bias.clone())));
}
