//! Distillation of the vision encoder: its CLS row and its patch rows learn to tell what a float teacher
//! sees, through linear heads that are dropped afterwards.
//!
//! Loss: `1 - cos` to the teacher's pooled vector and to each cell of its last map, both centred, and the
//! cross entropy to its ImageNet classes, if it has any (Hinton et al. 2015).

use std::path::Path;
use std::sync::Arc;

use candle_core::{Device, Result, Tensor};

use crate::config::Config;
use crate::model::{unit_rows, BitMar};
use crate::preprocess;
use crate::random::Random;
use crate::train::batch::Sample;
use crate::train::captions::{features, TrainedModel};
use crate::train::data::Photo;
use crate::train::dataset::cached;
use crate::train::efficientnet::Features;
use crate::train::losses::soft_cross_entropy;
use crate::train::teacher::{TargetSizes, Teacher};
use crate::train::trainer::{Measures, Objective, Stage};
use crate::weights::{Init, ModelError, Weights};

type AnyError = Box<dyn std::error::Error>;

/// What one step of a cached logit is worth: 0 to 255 steps reach from -32 to 32.
const LOGIT_STEP: f32 = 0.25;
/// Weight of the classes beside the two cosines.
const CLASS_WEIGHT: f64 = 0.2;
/// Weight of lessons beside another objective.
const TAUGHT_WEIGHT: f64 = 0.5;

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

/// What the teacher says about `photos`, from `file` or computed into it.
pub fn targets(
    teacher: &Teacher,
    data: &Path,
    photos: &[Photo],
    file: &Path,
) -> std::result::Result<Vec<Target>, AnyError> {
    let (sizes, size) = (teacher.sizes(), teacher.size());
    let bytes = cached(data, file, photos, sizes.total(), |_, image| {
        Target::bytes_of(&teacher.forward(&preprocess::to_pixels(image, size)), sizes)
    })?;
    let each = bytes.chunks_exact(sizes.total());
    Ok(each.map(|bytes| Target { bytes: Arc::from(bytes), sizes }).collect())
}

/// Linear read-outs of the vision encoder, dropped after training.
struct Heads {
    pooled: Tensor,
    /// Absent if the teacher has no classes.
    classes: Option<Tensor>,
    grid: Tensor,
}

/// The vision encoder alone with its teacher.
pub struct Distillation {
    trained: TrainedModel,
    lessons: Lessons,
}

/// Photos and what the teacher says about them.
pub struct Lessons {
    heads: Heads,
    photos: Vec<(Sample, Target)>,
    pooled_mean: Tensor,
    grid_mean: Tensor,
    stem_scale: f32,
}

/// Some photos in one view each.
#[derive(Debug, Clone)]
pub struct Lesson {
    photos: Vec<Arc<[i8]>>,
    targets: Vec<(Target, bool)>,
}

impl Distillation {
    /// The objective of `lessons` for a model under `weights`.
    pub fn new(
        weights: &Weights,
        config: &Config,
        lessons: Lessons,
    ) -> std::result::Result<Self, ModelError> {
        Ok(Self { trained: TrainedModel::new(weights, config)?, lessons })
    }
}

