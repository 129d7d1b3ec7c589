//! Every way a call can fail, with a stable code that programs (and JavaScript) can act on.

use crate::memory::{MemoryError, SnapshotError};
use crate::preprocess::PhotoError;
use crate::weights::ModelError;

/// Why a photo could not be captioned, a model not loaded, or a memory not used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The bytes are not a photo that can be read.
    #[error("cannot read the photo: {0}")]
    Photo(#[from] PhotoError),
    /// The model file is damaged, incomplete, or of another version.
    #[error("bad model file: {0}")]
    Model(#[from] ModelError),
    /// The tokenizer file cannot be used with the model.
    #[error("bad tokenizer: {0}")]
    Tokenizer(String),
    /// The memory snapshot is damaged or belongs to another model.
    #[error("bad memory snapshot: {0}")]
    Snapshot(#[from] SnapshotError),
    /// The call names a caption or slot that does not exist, or a correction that cannot be kept.
    #[error("memory: {0}")]
    Memory(#[from] MemoryError),
    /// An option is out of its range.
    #[error("bad option: {0}")]
    Option(String),
    /// A tensor operation failed. Shapes are checked on load, so this is a bug in bitmar.
    #[error("tensor operation failed: {0}")]
    Tensor(#[from] candle_core::Error),
}

impl Error {
    /// A stable name for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Photo(_) => "photo",
            Self::Model(_) => "model",
            Self::Tokenizer(_) => "tokenizer",
            Self::Snapshot(_) => "snapshot",
            Self::Memory(MemoryError::EmptyCaption) => "caption-empty",
            Self::Memory(MemoryError::CaptionTooLong { .. }) => "caption-too-long",
            Self::Memory(MemoryError::NoSuchSlot { .. } | MemoryError::NoSuchCaption { .. }) => {
                "memory"
            }
            // Our own captions and thumbnails fit, and our own numbers are finite.
            Self::Memory(_) => "internal",
            Self::Option(_) => "option",
            Self::Tensor(_) => "internal",
        }
    }
}
