//! The remembered captions that a photo recalls.

use super::{Captioner, Generation, Recalled};
use crate::generate::CopyCandidate;
use crate::memory::{Recall, RecalledCaption, SlotRecord};

/// Minimum READ weight for repeating a correction: above it, the photo is more likely the corrected
/// one than another.
const REPEAT_WEIGHT: f32 = 0.5;

/// A remembered caption with its tokens.
pub(super) struct RecalledSlot {
    pub(super) recalled: Recalled,
    pub(super) tokens: Vec<u32>,
}

impl RecalledSlot {
    /// The caption in the form the decoder takes.
    pub(super) fn caption(&self) -> RecalledCaption {
        RecalledCaption { tokens: self.tokens.clone(), corrected: self.recalled.corrected }
    }
}

impl Captioner {
    /// The recalled captions with their tokens.
    pub(super) fn recalled(&self, recall: &Recall) -> Vec<RecalledSlot> {
        let recalled = recall.weights.iter().filter_map(|&(slot, weight)| {
            let SlotRecord { caption: text, tokens, corrected, written_at, thumbnail } =
                self.memory.get(slot)?.clone();
            let recalled = Recalled { slot, weight, text, corrected, written_at, thumbnail };
            Some(RecalledSlot { recalled, tokens })
        });
        recalled.collect()
    }

    /// The generation's recall, without slots whose record has changed since.
    pub(super) fn unchanged_recall(&self, generation: &Generation) -> Recall {
        let is_unchanged = |slot, recalled: &Recalled| {
            let record = self.memory.get(slot);
            record.is_some_and(|own| {
                (own.written_at, &own.caption) == (recalled.written_at, &recalled.text)
            })
        };
        let mut recall = generation.recall.clone();
        recall.weights.retain(|&(slot, _)| {
            generation.recalled.iter().any(|RecalledSlot { recalled, .. }| {
                recalled.slot == slot && is_unchanged(slot, recalled)
            })
        });
        recall
    }
}

/// Corrections with a READ weight of at least [`REPEAT_WEIGHT`], which the search may copy.
pub(super) fn copies(recalled: &[RecalledSlot]) -> Vec<CopyCandidate> {
    let own = recalled
        .iter()
        .filter(|slot| slot.recalled.corrected && slot.recalled.weight >= REPEAT_WEIGHT);
    own.map(|slot| CopyCandidate { tokens: slot.tokens.clone(), weight: slot.recalled.weight })
        .collect()
}
