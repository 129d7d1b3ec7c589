//! The frozen int8 stem of a run: quantized once from Lite0's float weights, then cached in a file.

use std::path::Path;

use anyhow::{Context, Result};
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};

use crate::preprocess;
use crate::stem::{Stem, StemConfig, StemError, StemTensor};
use crate::train::data::archive::load_index;
use crate::train::data::archive::PhotoArchive;
use crate::train::data::photo_set::{PhotoSet, Split};
use crate::train::files;
use crate::train::teacher::efficientnet::EfficientNet;
use crate::train::teacher::stem_quantization::build_stem;

/// Every 30th training photo calibrates the stem's activation scales; these are about 200 photos.
const CALIBRATION_STRIDE: usize = 30;

/// The stem of `config`, read from the folder `cache` or built from the weights and photos in
/// `data` and written there.
///
/// # Errors
///
/// If a file cannot be read or written, or does not hold such a stem.
pub fn stem(data: &Path, cache: &Path, config: &StemConfig) -> Result<Stem> {
    let file = cache.join(format!("stem-{}-{}.safetensors", config.num_blocks, config.input_size));
    if let Ok(bytes) = std::fs::read(&file) {
        return read(&bytes, config).with_context(|| file.display().to_string());
    }
    let weights = data.join("efficientnet_lite0.safetensors");
    let lite0 = EfficientNet::load(&files::read(&weights)?);
    let lite0 = lite0.with_context(|| weights.display().to_string())?;
    let archive = PhotoArchive::open(data, PhotoSet::flickr8k())?;
    let mut calibration = Vec::new();
    let train =
        load_index(data, PhotoSet::flickr8k())?.into_iter().filter(|p| p.split == Split::Train);
    for photo in train.step_by(CALIBRATION_STRIDE) {
        let bytes = archive.read(&photo.name)?;
        let photo = preprocess::decode(&bytes).with_context(|| photo.name.clone())?;
        calibration.push(preprocess::to_pixels(&photo, config.input_size));
    }
    let stem = build_stem(&lite0, config, calibration.into_iter());
    files::write(&file, &write(&stem)?)?;
    Ok(stem)
}

fn write(stem: &Stem) -> Result<Vec<u8>> {
    let tensors: Vec<_> = stem
        .tensors()
        .into_iter()
        .map(|(name, shape, tensor)| {
            let (dtype, bytes): (_, Vec<u8>) = match tensor {
                StemTensor::I8(v) => (Dtype::I8, bytemuck::cast_slice(&v).to_vec()),
                StemTensor::F32(v) => (Dtype::F32, bytemuck::cast_slice(&v).to_vec()),
            };
            (name, dtype, shape, bytes)
        })
        .collect();
    let views = tensors.iter().map(|(name, dtype, shape, bytes)| {
        Ok((name, TensorView::new(*dtype, shape.clone(), bytes)?))
    });
    let views = views.collect::<Result<Vec<_>, safetensors::SafeTensorError>>()?;
    Ok(safetensors::serialize(views, None)?)
}

fn read(bytes: &[u8], config: &StemConfig) -> Result<Stem> {
    let tensors = SafeTensors::deserialize(bytes)?;
    let mut get = |name: &str, _: &[usize]| -> Result<StemTensor, CacheError> {
        let view = tensors.tensor(name)?;
        Ok(match view.dtype() {
            Dtype::I8 => StemTensor::I8(bytemuck::cast_slice(view.data()).to_vec()),
            _ => StemTensor::F32(bytemuck::pod_collect_to_vec(view.data())),
        })
    };
    Ok(Stem::from_tensors(config, &mut get)?)
}

#[derive(Debug, thiserror::Error)]
enum CacheError {
    #[error(transparent)]
    Container(#[from] safetensors::SafeTensorError),
    #[error(transparent)]
    Stem(#[from] StemError),
}
