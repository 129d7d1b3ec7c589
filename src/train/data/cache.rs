//! Caches numbers that are computed once for each photo.

use std::path::Path;

use anyhow::{Context, Result};
use bytemuck::Pod;
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
pub(crate) fn cached<T: Pod + Send>(
    data: &Path,
    file: &Path,
    photos: &[Photo],
    len: usize,
    compute: impl Fn(&Photo, &RgbImage) -> Vec<T> + Sync,
) -> Result<Vec<T>> {
    if let Ok(bytes) = std::fs::read(file) {
        if bytes.len() == len * photos.len() * size_of::<T>() {
            let cast = bytemuck::try_cast_vec(bytes);
            // A vector of bytes can become one of i8 but not of larger numbers: it is not aligned.
            return Ok(cast.unwrap_or_else(|(_, bytes)| bytemuck::pod_collect_to_vec(&bytes)));
        }
    }
    let Some(first) = photos.first() else { return Ok(Vec::new()) };
    eprintln!("computing {} for {} photos", file.display(), photos.len());
    let archive = PhotoArchive::open(data, first.set)?;
    let of_photos: Result<Vec<Vec<T>>> = parallel::map(photos, |photo| {
        let bytes = archive.read(&photo.name)?;
        let image = preprocess::decode(&bytes).with_context(|| photo.name.clone())?;
        Ok(compute(photo, &image))
    });
    let values = of_photos?.concat();
    files::write(file, bytemuck::cast_slice(&values))?;
    Ok(values)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on should panic")]
mod tests {
    use super::*;
    use crate::train::data::photo_set::{PhotoSet, Split};

    #[test]
    fn numbers_of_the_right_size_are_read_and_others_computed_again() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("cache.bin");
        let photo = Photo {
            set: PhotoSet::flickr8k(),
            name: "a.jpg".into(),
            split: Split::Train,
            captions: Vec::new(),
            label: None,
            labels: Vec::new(),
            fine: None,
        };
        let photos = [photo.clone(), photo];
        let values = [0.5f32, -2.0, 3.25, 1e-9];
        files::write(&file, bytemuck::cast_slice(&values)).unwrap();
        let read = |len: usize| {
            cached::<f32>(folder.path(), &file, &photos, len, |_, _| panic!("no photo to open"))
        };
        assert_eq!(read(2).unwrap(), values);
        let error = read(3).unwrap_err().to_string();
        assert!(error.contains("flickr8k.tar"), "{error}");
    }
}
