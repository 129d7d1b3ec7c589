//! The distillation loss of the vision encoder, and the dataset it is computed on.
//!
//! For each teacher the loss is `1 - cos` to its pooled vector and to each cell of its last map,
//! both centered, plus the cross entropy to its ImageNet classes, if it has any (Hinton et al.
//! 2015); these are averaged over the teachers. `1 - cos` to each centered vector of the photo's
//! captions, if it has captions, is added. The encoder predicts all of them through linear heads
//! that are dropped after training.

use candle_core::{DType, Device, Result, Tensor};

use crate::config::Config;
use crate::model::BitMar;
use crate::train::objective::distill::caption_loss::CaptionHead;
use crate::train::objective::distill::heads::{distance, head, mean};
use crate::train::objective::distill::sample::CAPTION_VECTORS;
use crate::train::objective::distill::sample::{DistillSample, Target, LOGIT_STEP};
use crate::train::objective::features::features;
use crate::train::objective::losses::soft_cross_entropy;
use crate::train::objective::Measures;
use crate::vision::EncodedPhotos;
use crate::weights::{ModelError, Weights};

/// Weight of the class loss relative to the cosine distances.
const CLASS_WEIGHT: f64 = 0.2;
/// Weight of each kind of caption vector relative to the teachers.
const CAPTION_WEIGHT: f64 = 0.5;

/// The linear heads that predict one teacher's outputs, and the means that center its targets.
/// Dropped after training.
struct Heads {
    pooled: Tensor,
    /// Absent if the teacher has no classes.
    classes: Option<Tensor>,
    grid: Tensor,
    pooled_mean: Tensor,
    grid_mean: Tensor,
}

impl Heads {
    /// The heads for the teacher with index `teacher` in the targets of `photos`.
    fn new(
        weights: &Weights,
        hidden: usize,
        photos: &[DistillSample],
        teacher: usize,
    ) -> std::result::Result<Self, ModelError> {
        let sizes = photos[0].targets[teacher].sizes;
        let weights = weights.pp(teacher.to_string());
        let targets = || photos.iter().map(|photo| &photo.targets[teacher]);
        Ok(Self {
            pooled: head(&weights, "pooled", sizes.pooled, hidden)?,
            classes: match sizes.classes {
                0 => None,
                classes => Some(head(&weights, "classes", classes, hidden)?),
            },
            grid: head(&weights, "grid", sizes.channels, hidden)?,
            pooled_mean: mean(targets().map(Target::pooled), sizes.pooled)?,
            grid_mean: mean(targets().map(Target::grid), sizes.channels)?,
        })
    }

    /// The terms of the loss for the teacher with index `teacher`: name, scalar value, and weight.
    /// `encoded` is the encoder's output for `batch`.
    fn loss(
        &self,
        encoded: &EncodedPhotos,
        batch: &[DistillSample],
        teacher: usize,
    ) -> Result<Vec<(&'static str, Tensor, f64)>> {
        let targets = || batch.iter().map(|photo| (&photo.targets[teacher], photo.is_mirrored));
        let channels = self.grid_mean.elem_count();
        let pooled = targets().flat_map(|(target, _)| target.pooled()).map(|&v| v.into());
        let grid = targets().flat_map(|(target, is_mirrored)| {
            let map = mirrored(target.grid(), target.sizes.cells.isqrt(), channels, is_mirrored);
            map.into_iter().map(f32::from)
        });
        let pooled = distance(&encoded.pooled, &self.pooled, pooled, &self.pooled_mean)?;
        let grid = distance(&encoded.patches, &self.grid, grid, &self.grid_mean)?;
        let mut parts = vec![("pooled", pooled, 1.0), ("grid", grid, 1.0)];
        if let Some(head) = &self.classes {
            let logits = encoded.pooled.matmul(&head.t()?)?;
            let expected = targets().flat_map(|(target, _)| target.logits());
            let expected: Vec<f32> = expected.map(|&logit| f32::from(logit) * LOGIT_STEP).collect();
            let expected = Tensor::from_vec(expected, logits.shape(), &Device::Cpu)?;
            parts.push(("classes", soft_cross_entropy(&logits, &expected)?, CLASS_WEIGHT));
        }
        Ok(parts)
    }
}

/// Photos with their distillation targets, and the heads that predict them.
pub struct DistillDataset {
    /// The heads of each teacher.
    heads: Vec<Heads>,
    /// The head of each kind of caption vector that any photo has.
    caption_heads: Vec<CaptionHead>,
    photos: Vec<DistillSample>,
    stem_scale: f32,
}

