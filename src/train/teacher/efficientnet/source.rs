//! The weight file: names, shapes, half precision, and batch norm folded into the convolutions.

use safetensors::{Dtype, SafeTensors};

use super::{Block, Depthwise, EfficientNetError, Pointwise, CHANNEL_CHUNK};

/// The epsilon of every batch norm, from the weights' own metadata.
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
        // [out, colour, tap] -> [out, tap, colour]
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
        let is_right = |shape: &[usize]| shape[1..] == [inputs, 1, 1];
        let (weight, shape) = self.tensor(&format!("{conv}.weight"), is_right, &expected)?;
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
        let is_right = |shape: &[usize]| {
            [[channels, 1, 3, 3], [channels, 1, 5, 5]].iter().any(|right| shape == right)
                && channels.is_multiple_of(CHANNEL_CHUNK)
        };
        let (weight, shape) = self.tensor(&format!("{conv}.weight"), is_right, &expected)?;
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

    /// A batch norm as the factor and the offset of each channel.
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

    /// A tensor's values and shape; `is_right` is asked about shapes without a zero only.
    fn tensor(
        &self,
        name: &str,
        is_right: impl Fn(&[usize]) -> bool,
        expected: &str,
    ) -> Result<(Vec<f32>, Vec<usize>), EfficientNetError> {
        let tensor = self.0.tensor(name);
        let tensor = tensor.map_err(|_| EfficientNetError::MissingTensor { name: name.into() })?;
        let shape = tensor.shape();
        if shape.is_empty() || shape.contains(&0) || !is_right(shape) {
            let expected = expected.into();
            let found = shape.to_vec();
            return Err(EfficientNetError::WrongShape { name: name.into(), expected, found });
        }
        let data = tensor.data();
        let values: Vec<f32> = match tensor.dtype() {
            Dtype::F16 => {
                data.chunks_exact(2).map(|b| f16_to_f32(u16::from_le_bytes([b[0], b[1]]))).collect()
            }
            Dtype::F32 => {
                data.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect()
            }
            _ => Vec::new(),
        };
        if values.is_empty() || values.iter().any(|value| !value.is_finite()) {
            return Err(EfficientNetError::BadValues { name: name.into() });
        }
        Ok((values, shape.to_vec()))
    }
}

/// Multiplies each of the equally long rows by its own factor.
fn scale_rows(mut weight: Vec<f32>, factors: &[f32]) -> Vec<f32> {
    let length = weight.len() / factors.len();
    for (row, factor) in weight.chunks_exact_mut(length).zip(factors) {
        row.iter_mut().for_each(|weight| *weight *= factor);
    }
    weight
}

/// IEEE 754 half precision to single, exactly.
pub(super) fn f16_to_f32(bits: u16) -> f32 {
    let sign = u32::from(bits & 0x8000) << 16;
    let magnitude = u32::from(bits & 0x7fff);
    if magnitude >= 0x7c00 {
        return f32::from_bits(sign | 0x7f80_0000 | (magnitude & 0x3ff) << 13);
    }
    // As f32 bits the exponent's bias is 112 too small; a power of two corrects it, subnormals too.
    let value = f32::from_bits(magnitude << 13) * f32::from_bits((127 + 112) << 23);
    f32::from_bits(sign | value.to_bits())
}
