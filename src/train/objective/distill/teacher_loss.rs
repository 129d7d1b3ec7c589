//! What teachers say about photos, and how far the vision encoder is from it.
//!
//! Loss: `1 - cos` to a teacher's pooled vector and to each cell of its last map, both centred, and the cross entropy
//! to its ImageNet classes, if it has any (Hinton et al. 2015): the mean over all teachers. Beside it `1 - cos` to each
//! vector of what people wrote about the photo, centred, if they did. The encoder answers through linear heads that are
//! dropped afterwards.

use candle_core::{DType, Device, Result, Tensor};

use crate::config::Config;
use crate::model::BitMar;
use crate::train::objective::dev::{dev_loss, DevScore};
use crate::train::objective::distill::caption_loss::CaptionHead;
use crate::train::objective::distill::heads::{distance, head, mean};
use crate::train::objective::distill::sample::CAPTION_VECTORS;
use crate::train::objective::distill::sample::{DistillSample, Target, LOGIT_STEP};
use crate::train::objective::features::features;
use crate::train::objective::losses::soft_cross_entropy;
use crate::train::objective::Measures;
use crate::vision::EncodedPhotos;
use crate::weights::{ModelError, Weights};

/// Weight of the classes beside the cosines.
const CLASS_WEIGHT: f64 = 0.2;
/// Weight of each kind of what people wrote beside the teachers.
const WRITTEN_WEIGHT: f64 = 0.5;

/// Linear read-outs of the vision encoder for one teacher, dropped after training, and what its targets are centred by.
struct Heads {
    pooled: Tensor,
    /// Absent if the teacher has no classes.
    classes: Option<Tensor>,
    grid: Tensor,
    pooled_mean: Tensor,
    grid_mean: Tensor,
}

impl Heads {
    /// The heads of teacher number `teacher` of `photos`.
    fn new(
        weights: &Weights,
        hidden: usize,
        photos: &[DistillSample],
        teacher: usize,
    ) -> std::result::Result<Self, ModelError> {
        let sizes = photos[0].targets[teacher].sizes;
        let weights = weights.pp(teacher.to_string());
        let said = || photos.iter().map(|photo| &photo.targets[teacher]);
        Ok(Self {
            pooled: head(&weights, "pooled", sizes.pooled, hidden)?,
            classes: match sizes.classes {
                0 => None,
                classes => Some(head(&weights, "classes", classes, hidden)?),
            },
            grid: head(&weights, "grid", sizes.channels, hidden)?,
            pooled_mean: mean(said().map(Target::pooled), sizes.pooled)?,
            grid_mean: mean(said().map(Target::grid), sizes.channels)?,
        })
    }

    /// How far what was `seen` is from what teacher number `teacher` said in `lesson`, with its parts.
    fn loss(
        &self,
        seen: &EncodedPhotos,
        lesson: &[DistillSample],
        teacher: usize,
    ) -> Result<Vec<(&'static str, Tensor, f64)>> {
        let said = || lesson.iter().map(|photo| (&photo.targets[teacher], photo.is_mirrored));
        let channels = self.grid_mean.elem_count();
        let pooled = said().flat_map(|(target, _)| target.pooled()).map(|&v| v.into());
        let grid = said().flat_map(|(target, is_mirrored)| {
            let map = mirrored(target.grid(), target.sizes.cells.isqrt(), channels, is_mirrored);
            map.into_iter().map(f32::from)
        });
        let pooled = distance(&seen.pooled, &self.pooled, pooled, &self.pooled_mean)?;
        let grid = distance(&seen.patches, &self.grid, grid, &self.grid_mean)?;
        let mut parts = vec![("pooled", pooled, 1.0), ("grid", grid, 1.0)];
        if let Some(head) = &self.classes {
            let logits = seen.pooled.matmul(&head.t()?)?;
            let wanted = said().flat_map(|(target, _)| target.logits());
            let wanted: Vec<f32> = wanted.map(|&logit| f32::from(logit) * LOGIT_STEP).collect();
            let wanted = Tensor::from_vec(wanted, logits.shape(), &Device::Cpu)?;
            parts.push(("classes", soft_cross_entropy(&logits, &wanted)?, CLASS_WEIGHT));
        }
        Ok(parts)
    }
}

/// Photos and what is said about them.
pub struct DistillDataset {
    /// One a teacher.
    heads: Vec<Heads>,
    /// One a kind of what was written about any photo.
    readouts: Vec<CaptionHead>,
    photos: Vec<DistillSample>,
    /// Photos that nothing is trained on.
    dev: Vec<DistillSample>,
    stem_scale: f32,
}

/// Some photos in one view each.
#[derive(Debug, Clone)]
pub struct DistillBatch(Vec<DistillSample>);

