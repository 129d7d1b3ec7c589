//! The distillation targets of one view of a photo: the outputs of the teachers, and vectors of its
//! captions.

use std::path::Path;
use std::sync::Arc;

use crate::preprocess;
use crate::train::data::cache::cached;
use crate::train::data::photo_set::Photo;
use crate::train::data::view::View;
use crate::train::teacher::efficientnet::Features;
use crate::train::teacher::{TargetSizes, Teacher};

/// Quantization step of a cached logit: int8 covers logits from -32 to 31.75.
pub(crate) const LOGIT_STEP: f32 = 0.25;

/// A teacher's output for a photo as int8: pooled vector, logits, map. The loss is a cosine and
/// ignores lengths, so each vector is scaled to the full range of int8.
#[derive(Debug, Clone)]
pub struct Target {
    pub(crate) bytes: Arc<[i8]>,
    pub(crate) sizes: TargetSizes,
}

impl Target {
    fn quantized(features: &Features, sizes: TargetSizes) -> Vec<i8> {
        let mut bytes = Vec::with_capacity(sizes.total());
        quantize(&features.pooled, &mut bytes);
        #[allow(clippy::cast_possible_truncation, reason = "`as` saturates")]
        bytes.extend(features.logits.iter().map(|logit| (logit / LOGIT_STEP).round() as i8));
        features.grid.chunks_exact(sizes.channels).for_each(|cell| quantize(cell, &mut bytes));
        bytes
    }

    pub(crate) fn pooled(&self) -> &[i8] {
        &self.bytes[..self.sizes.pooled]
    }

    pub(crate) fn logits(&self) -> &[i8] {
        &self.bytes[self.sizes.pooled..][..self.sizes.classes]
    }

    pub(crate) fn grid(&self) -> &[i8] {
        &self.bytes[self.sizes.pooled + self.sizes.classes..]
    }
}

/// Appends `values`, scaled so that the largest magnitude becomes 127.
fn quantize(values: &[f32], out: &mut Vec<i8>) {
    let largest = values.iter().fold(f32::MIN_POSITIVE, |most, v| most.max(v.abs()));
    #[allow(clippy::cast_possible_truncation, reason = "at most 127")]
    out.extend(values.iter().map(|v| (v / largest * 127.0).round() as i8));
}

/// The teacher's outputs for `photos` in one view, read from the cache `file` or computed and
/// written to it.
///
/// # Errors
///
/// If a photo cannot be read or the cache cannot be written.
pub fn targets(
    teacher: &Teacher,
    data: &Path,
    photos: &[Photo],
    view: View,
    file: &Path,
) -> anyhow::Result<Vec<Target>> {
    let (sizes, size) = (teacher.sizes(), teacher.size());
    let bytes = cached(data, file, photos, sizes.total(), |photo, image| {
        let image = view.apply(image, &photo.name);
        Target::quantized(&teacher.forward(&preprocess::to_pixels(&image, size)), sizes)
    })?;
    let each = bytes.chunks_exact(sizes.total());
    Ok(each.map(|bytes| Target { bytes: Arc::from(bytes), sizes }).collect())
}

/// The kinds of caption vectors: tf-idf vectors of the words, and sentence embeddings.
pub const CAPTION_VECTORS: [&str; 2] = ["words", "sentences"];

/// A photo's caption vector of each kind of [`CAPTION_VECTORS`], if it has one.
pub type CaptionVectorsOfPhoto = [Option<Arc<[f32]>>; CAPTION_VECTORS.len()];

/// A view of a photo with its distillation targets.
#[derive(Debug, Clone)]
pub struct DistillSample {
    /// Its stem features, `[patches * channels]` int8.
    pub view: Arc<[i8]>,
    /// The output of each teacher.
    pub targets: Vec<Target>,
    /// Whether `view` is mirrored while `targets` are those of the original photo.
    pub is_mirrored: bool,
    /// Vectors of its captions; all photos that have a vector of one kind have it in one length.
    pub caption_vectors: CaptionVectorsOfPhoto,
}
