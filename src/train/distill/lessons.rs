//! What a teacher says about photos, and how far the vision encoder is from it.
//!
//! Loss: `1 - cos` to the teacher's pooled vector, to each cell of its last map and to what people wrote about the photo, if
//! they did (the mean tf-idf vector of their captions), all centred, and the cross entropy to the teacher's ImageNet
//! classes, if it has any (Hinton et al. 2015). The encoder answers through linear heads that are dropped afterwards.

use std::path::Path;
use std::sync::Arc;

use candle_core::{Device, Result, Tensor};

use crate::config::Config;
use crate::model::{unit_rows, BitMar};
use crate::preprocess;
use crate::train::captions::features;
use crate::train::data::Photo;
use crate::train::dataset::{cached, View};
use crate::train::efficientnet::Features;
use crate::train::losses::soft_cross_entropy;
use crate::train::teacher::{TargetSizes, Teacher};
use crate::train::trainer::Measures;
use crate::weights::{Init, ModelError, Weights};

type AnyError = Box<dyn std::error::Error>;

/// What one step of a cached logit is worth: 0 to 255 steps reach from -32 to 32.
const LOGIT_STEP: f32 = 0.25;
/// Weight of the classes beside the cosines.
const CLASS_WEIGHT: f64 = 0.2;
/// Weight of the captions beside the teacher.
const WORDS_WEIGHT: f64 = 0.5;

/// What the teacher says about a photo, in bytes. Lengths do not matter to a cosine, so vectors are
/// scaled to fill them.
#[derive(Debug, Clone)]
pub struct Target {
    bytes: Arc<[i8]>,
    sizes: TargetSizes,
}

impl Target {
    fn bytes_of(seen: &Features, sizes: TargetSizes) -> Vec<i8> {
        let mut bytes = Vec::with_capacity(sizes.total());
        quantize(&seen.pooled, &mut bytes);
        #[allow(clippy::cast_possible_truncation, reason = "`as` saturates")]
        bytes.extend(seen.logits.iter().map(|logit| (logit / LOGIT_STEP).round() as i8));
        seen.grid.chunks_exact(sizes.channels).for_each(|cell| quantize(cell, &mut bytes));
        bytes
    }

    fn pooled(&self) -> &[i8] {
        &self.bytes[..self.sizes.pooled]
    }

    fn logits(&self) -> &[i8] {
        &self.bytes[self.sizes.pooled..][..self.sizes.classes]
    }

    fn grid(&self) -> &[i8] {
        &self.bytes[self.sizes.pooled + self.sizes.classes..]
    }
}

fn quantize(values: &[f32], out: &mut Vec<i8>) {
    let largest = values.iter().fold(f32::MIN_POSITIVE, |most, v| most.max(v.abs()));
    #[allow(clippy::cast_possible_truncation, reason = "at most 127")]
    out.extend(values.iter().map(|v| (v / largest * 127.0).round() as i8));
}

/// What the teacher says about `photos` in a view, from `file` or computed into it.
pub fn targets(
    teacher: &Teacher,
    data: &Path,
    photos: &[Photo],
    view: View,
    file: &Path,
) -> std::result::Result<Vec<Target>, AnyError> {
    let (sizes, size) = (teacher.sizes(), teacher.size());
    let bytes = cached(data, file, photos, sizes.total(), |photo, image| {
        let shown = view.apply(image, &photo.name);
        Target::bytes_of(&teacher.forward(&preprocess::to_pixels(&shown, size)), sizes)
    })?;
    let each = bytes.chunks_exact(sizes.total());
    Ok(each.map(|bytes| Target { bytes: Arc::from(bytes), sizes }).collect())
}

/// A view of a photo with what is said about it.
#[derive(Debug, Clone)]
pub struct Shown {
    /// Its stem features, `[patches * channels]` int8.
    pub view: Arc<[i8]>,
    /// What the teacher says.
    pub target: Target,
    /// Whether the teacher said it about the photo that this view mirrors.
    pub is_mirrored: bool,
    /// What people wrote: a vector of one length for all photos that have one.
    pub words: Option<Arc<[f32]>>,
}

