//! Why a snapshot was refused.

use crate::memory::MemoryError;

/// Why a snapshot was refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SnapshotError {
    /// The bytes are not a safetensors file.
    #[error("not a safetensors file: {0}")]
    Container(#[from] safetensors::SafeTensorError),
    /// A metadata entry is absent or invalid.
    #[error("metadata {name} is {found}, expected {expected}")]
    InvalidMetadata {
        /// Name of the entry.
        name: &'static str,
        /// Its value, empty if it is absent.
        found: String,
        /// The valid values.
        expected: &'static str,
    },
    /// The file has another format version.
    #[error("format version {found}, expected {expected}")]
    UnsupportedVersion {
        /// The file's version.
        found: String,
        /// The version that this program reads.
        expected: &'static str,
    },
    /// It was made with another model.
    #[error("it belongs to model {found}, not {expected}")]
    OtherModel {
        /// SHA-256 of the model in use.
        expected: String,
        /// SHA-256 in the snapshot.
        found: String,
    },
    /// The memory has another shape than the model's.
    #[error(
        "{num_slots} slots {width} wide, expected {expected_slots} slots {expected_width} wide"
    )]
    WrongSize {
        /// Number of slots in the snapshot.
        num_slots: usize,
        /// Width of its keys and values.
        width: usize,
        /// Number of slots of the model's memory.
        expected_slots: usize,
        /// Width of the model's keys and values.
        expected_width: usize,
    },
    /// The checksum does not match the contents.
    #[error("the contents do not match their checksum")]
    Damaged,
    /// A tensor is absent.
    #[error("no tensor {name}")]
    MissingTensor {
        /// Its name.
        name: &'static str,
    },
    /// The file contains a tensor that the format does not have.
    #[error("unknown tensor {name}")]
    UnknownTensor {
        /// Its name.
        name: String,
    },
    /// A tensor has another type or shape than the others imply.
    #[error("tensor {name} holds {found}, expected {expected}")]
    WrongShape {
        /// Its name.
        name: &'static str,
        /// Type and shape it should have.
        expected: String,
        /// Type and shape it has.
        found: String,
    },
    /// The records are not valid JSON.
    #[error("records: {0}")]
    Records(#[from] serde_json::Error),
    /// A number is out of its range.
    #[error("tensor {name}, row {row}: expected {expected}")]
    InvalidNumber {
        /// Tensor or field.
        name: &'static str,
        /// Row of the number.
        row: usize,
        /// The condition that every row must meet.
        expected: &'static str,
    },
    /// A record exceeds the limits of a slot.
    #[error("row {row}: {source}")]
    InvalidRecord {
        /// Row of the record.
        row: usize,
        /// The limit it exceeds.
        source: MemoryError,
    },
}
