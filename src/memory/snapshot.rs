//! A memory as bytes: safetensors, specified in docs/model-format.md.
//!
//! A snapshot belongs to one model, named by the SHA-256 of its file: keys and values mean nothing to
//! another. Every size and number is checked before the memory is built, so a damaged file is an `Err`
//! and the memory in use stays as it is. Reading and writing a snapshot gives the same bytes.

use std::collections::BTreeMap;

use safetensors::{Dtype, SafeTensors};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{EpisodicMemory, Int8Row, MemoryError, Slot, SlotRecord, MAX_THUMBNAIL_BYTES};
use crate::checkpoint::{to_hex, to_safetensors};
use crate::config::{Config, MemoryConfig};
use crate::weights::RawTensor;

const FORMAT: &str = "bitmar-memory";
const FORMAT_VERSION: &str = "1";
/// Ids below this are control tokens, which no caption holds.
const FIRST_TEXT_TOKEN: u32 = 16;

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
    #[error("tensor {name} holds {expected} in row {row}, but not here")]
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

/// A memory stored as bytes.
pub struct Snapshot;

/// The JSON part of a record.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredRecord {
    caption: String,
    tokens: Vec<u32>,
    corrected: bool,
    written_at: u64,
}

impl Snapshot {
    /// The bytes of `memory`, which belongs to the model of this SHA-256.
    pub fn write(memory: &EpisodicMemory, model_sha256: &str) -> Vec<u8> {
        let slots: Vec<(usize, &Slot)> = memory.occupied().collect();
        let (rows, width) = (slots.len(), memory.width);
        let config = MemoryConfig { num_slots: memory.num_slots(), width };
        let mut metadata = BTreeMap::from([
            ("format".to_owned(), FORMAT.to_owned()),
            ("format_version".to_owned(), FORMAT_VERSION.to_owned()),
            ("model_sha256".to_owned(), model_sha256.to_owned()),
            ("config".to_owned(), to_json(&config)),
            ("tick".to_owned(), memory.tick.to_string()),
        ]);
        let mut tensors = BTreeMap::new();
        let mut put = |name: &str, dtype, shape: Vec<usize>, data: Vec<u8>| {
            tensors.insert(name.to_owned(), RawTensor { dtype, shape, data });
        };
        let index = |index: usize| u32::try_from(index).expect("slots are few").to_le_bytes();
        put("slots", Dtype::U32, vec![rows], collect(&slots, |(i, _)| index(*i)));
        put("keys", Dtype::I8, vec![rows, width], codes(slots.iter().map(|(_, s)| &s.key)));
        put(
            "key_scales",
            Dtype::F32,
            vec![rows],
            collect(&slots, |(_, s)| s.key.scale.to_le_bytes()),
        );
        put("values", Dtype::I8, vec![rows, width], codes(slots.iter().map(|(_, s)| &s.value)));
        let value_scales = collect(&slots, |(_, s)| s.value.scale.to_le_bytes());
        put("value_scales", Dtype::F32, vec![rows], value_scales);
        put("usage", Dtype::F32, vec![rows], collect(&slots, |(_, s)| s.usage.to_le_bytes()));
        put(
            "last_write",
            Dtype::U64,
            vec![rows],
            collect(&slots, |(_, s)| s.last_write.to_le_bytes()),
        );
        put(
            "last_read",
            Dtype::U64,
            vec![rows],
            collect(&slots, |(_, s)| s.last_read.to_le_bytes()),
        );
        let lengths = collect(&slots, |(_, s)| index(s.record.thumbnail.len()));
        put("thumbnail_lengths", Dtype::U32, vec![rows], lengths);
        let thumbnails: Vec<u8> =
            slots.iter().flat_map(|(_, s)| s.record.thumbnail.iter().copied()).collect();
        put("thumbnails", Dtype::U8, vec![thumbnails.len()], thumbnails);
        let records: Vec<StoredRecord> = slots.iter().map(|(_, s)| stored(&s.record)).collect();
        let records = to_json(&records).into_bytes();
        put("records", Dtype::U8, vec![records.len()], records);
        let contents = tensors.iter().map(|(name, tensor)| (name.as_str(), tensor.data.as_slice()));
        metadata.insert("sha256".to_owned(), checksum(&metadata["tick"], contents));
        to_safetensors(&tensors, &metadata)
    }

