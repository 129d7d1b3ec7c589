//! Values that are computed once for each photo and kept in a file.

use std::path::Path;

use image::RgbImage;

use crate::preprocess;
use crate::train::data::archive::PhotoArchive;
use crate::train::data::photo_set::Photo;
use crate::train::parallel;

type AnyError = Box<dyn std::error::Error>;

/// `len` bytes for each of `photos`, which must be of one set, in order. Reads them from `file`, or
/// computes them on all cores and writes the file.
pub(crate) fn cached(
    data: &Path,
    file: &Path,
    photos: &[Photo],
    len: usize,
    compute: impl Fn(&Photo, &RgbImage) -> Vec<i8> + Sync,
) -> Result<Vec<i8>, AnyError> {
    if let Ok(bytes) = std::fs::read(file) {
        if bytes.len() == len * photos.len() {
            return Ok(bytes.into_iter().map(|b| i8::from_le_bytes([b])).collect());
        }
    }
    let Some(first) = photos.first() else { return Ok(Vec::new()) };
    eprintln!("computing {} photos into {}", photos.len(), file.display());
    let archive = PhotoArchive::open(data, first.set)?;
    let of_photos: Result<Vec<Vec<i8>>, String> = parallel::map(photos, |photo| {
        let bytes = archive.read(&photo.name).map_err(|e| e.to_string())?;
        let image = preprocess::decode(&bytes).map_err(|e| format!("{}: {e}", photo.name))?;
        Ok(compute(photo, &image))
    });
    let out = of_photos?.concat();
    let bytes: Vec<u8> = out.iter().map(|v| v.to_le_bytes()[0]).collect();
    write_beside(file, &bytes)?;
    Ok(out)
}

/// Writes `bytes` to a temporary file and renames it to `file`, which is therefore either whole or
/// absent.
pub(crate) fn write_beside(file: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let beside = file.with_extension("part");
    std::fs::write(&beside, bytes)?;
    std::fs::rename(beside, file)
}
