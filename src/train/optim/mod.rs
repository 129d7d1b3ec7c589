//! The optimizer, and how often it flips ternary codes.

pub(crate) mod code_flips;
pub mod muon;
pub mod optimizer;
