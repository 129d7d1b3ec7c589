//! The episodic memory: captioned photos and the user's corrections.
//!
//! K slots hold a unit key `[C]`, a [`Signature`], a value `[C]` and a [`SlotRecord`]. READ mixes
//! the values by the similarity of their keys to a query; the captions of the best slots go to the
//! decoder. WRITE merges with an episode of the same photo, takes a free slot, or evicts. Reading
//! changes nothing until the caption is complete and [`EpisodicMemory::touch`] is called, so a
//! canceled caption leaves no trace.
//!
//! Two photos are the same one if their keys are similar and their signatures match. For a photo
//! whose key is similar to a slot's and whose signature is not, the slot is a stranger's: READ
//! leaves it out and WRITE does not merge with it. A slot without a signature, from an old snapshot
//! that kept no thumbnail, is judged by its key alone.
//!
//! Keys and values are int8 with one scale a row, in memory as in a [`Snapshot`]: a memory that was
//! stored and loaded gives the same numbers.

mod change;
mod error;
mod merge;
mod read;
mod signature;
mod snapshot;

pub use change::Change;
pub use error::MemoryError;
pub use merge::ForeignMemory;
pub use read::{
    ReadParameters, Recall, FORGET_FLOOR, FORGET_HALF_LIFE, MAX_RECALLED, RECALL_THRESHOLD,
    STRANGER_MARGIN,
};
pub use signature::{Signature, SIGNATURE_BYTES};
pub use snapshot::{Origin, Snapshot, SnapshotError};

use signature::Probe;

/// Minimum cosine of two keys of the same episode: copies of a photo mostly lie above it, other
/// photos never.
pub const MERGE_COSINE: f32 = 0.75;
/// Rate at which an episode enters the slot it is merged with: the paper's alpha.
pub const MERGE_RATE: f32 = 0.2;
/// Maximum number of caption tokens that a slot keeps: what the decoder is conditioned on.
pub const MAX_CAPTION_TOKENS: usize = 24;
/// Maximum length of a correction in Unicode code points.
pub const MAX_CORRECTION_CHARS: usize = 500;
/// Maximum size of a slot's caption in bytes: the longest correction has 2,000.
pub const MAX_CAPTION_BYTES: usize = 2048;
/// Maximum size of a thumbnail in bytes; a 64-pixel JPEG has about 2 kB.
pub const MAX_THUMBNAIL_BYTES: usize = 1 << 15;

/// Position of a slot, below K.
pub type SlotIndex = usize;

/// A recalled caption, as the decoder takes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecalledCaption {
    /// Its tokens, without any marker.
    pub tokens: Vec<u32>,
    /// Whether the user wrote it.
    pub corrected: bool,
}

/// What a slot holds in addition to its key and value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SlotRecord {
    /// The caption as shown to the user.
    pub caption: String,
    /// Its first tokens, at most [`MAX_CAPTION_TOKENS`].
    pub tokens: Vec<u32>,
    /// Whether the user wrote it. Such a slot is never forgotten, and only the user changes it.
    pub corrected: bool,
    /// When it was written, in milliseconds since 1970 by the caller's clock.
    pub written_at: u64,
    /// A small JPEG of the photo; may be empty.
    pub thumbnail: Vec<u8>,
}

/// An episode for WRITE to store.
#[derive(Debug, Clone, PartialEq)]
pub struct Episode {
    /// Memory key, unit length, `[C]`.
    pub key: Vec<f32>,
    /// The photo's signature; without one, the key alone decides which photos are the same.
    pub signature: Option<Signature>,
    /// Memory value, `[C]`.
    pub value: Vec<f32>,
    /// The caption and its origin.
    pub record: SlotRecord,
}

/// The occupancy of a memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemoryStats {
    /// K, the number of slots.
    pub num_slots: usize,
    /// Slots that hold an episode.
    pub len: usize,
    /// Occupied slots whose caption the user wrote.
    pub corrected: usize,
}

/// K slots of episodes.
#[derive(Debug, Clone, PartialEq)]
pub struct EpisodicMemory {
    width: usize,
    slots: Vec<Option<Slot>>,
    /// Number of episodes written so far.
    tick: u64,
}

#[derive(Debug, Clone, PartialEq)]
struct Slot {
    key: Int8Row,
    signature: Option<Signature>,
    value: Int8Row,
    /// 1 when written, plus the READ weight of every completed caption and 1 for every merge.
    usage: f32,
    /// Number of completed captions that recalled it.
    recalls: u64,
    last_write: u64,
    last_read: u64,
    record: SlotRecord,
}

/// A row of int8 numbers with one scale: `codes * scale`.
#[derive(Debug, Clone, PartialEq)]
struct Int8Row {
    codes: Vec<i8>,
    scale: f32,
}

impl EpisodicMemory {
    /// An empty memory of `num_slots` slots for keys and values `width` wide.
    pub fn new(num_slots: usize, width: usize) -> Self {
        assert!(num_slots > 0 && width > 0, "a memory has slots");
        Self { width, slots: vec![None; num_slots], tick: 0 }
    }

