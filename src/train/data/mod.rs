//! Photos, captions and texts as the trainer reads them, cached in files.

pub mod archive;
pub mod bpe;
pub mod cache;
pub mod chosen_captions;
pub mod consensus;
pub mod key_whitening;
pub mod label_captions;
pub mod photo_set;
pub mod sample;
pub mod samples;
pub mod view;
