//! Writes what the whole trunk of Lite0 sees in photos and crops of photos.
//!
//! `OUT/features/SET-plain.safetensors` holds the photos of a set in the order of its index,
//! `SET-crops-N.safetensors` those of the file `SET-N.jsonl` in a folder of crops. Each has the
//! tensor `pooled`, F16 `[photos, 1280]`, and beside it `SET-plain.names.jsonl` or
//! `SET-crops-N.names.jsonl` with one object a line, `{"image", "crop"?}`.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{bail, Context, Result};
use candle_core::{DType, Device, Tensor};
use image::{imageops, RgbImage};
use safetensors::{Dtype, SafeTensors, View};

use crate::checkpoint::ModelFile;
use crate::preprocess;
use crate::stem::{DeepFeatures, Stem};
use crate::tensor_file::{to_safetensors, RawTensor};
use crate::train::data::archive::{load_index, PhotoArchive};
use crate::train::data::photo_set::{PhotoSet, PHOTO_SETS};
use crate::train::data::pooled::Region;
use crate::train::files;
use crate::train::parallel;
use crate::train::teacher::stem_cache::extended_stem;

/// Writes the features of all photos, and of the crops in the folder `crops`, with the stem of the
/// model file `model`, which gets an extension if it has none. Files of the same stem and photos
/// are kept.
///
/// # Errors
///
/// If a file cannot be read or written, or a crop does not lie in its photo.
pub fn features(data: &Path, out: &Path, model: &Path, crops: Option<&Path>) -> Result<()> {
    let folder = out.join("features");
    std::fs::create_dir_all(&folder)?;
    let stem = ModelFile::read(&std::fs::read(model)?)?.stem;
    let stem = extended_stem(data, out, stem)?;
    for set in &PHOTO_SETS {
        let photos = load_index(data, set)?.into_iter();
        let plain = photos.map(|photo| Region { image: photo.name, crop: None }).collect();
        write_features(data, &folder, &stem, set, "plain", plain)?;
    }
    let Some(crops) = crops else { return Ok(()) };
    for round in 1.. {
        let mut is_last = true;
        for set in &PHOTO_SETS {
            let Ok(lines) =
                std::fs::read_to_string(crops.join(format!("{}-{round}.jsonl", set.name)))
            else {
                continue;
            };
            is_last = false;
            write_features(data, &folder, &stem, set, &format!("crops-{round}"), regions(&lines)?)?;
        }
        if is_last {
            break;
        }
    }
    Ok(())
}

/// The regions of a file of crops, which may be growing: its last line counts only when it ends.
fn regions(lines: &str) -> Result<Vec<Region>> {
    let whole = lines.rfind('\n').map_or("", |end| &lines[..end]);
    Ok(whole.lines().map(serde_json::from_str).collect::<Result<_, _>>()?)
}

/// Writes the features of `regions` of `set` and their names.
fn write_features(
    data: &Path,
    folder: &Path,
    stem: &Stem,
    set: &'static PhotoSet,
    view: &str,
    regions: Vec<Region>,
) -> Result<()> {
    let file = folder.join(format!("{}-{view}.safetensors", set.name));
    let stem_sha256 = stem.sha256();
    if is_done(&file, &stem_sha256, regions.len()) {
        return Ok(());
    }
    eprintln!("computing {} for {} photos", file.display(), regions.len());
    let archive = PhotoArchive::open(data, set)?;
    let pooled: Result<Vec<Vec<f32>>> = parallel::map(&regions, |region| {
        let features = of_region(&archive, stem, region);
        Ok(features.with_context(|| region.image.clone())?.pooled)
    });
    let pooled = pooled?.concat();
    let shape = (regions.len(), pooled.len() / regions.len().max(1));
    let pooled = Tensor::from_vec(pooled, shape, &Device::Cpu)?.to_dtype(DType::F16)?;
    let (shape, data) = (pooled.dims().to_vec(), View::data(&pooled).into_owned());
    let tensors = BTreeMap::from([("pooled".into(), RawTensor { dtype: Dtype::F16, shape, data })]);
    let metadata = BTreeMap::from([("stem_sha256".into(), stem_sha256)]);
    let names = regions.iter().map(serde_json::to_string).collect::<Result<Vec<_>, _>>()?;
    // First, because the features are what tells that both files are there.
    files::write(&file.with_extension("names.jsonl"), (names.join("\n") + "\n").as_bytes())?;
    files::write(&file, &to_safetensors(&tensors, &metadata))?;
    Ok(())
}

