//! Stem features as the input of the vision encoder.

use std::sync::Arc;

use candle_core::{Device, Result, Tensor};

/// Dequantizes int8 stem features to floats, `[photos * patches, channels]`.
pub(crate) fn features(photos: &[Arc<[i8]>], channels: usize, scale: f32) -> Result<Tensor> {
    let values: Vec<f32> =
        photos.iter().flat_map(|photo| photo.iter().map(|&v| f32::from(v) * scale)).collect();
    let rows = values.len() / channels;
    Tensor::from_vec(values, (rows, channels), &Device::Cpu)
}
