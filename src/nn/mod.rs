//! The building blocks: each `new(weights, sizes)` and `forward`. Rows are `[rows, width]`,
//! sequences of different lengths lying one after the other; [`AttentionLayout`] says which rows
//! see which.

mod attention;
mod bit_linear;
mod block;
#[cfg(feature = "train")]
pub(crate) mod dropout;
#[cfg(not(feature = "train"))]
#[path = "no_dropout.rs"]
mod dropout;
pub(crate) mod fused;
mod kv_cache;
mod mlp;
mod norm;
mod rotary;
mod step;
pub(crate) mod token_embedding;
pub(crate) mod vector;

pub use attention::{Attention, AttentionLayout, Heads, Segment};
pub use bit_linear::BitLinear;
pub use block::{Block, BlockSizes, Modulation};
pub use kv_cache::KvCache;
pub use mlp::Mlp;
pub use norm::{RmsNorm, ScaleChannels};
pub(crate) use step::{RowModulation, Workspace};
pub use token_embedding::TokenEmbedding;