/// Whether `file` holds `count` photos' features of the stem with this hash.
fn is_done(file: &Path, stem_sha256: &str, count: usize) -> bool {
    let Ok(bytes) = std::fs::read(file) else { return false };
    let Ok((_, header)) = SafeTensors::read_metadata(&bytes) else { return false };
    let is_stem = header.metadata().as_ref().is_some_and(|metadata| {
        metadata.get("stem_sha256").is_some_and(|found| found == stem_sha256)
    });
    is_stem && header.info("pooled").is_some_and(|info| info.shape.first() == Some(&count))
}

/// The features of one region, squashed to the stem's square.
fn of_region(archive: &PhotoArchive, stem: &Stem, region: &Region) -> Result<DeepFeatures> {
    let photo = preprocess::decode(&archive.read(&region.image)?)?;
    let photo = match region.crop {
        Some(crop) => cropped(&photo, crop)?,
        None => photo,
    };
    let features = stem.forward(&preprocess::to_pixels(&photo, stem.config().input_size));
    stem.deep_features(&features).context("the stem has no extension")
}

fn cropped(photo: &RgbImage, crop: [u32; 4]) -> Result<RgbImage> {
    let [left, top, right, bottom] = crop;
    let (width, height) = photo.dimensions();
    if left >= right || top >= bottom || right > width || bottom > height {
        bail!("no crop {crop:?} in {width} x {height} pixels");
    }
    Ok(imageops::crop_imm(photo, left, top, right - left, bottom - top).to_image())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on should panic")]
mod tests {
    use super::*;
    use crate::random::Random;
    use crate::stem::{StemConfig, StemError, StemTensor};
    use crate::train::data::archive::tests::{tar_of, Folder};

    fn stem() -> Stem {
        let mut random = Random::new(5);
        let mut get = |name: &str, shape: &[usize]| {
            let count = shape.iter().product();
            Ok::<_, StemError>(if name.ends_with(".weight") {
                let weight = |_| i8::try_from(random.below(41)).unwrap() - 20;
                StemTensor::I8((0..count).map(weight).collect())
            } else {
                StemTensor::F32((0..count).map(|_| 0.01 + 0.01 * random.uniform()).collect())
            })
        };
        let stem = Stem::from_tensors(&StemConfig { input_size: 32, num_blocks: 15 }, &mut get);
        stem.unwrap().with_extension_tensors(&mut get).unwrap()
    }

    fn png(photo: &RgbImage) -> Vec<u8> {
        let mut bytes = std::io::Cursor::new(Vec::new());
        photo.write_to(&mut bytes, image::ImageFormat::Png).unwrap();
        bytes.into_inner()
    }

    #[test]
    fn crops_are_photos_of_their_own() {
        let folder = Folder::new("features");
        let photo = RgbImage::from_fn(60, 40, |x, y| {
            image::Rgb([x * 4, y * 6, (x * y) % 256].map(|value| u8::try_from(value).unwrap()))
        });
        let crop = imageops::crop_imm(&photo, 20, 0, 40, 30).to_image();
        folder.write("coco_more.tar", &tar_of(&[("a", &png(&photo)), ("b", &png(&crop))]));
        let lines =
            "{\"image\":\"a\",\"size\":[60,40],\"crop\":[20,0,60,30]}\n{\"image\":\"b\"}\n{\"im";
        let regions = regions(lines).unwrap();
        let (set, file) =
            (PhotoSet::named("coco_more"), folder.0.join("coco_more-crops-1.safetensors"));
        let stem = stem();
        let write = |regions| write_features(&folder.0, &folder.0, &stem, set, "crops-1", regions);
        write(regions).unwrap();
        let bytes = std::fs::read(&file).unwrap();
        let tensors = SafeTensors::deserialize(&bytes).unwrap();
        let pooled = tensors.tensor("pooled").unwrap();
        assert_eq!((pooled.dtype(), pooled.shape()), (Dtype::F16, &[2, 1280][..]));
        let (first, second) = pooled.data().split_at(2 * 1280);
        assert!(first == second && first.iter().any(|&byte| byte != 0));
        let names = std::fs::read_to_string(file.with_extension("names.jsonl")).unwrap();
        assert_eq!(names, "{\"image\":\"a\",\"crop\":[20,0,60,30]}\n{\"image\":\"b\"}\n");
        assert!(is_done(&file, &stem.sha256(), 2));
        assert!(!is_done(&file, &stem.sha256(), 3) && !is_done(&file, "another", 2));
        let outside = Region { image: "a".into(), crop: Some([0, 0, 61, 40]) };
        assert!(write(vec![outside]).is_err());
    }
}
