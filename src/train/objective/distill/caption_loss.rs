//! What people wrote about photos, as vectors that the vision encoder is to tell.

use std::path::Path;
use std::sync::Arc;

use candle_core::{Device, Result, Tensor};

use crate::checkpoint::sha256;
use crate::train::data::cache::write_beside;
use crate::train::data::sample::Sample;
use crate::train::metrics::tfidf::CaptionVectors;
use crate::train::metrics::words;
use crate::train::objective::distill::heads::{distance, head, mean};
use crate::train::objective::distill::sample::DistillSample;
use crate::train::objective::distill::sample::CAPTION_VECTORS;
use crate::train::teacher::sentence_encoder::SentenceEncoder;
use crate::weights::{ModelError, Weights};

type AnyError = Box<dyn std::error::Error>;

/// The linear read-out of one kind, dropped after training, and what its targets are centred by.
pub(crate) struct CaptionHead {
    kind: usize,
    head: Tensor,
    mean: Tensor,
}

impl CaptionHead {
    /// The read-out of `kind`, if any of `photos` has such a vector.
    pub(crate) fn new(
        weights: &Weights,
        hidden: usize,
        photos: &[DistillSample],
        kind: usize,
    ) -> std::result::Result<Option<Self>, ModelError> {
        let vectors = || photos.iter().filter_map(|photo| photo.written[kind].as_deref());
        let Some(width) = vectors().next().map(<[f32]>::len) else { return Ok(None) };
        let head = head(weights, CAPTION_VECTORS[kind], width, hidden)?;
        Ok(Some(Self { kind, head, mean: mean(vectors(), width)? }))
    }

    /// The name of its kind.
    pub(crate) fn name(&self) -> &'static str {
        CAPTION_VECTORS[self.kind]
    }

    /// `1 - cos`, the mean over those photos of `lesson` that have such a vector, if any; `pooled` is what was seen of
    /// them, `[photos, hidden]`.
    pub(crate) fn loss(&self, pooled: &Tensor, lesson: &[DistillSample]) -> Result<Option<Tensor>> {
        let vectors = lesson.iter().map(|photo| photo.written[self.kind].as_deref());
        let told = (0u32..).zip(vectors).filter_map(|(row, vector)| Some((row, vector?)));
        let (rows, vectors): (Vec<u32>, Vec<&[f32]>) = told.unzip();
        if rows.is_empty() {
            return Ok(None);
        }
        let seen = pooled.index_select(&Tensor::new(rows, &Device::Cpu)?, 0)?;
        let wanted = vectors.into_iter().flatten().copied();
        distance(&seen, &self.head, wanted, &self.mean).map(Some)
    }
}

/// The mean tf-idf vector of each sample's captions, in the space of all of them.
pub(crate) fn word_vectors(samples: &[&Sample]) -> Vec<Arc<[f32]>> {
    let told = |sample: &&Sample| sample.captions.iter().map(|c| words(&c.text)).collect();
    let told: Vec<Vec<Vec<String>>> = samples.iter().map(told).collect();
    let vectors = CaptionVectors::new(&told);
    told.iter().map(|captions| vectors.mean(captions).into()).collect()
}

/// The mean sentence embedding of each sample's captions, none if it has no caption; kept in `folder` under the name
/// of the `set` and of everything they depend on.
pub(crate) fn sentence_vectors(
    encoder: &SentenceEncoder,
    samples: &[Sample],
    folder: &Path,
    set: &str,
) -> std::result::Result<Vec<Option<Arc<[f32]>>>, AnyError> {
    let captions = samples.iter().flat_map(|sample| &sample.captions);
    let sentences: Vec<&str> = captions.map(|caption| caption.text.as_str()).collect();
    let source = sha256([encoder.sha256(), &sentences.join("\n")].join("\n").as_bytes());
    let file = folder.join(format!("{set}-sentences-{}.bin", &source[..12]));
    let (dim, told) = (encoder.dim(), samples.iter().filter(|sample| !sample.captions.is_empty()));
    let values: Vec<f32> = match std::fs::read(&file) {
        Ok(bytes) if bytes.len() == told.clone().count() * dim * size_of::<f32>() => {
            let values = bytes.chunks_exact(size_of::<f32>());
            values.map(|v| f32::from_le_bytes([v[0], v[1], v[2], v[3]])).collect()
        }
        _ => {
            eprintln!("encoding {} sentences into {}", sentences.len(), file.display());
            let vectors = encoder.encode(&sentences)?;
            let mut values = Vec::new();
            for sample in told {
                let vectors = sample.captions.iter().map(|c| vectors[c.text.as_str()].as_slice());
                values.extend(mean(vectors, dim)?.to_vec1::<f32>()?);
            }
            let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
            write_beside(&file, &bytes)?;
            values
        }
    };
    let mut vectors = values.chunks_exact(dim);
    let vector = |sample: &Sample| match sample.captions.is_empty() {
        true => None,
        false => vectors.next().map(Arc::from),
    };
    Ok(samples.iter().map(vector).collect())
}
