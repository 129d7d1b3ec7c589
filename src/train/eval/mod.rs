//! Scores of models, and pictures of what they do.

pub mod baselines;
pub mod captions;
pub mod curves;
pub mod drawn;
pub mod memory;
pub mod memory_reads;
pub mod probe;
pub mod quantization;
pub mod tag_calibration;