impl DistillDataset {
    /// The lessons of `photos`; the variables of their heads are made under `train.teacher`.
    ///
    /// # Panics
    ///
    /// If there is no photo, not the same number of teachers for each, or a teacher's map has other cells than the
    /// encoder has patches.
    pub fn new(
        weights: &Weights,
        config: &Config,
        photos: Vec<DistillSample>,
        stem_scale: f32,
    ) -> std::result::Result<Self, ModelError> {
        let hidden = config.vision.hidden_size;
        for target in &photos[0].targets {
            let cells = target.sizes.cells;
            assert_eq!(cells, config.num_patches(), "the teacher's map has other cells");
        }
        let weights = weights.pp("train").pp("teacher");
        let teachers = 0..photos[0].targets.len();
        let heads = teachers.map(|teacher| Heads::new(&weights, hidden, &photos, teacher));
        let readouts = (0..CAPTION_VECTORS.len())
            .map(|kind| CaptionHead::new(&weights, hidden, &photos, kind));
        let readouts = readouts.collect::<std::result::Result<Vec<_>, _>>()?.into_iter();
        Ok(Self {
            heads: heads.collect::<std::result::Result<_, _>>()?,
            readouts: readouts.flatten().collect(),
            photos,
            dev: Vec::new(),
            stem_scale,
        })
    }

    /// The same with photos that nothing is trained on, to choose the best checkpoint by.
    pub fn with_dev(self, dev: Vec<DistillSample>) -> Self {
        Self { dev, ..self }
    }

    /// How many views there are.
    pub fn count(&self) -> usize {
        self.photos.len()
    }

    /// The views of these numbers.
    pub fn lesson(&self, numbers: impl Iterator<Item = usize>) -> DistillBatch {
        DistillBatch(numbers.map(|number| self.photos[number].clone()).collect())
    }

    /// How far what `model` sees is from what the teachers said.
    pub fn loss(&self, model: &BitMar, lesson: &DistillBatch) -> Result<(Tensor, Measures)> {
        let lesson = &lesson.0;
        let views: Vec<_> = lesson.iter().map(|photo| photo.view.clone()).collect();
        let channels = model.config().stem.output_channels();
        let seen = model.vision().forward(&features(&views, channels, self.stem_scale)?)?;
        let mut loss = Tensor::zeros((), DType::F32, &Device::Cpu)?;
        let mut measures = Measures::new();
        let share = 1.0 / self.heads.len() as f64;
        for (teacher, heads) in self.heads.iter().enumerate() {
            for (name, part, weight) in heads.loss(&seen, lesson, teacher)? {
                #[allow(clippy::cast_possible_truncation, reason = "a share")]
                {
                    *measures.entry(name).or_insert(0.0) += part.to_scalar::<f32>()? * share as f32;
                }
                loss = (loss + (part * (weight * share))?)?;
            }
        }
        for readout in &self.readouts {
            if let Some(part) = readout.loss(&seen.pooled, lesson)? {
                measures.insert(readout.name(), part.to_scalar()?);
                loss = (loss + (part * WRITTEN_WEIGHT)?)?;
            }
        }
        Ok((loss, measures))
    }
}

impl DistillDataset {
    /// The loss on the dev photos, as `loss`, and its parts.
    pub(crate) fn dev_loss(&self, model: &BitMar) -> Result<Option<DevScore>> {
        dev_loss(&self.dev, "loss", |photos| {
            let (loss, mut measures) = self.loss(model, &DistillBatch(photos.to_vec()))?;
            measures.insert("loss", loss.to_scalar()?);
            Ok(measures)
        })
    }
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
    use std::sync::Arc;

    use super::*;
    use crate::random::Random;
    use crate::train::teacher::TargetSizes;

    fn random_bytes(random: &mut Random, count: usize) -> Vec<i8> {
        (0..count).map(|_| i8::try_from(random.below(255)).unwrap_or(i8::MIN)).collect()
    }

    /// Photos of noise of which a teacher of each of `sizes` says noise; every second one has `terms` numbers of
    /// words, if any, and all but every fourth twice as many of sentences.
    pub(crate) fn examples(
        config: &Config,
        sizes: &[TargetSizes],
        terms: usize,
        count: u64,
    ) -> Vec<DistillSample> {
        let each = (0..count).map(|seed| {
            let mut random = Random::new(seed);
            let len = config.num_patches() * config.stem.output_channels();
            let view: Arc<[i8]> = random_bytes(&mut random, len).into();
            let targets = sizes.iter().map(|&sizes| {
                let bytes = random_bytes(&mut random, sizes.total()).into();
                Target { bytes, sizes }
            });
            let targets = targets.collect();
            let mut written = |is_there: bool, count: usize| {
                let is_there = is_there && count > 0;
                is_there.then(|| (0..count).map(|_| random.uniform()).collect())
            };
            let written = [written(seed % 2 == 0, terms), written(seed % 4 != 3, 2 * terms)];
            DistillSample { view, targets, is_mirrored: false, written }
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