/// Linear read-outs of the vision encoder, dropped after training.
struct Heads {
    pooled: Tensor,
    /// Absent if the teacher has no classes.
    classes: Option<Tensor>,
    /// Absent if nobody wrote about any photo.
    words: Option<Tensor>,
    grid: Tensor,
}

/// Photos and what is said about them.
pub struct Lessons {
    heads: Heads,
    photos: Vec<Shown>,
    pooled_mean: Tensor,
    grid_mean: Tensor,
    words_mean: Tensor,
    stem_scale: f32,
}

/// Some photos in one view each.
#[derive(Debug, Clone)]
pub struct Lesson(Vec<Shown>);

impl Lessons {
    /// The lessons of `photos`; the variables of their heads are made under `train.teacher`.
    ///
    /// # Panics
    ///
    /// If there is no photo, or the teacher's map has other cells than the encoder has patches.
    pub fn new(
        weights: &Weights,
        config: &Config,
        photos: Vec<Shown>,
        stem_scale: f32,
    ) -> std::result::Result<Self, ModelError> {
        let hidden = config.vision.hidden_size;
        let sizes = photos[0].target.sizes;
        let words: Vec<&[f32]> = photos.iter().filter_map(|photo| photo.words.as_deref()).collect();
        let terms = words.first().map_or(0, |words| words.len());
        assert_eq!(sizes.cells, config.num_patches(), "the teacher's map has other cells");
        let heads = weights.pp("train").pp("teacher");
        let init = Init::Normal((hidden as f32).sqrt().recip());
        let head = |name: &str, outputs: usize| heads.tensor(name, &[outputs, hidden], init);
        Ok(Self {
            heads: Heads {
                pooled: head("pooled", sizes.pooled)?,
                classes: match sizes.classes {
                    0 => None,
                    classes => Some(head("classes", classes)?),
                },
                words: match terms {
                    0 => None,
                    terms => Some(head("words", terms)?),
                },
                grid: head("grid", sizes.channels)?,
            },
            pooled_mean: mean(photos.iter().map(|photo| photo.target.pooled()), sizes.pooled)?,
            grid_mean: mean(photos.iter().map(|photo| photo.target.grid()), sizes.channels)?,
            words_mean: mean(words.into_iter(), terms)?,
            photos,
            stem_scale,
        })
    }

    /// How many views there are.
    pub fn count(&self) -> usize {
        self.photos.len()
    }

    /// The views of these numbers.
    pub fn lesson(&self, numbers: impl Iterator<Item = usize>) -> Lesson {
        Lesson(numbers.map(|number| self.photos[number].clone()).collect())
    }

    /// How far what `model` sees is from what the teacher said.
    pub fn loss(&self, model: &BitMar, lesson: &Lesson) -> Result<(Tensor, Measures)> {
        let config = model.config();
        let lesson = &lesson.0;
        let views: Vec<_> = lesson.iter().map(|photo| photo.view.clone()).collect();
        let stem = features(&views, config.stem.output_channels(), self.stem_scale)?;
        let seen = model.vision().forward(&stem)?;
        let (side, channels) = (config.stem.output_grid(), self.grid_mean.elem_count());
        let pooled = lesson.iter().flat_map(|photo| photo.target.pooled()).map(|&v| v.into());
        let grid = lesson.iter().flat_map(|photo| {
            let map = mirrored(photo.target.grid(), side, channels, photo.is_mirrored);
            map.into_iter().map(f32::from)
        });
        let pooled = distance(&seen.pooled, &self.heads.pooled, pooled, &self.pooled_mean)?;
        let grid = distance(&seen.patches, &self.heads.grid, grid, &self.grid_mean)?;
        let mut measures =
            Measures::from([("pooled", pooled.to_scalar()?), ("grid", grid.to_scalar()?)]);
        let mut loss = (pooled + grid)?;
        if let Some(head) = &self.heads.classes {
            let logits = seen.pooled.matmul(&head.t()?)?;
            let wanted = lesson.iter().flat_map(|photo| photo.target.logits());
            let wanted: Vec<f32> = wanted.map(|&logit| f32::from(logit) * LOGIT_STEP).collect();
            let wanted = Tensor::from_vec(wanted, logits.shape(), &Device::Cpu)?;
            let classes = soft_cross_entropy(&logits, &wanted)?;
            measures.insert("classes", classes.to_scalar()?);
            loss = (loss + (classes * CLASS_WEIGHT)?)?;
        }
        let told = (0u32..).zip(lesson).filter_map(|(row, p)| Some((row, p.words.as_deref()?)));
        let (rows, words): (Vec<u32>, Vec<&[f32]>) = told.unzip();
        if let (Some(head), false) = (&self.heads.words, rows.is_empty()) {
            let rows = Tensor::new(rows, &Device::Cpu)?;
            let seen = seen.pooled.index_select(&rows, 0)?;
            let words = words.into_iter().flatten().copied();
            let words = distance(&seen, head, words, &self.words_mean)?;
            measures.insert("words", words.to_scalar()?);
            loss = (loss + (words * WORDS_WEIGHT)?)?;
        }
        Ok((loss, measures))
    }
}

