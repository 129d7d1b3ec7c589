//! The trainer: data, caches, losses, the optimizer, and the evaluation.

pub mod commands;
pub mod data;
pub mod eval;
pub(crate) mod files;
pub mod inputs;
pub mod metrics;
pub mod model_source;
pub mod objective;
pub mod optim;
pub(crate) mod parallel;
pub mod teacher;
pub mod text;
pub mod trainer;
