//! Episodes that come from outside: from another memory, from another model, or from an undo.

use super::{Episode, EpisodicMemory, Int8Row, MemoryError, Slot, SlotIndex, SlotRecord};

/// The episodes of another model's snapshot. Their captions are valid for every model, their keys
/// only for a model that makes the same keys, their values for no other model.
#[derive(Debug, Clone, PartialEq)]
pub struct ForeignMemory {
    pub(super) slots: Vec<(SlotIndex, Slot)>,
    pub(super) tick: u64,
    /// SHA-256 of what its keys were made with, if it is known.
    pub(super) keys_sha256: Option<String>,
}

impl ForeignMemory {
    /// Number of episodes.
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// Whether there are no episodes.
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// The record of the episode at `position`, which must be below [`len`](Self::len).
    pub fn record(&self, position: usize) -> &SlotRecord {
        &self.slots[position].1.record
    }
}

impl EpisodicMemory {
    /// Adds another memory's episodes. If two are the same episode, a correction wins over a
    /// caption of the model's, then the newer caption wins.
    pub fn merge(&mut self, other: EpisodicMemory) {
        assert_eq!(self.width, other.width, "memories of one model");
        let mut slots: Vec<Slot> = other.slots.into_iter().flatten().collect();
        slots.sort_by_key(|slot| slot.record.written_at);
        // The two memories count ticks independently, so all of these episodes are written now.
        self.tick = self.tick.saturating_add(1);
        for slot in slots {
            self.insert(Slot { last_write: self.tick, last_read: self.tick, ..slot });
        }
    }

    /// Adds the episode at `position` of `foreign`, re-encoded as `episode`, with its old times and
    /// usage. It also keeps its old key if that was made with `keys_sha256`, like the keys of this
    /// memory: the old key is the whole photo's, that of `episode` only its thumbnail's. So is the
    /// old signature, if there is one. Errs if a slot cannot keep the episode; drops it if there is
    /// no room.
    pub fn insert_migrated(
        &mut self,
        foreign: &ForeignMemory,
        position: usize,
        episode: Episode,
        keys_sha256: &str,
    ) -> Result<(), MemoryError> {
        self.check(&episode)?;
        let (index, old) = &foreign.slots[position];
        let Episode { key, signature, value, record } = episode;
        let is_same_key = foreign.keys_sha256.as_deref() == Some(keys_sha256)
            && old.key.codes.len() == self.width;
        let key = if is_same_key { old.key.clone() } else { Int8Row::new(&key) };
        let value = Int8Row::new(&value);
        // Signatures are the same for all models, and the old one is the whole photo's.
        let signature = old.signature.clone().or(signature);
        let slot = Slot { key, signature, value, record, ..old.clone() };
        self.tick = self.tick.max(foreign.tick);
        let is_free = self.slots.get(*index).is_some_and(Option::is_none);
        let index = if is_free { Some(*index) } else { self.room_for(&slot) };
        if let Some(index) = index {
            self.slots[index] = Some(slot);
        }
        Ok(())
    }

    /// Replaces an episode's value and record by those of a new correction.
    pub fn revise(
        &mut self,
        index: SlotIndex,
        value: &[f32],
        record: SlotRecord,
    ) -> Result<(), MemoryError> {
        record.check()?;
        assert_eq!(value.len(), self.width, "a value of another width");
        if !value.iter().all(|v| v.is_finite()) {
            return Err(MemoryError::NotFinite);
        }
        let slot = self.slots.get_mut(index).and_then(Option::as_mut);
        let slot = slot.ok_or(MemoryError::NoSuchSlot { slot: index })?;
        self.tick = self.tick.saturating_add(1);
        *slot = Slot { value: Int8Row::new(value), last_write: self.tick, record, ..slot.clone() };
        Ok(())
    }

    /// Adds a slot, unless this memory already holds a better caption of the same episode.
    pub(super) fn insert(&mut self, slot: Slot) {
        let index = match self.copies(&slot.key.unit(), slot.signature.as_ref()).first() {
            Some(&index) => {
                let own = self.slots[index].as_ref().expect("the most similar slot is occupied");
                (slot.worth() > own.worth()).then_some(index)
            }
            None => self.room_for(&slot),
        };
        if let Some(index) = index {
            self.slots[index] = Some(slot);
        }
    }

    /// The slot to write to; `None` if that would evict a correction for a caption of the model's.
    fn room_for(&self, slot: &Slot) -> Option<SlotIndex> {
        let index = self.spare_slot();
        let is_correction =
            |own: &Option<Slot>| own.as_ref().is_some_and(|own| own.record.corrected);
        (slot.record.corrected || !is_correction(&self.slots[index])).then_some(index)
    }
}

impl Slot {
    /// The tick at which it was last written or read.
    pub(super) fn last_tick(&self) -> u64 {
        self.last_write.max(self.last_read)
    }

    /// Rank among captions of the same episode: the greatest is kept.
    fn worth(&self) -> (bool, u64) {
        (self.record.corrected, self.record.written_at)
    }
}

