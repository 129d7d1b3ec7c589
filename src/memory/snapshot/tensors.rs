//! The tensors of a snapshot: taken out of the file and checked, number by number.

use safetensors::{Dtype, SafeTensors};

use super::{SnapshotError, StoredRecord, FORMAT_VERSION};
use crate::config::MemoryConfig;
use crate::memory::{Int8Row, Slot, SlotIndex, SlotRecord, MAX_THUMBNAIL_BYTES};

/// Ids below this are control tokens, which no caption holds.
const FIRST_TEXT_TOKEN: u32 = 16;

/// The tensors of a snapshot, each taken once.
pub(super) struct Tensors<'a> {
    slots: Vec<u32>,
    keys: &'a [u8],
    key_scales: Vec<f32>,
    values: &'a [u8],
    value_scales: Vec<f32>,
    usage: Vec<f32>,
    recalls: Vec<u64>,
    last_write: Vec<u64>,
    last_read: Vec<u64>,
    thumbnail_lengths: Vec<u32>,
    thumbnails: &'a [u8],
    records: Vec<StoredRecord>,
    width: usize,
}

const NAMES: [&str; 12] = [
    "slots",
    "keys",
    "key_scales",
    "values",
    "value_scales",
    "usage",
    "recalls",
    "last_write",
    "last_read",
    "thumbnail_lengths",
    "thumbnails",
    "records",
];

impl<'a> Tensors<'a> {
    pub(super) fn new(file: SafeTensors<'a>, version: &str) -> Result<Self, SnapshotError> {
        let counts_recalls = version == FORMAT_VERSION;
        let is_known = |name: &&str| NAMES.contains(name) && (counts_recalls || *name != "recalls");
        if let Some(name) = file.names().into_iter().find(|name| !is_known(name)) {
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
            recalls: if counts_recalls { u64s("recalls")? } else { vec![0; rows] },
            last_write: u64s("last_write")?,
            last_read: u64s("last_read")?,
            thumbnail_lengths: u32s("thumbnail_lengths")?,
            thumbnails: raw("thumbnails", Dtype::U8, &[len("thumbnails")?])?,
            records: serde_json::from_slice(raw("records", Dtype::U8, &[len("records")?])?)?,
            width,
        })
    }

    pub(super) fn slots(
        self,
        config: &MemoryConfig,
        tick: u64,
        vocab_size: Option<usize>,
    ) -> Result<Vec<(SlotIndex, Slot)>, SnapshotError> {
        let &MemoryConfig { num_slots, width } = config;
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
        let mut slots = Vec::with_capacity(rows);
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
                recalls: self.recalls[row],
                last_write: self.last_write[row],
                last_read: self.last_read[row],
                record: record(stored, thumbnail),
            };
            must(slot.key.is_sound() && slot.key.scale > 0.0, "keys", "a direction")?;
            must(slot.value.is_sound(), "values", "finite numbers")?;
            must(slot.usage.is_finite() && slot.usage >= 0.0, "usage", "a finite number")?;
            must(slot.last_write.max(slot.last_read) <= tick, "last_write", "a tick of the past")?;
            let text = FIRST_TEXT_TOKEN as usize..vocab_size.unwrap_or(usize::MAX);
            let is_text = slot.record.tokens.iter().all(|&token| text.contains(&(token as usize)));
            must(is_text, "records", "tokens of the vocabulary")?;
            slot.record.check().map_err(|source| SnapshotError::InvalidRecord { row, source })?;
            slots.push((index, slot));
        }
        Ok(slots)
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