impl Lessons {
    /// The lessons of `photos`; the variables of their heads are made under `train.teacher`.
    ///
    /// # Panics
    ///
    /// If there is no photo, or the teacher's map has other cells than the encoder has patches.
    pub fn new(
        weights: &Weights,
        config: &Config,
        photos: Vec<(Sample, Target)>,
        stem_scale: f32,
    ) -> std::result::Result<Self, ModelError> {
        let hidden = config.vision.hidden_size;
        let sizes = photos[0].1.sizes;
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
                grid: head("grid", sizes.channels)?,
            },
            pooled_mean: mean(photos.iter().map(|(_, target)| target.pooled()), sizes.pooled)?,
            grid_mean: mean(photos.iter().map(|(_, target)| target.grid()), sizes.channels)?,
            photos,
            stem_scale,
        })
    }

    /// How many photos there are.
    pub fn count(&self) -> usize {
        self.photos.len()
    }

    /// The photos of these numbers, each in a view by chance.
    pub fn lesson(&self, numbers: impl Iterator<Item = usize>, random: &mut Random) -> Lesson {
        let mut lesson = Lesson { photos: Vec::new(), targets: Vec::new() };
        for number in numbers {
            let (sample, target) = &self.photos[number];
            let view = random.below(sample.views.len());
            lesson.photos.push(sample.views[view].clone());
            lesson.targets.push((target.clone(), sample.mirrored[view]));
        }
        lesson
    }

    /// How far what `model` sees is from what the teacher said.
    pub fn loss(&self, model: &BitMar, lesson: &Lesson) -> Result<(Tensor, Measures)> {
        let config = model.config();
        let stem = features(&lesson.photos, config.stem.output_channels(), self.stem_scale)?;
        let seen = model.vision().forward(&stem)?;
        let (side, channels) = (config.stem.output_grid(), self.grid_mean.elem_count());
        let pooled = lesson.targets.iter().flat_map(|(target, _)| target.pooled()).copied();
        let grid = lesson.targets.iter().flat_map(|(t, m)| mirrored(t.grid(), side, channels, *m));
        let pooled = distance(&seen.pooled, &self.heads.pooled, pooled, &self.pooled_mean)?;
        let grid = distance(&seen.patches, &self.heads.grid, grid, &self.grid_mean)?;
        let mut measures =
            Measures::from([("pooled", pooled.to_scalar()?), ("grid", grid.to_scalar()?)]);
        let mut loss = (pooled + grid)?;
        if let Some(head) = &self.heads.classes {
            let logits = seen.pooled.matmul(&head.t()?)?;
            let wanted = lesson.targets.iter().flat_map(|(target, _)| target.logits());
            let wanted: Vec<f32> = wanted.map(|&logit| f32::from(logit) * LOGIT_STEP).collect();
            let wanted = Tensor::from_vec(wanted, logits.shape(), &Device::Cpu)?;
            let classes = soft_cross_entropy(&logits, &wanted)?;
            measures.insert("classes", classes.to_scalar()?);
            loss = (loss + (classes * CLASS_WEIGHT)?)?;
        }
        Ok((loss, measures))
    }
}

/// The mean of rows `width` wide, `[width]`.
fn mean<'a>(rows: impl Iterator<Item = &'a [i8]>, width: usize) -> Result<Tensor> {
    let (mut sums, mut count) = (vec![0f64; width], 0.0);
    for row in rows.flat_map(|rows| rows.chunks_exact(width)) {
        sums.iter_mut().zip(row).for_each(|(sum, &value)| *sum += f64::from(value));
        count += 1.0;
    }
    #[allow(clippy::cast_possible_truncation, reason = "a mean of bytes")]
    let means: Vec<f32> = sums.into_iter().map(|sum| (sum / count) as f32).collect();
    Tensor::from_vec(means, width, &Device::Cpu)
}

impl Objective for Distillation {
    type Shard = Lesson;

    fn pools(&self) -> Vec<(usize, f32)> {
        vec![(self.lessons.count(), 1.0)]
    }

    fn shard(&self, examples: &[(usize, usize)], random: &mut Random) -> Lesson {
        self.lessons.lesson(examples.iter().map(|&(_, number)| number), random)
    }

    fn loss(&self, lesson: &Lesson, _: Stage) -> Result<(Tensor, Measures)> {
        self.lessons.loss(&self.trained.model, lesson)
    }
}

/// Another objective with lessons beside: what the encoder has learned on many photos is not given up for the few
/// that people have described.
pub struct Taught<O> {
    /// What is learned beside.
    pub objective: O,
    /// The lessons.
    pub lessons: Lessons,
}

impl<O: Objective + AsRef<BitMar>> Objective for Taught<O> {
    type Shard = (O::Shard, Lesson);

    fn pools(&self) -> Vec<(usize, f32)> {
        self.objective.pools()
    }

    fn shard(&self, examples: &[(usize, usize)], random: &mut Random) -> Self::Shard {
        let shard = self.objective.shard(examples, random);
        let count = self.lessons.count();
        let numbers: Vec<usize> = examples.iter().map(|_| random.below(count)).collect();
        (shard, self.lessons.lesson(numbers.into_iter(), random))
    }

