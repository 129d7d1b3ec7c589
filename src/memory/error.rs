//! The errors of the memory.

use super::SlotIndex;

/// Why the memory refused a call.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MemoryError {
    /// The slot is free or does not exist.
    #[error("slot {slot} holds no episode")]
    NoSuchSlot {
        /// The requested slot.
        slot: SlotIndex,
    },
    /// The caption is too old to be corrected, or never existed.
    #[error("caption {id} is not among the recent ones")]
    NoSuchCaption {
        /// The requested caption.
        id: u64,
    },
    /// The caption has no characters but white space.
    #[error("an empty caption cannot be remembered")]
    EmptyCaption,
    /// The correction is longer than a slot can keep.
    #[error("the caption has {found} characters, a slot keeps at most {limit}")]
    CaptionTooLong {
        /// Number of its Unicode code points.
        found: usize,
        /// [`MAX_CORRECTION_CHARS`](super::MAX_CORRECTION_CHARS).
        limit: usize,
    },
    /// The caption has more tokens than a slot can keep.
    #[error("the caption has {found} tokens, a slot keeps at most {limit}")]
    TooManyTokens {
        /// Number of its tokens.
        found: usize,
        /// [`MAX_CAPTION_TOKENS`](super::MAX_CAPTION_TOKENS).
        limit: usize,
    },
    /// The caption or the thumbnail has more bytes than a slot can keep.
    #[error("the {part} has {found} bytes, a slot keeps at most {limit}")]
    TooManyBytes {
        /// `caption` or `thumbnail`.
        part: &'static str,
        /// Its size in bytes.
        found: usize,
        /// [`MAX_CAPTION_BYTES`](super::MAX_CAPTION_BYTES) or
        /// [`MAX_THUMBNAIL_BYTES`](super::MAX_THUMBNAIL_BYTES).
        limit: usize,
    },
    /// The key or the value contains a number that is not finite, or the key is zero.
    #[error("the episode is not made of finite numbers")]
    NotFinite,
}