    /// WRITE: merges with the most similar episode of the same photo, or takes the slot that can
    /// best be spared (`spare_slot`). A corrected slot changes only if `episode` is a correction,
    /// too.
    ///
    /// A correction replaces the most similar episode of the photo and deletes its other
    /// uncorrected ones: they hold the caption that was corrected.
    pub fn write(&mut self, episode: Episode) -> Result<SlotIndex, MemoryError> {
        self.check(&episode)?;
        self.tick = self.tick.saturating_add(1);
        let copies = self.copies(&episode.key, episode.signature.as_ref());
        let Some(&index) = copies.first() else {
            let index = self.spare_slot();
            self.slots[index] = Some(self.fresh_slot(episode));
            return Ok(index);
        };
        if episode.record.corrected {
            for copy in copies {
                self.slots[copy].take_if(|slot| !slot.record.corrected);
            }
            self.slots[index] = Some(self.fresh_slot(episode));
        } else {
            let tick = self.tick;
            let slot = self.slots[index].as_mut().expect("the most similar slot is occupied");
            slot.usage += 1.0;
            slot.last_write = tick;
            if !slot.record.corrected {
                slot.merge(episode);
            }
        }
        Ok(index)
    }

    /// Gives the slots without a signature the one that `signature` makes of their records.
    pub fn sign(&mut self, signature: impl Fn(&SlotRecord) -> Option<Signature>) {
        for slot in self.slots.iter_mut().flatten().filter(|slot| slot.signature.is_none()) {
            slot.signature = signature(&slot.record);
        }
    }

    /// Deletes the episode of a slot.
    pub fn delete(&mut self, slot: SlotIndex) -> Result<(), MemoryError> {
        match self.slots.get_mut(slot).and_then(Option::take) {
            Some(_) => Ok(()),
            None => Err(MemoryError::NoSuchSlot { slot }),
        }
    }

    /// Deletes every episode.
    pub fn clear(&mut self) {
        self.slots.fill(None);
        self.tick = 0;
    }

    /// The record of a slot, if it is occupied.
    pub fn get(&self, slot: SlotIndex) -> Option<&SlotRecord> {
        self.slots.get(slot)?.as_ref().map(|slot| &slot.record)
    }

    /// Number of completed captions that recalled a slot.
    pub fn recalls(&self, slot: SlotIndex) -> u64 {
        self.slots.get(slot).and_then(Option::as_ref).map_or(0, |slot| slot.recalls)
    }

    /// Every occupied slot, in ascending order.
    pub fn iter(&self) -> impl Iterator<Item = (SlotIndex, &SlotRecord)> {
        self.occupied().map(|(index, slot)| (index, &slot.record))
    }

    /// Number of occupied slots.
    pub fn len(&self) -> usize {
        self.occupied().count()
    }

    /// Whether no slot is occupied.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// K, the number of slots.
    pub fn num_slots(&self) -> usize {
        self.slots.len()
    }

    /// C, the width of keys and values.
    pub fn width(&self) -> usize {
        self.width
    }

    /// The occupancy.
    pub fn stats(&self) -> MemoryStats {
        let corrected = self.iter().filter(|(_, record)| record.corrected).count();
        MemoryStats { num_slots: self.num_slots(), len: self.len(), corrected }
    }

    fn occupied(&self) -> impl Iterator<Item = (SlotIndex, &Slot)> {
        self.slots.iter().enumerate().filter_map(|(index, slot)| Some((index, slot.as_ref()?)))
    }

    fn check(&self, episode: &Episode) -> Result<(), MemoryError> {
        let Episode { key, value, record, .. } = episode;
        assert_eq!(
            (key.len(), value.len()),
            (self.width, self.width),
            "an episode of another width"
        );
        let is_finite = key.iter().chain(value).all(|v| v.is_finite());
        if !is_finite || key.iter().all(|&v| v == 0.0) {
            return Err(MemoryError::NotFinite);
        }
        record.check()
    }

    /// The occupied slots of the same photo, that is with a cosine of at least [`MERGE_COSINE`] and
    /// a matching signature, the most similar first.
    fn copies(&self, key: &[f32], signature: Option<&Signature>) -> Vec<SlotIndex> {
        let cosines = self.occupied().map(|(index, slot)| (index, slot.key.cosine(key)));
        let similar: Vec<_> = cosines.filter(|&(_, cosine)| cosine >= MERGE_COSINE).collect();
        let mut copies = self.with_matching_signature(similar, signature);
        copies.sort_by(|a, b| b.1.total_cmp(&a.1));
        copies.into_iter().map(|(index, _)| index).collect()
    }

