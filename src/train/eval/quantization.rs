//! Compares the int8 stem and its extension with float Lite0, on dev photos of Flickr8k.

use std::path::Path;
use std::time::Instant;

use anyhow::{bail, Context, Result};
use serde::Serialize;

use crate::checkpoint::ModelFile;
use crate::preprocess;
use crate::stem::StemTensor;
use crate::train::data::archive::{load_index, PhotoArchive};
use crate::train::data::photo_set::{PhotoSet, Split};
use crate::train::teacher::stem_cache::{extended_stem, lite0};

#[derive(Debug, Serialize)]
struct Comparison {
    photos: usize,
    pooled_cosine: Agreement,
    grid_cosine: Agreement,
    /// Share of photos of which both networks give the same ImageNet class the highest logit.
    same_class: f32,
    /// Share of photos whose class by the float network is among the five best in int8.
    class_in_best_five: f32,
    /// Shortest times of a photo on one thread, in milliseconds: the others also show what else the
    /// machine did.
    stem_ms: f64,
    extension_ms: f64,
    /// Size of the extension's tensors.
    extension_bytes: usize,
}

#[derive(Debug, Serialize)]
struct Agreement {
    mean: f32,
    lowest: f32,
}

/// Prints as JSON how far int8 features of `count` photos agree with float ones, and what they
/// cost. The stem is that of the model file `model`.
///
/// # Errors
///
/// If a file cannot be read or written, or `count` is 0.
pub fn compare_quantized(data: &Path, out: &Path, model: &Path, count: usize) -> Result<()> {
    std::fs::create_dir_all(out)?;
    let stem = extended_stem(data, out, ModelFile::read(&std::fs::read(model)?)?.stem)?;
    let (lite0, size) = (lite0(data)?, stem.config().input_size);
    let archive = PhotoArchive::open(data, PhotoSet::flickr8k())?;
    let photos = load_index(data, PhotoSet::flickr8k())?.into_iter();
    let photos = photos.filter(|photo| photo.split == Split::Dev).take(count);
    let (mut pooled, mut grids, mut same, mut in_five) = (Vec::new(), Vec::new(), 0, 0);
    let (mut stem_ms, mut extension_ms) = (f64::INFINITY, f64::INFINITY);
    for photo in photos {
        let photo = preprocess::decode(&archive.read(&photo.name)?)?;
        let pixels = preprocess::to_pixels(&photo, size);
        let started = Instant::now();
        let output = stem.forward(&pixels);
        let convolved = Instant::now();
        let found = stem.deep_features(&output).context("the stem has no extension")?;
        extension_ms = extension_ms.min(convolved.elapsed().as_secs_f64() * 1e3);
        stem_ms = stem_ms.min((convolved - started).as_secs_f64() * 1e3);
        let expected = lite0.forward(&pixels, size);
        pooled.push(cosine(&found.pooled, &expected.pooled));
        let grid: Vec<f32> = found.grid.iter().map(|&value| f32::from(value)).collect();
        grids.push(cosine(&grid, &expected.grid));
        let class = best(&expected.logits, 1)[0];
        let classes = best(&lite0.logits(&found.pooled), 5);
        same += usize::from(classes[0] == class);
        in_five += usize::from(classes.contains(&class));
    }
    let photos = pooled.len();
    if photos == 0 {
        bail!("expected at least one photo");
    }
    let tensors = stem.tensors().into_iter();
    // The extension's tensors follow the stem's.
    let extension = tensors.skip_while(|(name, ..)| name != "output_scale").skip(1);
    let bytes = extension.map(|(.., tensor)| match tensor {
        StemTensor::I8(values) => values.len(),
        StemTensor::F32(values) => 4 * values.len(),
    });
    let comparison = Comparison {
        photos,
        pooled_cosine: agreement(&pooled),
        grid_cosine: agreement(&grids),
        same_class: same as f32 / photos as f32,
        class_in_best_five: in_five as f32 / photos as f32,
        stem_ms,
        extension_ms,
        extension_bytes: bytes.sum(),
    };
    println!("{}", serde_json::to_string_pretty(&comparison)?);
    Ok(())
}

fn agreement(cosines: &[f32]) -> Agreement {
    let mean = cosines.iter().sum::<f32>() / cosines.len() as f32;
    Agreement { mean, lowest: cosines.iter().copied().fold(1.0, f32::min) }
}

fn cosine(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len(), "both networks have features of one shape");
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}

/// The classes with the highest logits, best first.
fn best(logits: &[f32], count: usize) -> Vec<usize> {
    let mut classes: Vec<usize> = (0..logits.len()).collect();
    classes.sort_by(|&a, &b| logits[b].total_cmp(&logits[a]));
    classes.truncate(count);
    classes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_come_best_first() {
        assert_eq!(best(&[0.5, -1.0, 3.0, 2.0], 3), [2, 3, 0]);
    }

    #[test]
    fn a_cosine_ignores_lengths_and_sees_directions() {
        assert!((cosine(&[1.0, 2.0], &[2.0, 4.0]) - 1.0).abs() < 1e-6);
        assert!(cosine(&[1.0, 2.0], &[2.0, -1.0]).abs() < 1e-6);
    }
}
