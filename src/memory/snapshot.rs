//! A memory as bytes: safetensors, specified in docs/model-format.md.
//!
//! A snapshot belongs to one model, identified by the SHA-256 of its file: its values are valid for
//! that model only, its keys also for models that make the same keys. Every size and number is
//! checked before the memory is built, so a damaged file is an `Err` and the memory in use stays as
//! it is. Reading a snapshot and writing it again gives the same bytes.

mod error;
mod tensors;

use std::collections::BTreeMap;

use safetensors::{Dtype, SafeTensors};
use serde::Serialize;
use sha2::{Digest, Sha256};

use super::{EpisodicMemory, ForeignMemory, Int8Row, Slot, SlotIndex, SIGNATURE_BYTES};
use crate::config::{Config, MemoryConfig};
use crate::hash::to_hex;
use crate::tensor_file::{to_safetensors, RawTensor};

pub use error::SnapshotError;
use tensors::Tensors;

const FORMAT: &str = "bitmar-memory";

/// Layouts that can be read; the last one is written. Version 2 added recall counts, version 3
/// moved the records from JSON to tensors, version 4 added signatures and longer captions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Version {
    One,
    Two,
    Three,
    Four,
}

impl Version {
    const WRITTEN: &'static str = "4";

    fn new(name: &str) -> Result<Self, SnapshotError> {
        match name {
            "1" => Ok(Self::One),
            "2" => Ok(Self::Two),
            "3" => Ok(Self::Three),
            Self::WRITTEN => Ok(Self::Four),
            _ => Err(SnapshotError::UnsupportedVersion {
                found: name.to_owned(),
                expected: Self::WRITTEN,
            }),
        }
    }
}

/// The entries of the metadata.
const ENTRIES: [&str; 7] =
    ["format", "format_version", "model_sha256", "keys_sha256", "config", "tick", "sha256"];

/// The key hash of every model that wrote version 3 without `keys_sha256`.
const SHIPPED_KEYS_SHA256: &str =
    "37ba4b2a14f683c1302245a926d2b3482e0d4184bd053f199d759ff18d1448fb";

/// The model that a memory belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Origin<'a> {
    /// SHA-256 of the model's file.
    pub model_sha256: &'a str,
    /// SHA-256 of what it makes keys with:
    /// [`LoadedModel::keys_sha256`](crate::checkpoint::LoadedModel::keys_sha256).
    pub keys_sha256: &'a str,
}

/// A memory stored as bytes.
pub struct Snapshot;

