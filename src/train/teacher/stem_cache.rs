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
use crate::train::teacher::stem_quantization::{build_stem, extend_stem};

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
        let read = || -> Result<Stem> {
            let tensors = SafeTensors::deserialize(&bytes)?;
            let stem = Stem::from_tensors(config, &mut tensor_of(&tensors))?;
            Ok(stem)
        };
        return read().with_context(|| file.display().to_string());
    }
    let photos = calibration(data, config.input_size)?;
    let stem = build_stem(&lite0(data)?, config, photos.into_iter());
    files::write(&file, &write(&stem)?)?;
    Ok(stem)
}

/// `stem` with an extension: its own, or one that is read from the folder `cache` or built from the
/// weights and photos in `data` and written there.
///
/// # Errors
///
/// If a file cannot be read or written, or does not hold such an extension.
pub fn extended_stem(data: &Path, cache: &Path, stem: Stem) -> Result<Stem> {
    if stem.has_extension() {
        return Ok(stem);
    }
    let file = cache.join(format!("stem-{}-extended.safetensors", &stem.output_sha256()[..12]));
    if let Ok(bytes) = std::fs::read(&file) {
        let read = || -> Result<Stem> {
            let tensors = SafeTensors::deserialize(&bytes)?;
            let stem = stem.with_extension_tensors(&mut tensor_of(&tensors))?;
            Ok(stem)
        };
        return read().with_context(|| file.display().to_string());
    }
    let photos = calibration(data, stem.config().input_size)?;
    let stem = extend_stem(&lite0(data)?, stem, photos.into_iter());
    files::write(&file, &write(&stem)?)?;
    Ok(stem)
}

/// Float Lite0 from the data folder.
pub(crate) fn lite0(data: &Path) -> Result<EfficientNet> {
    let file = data.join("efficientnet_lite0.safetensors");
    EfficientNet::load(&files::read(&file)?).with_context(|| file.display().to_string())
}

/// The photos that calibrate activation scales, `[size, size, 3]` RGB8 each.
fn calibration(data: &Path, size: usize) -> Result<Vec<Vec<u8>>> {
    let archive = PhotoArchive::open(data, PhotoSet::flickr8k())?;
    let photos = load_index(data, PhotoSet::flickr8k())?.into_iter();
    let photos = photos.filter(|photo| photo.split == Split::Train).step_by(CALIBRATION_STRIDE);
    let pixels = photos.map(|photo| {
        let bytes = archive.read(&photo.name)?;
        let photo = preprocess::decode(&bytes).with_context(|| photo.name.clone())?;
        Ok(preprocess::to_pixels(&photo, size))
    });
    pixels.collect()
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

/// A source of the tensors in a cache file.
fn tensor_of<'a>(
    tensors: &'a SafeTensors<'a>,
) -> impl FnMut(&str, &[usize]) -> Result<StemTensor, CacheError> + 'a {
    move |name: &str, _: &[usize]| {
        let view = tensors.tensor(name)?;
        Ok(match view.dtype() {
            Dtype::I8 => StemTensor::I8(bytemuck::cast_slice(view.data()).to_vec()),
            _ => StemTensor::F32(bytemuck::pod_collect_to_vec(view.data())),
        })
    }
}

#[derive(Debug, thiserror::Error)]
enum CacheError {
    #[error(transparent)]
    Container(#[from] safetensors::SafeTensorError),
    #[error(transparent)]
    Stem(#[from] StemError),
}
