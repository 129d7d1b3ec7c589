//! Reads the weight file: checks names and shapes, converts half precision, and folds batch norm
//! into the convolutions.

use candle_core::safetensors::Load;
use candle_core::{DType, Device};
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};

use super::{Block, Depthwise, EfficientNetError, Pointwise, CHANNEL_CHUNK};

/// Epsilon of every batch norm, from the metadata of the weights.
const BATCH_NORM_EPSILON: f32 = 1e-3;

/// The weight file, read tensor by tensor.
pub(super) struct Source<'a>(SafeTensors<'a>);

impl<'a> Source<'a> {
    pub(super) fn new(tensors: SafeTensors<'a>) -> Self {
        Self(tensors)
    }

    pub(super) fn num_blocks(&self) -> usize {
        let depthwise = "._depthwise_conv.weight";
        self.0.names().iter().filter(|name| name.ends_with(depthwise)).count()
    }

    pub(super) fn stem(&self) -> Result<Pointwise, EfficientNetError> {
        let (weight, shape) =
            self.tensor("_conv_stem.weight", |s| s[1..] == [3, 3, 3], "[_, 3, 3, 3]")?;
        // [out, color, tap] -> [out, tap, color]
        let mut by_tap = Vec::with_capacity(weight.len());
        for filter in weight.chunks_exact(27) {
            by_tap.extend((0..27).map(|index| filter[index % 3 * 9 + index / 3]));
        }
        let (gain, bias) = self.batch_norm("_bn0", shape[0])?;
        Ok(Pointwise::new(scale_rows(by_tap, &gain), bias))
    }

    pub(super) fn block(
        &self,
        index: usize,
        channels: usize,
        stride: usize,
    ) -> Result<Block, EfficientNetError> {
        let name = |part: &str| format!("_blocks.{index}.{part}");
        let expand = match index {
            0 => None,
            _ => Some(self.pointwise(&name("_expand_conv"), &name("_bn0"), channels)?),
        };
        let hidden = expand.as_ref().map_or(channels, |expand| expand.bias.len());
        let depthwise = self.depthwise(&name("_depthwise_conv"), &name("_bn1"), hidden, stride)?;
        let project = self.pointwise(&name("_project_conv"), &name("_bn2"), hidden)?;
        let has_residual = stride == 1 && project.bias.len() == channels;
        Ok(Block { expand, depthwise, project, has_residual })
    }

    pub(super) fn pointwise(
        &self,
        conv: &str,
        norm: &str,
        inputs: usize,
    ) -> Result<Pointwise, EfficientNetError> {
        let expected = format!("[_, {inputs}, 1, 1]");
        let is_valid = |shape: &[usize]| shape[1..] == [inputs, 1, 1];
        let (weight, shape) = self.tensor(&format!("{conv}.weight"), is_valid, &expected)?;
        let (gain, bias) = self.batch_norm(norm, shape[0])?;
        Ok(Pointwise::new(scale_rows(weight, &gain), bias))
    }

    fn depthwise(
        &self,
        conv: &str,
        norm: &str,
        channels: usize,
        stride: usize,
    ) -> Result<Depthwise, EfficientNetError> {
        let expected = format!("[{channels}, 1, 3 or 5, the same]");
        let is_valid = |shape: &[usize]| {
            [[channels, 1, 3, 3], [channels, 1, 5, 5]].iter().any(|valid| shape == valid)
                && channels.is_multiple_of(CHANNEL_CHUNK)
        };
        let (weight, shape) = self.tensor(&format!("{conv}.weight"), is_valid, &expected)?;
        let (gain, bias) = self.batch_norm(norm, channels)?;
        let weight = scale_rows(weight, &gain);
        let size = shape[2];
        let by_tap = (0..size * size * channels)
            .map(|index| weight[index % channels * size * size + index / channels]);
        Ok(Depthwise { weight: by_tap.collect(), bias, size, stride })
    }

    pub(super) fn classifier(&self, inputs: usize) -> Result<Pointwise, EfficientNetError> {
        let expected = format!("[_, {inputs}]");
        let (weight, shape) =
            self.tensor("_fc.weight", |shape| shape[1..] == [inputs], &expected)?;
        Ok(Pointwise::new(weight, self.vector("_fc.bias", shape[0])?))
    }

    /// A batch norm as gain and bias of each channel, `[channels]` both.
    fn batch_norm(
        &self,
        name: &str,
        channels: usize,
    ) -> Result<(Vec<f32>, Vec<f32>), EfficientNetError> {
        let vector = |part: &str| self.vector(&format!("{name}.{part}"), channels);
        let variance = vector("running_var")?;
        if variance.iter().any(|&variance| variance < 0.0) {
            return Err(EfficientNetError::BadValues { name: format!("{name}.running_var") });
        }
        let mut gain = vector("weight")?;
        for (gain, variance) in gain.iter_mut().zip(variance) {
            *gain /= (variance + BATCH_NORM_EPSILON).sqrt();
        }
        let mut bias = vector("bias")?;
        for ((bias, mean), gain) in bias.iter_mut().zip(vector("running_mean")?).zip(&gain) {
            *bias -= mean * gain;
        }
        Ok((gain, bias))
    }

    fn vector(&self, name: &str, length: usize) -> Result<Vec<f32>, EfficientNetError> {
        let (values, _) = self.tensor(name, |shape| shape == [length], &format!("[{length}]"))?;
        Ok(values)
    }

    /// A tensor's values and shape. `is_valid` is called only with shapes that have neither zero
    /// dimensions nor zero rank.
    fn tensor(
        &self,
        name: &str,
        is_valid: impl Fn(&[usize]) -> bool,
        expected: &str,
    ) -> Result<(Vec<f32>, Vec<usize>), EfficientNetError> {
        let tensor = self.0.tensor(name);
        let tensor = tensor.map_err(|_| EfficientNetError::MissingTensor { name: name.into() })?;
        let shape = tensor.shape();
        if shape.is_empty() || shape.contains(&0) || !is_valid(shape) {
            let expected = expected.into();
            let found = shape.to_vec();
            return Err(EfficientNetError::WrongShape { name: name.into(), expected, found });
        }
        let values = floats(&tensor).filter(|values| values.iter().all(|value| value.is_finite()));
        let values = values.ok_or_else(|| EfficientNetError::BadValues { name: name.into() })?;
        Ok((values, shape.to_vec()))
    }
}

/// Multiplies each row of `weight` by its factor; the number of factors is that of the rows.
fn scale_rows(mut weight: Vec<f32>, factors: &[f32]) -> Vec<f32> {
    let length = weight.len() / factors.len();
    for (row, factor) in weight.chunks_exact_mut(length).zip(factors) {
        row.iter_mut().for_each(|weight| *weight *= factor);
    }
    weight
}

/// The values of an f16 or f32 tensor, `None` for another type.
pub(super) fn floats(tensor: &TensorView) -> Option<Vec<f32>> {
    if !matches!(tensor.dtype(), Dtype::F16 | Dtype::F32) {
        return None;
    }
    let values = tensor.load(&Device::Cpu).and_then(|tensor| tensor.to_dtype(DType::F32));
    values.and_then(|values| values.flatten_all()?.to_vec1()).ok()
}