/// The mean of rows `width` wide, `[width]`.
fn mean<'a, T: Copy + Into<f64> + 'a>(
    rows: impl Iterator<Item = &'a [T]>,
    width: usize,
) -> Result<Tensor> {
    let (mut sums, mut count) = (vec![0f64; width], 0.0);
    for row in rows.flat_map(|rows| rows.chunks_exact(width.max(1))) {
        sums.iter_mut().zip(row).for_each(|(sum, &value)| *sum += value.into());
        count += 1.0;
    }
    #[allow(clippy::cast_possible_truncation, reason = "a mean of small numbers")]
    let means: Vec<f32> = sums.into_iter().map(|sum| (sum / f64::max(count, 1.0)) as f32).collect();
    Tensor::from_vec(means, width, &Device::Cpu)
}

/// `mean(1 - cos(rows . head^T, target - mean))`.
fn distance(
    rows: &Tensor,
    head: &Tensor,
    target: impl Iterator<Item = f32>,
    mean: &Tensor,
) -> Result<Tensor> {
    let shape = (rows.dim(0)?, mean.elem_count());
    let target = Tensor::from_vec(target.collect::<Vec<f32>>(), shape, &Device::Cpu)?;
    let target = unit_rows(&target.broadcast_sub(mean)?)?;
    let cosine = (unit_rows(&rows.matmul(&head.t()?)?)? * target)?.sum(1)?.mean_all()?;
    cosine.affine(-1.0, 1.0)
}

/// A map's cells `[side * side, channels]`, left and right exchanged if asked for.
fn mirrored(map: &[i8], side: usize, channels: usize, is_mirrored: bool) -> Vec<i8> {
    if !is_mirrored {
        return map.to_vec();
    }
    let rows = map.chunks_exact(side * channels);
    rows.flat_map(|row| row.chunks_exact(channels).rev().flatten()).copied().collect()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::random::Random;

    fn random_bytes(random: &mut Random, count: usize) -> Vec<i8> {
        (0..count).map(|_| i8::try_from(random.below(255)).unwrap_or(i8::MIN)).collect()
    }

    /// Photos of noise of which noise is said; half of them have `terms` numbers of words, if any.
    pub(crate) fn examples(
        config: &Config,
        sizes: TargetSizes,
        terms: usize,
        count: u64,
    ) -> Vec<Shown> {
        let each = (0..count).map(|seed| {
            let mut random = Random::new(seed);
            let len = config.num_patches() * config.stem.output_channels();
            let view: Arc<[i8]> = random_bytes(&mut random, len).into();
            let bytes = random_bytes(&mut random, sizes.total()).into();
            let has_words = terms > 0 && seed % 2 == 0;
            let words = has_words.then(|| (0..terms).map(|_| random.uniform()).collect());
            Shown { view, target: Target { bytes, sizes }, is_mirrored: false, words }
        });
        each.collect()
    }

    #[test]
    fn a_mirrored_map_has_its_columns_exchanged() {
        let map = [1, 1, 2, 2, 3, 3, 4, 4];
        assert_eq!(mirrored(&map, 2, 2, true), [2, 2, 1, 1, 4, 4, 3, 3]);
        assert_eq!(mirrored(&map, 2, 2, false), map);
    }
}
