//! Caches int8 values that are computed once for each photo.

use std::path::Path;

use image::RgbImage;

use crate::preprocess;
use crate::train::data::archive::PhotoArchive;
use crate::train::data::photo_set::Photo;
use crate::train::parallel;

type AnyError = Box<dyn std::error::Error>;

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
) -> Result<Vec<i8>, AnyError> {
    if let Ok(bytes) = std::fs::read(file) {
        if bytes.len() == len * photos.len() {
            return Ok(bytemuck::cast_vec(bytes));
        }
    }
    let Some(first) = photos.first() else { return Ok(Vec::new()) };
    eprintln!("computing {} for {} photos", file.display(), photos.len());
    let archive = PhotoArchive::open(data, first.set)?;
    let of_photos: Result<Vec<Vec<i8>>, String> = parallel::map(photos, |photo| {
        let bytes = archive.read(&photo.name).map_err(|e| e.to_string())?;
        let image = preprocess::decode(&bytes).map_err(|e| format!("{}: {e}", photo.name))?;
        Ok(compute(photo, &image))
    });
    let values = of_photos?.concat();
    write_beside(file, bytemuck::cast_slice(&values))?;
    Ok(values)
}

/// Writes `bytes` to a temporary file and renames it to `file`, which is therefore either whole or
/// absent.
pub(crate) fn write_beside(file: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let temporary = file.with_extension("part");
    std::fs::write(&temporary, bytes)?;
    std::fs::rename(temporary, file)
}
