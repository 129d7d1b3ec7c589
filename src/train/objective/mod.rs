//! What a run minimizes: the batches and losses of each stage.

pub mod ablation;
pub mod batch;
pub mod captioning;
pub mod distill;
pub mod losses;
pub mod self_critical;
pub mod text_only;
