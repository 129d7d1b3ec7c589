//! The tensors of a snapshot, read from the file and checked number by number.

use safetensors::{Dtype, SafeTensors};
use serde::Deserialize;

use super::{SnapshotError, Version};
use crate::config::MemoryConfig;
use crate::control_tokens::FIRST_TEXT_TOKEN;
use crate::memory::{
    Int8Row, Signature, Slot, SlotIndex, SlotRecord, MAX_THUMBNAIL_BYTES, SIGNATURE_BYTES,
};

/// The tensors of a snapshot, each taken once.
pub(super) struct Tensors<'a> {
    slots: Vec<u32>,
    keys: &'a [u8],
    key_scales: Vec<f32>,
    signatures: Vec<Option<Signature>>,
    values: &'a [u8],
    value_scales: Vec<f32>,
    usage: Vec<f32>,
    recalls: Vec<u64>,
    last_write: Vec<u64>,
    last_read: Vec<u64>,
    thumbnail_lengths: Vec<u32>,
    thumbnails: &'a [u8],
    /// Records without thumbnails.
    records: Vec<SlotRecord>,
    width: usize,
}

const NAMES_OF_EVERY_VERSION: [&str; 10] = [
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
];
/// Version 3 stores records in tensors; as JSON, 512 slots took 40 kB more.
const NAMES_SINCE_3: [&str; 6] =
    ["caption_lengths", "captions", "token_counts", "tokens", "corrected", "written_at"];

/// Names of the tensors in a snapshot of `version`, in any order.
fn names(version: Version) -> impl Iterator<Item = &'static str> {
    let since_2 = (version >= Version::Two).then_some("recalls");
    let until_2 = (version <= Version::Two).then_some("records");
    let since_3 = (version >= Version::Three).then_some(NAMES_SINCE_3);
    let since_4 = (version >= Version::Four).then_some("signatures");
    NAMES_OF_EVERY_VERSION
        .into_iter()
        .chain(since_2)
        .chain(until_2)
        .chain(since_3.into_iter().flatten())
        .chain(since_4)
}

/// JSON form of a record, used by versions 1 and 2.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct JsonRecord {
    caption: String,
    tokens: Vec<u32>,
    corrected: bool,
    written_at: u64,
}

