//! Caches int8 values that are computed once for each photo.

use std::path::Path;

use anyhow::{Context, Result};
use image::RgbImage;

use crate::preprocess;
use crate::train::data::archive::PhotoArchive;
use crate::train::data::photo_set::Photo;
use crate::train::{files, parallel};

/// The `len` values that `compute` gives for each of `photos`, concatenated in their order. All
/// photos must belong to one set. Reads the values from `file` if it has the right size; otherwise
/// computes them on all cores and writes the file.
///
/// # Errors
///
/// If a photo cannot be read or decoded, or the file cannot be written.
pub(crate) fn cached(
    data: &Path,
    file: &Path,
    photos: &[Photo],
    len: usize,
    compute: impl Fn(&Photo, &RgbImage) -> Vec<i8> + Sync,
) -> Result<Vec<i8>> {
    if let Ok(bytes) = std::fs::read(file) {
        if bytes.len() == len * photos.len() {
            return Ok(bytemuck::cast_vec(bytes));
        }
    }
    let Some(first) = photos.first() else { return Ok(Vec::new()) };
    eprintln!("computing {} for {} photos", file.display(), photos.len());
    let archive = PhotoArchive::open(data, first.set)?;
    let of_photos: Result<Vec<Vec<i8>>> = parallel::map(photos, |photo| {
        let bytes = archive.read(&photo.name)?;
        let image = preprocess::decode(&bytes).with_context(|| photo.name.clone())?;
        Ok(compute(photo, &image))
    });
    let values = of_photos?.concat();
    files::write(file, bytemuck::cast_slice(&values))?;
    Ok(values)
}