    fn loss(&self, (shard, lesson): &Self::Shard, stage: Stage) -> Result<(Tensor, Measures)> {
        let (loss, mut measures) = self.objective.loss(shard, stage)?;
        let (taught, of_lesson) = self.lessons.loss(self.objective.as_ref(), lesson)?;
        measures.extend(of_lesson);
        Ok(((loss + (taught * TAUGHT_WEIGHT)?)?, measures))
    }
}

/// `mean(1 - cos(rows . head^T, target - mean))`.
fn distance(
    rows: &Tensor,
    head: &Tensor,
    target: impl Iterator<Item = i8>,
    mean: &Tensor,
) -> Result<Tensor> {
    let shape = (rows.dim(0)?, mean.elem_count());
    let target =
        Tensor::from_vec(target.map(f32::from).collect::<Vec<f32>>(), shape, &Device::Cpu)?;
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
    use crate::train::ablation::Ablation;
    use crate::train::trainer::{Run, RunOptions};

    fn random_bytes(random: &mut Random, count: usize) -> Vec<i8> {
        (0..count).map(|_| i8::try_from(random.below(255)).unwrap_or(i8::MIN)).collect()
    }

    /// Photos of noise with targets of noise.
    pub(crate) fn examples(
        config: &Config,
        sizes: TargetSizes,
        count: u64,
    ) -> Vec<(Sample, Target)> {
        let each = (0..count).map(|seed| {
            let mut random = Random::new(seed);
            let len = config.num_patches() * config.stem.output_channels();
            let view: Arc<[i8]> = random_bytes(&mut random, len).into();
            let bytes = random_bytes(&mut random, sizes.total()).into();
            let sample = Sample {
                views: vec![view.clone(), view],
                mirrored: vec![false, false],
                captions: Vec::new(),
                weight: 1.0,
            };
            (sample, Target { bytes, sizes })
        });
        each.collect()
    }

    #[test]
    fn the_encoder_learns_what_the_teacher_says() {
        let config = Config::tiny();
        let cells = config.num_patches();
        let lite2 = TargetSizes { pooled: 1280, classes: 1000, cells, channels: 32 };
        let dinov2 = TargetSizes { pooled: 384, classes: 0, cells, channels: 384 };
        for (sizes, measures) in
            [(lite2, &["classes", "grid", "pooled"][..]), (dinov2, &["grid", "pooled"])]
        {
            learns(&config, sizes, measures);
        }
    }

    fn learns(config: &Config, sizes: TargetSizes, measures: &[&str]) {
        let weights = Weights::fresh(1);
        let photos = examples(config, sizes, 4);
        let lessons = Lessons::new(&weights, config, photos, 0.02).expect("valid sizes");
        let objective = Distillation::new(&weights, config, lessons).expect("a model");
        let options = RunOptions {
            dropout: 0.0,
            steps: 60,
            examples_per_shard: 2,
            shards: 2,
            learning_rate: 3e-3,
            seed: 1,
            ablation: Ablation::Nothing,
        };
        let shard = objective.shard(&[(0, 0), (0, 1), (0, 2), (0, 3)], &mut Random::new(1));
        let loss = |objective: &Distillation| {
            let stage = Stage { progress: 0.0, alignment_factor: 1.0 };
            let (loss, measured) = objective.loss(&shard, stage).expect("a loss");
            assert!(measured.keys().eq(measures), "{measured:?}");
            loss.to_scalar::<f32>().expect("a number")
        };
        let before = loss(&objective);
        let file = std::env::temp_dir().join(format!("bitmar-distil-{}", std::process::id()));
        Run::new(weights.variables(), options)
            .expect("a run")
            .train(&objective, &file)
            .expect("a run");
        std::fs::remove_file(&file).expect("the run was saved");
        let after = loss(&objective);
        assert!(after < 0.7 * before, "{before} to {after}");
    }

    #[test]
    fn a_mirrored_map_has_its_columns_exchanged() {
        let map = [1, 1, 2, 2, 3, 3, 4, 4];
        assert_eq!(mirrored(&map, 2, 2, true), [2, 2, 1, 1, 4, 4, 3, 3]);
        assert_eq!(mirrored(&map, 2, 2, false), map);
    }
}
