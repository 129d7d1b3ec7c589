//! Options of a caption and the finished caption.

use serde::Serialize;

use super::attention::Attention;
use crate::config::Config;
use crate::generate::{Length, DEFAULT_BEAMS};
use crate::memory::SlotIndex;
use crate::tag_head::Tag;

/// Options of a caption.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CaptionOptions {
    /// Length of the caption.
    pub length: Length,
    /// What the photo shows, such as "my dog Rex"; empty without a hint.
    pub hint: String,
    /// Number of beams of the search, 1 to 8.
    pub beams: usize,
    /// Whether the memory is read.
    pub recall: bool,
    /// Whether the memory may keep the caption.
    pub remember: bool,
    /// Whether the recalled episodes are marked as used.
    pub count_recalls: bool,
    /// Whether to return an attention map for each word.
    pub attention: bool,
    /// Whether the search may copy corrected captions. Otherwise only the decoder can repeat them,
    /// which the evaluation measures.
    pub repeat: bool,
}

impl Default for CaptionOptions {
    fn default() -> Self {
        Self {
            length: Length::default(),
            hint: String::new(),
            beams: DEFAULT_BEAMS,
            recall: true,
            remember: true,
            count_recalls: true,
            attention: false,
            repeat: true,
        }
    }
}

/// A finished caption.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Caption {
    /// Identifies this caption for [`Captioner::correct`](super::Captioner::correct).
    pub id: u64,
    /// The caption's text.
    pub text: String,
    /// Number of tokens of the text.
    pub tokens: usize,
    /// Geometric mean of the tokens' probabilities, 0 to 1.
    pub confidence: f32,
    /// The things that the model recognizes, the most probable first; `None` if it has no tag head.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tags: Option<Vec<Tag>>,
    /// Remembered captions given to the decoder, best first.
    pub recalled: Vec<Recalled>,
    /// Memory slot of the caption, if it was remembered.
    pub slot: Option<SlotIndex>,
    /// Attention map of each word, if the options asked for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attention: Option<Attention>,
    /// Duration of each stage.
    pub ms: Timings,
}

/// A remembered caption that was recalled for this photo.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Recalled {
    /// Its memory slot.
    pub slot: SlotIndex,
    /// Its READ weight, 0 to 1.
    pub weight: f32,
    /// The caption.
    pub text: String,
    /// Whether the user wrote it.
    pub corrected: bool,
    /// When it was written, in milliseconds since 1970.
    pub written_at: u64,
    /// A small JPEG of its photo; may be empty.
    #[serde(serialize_with = "as_bytes")]
    pub thumbnail: Vec<u8>,
}

/// Durations of the stages in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct Timings {
    /// Photo file to pixels of the model's size.
    pub decode: f64,
    /// Stem and vision encoder.
    pub vision: f64,
    /// The stem's part of `vision`.
    pub stem: f64,
    /// Reading and writing the memory.
    pub memory: f64,
    /// Fusion and decoder.
    pub text: f64,
    /// The fusion's part of `text`.
    pub fusion: f64,
    /// The prefill's part of `text`: the decoder's run over the prefix.
    pub prefill: f64,
    /// The sum of `decode`, `vision`, `memory` and `text`.
    pub total: f64,
}

/// The loaded model.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ModelInfo {
    /// The model's name: [`model_name`](crate::model_name::model_name).
    pub name: String,
    /// SHA-256 of the model file.
    pub sha256: String,
    /// Its configuration.
    pub config: Config,
    /// Commit of the trainer.
    pub commit: String,
    /// Date, command, data, steps and score of its training, as JSON.
    pub trained: serde_json::Value,
    /// Version of this crate.
    pub version: &'static str,
    /// Name of the kernel backend in use.
    pub kernels: &'static str,
}

fn as_bytes<S: serde::Serializer>(bytes: &[u8], to: S) -> Result<S::Ok, S::Error> {
    to.serialize_bytes(bytes)
}
