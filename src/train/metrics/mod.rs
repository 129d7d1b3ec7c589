//! Caption metrics.
pub mod words;