    /// The memory in `bytes`, if it belongs to the model of this SHA-256 and configuration.
    pub fn read(
        bytes: &[u8],
        model_sha256: &str,
        config: &Config,
    ) -> Result<EpisodicMemory, SnapshotError> {
        let (_, header) = SafeTensors::read_metadata(bytes)?;
        let empty = std::collections::HashMap::new();
        let metadata = header.metadata().as_ref().unwrap_or(&empty);
        let tick = check_metadata(metadata, model_sha256, &config.memory)?;
        let file = SafeTensors::deserialize(bytes)?;
        let mut contents = file.tensors();
        contents.sort_by(|a, b| a.0.cmp(&b.0));
        let contents = contents.iter().map(|(name, tensor)| (name.as_str(), tensor.data()));
        if metadata.get("sha256") != Some(&checksum(&tick.to_string(), contents)) {
            return Err(SnapshotError::Damaged);
        }
        Tensors::new(file)?.memory(config, tick)
    }
}

/// SHA-256 over the tick and every tensor's name and data, by name.
fn checksum<'a>(tick: &str, contents: impl Iterator<Item = (&'a str, &'a [u8])>) -> String {
    let mut hash = Sha256::new();
    hash.update(tick);
    for (name, data) in contents {
        hash.update(name);
        hash.update(data);
    }
    to_hex(&hash.finalize())
}

fn to_json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("plain data has a JSON form")
}

fn collect<T, const N: usize>(items: &[T], bytes: impl Fn(&T) -> [u8; N]) -> Vec<u8> {
    items.iter().flat_map(bytes).collect()
}

fn codes<'a>(rows: impl Iterator<Item = &'a Int8Row>) -> Vec<u8> {
    rows.flat_map(|row| row.codes.iter().map(|code| code.to_le_bytes()[0])).collect()
}

fn stored(record: &SlotRecord) -> StoredRecord {
    let SlotRecord { caption, tokens, corrected, written_at, thumbnail: _ } = record.clone();
    StoredRecord { caption, tokens, corrected, written_at }
}

/// Checks whose snapshot it is and returns the tick.
fn check_metadata(
    metadata: &std::collections::HashMap<String, String>,
    model_sha256: &str,
    config: &MemoryConfig,
) -> Result<u64, SnapshotError> {
    let get = |name: &str| metadata.get(name).map(String::as_str).unwrap_or_default();
    let invalid = |name: &'static str, expected: &'static str| {
        let found = get(name).chars().take(100).collect();
        SnapshotError::InvalidMetadata { name, found, expected }
    };
    if get("format") != FORMAT {
        return Err(invalid("format", FORMAT));
    }
    if get("format_version") != FORMAT_VERSION {
        let found = get("format_version").to_owned();
        return Err(SnapshotError::UnsupportedVersion { found, expected: FORMAT_VERSION });
    }
    if get("model_sha256") != model_sha256 {
        let (expected, found) = (model_sha256.to_owned(), get("model_sha256").to_owned());
        return Err(SnapshotError::OtherModel { expected, found });
    }
    let own: MemoryConfig = serde_json::from_str(get("config"))
        .map_err(|_| invalid("config", "the memory's configuration in JSON"))?;
    if own != *config {
        return Err(SnapshotError::WrongSize {
            num_slots: own.num_slots,
            width: own.width,
            expected_slots: config.num_slots,
            expected_width: config.width,
        });
    }
    get("tick").parse().map_err(|_| invalid("tick", "a whole number"))
}

/// The tensors of a snapshot, each taken once.
struct Tensors<'a> {
    slots: Vec<u32>,
    keys: &'a [u8],
    key_scales: Vec<f32>,
    values: &'a [u8],
    value_scales: Vec<f32>,
    usage: Vec<f32>,
    last_write: Vec<u64>,
    last_read: Vec<u64>,
    thumbnail_lengths: Vec<u32>,
    thumbnails: &'a [u8],
    records: Vec<StoredRecord>,
    width: usize,
}

const NAMES: [&str; 11] = [
    "slots",
    "keys",
    "key_scales",
    "values",
    "value_scales",
    "usage",
    "last_write",
    "last_read",
    "thumbnail_lengths",
    "thumbnails",
    "records",
];

