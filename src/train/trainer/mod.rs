//! The training loop, its options and its checkpoints.

pub mod balance;
mod checkpoint;
mod log;
pub mod recipe;
mod run;

pub use checkpoint::{checkpoint_latents, checkpoint_options, warm_start};
pub use run::{Gradients, Run, RunOptions};
