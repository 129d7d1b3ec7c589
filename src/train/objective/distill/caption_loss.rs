//! Caption vectors as distillation targets: the vision encoder predicts them from the photo.

use std::path::Path;
use std::sync::Arc;

use candle_core::{Device, Result, Tensor};

use crate::checkpoint::sha256;
use crate::train::data::sample::Sample;
use crate::train::files;
use crate::train::metrics::tfidf::CaptionVectors;
use crate::train::objective::distill::heads::{distance, head, mean};
use crate::train::objective::distill::sample::DistillSample;
use crate::train::objective::distill::sample::CAPTION_VECTORS;
use crate::train::teacher::sentence_encoder::SentenceEncoder;
use crate::train::text::words::words;
use crate::weights::{ModelError, Weights};

/// The linear head that predicts one kind of caption vector, and the mean that centers its targets.
/// Dropped after training.
pub(crate) struct CaptionHead {
    kind: usize,
    head: Tensor,
    mean: Tensor,
}

impl CaptionHead {
    /// The head of `kind`, an index into [`CAPTION_VECTORS`]; `None` if none of `photos` has such a
    /// vector.
    pub(crate) fn new(
        weights: &Weights,
        hidden: usize,
        photos: &[DistillSample],
        kind: usize,
    ) -> std::result::Result<Option<Self>, ModelError> {
        let vectors = || photos.iter().filter_map(|photo| photo.caption_vectors[kind].as_deref());
        let Some(width) = vectors().next().map(<[f32]>::len) else { return Ok(None) };
        let head = head(weights, CAPTION_VECTORS[kind], width, hidden)?;
        Ok(Some(Self { kind, head, mean: mean(vectors(), width)? }))
    }

    /// The name of its kind, which is also that of its measure.
    pub(crate) fn name(&self) -> &'static str {
        CAPTION_VECTORS[self.kind]
    }

    /// The mean of `1 - cos` over the photos of `batch` that have such a vector, `None` if none has
    /// one. `pooled` is the encoder's output for the batch, `[photos, hidden]`.
    pub(crate) fn loss(&self, pooled: &Tensor, batch: &[DistillSample]) -> Result<Option<Tensor>> {
        let vectors = batch.iter().map(|photo| photo.caption_vectors[self.kind].as_deref());
        let targets = (0u32..).zip(vectors).filter_map(|(row, vector)| Some((row, vector?)));
        let (rows, vectors): (Vec<u32>, Vec<&[f32]>) = targets.unzip();
        if rows.is_empty() {
            return Ok(None);
        }
        let pooled = pooled.index_select(&Tensor::new(rows, &Device::Cpu)?, 0)?;
        let targets = vectors.into_iter().flatten().copied();
        distance(&pooled, &self.head, targets, &self.mean).map(Some)
    }
}

/// The mean tf-idf vector of each sample's captions; the document frequencies are those of all
/// `samples`.
pub(crate) fn word_vectors(samples: &[&Sample]) -> Vec<Arc<[f32]>> {
    let split = |sample: &&Sample| sample.captions.iter().map(|c| words(&c.text)).collect();
    let captions: Vec<Vec<Vec<String>>> = samples.iter().map(split).collect();
    let vectors = CaptionVectors::new(&captions);
    captions.iter().map(|captions| vectors.mean(captions).into()).collect()
}

/// The mean sentence embedding of each sample's captions, `None` for a sample without captions.
/// They are cached in `folder`, in a file named by the photo `set` and a hash of the encoder's
/// weights and the captions.
///
/// # Errors
///
/// If the encoder fails or the cache cannot be written.
pub(crate) fn sentence_vectors(
    encoder: &SentenceEncoder,
    samples: &[Sample],
    folder: &Path,
    set: &str,
) -> anyhow::Result<Vec<Option<Arc<[f32]>>>> {
    let captions = samples.iter().flat_map(|sample| &sample.captions);
    let sentences: Vec<&str> = captions.map(|caption| caption.text.as_str()).collect();
    let source = sha256([encoder.sha256(), &sentences.join("\n")].join("\n").as_bytes());
    let file = folder.join(format!("{set}-sentences-{}.bin", &source[..12]));
    let dim = encoder.dim();
    let captioned = samples.iter().filter(|sample| !sample.captions.is_empty());
    let values: Vec<f32> = match std::fs::read(&file) {
        Ok(bytes) if bytes.len() == captioned.clone().count() * dim * size_of::<f32>() => {
            bytemuck::pod_collect_to_vec(&bytes)
        }
        _ => {
            eprintln!("encoding {} sentences into {}", sentences.len(), file.display());
            let vectors = encoder.encode(&sentences)?;
            let mut values = Vec::new();
            for sample in captioned {
                let vectors = sample.captions.iter().map(|c| vectors[c.text.as_str()].as_slice());
                values.extend(mean(vectors, dim)?.to_vec1::<f32>()?);
            }
            files::write(&file, bytemuck::cast_slice(&values))?;
            values
        }
    };
    let mut vectors = values.chunks_exact(dim);
    let mut vector = |sample: &Sample| {
        let is_captioned = !sample.captions.is_empty();
        is_captioned.then(|| vectors.next().map(Arc::from)).flatten()
    };
    Ok(samples.iter().map(&mut vector).collect())
}