impl<'a> Tensors<'a> {
    fn new(file: SafeTensors<'a>) -> Result<Self, SnapshotError> {
        if let Some(name) = file.names().into_iter().find(|name| !NAMES.contains(name)) {
            return Err(SnapshotError::UnknownTensor { name: name.to_owned() });
        }
        let raw = |name, dtype, shape: &[usize]| raw(&file, name, dtype, shape);
        let len = |name| -> Result<usize, SnapshotError> {
            let tensor = file.tensor(name).map_err(|_| SnapshotError::MissingTensor { name })?;
            Ok(tensor.shape().first().copied().unwrap_or(0))
        };
        let rows = len("slots")?;
        let keys =
            file.tensor("keys").map_err(|_| SnapshotError::MissingTensor { name: "keys" })?;
        let width = keys.shape().get(1).copied().unwrap_or(0);
        let f32s = |name| {
            Ok::<_, SnapshotError>(numbers(raw(name, Dtype::F32, &[rows])?, f32::from_le_bytes))
        };
        let u32s = |name| {
            Ok::<_, SnapshotError>(numbers(raw(name, Dtype::U32, &[rows])?, u32::from_le_bytes))
        };
        let u64s = |name| {
            Ok::<_, SnapshotError>(numbers(raw(name, Dtype::U64, &[rows])?, u64::from_le_bytes))
        };
        Ok(Self {
            slots: u32s("slots")?,
            keys: raw("keys", Dtype::I8, &[rows, width])?,
            key_scales: f32s("key_scales")?,
            values: raw("values", Dtype::I8, &[rows, width])?,
            value_scales: f32s("value_scales")?,
            usage: f32s("usage")?,
            last_write: u64s("last_write")?,
            last_read: u64s("last_read")?,
            thumbnail_lengths: u32s("thumbnail_lengths")?,
            thumbnails: raw("thumbnails", Dtype::U8, &[len("thumbnails")?])?,
            records: serde_json::from_slice(raw("records", Dtype::U8, &[len("records")?])?)?,
            width,
        })
    }

    fn memory(self, config: &Config, tick: u64) -> Result<EpisodicMemory, SnapshotError> {
        let MemoryConfig { num_slots, width } = config.memory;
        let rows = self.slots.len();
        let wrong_shape = |name, expected: String, found: String| {
            Err(SnapshotError::WrongShape { name, expected, found })
        };
        if self.width != width && rows > 0 {
            return wrong_shape(
                "keys",
                format!("rows {width} wide"),
                format!("{} wide", self.width),
            );
        }
        if self.records.len() != rows {
            let found = format!("{} records", self.records.len());
            return wrong_shape("records", format!("{rows} records"), found);
        }
        let lengths = self.thumbnail_lengths.iter().map(|&length| u64::from(length));
        if lengths.sum::<u64>() != self.thumbnails.len() as u64 {
            let found = format!("{} bytes", self.thumbnails.len());
            return wrong_shape(
                "thumbnails",
                "as many bytes as thumbnail_lengths tell".into(),
                found,
            );
        }
        let mut memory = EpisodicMemory::new(num_slots, width);
        memory.tick = tick;
        let (mut thumbnails, mut next_free) = (self.thumbnails, 0);
        let stored = self.records.into_iter().zip(&self.thumbnail_lengths).enumerate();
        for (row, (stored, &thumbnail)) in stored {
            let index = self.slots[row] as usize;
            let must = |holds: bool, name, expected| match holds {
                true => Ok(()),
                false => Err(SnapshotError::InvalidNumber { name, row, expected }),
            };
            must((next_free..num_slots).contains(&index), "slots", "ascending numbers of slots")?;
            next_free = index + 1;
            let thumbnail = thumbnail as usize;
            must(thumbnail <= MAX_THUMBNAIL_BYTES, "thumbnail_lengths", "at most 32768")?;
            let (thumbnail, rest) = thumbnails.split_at(thumbnail);
            thumbnails = rest;
            let slot = Slot {
                key: int8_row(&self.keys[row * width..][..width], self.key_scales[row]),
                value: int8_row(&self.values[row * width..][..width], self.value_scales[row]),
                usage: self.usage[row],
                last_write: self.last_write[row],
                last_read: self.last_read[row],
                record: record(stored, thumbnail),
            };
            must(slot.key.is_sound() && slot.key.scale > 0.0, "keys", "a direction")?;
            must(slot.value.is_sound(), "values", "finite numbers")?;
            must(slot.usage.is_finite() && slot.usage >= 0.0, "usage", "a finite number")?;
            must(slot.last_write.max(slot.last_read) <= tick, "last_write", "a tick of the past")?;
            let text = FIRST_TEXT_TOKEN as usize..config.vocab_size;
            let is_text = slot.record.tokens.iter().all(|&token| text.contains(&(token as usize)));
            must(is_text, "records", "tokens of the vocabulary")?;
            slot.record.check().map_err(|source| SnapshotError::InvalidRecord { row, source })?;
            memory.slots[index] = Some(slot);
        }
        Ok(memory)
    }
}

fn raw<'a>(
    file: &SafeTensors<'a>,
    name: &'static str,
    dtype: Dtype,
    shape: &[usize],
) -> Result<&'a [u8], SnapshotError> {
    let tensor = file.tensor(name).map_err(|_| SnapshotError::MissingTensor { name })?;
    if tensor.dtype() != dtype || tensor.shape() != shape {
        let expected = format!("{dtype:?} {shape:?}");
        let found = format!("{:?} {:?}", tensor.dtype(), tensor.shape());
        return Err(SnapshotError::WrongShape { name, expected, found });
    }
    Ok(tensor.data())
}

