//! What a change did to the memory, enough to take it back later.
//!
//! Other changes may come between: a caption is remembered, another tab's memory is loaded. So a
//! slot goes back to what it held only while it still holds what the change left there; what was
//! lost from any other slot is put beside what is there now.

use super::{EpisodicMemory, Slot, SlotIndex};

/// The slots that a change touched.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    slots: Vec<ChangedSlot>,
}

#[derive(Debug, Clone, PartialEq)]
struct ChangedSlot {
    index: SlotIndex,
    before: Option<Slot>,
    after: Option<Slot>,
}

impl Change {
    /// What makes `after` of `before`.
    pub fn between(before: &EpisodicMemory, after: &EpisodicMemory) -> Self {
        assert_eq!(before.num_slots(), after.num_slots(), "two memories of one size");
        let pairs = before.slots.iter().zip(&after.slots).enumerate();
        let changed = pairs.filter(|(_, (before, after))| !is_same(before, after));
        let slots = changed.map(|(index, (before, after))| ChangedSlot {
            index,
            before: before.clone(),
            after: after.clone(),
        });
        Self { slots: slots.collect() }
    }
}

impl EpisodicMemory {
    /// Takes a change back.
    pub fn undo(&mut self, change: Change) {
        let is_left =
            |memory: &Self, slot: &ChangedSlot| is_same(&memory.slots[slot.index], &slot.after);
        let (left, taken): (Vec<_>, Vec<_>) =
            change.slots.into_iter().partition(|slot| is_left(self, slot));
        for ChangedSlot { index, before, .. } in left {
            self.tick = self.tick.max(before.as_ref().map_or(0, Slot::last_tick));
            self.slots[index] = before;
        }
        for lost in taken.into_iter().filter_map(|slot| slot.before) {
            self.tick = self.tick.max(lost.last_tick());
            self.take_in(lost);
        }
    }
}

/// Whether two slots hold the same episode, however often it was recalled.
fn is_same(a: &Option<Slot>, b: &Option<Slot>) -> bool {
    match (a, b) {
        (Some(a), Some(b)) => (&a.key, &a.value, &a.record) == (&b.key, &b.value, &b.record),
        (None, None) => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{captions, corrected, episode, filled, WIDTH};
    use super::super::*;
    use super::*;

    /// Changes the memory and tells how.
    fn changed(memory: &mut EpisodicMemory, change: impl FnOnce(&mut EpisodicMemory)) -> Change {
        let before = memory.clone();
        change(memory);
        Change::between(&before, memory)
    }

    #[test]
    fn a_deletion_taken_back_leaves_the_memory_as_it_was() {
        let mut memory = filled(4);
        let before = memory.clone();
        let change = changed(&mut memory, |memory| memory.delete(2).unwrap());
        memory.undo(change);
        assert_eq!(memory, before);
    }

    #[test]
    fn a_correction_taken_back_gives_the_old_caption() {
        let mut memory = filled(2);
        let change = changed(&mut memory, |memory| {
            memory.write(corrected(1, "Rex")).unwrap();
        });
        assert_eq!(captions(&memory), ["photo 0", "Rex"]);
        memory.undo(change);
        assert_eq!(captions(&memory), ["photo 0", "photo 1"]);
    }

    #[test]
    fn clearing_taken_back_gives_everything_and_a_sound_clock() {
        let mut memory = filled(4);
        let change = changed(&mut memory, EpisodicMemory::clear);
        memory.write(corrected(9, "Rex")).unwrap();
        memory.undo(change);
        // Slot 0 holds Rex by now, so photo 0 takes the place of the one that can best be spared.
        assert_eq!(captions(&memory), ["Rex", "photo 0", "photo 2", "photo 3"]);
        assert!(memory.occupied().all(|(_, slot)| slot.last_tick() <= memory.tick));
    }

    #[test]
    fn what_was_lost_is_put_beside_what_came_since() {
        let mut memory = EpisodicMemory::new(4, WIDTH);
        memory.write(corrected(1, "Rex")).unwrap();
        let change = changed(&mut memory, |memory| memory.delete(0).unwrap());
        memory.write(corrected(2, "Mia")).unwrap();
        memory.undo(change);
        assert_eq!(captions(&memory), ["Mia", "Rex"]);
    }

    #[test]
    fn a_recall_in_between_does_not_hinder() {
        let mut memory = EpisodicMemory::new(4, WIDTH);
        let change = changed(&mut memory, |memory| {
            memory.write(episode(1)).unwrap();
        });
        memory.touch(&Recall { context: vec![], weights: vec![(0, 0.9)], null_weight: 0.1 });
        memory.undo(change);
        assert!(memory.is_empty());
    }
}