impl Snapshot {
    /// The bytes of `memory`.
    pub fn write(memory: &EpisodicMemory, origin: Origin<'_>) -> Vec<u8> {
        let slots: Vec<(usize, &Slot)> = memory.occupied().collect();
        let (rows, width) = (slots.len(), memory.width);
        let config = MemoryConfig { num_slots: memory.num_slots(), width };
        let mut metadata = BTreeMap::from([
            ("format".to_owned(), FORMAT.to_owned()),
            ("format_version".to_owned(), Version::WRITTEN.to_owned()),
            ("model_sha256".to_owned(), origin.model_sha256.to_owned()),
            ("keys_sha256".to_owned(), origin.keys_sha256.to_owned()),
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
        let signatures = slots.iter().flat_map(|(_, slot)| match &slot.signature {
            Some(signature) => signature.bytes().to_vec(),
            None => vec![0; SIGNATURE_BYTES],
        });
        put("signatures", Dtype::U8, vec![rows, SIGNATURE_BYTES], signatures.collect());
        put("values", Dtype::I8, vec![rows, width], codes(slots.iter().map(|(_, s)| &s.value)));
        let value_scales = collect(&slots, |(_, s)| s.value.scale.to_le_bytes());
        put("value_scales", Dtype::F32, vec![rows], value_scales);
        put("usage", Dtype::F32, vec![rows], collect(&slots, |(_, s)| s.usage.to_le_bytes()));
        let mut put_counts = |name, of: fn(&Slot) -> u64| {
            // No user writes four billion captions.
            let count = |slot| u32::try_from(of(slot)).unwrap_or(u32::MAX).to_le_bytes();
            put(name, Dtype::U32, vec![rows], collect(&slots, |(_, s)| count(s)));
        };
        put_counts("recalls", |slot| slot.recalls);
        put_counts("last_write", |slot| slot.last_write);
        put_counts("last_read", |slot| slot.last_read);
        let lengths = collect(&slots, |(_, s)| index(s.record.thumbnail.len()));
        put("thumbnail_lengths", Dtype::U32, vec![rows], lengths);
        let thumbnails: Vec<u8> =
            slots.iter().flat_map(|(_, s)| s.record.thumbnail.iter().copied()).collect();
        put("thumbnails", Dtype::U8, vec![thumbnails.len()], thumbnails);
        let records = || slots.iter().map(|(_, slot)| &slot.record);
        let captions: Vec<u8> = records().flat_map(|r| r.caption.bytes()).collect();
        let lengths = records().flat_map(|r| small(r.caption.len()).to_le_bytes());
        put("caption_lengths", Dtype::U16, vec![rows], lengths.collect());
        put("captions", Dtype::U8, vec![captions.len()], captions);
        let counts = records().map(|r| u8::try_from(r.tokens.len()).expect("24 tokens at most"));
        put("token_counts", Dtype::U8, vec![rows], counts.collect());
        let tokens: Vec<u8> = records()
            .flat_map(|r| &r.tokens)
            .flat_map(|&token| small(token as usize).to_le_bytes())
            .collect();
        put("tokens", Dtype::U16, vec![tokens.len() / 2], tokens);
        put("corrected", Dtype::U8, vec![rows], records().map(|r| u8::from(r.corrected)).collect());
        let written_at = records().flat_map(|r| r.written_at.to_le_bytes()).collect();
        put("written_at", Dtype::U64, vec![rows], written_at);
        let contents = tensors.iter().map(|(name, tensor)| (name.as_str(), tensor.data.as_slice()));
        metadata.insert("sha256".to_owned(), checksum(&metadata["tick"], contents));
        to_safetensors(&tensors, &metadata)
    }

    /// Reads the memory in `bytes`, which must belong to the model of `origin` and to this
    /// configuration.
    pub fn read(
        bytes: &[u8],
        origin: Origin<'_>,
        config: &Config,
    ) -> Result<EpisodicMemory, SnapshotError> {
        let contents = Contents::new(bytes)?;
        contents.check_model(origin, &config.memory)?;
        let MemoryConfig { num_slots, width } = config.memory;
        let mut memory = EpisodicMemory::new(num_slots, width);
        memory.tick = contents.tick;
        for (index, slot) in contents.slots(Some(config.vocab_size))? {
            memory.slots[index] = Some(slot);
        }
        Ok(memory)
    }

    /// SHA-256 of the model file that the memory in `bytes` belongs to.
    pub fn model_sha256(bytes: &[u8]) -> Result<String, SnapshotError> {
        Ok(Contents::new(bytes)?.model_sha256)
    }

    /// Reads the episodes in `bytes`, whatever model they belong to.
    pub fn read_foreign(bytes: &[u8]) -> Result<ForeignMemory, SnapshotError> {
        let contents = Contents::new(bytes)?;
        let default_keys = contents.version == Version::Three;
        let default_keys = default_keys.then(|| SHIPPED_KEYS_SHA256.to_owned());
        let (tick, keys_sha256) = (contents.tick, contents.keys_sha256.clone().or(default_keys));
        Ok(ForeignMemory { slots: contents.slots(None)?, tick, keys_sha256 })
    }
}

/// The contents of a file whose checksum is correct.
struct Contents<'a> {
    file: SafeTensors<'a>,
    version: Version,
    model_sha256: String,
    /// SHA-256 of what its keys were made with, if the file states it.
    keys_sha256: Option<String>,
    config: MemoryConfig,
    tick: u64,
}

impl<'a> Contents<'a> {
    fn new(bytes: &'a [u8]) -> Result<Self, SnapshotError> {
        let (_, header) = SafeTensors::read_metadata(bytes)?;
        let metadata = header.metadata().clone().unwrap_or_default();
        let get = |name: &str| metadata.get(name).cloned().unwrap_or_default();
        let invalid = |name: &'static str, expected: &'static str| {
            let found = get(name).chars().take(100).collect();
            SnapshotError::InvalidMetadata { name, found, expected }
        };
        if get("format") != FORMAT {
            return Err(invalid("format", FORMAT));
        }
        let version = Version::new(&get("format_version"))?;
        let config = serde_json::from_str(&get("config"))
            .map_err(|_| invalid("config", "the memory's configuration in JSON"))?;
        let tick = get("tick").parse().map_err(|_| invalid("tick", "a whole number"))?;
        let file = SafeTensors::deserialize(bytes)?;
        let mut tensors = file.tensors();
        tensors.sort_by(|a, b| a.0.cmp(&b.0));
        let tensors = tensors.iter().map(|(name, tensor)| (name.as_str(), tensor.data()));
        if get("sha256") != checksum(&get("tick"), tensors) {
            return Err(SnapshotError::Damaged);
        }
        // An unknown name is a damaged one.
        if metadata.keys().any(|name| !ENTRIES.contains(&name.as_str())) {
            return Err(SnapshotError::Damaged);
        }
        let keys_sha256 = metadata.get("keys_sha256").cloned();
        Ok(Self { file, version, model_sha256: get("model_sha256"), keys_sha256, config, tick })
    }

    fn check_model(&self, origin: Origin<'_>, config: &MemoryConfig) -> Result<(), SnapshotError> {
        if self.model_sha256 != origin.model_sha256 {
            let (expected, found) = (origin.model_sha256.to_owned(), self.model_sha256.clone());
            return Err(SnapshotError::OtherModel { expected, found });
        }
        // The checksum does not cover `keys_sha256`, because older versions wrote it without.
        if self.keys_sha256.as_ref().is_some_and(|keys| keys != origin.keys_sha256) {
            return Err(SnapshotError::Damaged);
        }
        if self.config != *config {
            return Err(SnapshotError::WrongSize {
                num_slots: self.config.num_slots,
                width: self.config.width,
                expected_slots: config.num_slots,
                expected_width: config.width,
            });
        }
        Ok(())
    }

    /// The occupied slots. Without a vocabulary size, any text token is accepted.
    fn slots(self, vocab_size: Option<usize>) -> Result<Vec<(SlotIndex, Slot)>, SnapshotError> {
        let (config, tick) = (self.config, self.tick);
        Tensors::new(self.file, self.version)?.slots(&config, tick, vocab_size)
    }
}

/// SHA-256 of the tick and of the name and data of every tensor, ordered by name.
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

/// A caption's length or a token: configurations allow no vocabulary beyond 16 bits.
fn small(number: usize) -> u16 {
    u16::try_from(number).expect("lengths and tokens have 16 bits")
}

#[cfg(test)]
mod tests;