impl<'a> Tensors<'a> {
    pub(super) fn new(file: SafeTensors<'a>, version: Version) -> Result<Self, SnapshotError> {
        let is_known = |found: &str| names(version).any(|name| name == found);
        if let Some(name) = file.names().into_iter().find(|name| !is_known(name)) {
            return Err(SnapshotError::UnknownTensor { name: name.to_owned() });
        }
        let rows = len(&file, "slots")?;
        let keys =
            file.tensor("keys").map_err(|_| SnapshotError::MissingTensor { name: "keys" })?;
        let width = keys.shape().get(1).copied().unwrap_or(0);
        let raw = |name, dtype, shape: &[usize]| raw(&file, name, dtype, shape);
        let f32s = |name| Ok::<_, SnapshotError>(f32s(raw(name, Dtype::F32, &[rows])?));
        let u32s = |name| Ok::<_, SnapshotError>(u32s(raw(name, Dtype::U32, &[rows])?));
        let u64s = |name| Ok::<_, SnapshotError>(u64s(raw(name, Dtype::U64, &[rows])?));
        let counts = |name| match version {
            Version::One | Version::Two => u64s(name),
            Version::Three | Version::Four => Ok(u32s(name)?.into_iter().map(u64::from).collect()),
        };
        Ok(Self {
            slots: u32s("slots")?,
            keys: raw("keys", Dtype::I8, &[rows, width])?,
            key_scales: f32s("key_scales")?,
            signatures: match version {
                Version::Four => {
                    signatures(raw("signatures", Dtype::U8, &[rows, SIGNATURE_BYTES])?)?
                }
                _ => vec![None; rows],
            },
            values: raw("values", Dtype::I8, &[rows, width])?,
            value_scales: f32s("value_scales")?,
            usage: f32s("usage")?,
            recalls: match version {
                Version::One => vec![0; rows],
                _ => counts("recalls")?,
            },
            last_write: counts("last_write")?,
            last_read: counts("last_read")?,
            thumbnail_lengths: u32s("thumbnail_lengths")?,
            thumbnails: raw("thumbnails", Dtype::U8, &[len(&file, "thumbnails")?])?,
            records: match version {
                Version::One | Version::Two => json_records(&file)?,
                Version::Three | Version::Four => records(&file, rows)?,
            },
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
                "as many bytes as the sum of thumbnail_lengths".into(),
                found,
            );
        }
        let mut slots = Vec::with_capacity(rows);
        let (mut thumbnails, mut next_free) = (self.thumbnails, 0);
        let signed = self.records.into_iter().zip(self.signatures);
        let stored = signed.zip(&self.thumbnail_lengths).enumerate();
        for (row, ((mut record, signature), &thumbnail)) in stored {
            let index = self.slots[row] as usize;
            let must = |holds: bool, name, expected| {
                let error = SnapshotError::InvalidNumber { name, row, expected };
                if holds {
                    Ok(())
                } else {
                    Err(error)
                }
            };
            must((next_free..num_slots).contains(&index), "slots", "ascending numbers of slots")?;
            next_free = index + 1;
            let thumbnail = thumbnail as usize;
            must(thumbnail <= MAX_THUMBNAIL_BYTES, "thumbnail_lengths", "at most 32768")?;
            let (thumbnail, rest) = thumbnails.split_at(thumbnail);
            thumbnails = rest;
            record.thumbnail = thumbnail.to_vec();
            let slot = Slot {
                key: int8_row(&self.keys[row * width..][..width], self.key_scales[row]),
                signature,
                value: int8_row(&self.values[row * width..][..width], self.value_scales[row]),
                usage: self.usage[row],
                recalls: self.recalls[row],
                last_write: self.last_write[row],
                last_read: self.last_read[row],
                record,
            };
            must(slot.key.is_sound() && slot.key.scale > 0.0, "keys", "a direction")?;
            must(slot.value.is_sound(), "values", "finite numbers")?;
            must(slot.usage.is_finite() && slot.usage >= 0.0, "usage", "a finite number")?;
            must(
                slot.last_write.max(slot.last_read) <= tick,
                "last_write",
                "a tick not after the memory's",
            )?;
            let text = FIRST_TEXT_TOKEN as usize..vocab_size.unwrap_or(usize::MAX);
            let is_text = slot.record.tokens.iter().all(|&token| text.contains(&(token as usize)));
            must(is_text, "tokens", "tokens of the vocabulary")?;
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

/// The signature of each row; a row of zeros stands for none.
fn signatures(bytes: &[u8]) -> Result<Vec<Option<Signature>>, SnapshotError> {
    let signature = |(row, bytes): (usize, &[u8])| {
        if bytes.iter().all(|&byte| byte == 0) {
            return Ok(None);
        }
        let (name, expected) = ("signatures", "codes from 1 to 15, or zeros only");
        let error = SnapshotError::InvalidNumber { name, row, expected };
        Signature::from_bytes(bytes).map(Some).ok_or(error)
    };
    bytes.chunks_exact(SIGNATURE_BYTES).enumerate().map(signature).collect()
}

/// The records since version 3: captions and token lists are concatenated in one tensor each.
fn records(file: &SafeTensors<'_>, rows: usize) -> Result<Vec<SlotRecord>, SnapshotError> {
    let of_rows = |name, dtype| raw(file, name, dtype, &[rows]);
    let caption_lengths = u16s(of_rows("caption_lengths", Dtype::U16)?);
    let token_counts = of_rows("token_counts", Dtype::U8)?;
    let corrected = of_rows("corrected", Dtype::U8)?;
    let written_at = u64s(of_rows("written_at", Dtype::U64)?);
    let mut captions = raw(file, "captions", Dtype::U8, &[len(file, "captions")?])?;
    let mut tokens = raw(file, "tokens", Dtype::U16, &[len(file, "tokens")?])?;
    let mut records = Vec::with_capacity(rows);
    for row in 0..rows {
        let invalid = |name, expected| move || SnapshotError::InvalidNumber { name, row, expected };
        let caption = cut(&mut captions, usize::from(caption_lengths[row]))
            .and_then(|bytes| std::str::from_utf8(bytes).ok())
            .ok_or_else(invalid("caption_lengths", "the length of a text"))?;
        let codes = cut(&mut tokens, 2 * usize::from(token_counts[row]))
            .ok_or_else(invalid("token_counts", "as many tokens as there are"))?;
        records.push(SlotRecord {
            caption: caption.to_owned(),
            tokens: u16s(codes).into_iter().map(u32::from).collect(),
            corrected: match corrected[row] {
                0 => false,
                1 => true,
                _ => return Err(invalid("corrected", "0 or 1")()),
            },
            written_at: written_at[row],
            thumbnail: Vec::new(),
        });
    }
    for (name, rest) in [("captions", captions), ("tokens", tokens)] {
        if !rest.is_empty() {
            let expected = "nothing after the last row".to_owned();
            let found = format!("{} bytes more", rest.len());
            return Err(SnapshotError::WrongShape { name, expected, found });
        }
    }
    Ok(records)
}

/// Splits the first `length` bytes off `rest`.
fn cut<'a>(rest: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (first, behind) = rest.split_at_checked(length)?;
    *rest = behind;
    Some(first)
}

/// The records of versions 1 and 2.
fn json_records(file: &SafeTensors<'_>) -> Result<Vec<SlotRecord>, SnapshotError> {
    let json = raw(file, "records", Dtype::U8, &[len(file, "records")?])?;
    let records: Vec<JsonRecord> = serde_json::from_slice(json)?;
    let record = |JsonRecord { caption, tokens, corrected, written_at }| {
        let thumbnail = Vec::new();
        SlotRecord { caption, tokens, corrected, written_at, thumbnail }
    };
    Ok(records.into_iter().map(record).collect())
}

fn len(file: &SafeTensors<'_>, name: &'static str) -> Result<usize, SnapshotError> {
    let tensor = file.tensor(name).map_err(|_| SnapshotError::MissingTensor { name })?;
    Ok(tensor.shape().first().copied().unwrap_or(0))
}

fn f32s(bytes: &[u8]) -> Vec<f32> {
    numbers(bytes, f32::from_le_bytes)
}

fn u16s(bytes: &[u8]) -> Vec<u16> {
    numbers(bytes, u16::from_le_bytes)
}

fn u32s(bytes: &[u8]) -> Vec<u32> {
    numbers(bytes, u32::from_le_bytes)
}

fn u64s(bytes: &[u8]) -> Vec<u64> {
    numbers(bytes, u64::from_le_bytes)
}

impl Int8Row {
    /// Whether `Int8Row::new` could have made it, as far as the memory relies on that.
    fn is_sound(&self) -> bool {
        let has_codes = self.codes.iter().any(|&code| code != 0);
        // Any larger scale could overflow when it is multiplied by the largest code.
        let scale_fits = self.scale >= 0.0 && self.scale <= f32::MAX / 127.0;
        scale_fits && !self.codes.contains(&i8::MIN) && has_codes == (self.scale > 0.0)
    }
}