impl Int8Row {
    /// The row scaled to unit length.
    fn unit(&self) -> Vec<f32> {
        let mut values: Vec<f32> = self.codes.iter().map(|&code| f32::from(code)).collect();
        let length = super::length(&values).max(1.0);
        values.iter_mut().for_each(|v| *v /= length);
        values
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{captions, corrected, episode, filled, page, record, unit, WIDTH};
    use super::super::Signature;
    use super::*;

    fn at(written_at: u64, episode: Episode) -> Episode {
        Episode { record: SlotRecord { written_at, ..episode.record }, ..episode }
    }

    fn of(episodes: impl IntoIterator<Item = Episode>) -> EpisodicMemory {
        let mut memory = EpisodicMemory::new(4, WIDTH);
        for episode in episodes {
            memory.write(episode).unwrap();
        }
        memory
    }

    #[test]
    fn merging_two_memories_keeps_the_episodes_of_both() {
        let mut memory = of([corrected(1, "Rex")]);
        memory.merge(of([corrected(2, "Mia"), episode(3)]));
        assert_eq!(captions(&memory), ["Rex", "Mia", "photo 3"]);
        assert!(memory.occupied().all(|(_, slot)| slot.last_tick() <= memory.tick));
    }

    #[test]
    fn merging_a_memory_with_its_copy_changes_no_caption() {
        let mut memory = of([corrected(1, "Rex"), episode(2)]);
        let copy = memory.clone();
        memory.merge(copy.clone());
        assert_eq!(captions(&memory), captions(&copy));
    }

    #[test]
    fn merging_keeps_different_pages_with_one_key_apart() {
        let signed = |seed, caption| {
            let pixels = crate::preprocess::to_pixels(&page(seed), 224);
            let signature = Some(Signature::of(&pixels, 224));
            Episode { signature, ..corrected(1, caption) }
        };
        let mut memory = of([signed(1, "one"), signed(2, "two")]);
        memory.merge(of([signed(3, "three"), at(9, signed(2, "two again"))]));
        assert_eq!(captions(&memory), ["one", "two again", "three"]);
    }

    #[test]
    fn of_one_episode_the_correction_stays_and_then_the_newer() {
        let older = at(5, corrected(1, "Rex"));
        let newer = at(9, corrected(1, "Rex on the beach"));
        for (own, other, stays) in [
            (older.clone(), newer.clone(), "Rex on the beach"),
            (newer, older.clone(), "Rex on the beach"),
            (older.clone(), at(9, episode(1)), "Rex"),
            (at(9, episode(1)), older, "Rex"),
        ] {
            let mut memory = of([own]);
            memory.merge(of([other]));
            assert_eq!(captions(&memory), [stays]);
        }
    }

    #[test]
    fn captions_of_the_model_never_push_corrections_out() {
        let mut memory = of([(1, "a"), (2, "b"), (3, "c"), (4, "d")].map(|(i, c)| corrected(i, c)));
        memory.merge(filled(3));
        assert_eq!(captions(&memory), ["a", "b", "c", "d"]);
    }

    #[test]
    fn a_migrated_episode_keeps_its_times_and_its_usage() {
        let mut old = of([episode(1), at(70, corrected(2, "Rex"))]);
        let slot = old.slots[1].as_mut().unwrap();
        (slot.usage, slot.recalls, slot.last_read) = (3.5, 4, 2);
        let slots = old.occupied().map(|(i, slot)| (i, slot.clone())).collect();
        let keys_sha256 = Some("abc".into());
        let foreign = ForeignMemory { slots, tick: old.tick, keys_sha256 };
        let mut memory = EpisodicMemory::new(4, WIDTH);
        let reencoded = Episode { key: unit(50), value: unit(51), ..at(70, corrected(2, "Rex")) };
        memory.insert_migrated(&foreign, 1, reencoded.clone(), "def").unwrap();
        let migrated = memory.slots[1].as_ref().unwrap();
        assert_eq!((migrated.usage, migrated.recalls, migrated.last_read), (3.5, 4, 2));
        assert_eq!((migrated.record.written_at, memory.tick), (70, 2));
        assert!(migrated.key.cosine(&unit(50)) > 0.99);
        let mut memory = EpisodicMemory::new(4, WIDTH);
        memory.insert_migrated(&foreign, 1, reencoded, "abc").unwrap();
        let migrated = memory.slots[1].as_ref().unwrap();
        assert_eq!(migrated.key, old.slots[1].as_ref().unwrap().key, "the same keys stay");
    }

    #[test]
    fn a_revised_episode_keeps_its_key_and_its_recalls() {
        let mut memory = of([episode(1)]);
        let before = memory.slots[0].clone().unwrap();
        memory.revise(0, &unit(9), record("Rex", true)).unwrap();
        let after = memory.slots[0].clone().unwrap();
        assert_eq!((after.key, after.recalls), (before.key, before.recalls));
        assert_eq!(after.record, record("Rex", true));
        let missing = memory.revise(3, &unit(9), record("Rex", true));
        assert_eq!(missing, Err(MemoryError::NoSuchSlot { slot: 3 }));
    }
}
