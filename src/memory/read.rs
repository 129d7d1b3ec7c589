//! READ: what a photo recalls, and how what is never recalled fades.

use super::{EpisodicMemory, Slot, SlotIndex};

/// What is left of a slot's strength after it was idle for ever.
pub const FORGET_FLOOR: f32 = 0.1;
/// Ticks (written episodes) in which the rest of a slot's strength halves.
pub const FORGET_HALF_LIFE: f32 = 256.0;
/// How far below the null slot's a score may lie and still count: such a slot weighs a twentieth of
/// it.
pub const STRANGER_MARGIN: f32 = 3.0;
/// Weight from which a slot lends its caption to the decoder.
pub const RECALL_THRESHOLD: f32 = 0.3;
/// Most slots that lend their captions at once.
pub const MAX_RECALLED: usize = 2;

/// The learned numbers of READ.
#[derive(Debug, Clone, PartialEq)]
pub struct ReadParameters {
    /// beta, the factor of a cosine.
    pub sharpness: f32,
    /// s_0, the score of remembering nothing.
    pub null_logit: f32,
    /// v_0, what an empty memory returns, `[C]`.
    pub null_value: Vec<f32>,
}

/// What READ returns.
#[derive(Debug, Clone, PartialEq)]
pub struct Recall {
    /// m_r, the mixture of the values, `[C]`.
    pub context: Vec<f32>,
    /// Slots of at least [`RECALL_THRESHOLD`] with their weights, best first, at most
    /// [`MAX_RECALLED`].
    pub weights: Vec<(SlotIndex, f32)>,
    /// Weight of remembering nothing.
    pub null_weight: f32,
}

impl Recall {
    /// What a memory without episodes returns.
    pub fn nothing(parameters: &ReadParameters) -> Self {
        Self { context: parameters.null_value.clone(), weights: Vec::new(), null_weight: 1.0 }
    }
}

impl EpisodicMemory {
    /// READ: weighs every slot by the similarity of its key to `query`, unit length `[C]`.
    ///
    /// `s_i = sharpness * cos + ln(forget_i)`, `s_0 = null_logit`, `w = softmax(s)`, and the
    /// context is `w_0 v_0 + sum of w_i v_i`. An empty memory returns exactly `v_0`.
    pub fn read(&self, query: &[f32], parameters: &ReadParameters) -> Recall {
        assert_eq!(parameters.null_value.len(), self.width, "the null value has another width");
        let scores: Vec<(SlotIndex, f32)> = self
            .occupied()
            .map(|(index, slot)| {
                let similarity = parameters.sharpness * slot.key.cosine(query);
                (index, similarity + self.forget(slot).ln())
            })
            // Hundreds of strangers would together outweigh the null slot.
            .filter(|&(_, score)| score > parameters.null_logit - STRANGER_MARGIN)
            .collect();
        let largest = scores.iter().fold(parameters.null_logit, |most, &(_, s)| most.max(s));
        let null = (parameters.null_logit - largest).exp();
        let sum = null + scores.iter().map(|&(_, s)| (s - largest).exp()).sum::<f32>();
        let null_weight = null / sum;
        let mut context: Vec<f32> = parameters.null_value.iter().map(|v| null_weight * v).collect();
        let mut weights = Vec::new();
        for (index, score) in scores {
            let weight = (score - largest).exp() / sum;
            if let Some(slot) = &self.slots[index] {
                slot.value.add_to(&mut context, weight);
            }
            if weight >= RECALL_THRESHOLD {
                weights.push((index, weight));
            }
        }
        weights.sort_by(|a, b| b.1.total_cmp(&a.1));
        weights.truncate(MAX_RECALLED);
        Recall { context, weights, null_weight }
    }

    /// Marks what a completed caption recalled as used. Slots emptied since are passed over.
    pub fn touch(&mut self, recall: &Recall) {
        let tick = self.tick;
        for &(index, weight) in &recall.weights {
            if let Some(slot) = self.slots.get_mut(index).and_then(Option::as_mut) {
                slot.usage += weight;
                slot.recalls = slot.recalls.saturating_add(1);
                slot.last_read = tick;
            }
        }
    }

    /// How much of a slot's strength is left: 1 when just used, [`FORGET_FLOOR`] at last. Corrected
    /// slots are not forgotten.
    pub(super) fn forget(&self, slot: &Slot) -> f32 {
        if slot.record.corrected {
            return 1.0;
        }
        let idle = self.tick.saturating_sub(slot.last_write.max(slot.last_read)) as f32;
        FORGET_FLOOR + (1.0 - FORGET_FLOOR) * (-idle / FORGET_HALF_LIFE).exp2()
    }
}
