//! The optimizer, and a measure of how often ternary codes flip.

pub(crate) mod code_flips;
pub mod muon;
pub mod optimizer;
