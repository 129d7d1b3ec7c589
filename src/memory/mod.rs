//! The episodic memory: what was captioned before, and what the user said about it.
//!
//! K slots hold a unit key `[C]`, a value `[C]` and a [`SlotRecord`]. READ mixes the values by the
//! similarity of their keys to a query; the best slots lend their captions to the decoder. WRITE
//! merges with what is nearly the same, takes a free slot, or evicts. Reading changes nothing until
//! the caption is complete and [`EpisodicMemory::touch`] is called, so a cancelled caption leaves
//! no trace.
//!
//! Keys and values are int8 with one scale a row, in memory as in a [`Snapshot`]: a memory that was
//! stored and loaded gives the same numbers.

mod change;
mod merge;
mod read;
mod snapshot;

pub use change::Change;
pub use merge::ForeignMemory;
pub use read::{
    ReadParameters, Recall, FORGET_FLOOR, FORGET_HALF_LIFE, MAX_RECALLED, RECALL_THRESHOLD,
    STRANGER_MARGIN,
};
pub use snapshot::{Origin, Snapshot, SnapshotError};

/// Cosine from which two keys are one episode: copies of a photo mostly lie above, other photos
/// never.
pub const MERGE_COSINE: f32 = 0.75;
/// Rate at which an episode enters the slot it is merged with: the paper's alpha.
pub const MERGE_RATE: f32 = 0.2;
/// Most tokens a slot keeps of its caption.
pub const MAX_CAPTION_TOKENS: usize = 24;
/// Most bytes of a slot's caption: 24 tokens of the longest words there are stay below.
pub const MAX_CAPTION_BYTES: usize = 1024;
/// Most bytes of a thumbnail; a 64-pixel JPEG has about 2 kB.
pub const MAX_THUMBNAIL_BYTES: usize = 1 << 15;

/// Position of a slot, below K.
pub type SlotIndex = usize;

/// Why the memory refused a call.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MemoryError {
    /// The slot is free, or there is none of this number.
    #[error("slot {slot} holds no episode")]
    NoSuchSlot {
        /// The slot asked for.
        slot: SlotIndex,
    },
    /// The caption is too old to be corrected, or there never was one.
    #[error("caption {id} is not among the recent ones")]
    NoSuchCaption {
        /// The caption asked for.
        id: u64,
    },
    /// The caption has no words.
    #[error("an empty caption cannot be remembered")]
    EmptyCaption,
    /// The caption has more tokens than a slot keeps.
    #[error("the caption has {found} tokens, a slot keeps at most {limit}")]
    CaptionTooLong {
        /// Its tokens.
        found: usize,
        /// [`MAX_CAPTION_TOKENS`].
        limit: usize,
    },
    /// The caption or the thumbnail has more bytes than a slot keeps.
    #[error("the {part} has {found} bytes, a slot keeps at most {limit}")]
    TooManyBytes {
        /// `caption` or `thumbnail`.
        part: &'static str,
        /// Its bytes.
        found: usize,
        /// The most.
        limit: usize,
    },
    /// The key or the value is not made of finite numbers, or the key has no direction.
    #[error("the episode is not made of finite numbers")]
    NotFinite,
}

/// A caption that a slot lends to the decoder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecalledCaption {
    /// Its tokens, without any marker.
    pub tokens: Vec<u32>,
    /// Whether the user wrote it.
    pub corrected: bool,
}

/// What a slot keeps beside its key and value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SlotRecord {
    /// The caption as it is shown.
    pub caption: String,
    /// Its first tokens, at most [`MAX_CAPTION_TOKENS`].
    pub tokens: Vec<u32>,
    /// Whether the user wrote it. Such a slot is not forgotten and only the user changes it.
    pub corrected: bool,
    /// Milliseconds since 1970, as the caller's clock gave them.
    pub written_at: u64,
    /// A small JPEG of the photo, maybe empty.
    pub thumbnail: Vec<u8>,
}

/// What WRITE stores.
#[derive(Debug, Clone, PartialEq)]
pub struct Episode {
    /// Unit length, `[C]`.
    pub key: Vec<f32>,
    /// `[C]`.
    pub value: Vec<f32>,
    /// The caption and where it came from.
    pub record: SlotRecord,
}

/// How full a memory is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemoryStats {
    /// K.
    pub num_slots: usize,
    /// Slots that hold an episode.
    pub len: usize,
    /// Of these, how many the user corrected.
    pub corrected: usize,
}

/// K slots of episodes.
#[derive(Debug, Clone, PartialEq)]
pub struct EpisodicMemory {
    width: usize,
    slots: Vec<Option<Slot>>,
    /// Episodes written so far.
    tick: u64,
}

#[derive(Debug, Clone, PartialEq)]
struct Slot {
    key: Int8Row,
    value: Int8Row,
    /// 1 when written, plus the weight of every completed reading and 1 for every merge.
    usage: f32,
    /// Completed captions that it was recalled into.
    recalls: u64,
    last_write: u64,
    last_read: u64,
    record: SlotRecord,
}

