//! Photo captions on the user's own device: BitMar (Aman et al. 2025, arXiv 2510.10560), a ternary
//! vision-language model with an episodic memory, small enough for a web page.
//!
//! ```text
//! photo bytes -> preprocess -> stem (int8 convolutions) -> vision (ternary blocks) -> patch rows
//! prompt -> text (ternary encoder) -> fusion (queries attend to patches) -> fused rows F
//! query rows of F, pooled -> episode e
//! mean of the stem's cells -> key k -> memory READ(k) -> context, recalled captions
//! decoder over [sinks | F | patch rows | recalled captions | tokens], conditioned on the context
//!   -> beam search -> caption
//! memory WRITE(k, e, caption)
//! ```
//!
//! [`Captioner`] runs the whole pipeline:
//!
//! ```
//! use std::time::{SystemTime, UNIX_EPOCH};
//!
//! use bitmar::{CaptionOptions, Captioner};
//!
//! fn now() -> f64 {
//!     SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |time| time.as_secs_f64() * 1e3)
//! }
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let file = |path: &str| std::fs::read(format!("{}/{path}", env!("CARGO_MANIFEST_DIR")));
//! let model = file("pkg/model/model.safetensors")?;
//! let tokenizer = file("pkg/model/tokenizer.json")?;
//! let photo = file("tests/photos/cat.jpg")?;
//!
//! let mut captioner = Captioner::new(&model, &tokenizer, now)?;
//! let caption = captioner.caption(&photo, &CaptionOptions::default())?;
//! assert!(caption.text.contains("cat"), "{}", caption.text);
//!
//! // A correction is remembered: the same photo gets the user's own words from now on.
//! captioner.correct(caption.id, "Felix on the sofa")?;
//! let again = captioner.caption(&photo, &CaptionOptions::default())?;
//! assert_eq!(again.text, "Felix on the sofa");
//! # Ok(())
//! # }
//! ```
//!
//! Public items other than those below are hidden: they serve this project's programs and tests and
//! may change in any release.

#[cfg(any(feature = "cli", feature = "train"))]
#[doc(hidden)]
pub mod atomic_file;
#[doc(hidden)]
pub mod captioner;
#[doc(hidden)]
pub mod checkpoint;
#[doc(hidden)]
pub mod config;
#[doc(hidden)]
pub mod control_tokens;
#[doc(hidden)]
pub mod decoder;
#[doc(hidden)]
pub mod error;
#[doc(hidden)]
pub mod fusion;
#[cfg(feature = "train")]
mod gemm;
#[doc(hidden)]
pub mod generate;
#[doc(hidden)]
pub mod hash;
#[doc(hidden)]
pub mod kernels;
#[doc(hidden)]
pub mod memory;
#[doc(hidden)]
pub mod model;
#[doc(hidden)]
pub mod model_name;
#[doc(hidden)]
pub mod nn;
#[doc(hidden)]
pub mod pipeline;
#[doc(hidden)]
pub mod preprocess;
#[doc(hidden)]
pub mod random;
#[doc(hidden)]
pub mod stem;
mod tensor_file;
#[doc(hidden)]
pub mod text;
#[doc(hidden)]
pub mod tokenizer;
#[cfg(feature = "train")]
#[doc(hidden)]
pub mod train;
#[doc(hidden)]
pub mod vision;
#[cfg(target_arch = "wasm32")]
#[doc(hidden)]
pub mod wasm;
#[doc(hidden)]
pub mod weights;

pub use captioner::{
    AttendedWord, Attention, Caption, CaptionOptions, Captioner, Clock, Generation, Migration,
    ModelInfo, Recalled, Timings,
};
pub use error::Error;
pub use generate::Length;
pub use memory::{EpisodicMemory, MemoryError, MemoryStats, SlotIndex, SlotRecord, SnapshotError};
pub use preprocess::PhotoError;
pub use weights::ModelError;
