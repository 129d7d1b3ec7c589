//! What goes into a caption and what comes out.

use serde::Serialize;

use super::attention::Attention;
use crate::config::Config;
use crate::generate::{Length, DEFAULT_BEAMS};
use crate::memory::SlotIndex;

/// What a caption should be like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CaptionOptions {
    /// How much to say.
    pub length: Length,
    /// What the photo is known to show, such as "my dog Rex"; maybe empty.
    pub hint: String,
    /// Candidates the search keeps, 1 to 8.
    pub beams: usize,
    /// Whether the memory is read.
    pub recall: bool,
    /// Whether the memory may keep the caption.
    pub remember: bool,
    /// Whether what the caption recalls counts as used.
    pub count_recalls: bool,
    /// Whether to tell where the model looked at each word.
    pub attention: bool,
    /// Whether the search repeats corrected captions. Without, only the decoder can: for
    /// evaluations.
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
    /// Names this caption for [`Captioner::correct`](super::Captioner::correct).
    pub id: u64,
    /// What the photo shows.
    pub text: String,
    /// How many tokens the text has.
    pub tokens: usize,
    /// Geometric mean of the tokens' probabilities, 0 to 1.
    pub confidence: f32,
    /// Remembered captions that this one leaned on, best first.
    pub recalled: Vec<Recalled>,
    /// Where the memory keeps it, if it does.
    pub slot: Option<SlotIndex>,
    /// Where the model looked at each word, if that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attention: Option<Attention>,
    /// Where the time went.
    pub ms: Timings,
}

/// A remembered caption.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Recalled {
    /// Its slot of the memory.
    pub slot: SlotIndex,
    /// Its share of what was recalled, 0 to 1.
    pub weight: f32,
    /// The caption.
    pub text: String,
    /// Whether the user wrote it.
    pub corrected: bool,
    /// Milliseconds since 1970.
    pub written_at: u64,
    /// A small JPEG of its photo, maybe empty.
    #[serde(serialize_with = "as_bytes")]
    pub thumbnail: Vec<u8>,
}

/// Milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct Timings {
    /// Photo file to pixels of the model's size.
    pub decode: f64,
    /// Stem and vision encoder.
    pub vision: f64,
    /// Of `vision`, the stem.
    pub stem: f64,
    /// Reading and writing the memory.
    pub memory: f64,
    /// Fusion and decoder.
    pub text: f64,
    /// Of `text`, the fusion.
    pub fusion: f64,
    /// Of `text`, the decoder's run over the prefix.
    pub prefill: f64,
    /// The sum of `decode`, `vision`, `memory` and `text`.
    pub total: f64,
}

/// What is loaded.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ModelInfo {
    /// The model's name: [`model_name`](crate::model_name::model_name).
    pub name: String,
    /// SHA-256 of the model file.
    pub sha256: String,
    /// The numbers that shape it.
    pub config: Config,
    /// Commit of the trainer.
    pub commit: String,
    /// How it was trained.
    pub trained: serde_json::Value,
    /// Version of this program.
    pub version: &'static str,
    /// The integer kernels in use.
    pub kernels: &'static str,
}

fn as_bytes<S: serde::Serializer>(bytes: &[u8], to: S) -> Result<S::Ok, S::Error> {
    to.serialize_bytes(bytes)
}