    /// Those of the occupied slots in `candidates` whose signature does not contradict `signature`.
    fn with_matching_signature(
        &self,
        mut candidates: Vec<(SlotIndex, f32)>,
        signature: Option<&Signature>,
    ) -> Vec<(SlotIndex, f32)> {
        let own = |index: SlotIndex| self.slots[index].as_ref()?.signature.as_ref();
        let signed = candidates.iter().filter_map(|&(index, _)| Some((index, own(index)?)));
        let signed: Vec<_> = signed.collect();
        if let Some(signature) = signature.filter(|_| !signed.is_empty()) {
            let matching = Probe::new(signature).matches(signed.into_iter());
            candidates.retain(|(index, _)| own(*index).is_none() || matching.contains(index));
        }
        candidates
    }

    /// The slot to write to: a free one; else the uncorrected one with the least usage * forget;
    /// else the corrected one that was read the longest ago.
    fn spare_slot(&self) -> SlotIndex {
        if let Some(free) = self.slots.iter().position(Option::is_none) {
            return free;
        }
        let uncorrected = self.occupied().filter(|(_, slot)| !slot.record.corrected);
        let least = uncorrected.min_by(|(_, a), (_, b)| {
            let (strength_a, strength_b) = (a.usage * self.forget(a), b.usage * self.forget(b));
            strength_a.total_cmp(&strength_b).then(a.last_write.cmp(&b.last_write))
        });
        let spare = least
            .or_else(|| self.occupied().min_by_key(|(_, slot)| (slot.last_read, slot.last_write)));
        spare.map(|(index, _)| index).expect("a memory without free slots has occupied ones")
    }

    fn fresh_slot(&self, episode: Episode) -> Slot {
        let Episode { key, signature, value, record } = episode;
        let (last_write, last_read) = (self.tick, self.tick);
        let (key, value) = (Int8Row::new(&key), Int8Row::new(&value));
        Slot { key, signature, value, usage: 1.0, recalls: 0, last_write, last_read, record }
    }
}

impl Slot {
    /// Moves key and value toward `episode` by [`MERGE_RATE`] and takes its signature and record.
    fn merge(&mut self, episode: Episode) {
        let mix = |old: &Int8Row, new: &[f32]| {
            let mut mixed: Vec<f32> = new.iter().map(|v| MERGE_RATE * v).collect();
            old.add_to(&mut mixed, 1.0 - MERGE_RATE);
            mixed
        };
        let mut key = mix(&self.key, &episode.key);
        let length = length(&key);
        key.iter_mut().for_each(|v| *v /= length);
        self.key = Int8Row::new(&key);
        self.value = Int8Row::new(&mix(&self.value, &episode.value));
        // The record's thumbnail is the new photo's, too.
        self.signature = episode.signature;
        self.record = episode.record;
    }
}

impl SlotRecord {
    /// Checks the limits of a slot.
    fn check(&self) -> Result<(), MemoryError> {
        if self.caption.trim().is_empty() || self.tokens.is_empty() {
            return Err(MemoryError::EmptyCaption);
        }
        if self.tokens.len() > MAX_CAPTION_TOKENS {
            let (found, limit) = (self.tokens.len(), MAX_CAPTION_TOKENS);
            return Err(MemoryError::TooManyTokens { found, limit });
        }
        let sizes = [
            ("caption", self.caption.len(), MAX_CAPTION_BYTES),
            ("thumbnail", self.thumbnail.len(), MAX_THUMBNAIL_BYTES),
        ];
        match sizes.into_iter().find(|(_, found, limit)| found > limit) {
            Some((part, found, limit)) => Err(MemoryError::TooManyBytes { part, found, limit }),
            None => Ok(()),
        }
    }
}

impl Int8Row {
    /// Rounds finite numbers to multiples of a 127th of the largest magnitude.
    fn new(values: &[f32]) -> Self {
        let largest = values.iter().fold(0.0f32, |most, v| most.max(v.abs()));
        // A scale below the smallest normal number would lose the codes' precision, so such a row
        // becomes 0.
        let scale = if largest < f32::MIN_POSITIVE * 127.0 { 0.0 } else { largest / 127.0 };
        #[allow(
            clippy::cast_possible_truncation,
            reason = "clamped to the range of i8 before the cast"
        )]
        let code = |v: &f32| (v / scale).round_ties_even().clamp(-127.0, 127.0) as i8;
        let codes =
            if scale == 0.0 { vec![0; values.len()] } else { values.iter().map(code).collect() };
        Self { codes, scale }
    }

    fn add_to(&self, sum: &mut [f32], factor: f32) {
        let factor = factor * self.scale;
        for (sum, &code) in sum.iter_mut().zip(&self.codes) {
            *sum += factor * f32::from(code);
        }
    }

    /// The cosine with a vector of unit length. The scale cancels out.
    fn cosine(&self, unit: &[f32]) -> f32 {
        assert_eq!(unit.len(), self.codes.len(), "a query of another width");
        let dot: f32 = self.codes.iter().zip(unit).map(|(&code, v)| f32::from(code) * v).sum();
        let square: i32 = self.codes.iter().map(|&code| i32::from(code) * i32::from(code)).sum();
        dot / (square as f32).sqrt().max(1.0)
    }
}

fn length(values: &[f32]) -> f32 {
    values.iter().map(|v| v * v).sum::<f32>().sqrt()
}

#[cfg(test)]
mod tests;
