//! Photo captions on the user's own device: BitMar (Aman et al. 2025, arXiv 2510.10560), a ternary
//! vision-language model with an episodic memory, small enough for a web page.
//!
//! ```text
//! photo bytes -> preprocess -> stem (int8 convolutions) -> vision (ternary blocks) -> patch rows
//! prompt -> text (ternary encoder) -> fusion (queries attend to patches) -> fused rows, episode
//! memory READ(episode) -> context, recalled captions
//! decoder over [sinks | fused | recalled | tokens], conditioned on the context -> beam search -> caption
//! memory WRITE(episode, caption)
//! ```
//!
//! [`Captioner`](captioner::Captioner) runs the whole line; [`BitMar`](model::BitMar) is the model.

pub mod config;
pub mod control_tokens;
pub mod decoder;
pub mod error;
pub mod fusion;
#[cfg(feature = "train")]
mod gemm;
pub mod hash;
pub mod kernels;
pub mod memory;
pub mod model;
pub mod nn;
pub mod pipeline;
pub mod preprocess;
pub mod random;
pub mod stem;
mod tensor_file;
pub mod text;
pub mod tokenizer;
pub mod vision;
pub mod weights;

pub mod captioner;
pub mod checkpoint;
pub mod generate;
pub mod model_name;

#[cfg(feature = "train")]
pub mod train;
#[cfg(target_arch = "wasm32")]
pub mod wasm;

pub use error::Error;
