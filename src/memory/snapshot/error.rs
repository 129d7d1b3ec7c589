//! Why a snapshot was refused.

use crate::memory::MemoryError;

/// Why a snapshot was refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SnapshotError {
    /// The bytes are not a safetensors file.
    #[error("not a safetensors file: {0}")]
    Container(#[from] safetensors::SafeTensorError),
    /// A metadata entry is absent or no snapshot's.
    #[error("metadata {name} is {found}, expected {expected}")]
    InvalidMetadata {
        /// Name of the entry.
        name: &'static str,
        /// What it holds, empty if it is absent.
        found: String,
        /// What it may hold.
        expected: &'static str,
    },
    /// Another version of the format wrote it.
    #[error("format version {found}, expected {expected}")]
    UnsupportedVersion {
        /// The file's version.
        found: String,
        /// The version this program reads.
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
    /// The memory it was taken of has another shape.
    #[error(
        "{num_slots} slots {width} wide, expected {expected_slots} slots {expected_width} wide"
    )]
    WrongSize {
        /// Slots of the snapshot's memory.
        num_slots: usize,
        /// Their width.
        width: usize,
        /// Slots of the model's memory.
        expected_slots: usize,
        /// Their width.
        expected_width: usize,
    },
    /// The checksum is not that of the contents.
    #[error("the contents do not fit their checksum")]
    Damaged,
    /// A tensor is absent.
    #[error("no tensor {name}")]
    MissingTensor {
        /// Its name.
        name: &'static str,
    },
    /// A tensor is not one of a snapshot's.
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
    /// The records are not the JSON they should be.
    #[error("records: {0}")]
    Records(#[from] serde_json::Error),
    /// A number is out of its range.
    #[error("tensor {name}, row {row}: expected {expected}")]
    InvalidNumber {
        /// Tensor or field.
        name: &'static str,
        /// Row of the number.
        row: usize,
        /// What every row must hold.
        expected: &'static str,
    },
    /// A slot could not keep the record.
    #[error("row {row}: {source}")]
    InvalidRecord {
        /// Row of the record.
        row: usize,
        /// What is wrong with it.
        source: MemoryError,
    },
}