fn numbers<T, const N: usize>(bytes: &[u8], number: fn([u8; N]) -> T) -> Vec<T> {
    bytes.chunks_exact(N).map(|b| number(b.try_into().expect("chunks of N bytes"))).collect()
}

fn int8_row(bytes: &[u8], scale: f32) -> Int8Row {
    Int8Row { codes: bytes.iter().map(|&byte| i8::from_le_bytes([byte])).collect(), scale }
}

fn record(stored: StoredRecord, thumbnail: &[u8]) -> SlotRecord {
    let StoredRecord { caption, tokens, corrected, written_at } = stored;
    SlotRecord { caption, tokens, corrected, written_at, thumbnail: thumbnail.to_vec() }
}

impl Int8Row {
    /// Whether `Int8Row::new` could have made it, as far as the memory relies on it.
    fn is_sound(&self) -> bool {
        let has_codes = self.codes.iter().any(|&code| code != 0);
        // The largest row a scale below this gives stays finite.
        let scale_fits = self.scale >= 0.0 && self.scale <= f32::MAX / 127.0;
        scale_fits && !self.codes.contains(&i8::MIN) && has_codes == (self.scale > 0.0)
    }
}

#[cfg(test)]
mod tests {
    use super::super::Episode;
    use super::*;
    use crate::random::Random;

    fn config() -> Config {
        Config { memory: MemoryConfig { num_slots: 8, width: 32 }, ..Config::tiny() }
    }

    fn memory() -> EpisodicMemory {
        let mut random = Random::new(5);
        let mut memory = EpisodicMemory::new(8, 32);
        for i in 0..5u8 {
            let row: Vec<f32> = (0..32).map(|_| random.normal()).collect();
            let length = row.iter().map(|v| v * v).sum::<f32>().sqrt();
            let record = SlotRecord {
                caption: format!("photo {i} of \"Rex\" ☂"),
                tokens: vec![20 + u32::from(i), 21],
                corrected: i == 3,
                written_at: 1_700_000_000_000 + u64::from(i),
                thumbnail: vec![i; 10 * usize::from(i)],
            };
            let key = row.iter().map(|v| v / length).collect();
            memory.write(Episode { key, value: row, record }).unwrap();
        }
        memory.delete(1).unwrap();
        memory
    }

    #[test]
    fn reading_gives_the_memory_that_was_written() {
        let bytes = Snapshot::write(&memory(), "abc");
        assert_eq!(Snapshot::read(&bytes, "abc", &config()).unwrap(), memory());
    }

    #[test]
    fn reading_and_writing_gives_the_same_bytes() {
        for memory in [memory(), EpisodicMemory::new(8, 32)] {
            let bytes = Snapshot::write(&memory, "abc");
            let again = Snapshot::write(&Snapshot::read(&bytes, "abc", &config()).unwrap(), "abc");
            assert_eq!(bytes, again);
        }
    }

    #[test]
    fn another_models_snapshot_is_refused() {
        let bytes = Snapshot::write(&memory(), "abc");
        let error = Snapshot::read(&bytes, "def", &config()).unwrap_err();
        assert!(matches!(error, SnapshotError::OtherModel { .. }), "{error}");
    }

    #[test]
    fn a_memory_of_another_size_is_refused() {
        let bytes = Snapshot::write(&EpisodicMemory::new(9, 32), "abc");
        let error = Snapshot::read(&bytes, "abc", &config()).unwrap_err();
        assert!(matches!(error, SnapshotError::WrongSize { num_slots: 9, .. }), "{error}");
    }

    #[test]
    fn tokens_beyond_the_vocabulary_are_refused() {
        let bytes = Snapshot::write(&memory(), "abc");
        let small = Config { vocab_size: 21, ..config() };
        let error = Snapshot::read(&bytes, "abc", &small).unwrap_err();
        assert!(matches!(error, SnapshotError::InvalidNumber { name: "records", .. }), "{error}");
    }

    #[test]
    fn every_truncation_is_refused() {
        let bytes = Snapshot::write(&memory(), "abc");
        for length in 0..bytes.len() {
            assert!(Snapshot::read(&bytes[..length], "abc", &config()).is_err(), "{length} bytes");
        }
    }

    #[test]
    fn every_flipped_bit_is_refused() {
        let bytes = Snapshot::write(&memory(), "abc");
        for bit in 0..8 * bytes.len() {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(Snapshot::read(&damaged, "abc", &config()).is_err(), "bit {bit}");
        }
    }
}