/// A row of numbers, `codes * scale`.
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

    /// WRITE: merges with the most similar episode from [`MERGE_COSINE`] on, or takes the slot that
    /// can best be spared. A corrected slot changes only if `episode` is a correction, too.
    ///
    /// A correction replaces the most similar episode and drops the uncorrected others that are as
    /// similar: they hold what was corrected.
    pub fn write(&mut self, episode: Episode) -> Result<SlotIndex, MemoryError> {
        self.check(&episode)?;
        self.tick = self.tick.saturating_add(1);
        let Some(index) = self.most_similar(&episode.key) else {
            let index = self.spare_slot();
            self.slots[index] = Some(self.fresh_slot(episode));
            return Ok(index);
        };
        if episode.record.corrected {
            self.drop_uncorrected_like(&episode.key);
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

    /// Empties a slot.
    pub fn delete(&mut self, slot: SlotIndex) -> Result<(), MemoryError> {
        match self.slots.get_mut(slot).and_then(Option::take) {
            Some(_) => Ok(()),
            None => Err(MemoryError::NoSuchSlot { slot }),
        }
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.slots.fill(None);
        self.tick = 0;
    }

    /// The record of a slot.
    pub fn get(&self, slot: SlotIndex) -> Option<&SlotRecord> {
        self.slots.get(slot)?.as_ref().map(|slot| &slot.record)
    }

    /// How many completed captions a slot was recalled into.
    pub fn recalls(&self, slot: SlotIndex) -> u64 {
        self.slots.get(slot).and_then(Option::as_ref).map_or(0, |slot| slot.recalls)
    }

    /// Every occupied slot, by number.
    pub fn iter(&self) -> impl Iterator<Item = (SlotIndex, &SlotRecord)> {
        self.occupied().map(|(index, slot)| (index, &slot.record))
    }

    /// Occupied slots.
    pub fn len(&self) -> usize {
        self.occupied().count()
    }

    /// Whether nothing is remembered.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// K.
    pub fn num_slots(&self) -> usize {
        self.slots.len()
    }

    /// C.
    pub fn width(&self) -> usize {
        self.width
    }

    /// How full it is.
    pub fn stats(&self) -> MemoryStats {
        let corrected = self.iter().filter(|(_, record)| record.corrected).count();
        MemoryStats { num_slots: self.num_slots(), len: self.len(), corrected }
    }

    fn occupied(&self) -> impl Iterator<Item = (SlotIndex, &Slot)> {
        self.slots.iter().enumerate().filter_map(|(index, slot)| Some((index, slot.as_ref()?)))
    }

    fn check(&self, episode: &Episode) -> Result<(), MemoryError> {
        let Episode { key, value, record } = episode;
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

    /// The most similar occupied slot from [`MERGE_COSINE`] on.
    fn most_similar(&self, key: &[f32]) -> Option<SlotIndex> {
        let cosines = self.occupied().map(|(index, slot)| (index, slot.key.cosine(key)));
        let similar = cosines.filter(|&(_, cosine)| cosine >= MERGE_COSINE);
        // On a tie `max_by` would take the last slot; reversed, it takes the first.
        similar
            .collect::<Vec<_>>()
            .into_iter()
            .rev()
            .max_by(|a, b| a.1.total_cmp(&b.1))
            .map(|(i, _)| i)
    }

    fn drop_uncorrected_like(&mut self, key: &[f32]) {
        for entry in &mut self.slots {
            let is_like =
                |slot: &Slot| !slot.record.corrected && slot.key.cosine(key) >= MERGE_COSINE;
            if entry.as_ref().is_some_and(is_like) {
                *entry = None;
            }
        }
    }

    /// A free slot; else the one with the least usage * forget that the user did not correct; else
    /// the corrected one that was read the longest ago.
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
        let Episode { key, value, record } = episode;
        let (key, value) = (Int8Row::new(&key), Int8Row::new(&value));
        let tick = self.tick;
        Slot { key, value, usage: 1.0, recalls: 0, last_write: tick, last_read: tick, record }
    }
}

impl Slot {
    /// Moves towards `episode` by [`MERGE_RATE`] and takes its record.
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
        self.record = episode.record;
    }
}

impl SlotRecord {
    /// Whether a slot can keep it.
    fn check(&self) -> Result<(), MemoryError> {
        if self.caption.trim().is_empty() || self.tokens.is_empty() {
            return Err(MemoryError::EmptyCaption);
        }
        if self.tokens.len() > MAX_CAPTION_TOKENS {
            let (found, limit) = (self.tokens.len(), MAX_CAPTION_TOKENS);
            return Err(MemoryError::CaptionTooLong { found, limit });
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
    /// Rounds finite numbers to steps of a 127th of the largest.
    fn new(values: &[f32]) -> Self {
        let largest = values.iter().fold(0.0f32, |most, v| most.max(v.abs()));
        // A scale below the smallest normal number would lose the codes' precision: such a row is
        // 0.
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

    /// The cosine to a vector of unit length. The scale cancels.
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
