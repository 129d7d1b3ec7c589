//! The trainer: data, caches, losses, the optimiser, and the evaluation.

pub mod balance;
pub mod baselines;
pub mod batch;
pub mod captions;
pub mod commands;
pub mod data;
pub mod dataset;
pub mod distill;
pub mod efficientnet;
pub mod evaluate;
pub mod evaluate_memory;
pub mod keys;
pub mod language;
pub mod losses;
pub mod metrics;
pub mod muon;
pub mod names;
pub mod optimizer;
pub mod self_critical;
pub mod stem_builder;
pub mod stem_cache;
pub mod tokenizer;
pub mod trainer;
