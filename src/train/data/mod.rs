//! Training data: photo sets, captions and caption texts, and the features cached for them.

pub mod archive;
pub mod bpe;
pub mod cache;
pub mod chosen_captions;
pub mod consensus;
pub mod key_whitening;
pub mod label_captions;
pub mod photo_set;
pub mod photo_tags;
pub mod pooled;
pub mod sample;
pub mod samples;
pub mod seen;
pub mod tag_targets;
pub mod view;
