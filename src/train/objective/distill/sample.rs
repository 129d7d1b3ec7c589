//! What the vision encoder is to learn of one view of a photo: the outputs of its teachers, and vectors of its captions.

use std::path::Path;
use std::sync::Arc;

use crate::preprocess;
use crate::train::data::cache::cached;
use crate::train::data::photo_set::Photo;
use crate::train::data::view::View;
use crate::train::teacher::efficientnet::Features;
use crate::train::teacher::{TargetSizes, Teacher};

type AnyError = Box<dyn std::error::Error>;

/// What one step of a cached logit is worth: 0 to 255 steps reach from -32 to 32.
pub(crate) const LOGIT_STEP: f32 = 0.25;

/// What the teacher says about a photo, in bytes. Lengths do not matter to a cosine, so vectors are
/// scaled to fill them.
#[derive(Debug, Clone)]
pub struct Target {
    pub(crate) bytes: Arc<[i8]>,
    pub(crate) sizes: TargetSizes,
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

/// The kinds of vectors: which words a photo's captions have, and what they mean.
pub const CAPTION_VECTORS: [&str; 2] = ["words", "sentences"];

/// A vector of each kind, if there is one.
pub type CaptionVectorsOfPhoto = [Option<Arc<[f32]>>; CAPTION_VECTORS.len()];

/// A view of a photo with what is said about it.
#[derive(Debug, Clone)]
pub struct DistillSample {
    /// Its stem features, `[patches * channels]` int8.
    pub view: Arc<[i8]>,
    /// What each teacher says.
    pub targets: Vec<Target>,
    /// Whether they said it about the photo that this view mirrors.
    pub is_mirrored: bool,
    /// What people wrote: vectors of one length for all photos that have one of their kind.
    pub written: CaptionVectorsOfPhoto,
}