/// What one worker distills on in a step.
#[derive(Debug, Clone)]
pub struct DistillBatch(Vec<DistillSample>);

impl DistillBatch {
    /// These views.
    pub(crate) fn new(views: Vec<DistillSample>) -> Self {
        Self(views)
    }
}

impl DistillDataset {
    /// The dataset of `photos`; the variables of its heads are made in `weights` under
    /// `train.teacher`. `stem_scale` is the scale of the int8 stem features.
    ///
    /// # Panics
    ///
    /// If `photos` is empty, if they do not all have the same number of targets, or if a teacher's
    /// map does not have one cell for each patch of the encoder.
    pub fn new(
        weights: &Weights,
        config: &Config,
        photos: Vec<DistillSample>,
        stem_scale: f32,
    ) -> std::result::Result<Self, ModelError> {
        let hidden = config.vision.hidden_size;
        for target in &photos[0].targets {
            let cells = target.sizes.cells;
            assert_eq!(
                cells,
                config.num_patches(),
                "a teacher's map must have one cell for each patch"
            );
        }
        let weights = weights.pp("train").pp("teacher");
        let teachers = 0..photos[0].targets.len();
        let heads = teachers.map(|teacher| Heads::new(&weights, hidden, &photos, teacher));
        let caption_heads = (0..CAPTION_VECTORS.len())
            .map(|kind| CaptionHead::new(&weights, hidden, &photos, kind));
        let caption_heads = caption_heads.collect::<std::result::Result<Vec<_>, _>>()?.into_iter();
        Ok(Self {
            heads: heads.collect::<std::result::Result<_, _>>()?,
            caption_heads: caption_heads.flatten().collect(),
            photos,
            stem_scale,
        })
    }

    /// The number of views.
    pub fn count(&self) -> usize {
        self.photos.len()
    }

    /// The batch of the views with these indices.
    pub fn batch(&self, indices: impl Iterator<Item = usize>) -> DistillBatch {
        DistillBatch(indices.map(|index| self.photos[index].clone()).collect())
    }

    /// The distillation loss of `model`'s vision encoder on `batch`, a scalar, and its terms as
    /// measures.
    pub fn loss(&self, model: &BitMar, batch: &DistillBatch) -> Result<(Tensor, Measures)> {
        let batch = &batch.0;
        let views: Vec<_> = batch.iter().map(|photo| photo.view.clone()).collect();
        let channels = model.config().stem.output_channels();
        let encoded = model.vision().forward(&features(&views, channels, self.stem_scale)?)?;
        let mut loss = Tensor::zeros((), DType::F32, &Device::Cpu)?;
        let mut measures = Measures::new();
        let share = 1.0 / self.heads.len() as f64;
        for (teacher, heads) in self.heads.iter().enumerate() {
            for (name, part, weight) in heads.loss(&encoded, batch, teacher)? {
                #[allow(clippy::cast_possible_truncation, reason = "a share of at most 1")]
                {
                    *measures.entry(name).or_insert(0.0) += part.to_scalar::<f32>()? * share as f32;
                }
                loss = (loss + (part * (weight * share))?)?;
            }
        }
        for head in &self.caption_heads {
            if let Some(part) = head.loss(&encoded.pooled, batch)? {
                measures.insert(head.name(), part.to_scalar()?);
                loss = (loss + (part * CAPTION_WEIGHT)?)?;
            }
        }
        Ok((loss, measures))
    }
}

/// The cells of a map, `[side * side, channels]`, with the columns reversed if `is_mirrored`.
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

    /// Photos of noise with noise as targets of a teacher of each of `sizes`. If `terms > 0`, every
    /// second photo has a word vector of that length, and three of four have a sentence vector of
    /// twice that length.
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
            let mut vector = |is_present: bool, count: usize| {
                let is_present = is_present && count > 0;
                is_present.then(|| (0..count).map(|_| random.uniform()).collect())
            };
            let caption_vectors = [vector(seed % 2 == 0, terms), vector(seed % 4 != 3, 2 * terms)];
            DistillSample { view, targets, is_mirrored: false, caption_vectors }
        });
        each.collect()
    }

    #[test]
    fn a_mirrored_map_has_its_columns_reversed() {
        let map = [1, 1, 2, 2, 3, 3, 4, 4];
        assert_eq!(mirrored(&map, 2, 2, true), [2, 2, 1, 1, 4, 4, 3, 3]);
        assert_eq!(mirrored(&map, 2, 2, false), map);
    }
}
