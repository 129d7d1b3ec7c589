//! Reads the weight file, which has the tensor names of Hugging Face, and checks every shape.

use std::collections::BTreeSet;

use candle_core::safetensors::Load;
use candle_core::{DType, Device, Tensor};
use safetensors::{Dtype, SafeTensors};

use super::{resize_positions, Block, Dinov2Error, LayerNorm, Linear, HEAD_DIM, PATCH};

type Result<T> = std::result::Result<T, Dinov2Error>;

/// Replaces masked patches in DINOv2's own training; inference does not use it.
const MASK_TOKEN: &str = "embeddings.mask_token";

/// The weight file.
pub(super) struct Source<'a> {
    tensors: SafeTensors<'a>,
    /// Names of the tensors that have not been read yet.
    unread: BTreeSet<String>,
}

impl<'a> Source<'a> {
    pub(super) fn new(tensors: SafeTensors<'a>) -> Self {
        let unread = tensors.names().into_iter().filter(|name| *name != MASK_TOKEN);
        Self { unread: unread.map(str::to_owned).collect(), tensors }
    }

    /// Width of a token, from the shape of the CLS token; a multiple of [`HEAD_DIM`].
    pub(super) fn hidden_size(&self) -> Result<usize> {
        let name = "embeddings.cls_token";
        let found = self.shape(name)?;
        match found[..] {
            [1, 1, hidden] if hidden > 0 && hidden.is_multiple_of(HEAD_DIM) => Ok(hidden),
            _ => Err(wrong_shape(name, format!("[1, 1, a multiple of {HEAD_DIM}]"), found)),
        }
    }

    pub(super) fn num_layers(&self) -> usize {
        let is_layer = |name: &&str| name.ends_with(".layer_scale1.lambda1");
        self.tensors.names().into_iter().filter(is_layer).count()
    }

    /// The CLS token with its position added, `[1, hidden]`, and the positions of the patches,
    /// `[grid * grid, hidden]`.
    pub(super) fn embeddings(&mut self, hidden: usize, grid: usize) -> Result<(Tensor, Tensor)> {
        let name = "embeddings.position_embeddings";
        let found = self.shape(name)?;
        let old = found.get(1).map_or(0, |tokens| tokens.saturating_sub(1).isqrt());
        if old == 0 || found != [1, 1 + old * old, hidden] {
            let expected = format!("[1, 1 + a square, {hidden}]");
            return Err(wrong_shape(name, expected, found));
        }
        let table = self.tensor(name, &found)?;
        let cls = self.tensor("embeddings.cls_token", &[1, 1, hidden])?;
        let resized = || -> candle_core::Result<(Tensor, Tensor)> {
            let table = table.reshape((1 + old * old, hidden))?;
            let patches = table.narrow(0, 1, old * old)?.flatten_all()?.to_vec1::<f32>()?;
            let patches = resize_positions(&patches, old, grid);
            let patches = Tensor::from_vec(patches, (grid * grid, hidden), &Device::Cpu)?;
            Ok(((cls.reshape((1, hidden))? + table.narrow(0, 0, 1)?)?, patches))
        };
        Ok(resized().expect("the shapes were checked above"))
    }

    pub(super) fn patch_embed(&mut self, hidden: usize) -> Result<Linear> {
        let name = "embeddings.patch_embeddings.projection";
        let weight = self.tensor(&format!("{name}.weight"), &[hidden, 3, PATCH, PATCH])?;
        let weight = weight.reshape((hidden, 3 * PATCH * PATCH)).and_then(|weight| weight.t());
        let bias = self.tensor(&format!("{name}.bias"), &[hidden])?;
        Ok(Linear { weight: weight.expect("the shape was checked above"), bias })
    }

    pub(super) fn block(&mut self, layer: usize, hidden: usize) -> Result<Block> {
        let name = |part: &str| format!("encoder.layer.{layer}.{part}");
        let mut square = |part: &str| self.linear(&name(part), hidden, hidden);
        Ok(Block {
            query: square("attention.attention.query")?,
            key: square("attention.attention.key")?,
            value: square("attention.attention.value")?,
            proj: square("attention.output.dense")?,
            norm1: self.norm(&name("norm1"), hidden)?,
            layer_scale1: self.tensor(&name("layer_scale1.lambda1"), &[hidden])?,
            norm2: self.norm(&name("norm2"), hidden)?,
            fc1: self.linear(&name("mlp.fc1"), hidden, 4 * hidden)?,
            fc2: self.linear(&name("mlp.fc2"), 4 * hidden, hidden)?,
            layer_scale2: self.tensor(&name("layer_scale2.lambda1"), &[hidden])?,
        })
    }

    pub(super) fn norm(&mut self, name: &str, hidden: usize) -> Result<LayerNorm> {
        Ok(LayerNorm {
            weight: self.tensor(&format!("{name}.weight"), &[hidden])?,
            bias: self.tensor(&format!("{name}.bias"), &[hidden])?,
        })
    }

    fn linear(&mut self, name: &str, inputs: usize, outputs: usize) -> Result<Linear> {
        let weight = self.tensor(&format!("{name}.weight"), &[outputs, inputs])?;
        let bias = self.tensor(&format!("{name}.bias"), &[outputs])?;
        Ok(Linear { weight: weight.t().expect("the shape was checked above"), bias })
    }

    /// Fails if the file holds a tensor that was not read.
    pub(super) fn expect_empty(&self) -> Result<()> {
        match self.unread.first() {
            Some(name) => Err(Dinov2Error::UnknownTensor { name: name.clone() }),
            None => Ok(()),
        }
    }

    fn shape(&self, name: &str) -> Result<Vec<usize>> {
        let tensor = self.tensors.tensor(name);
        let tensor = tensor.map_err(|_| Dinov2Error::MissingTensor { name: name.into() })?;
        Ok(tensor.shape().to_vec())
    }

    /// Reads a tensor of shape `expected` as f32.
    fn tensor(&mut self, name: &str, expected: &[usize]) -> Result<Tensor> {
        let found = self.shape(name)?;
        if found != expected {
            return Err(wrong_shape(name, format!("{expected:?}"), found));
        }
        self.unread.remove(name);
        let bad = || Dinov2Error::BadValues { name: name.into() };
        let view = self.tensors.tensor(name)?;
        if !matches!(view.dtype(), Dtype::F16 | Dtype::BF16 | Dtype::F32) {
            return Err(bad());
        }
        let tensor = view.load(&Device::Cpu).and_then(|tensor| tensor.to_dtype(DType::F32));
        let tensor = tensor.map_err(|_| bad())?;
        let values = tensor.flatten_all().and_then(|values| values.to_vec1::<f32>());
        if values.is_ok_and(|values| values.iter().all(|value| value.is_finite())) {
            Ok(tensor)
        } else {
            Err(bad())
        }
    }
}

fn wrong_shape(name: &str, expected: String, found: Vec<usize>) -> Dinov2Error {
    Dinov2Error::WrongShape { name: name.into(), expected, found }
}
