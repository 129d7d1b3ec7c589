//! READ, and how slots that are never recalled are forgotten.

use super::{EpisodicMemory, Signature, Slot, SlotIndex};

/// The strength at which a slot that is never recalled stops fading.
pub const FORGET_FLOOR: f32 = 0.1;
/// Number of ticks (written episodes) in which the fading part of a slot's strength halves.
pub const FORGET_HALF_LIFE: f32 = 256.0;
/// How far below the null slot's score a slot's score may lie and still count: at this margin a
/// slot weighs a twentieth of the null slot.
pub const STRANGER_MARGIN: f32 = 3.0;
/// Minimum READ weight at which a slot's caption is recalled.
pub const RECALL_THRESHOLD: f32 = 0.3;
/// Maximum number of recalled captions.
pub const MAX_RECALLED: usize = 2;

/// The parameters of READ.
#[derive(Debug, Clone, PartialEq)]
pub struct ReadParameters {
    /// beta, the factor of a cosine.
    pub sharpness: f32,
    /// s_0, the score of the null slot, which stands for no memory.
    pub null_logit: f32,
    /// v_0, the value of the null slot, `[C]`.
    pub null_value: Vec<f32>,
}

/// What READ returns.
#[derive(Debug, Clone, PartialEq)]
pub struct Recall {
    /// m_r, the mixture of the values, `[C]`.
    pub context: Vec<f32>,
    /// Slots with a weight of at least [`RECALL_THRESHOLD`], best first, at most [`MAX_RECALLED`].
    pub weights: Vec<(SlotIndex, f32)>,
    /// Weight of the null slot.
    pub null_weight: f32,
}

impl Recall {
    /// The result of READ on an empty memory.
    pub fn nothing(parameters: &ReadParameters) -> Self {
        Self { context: parameters.null_value.clone(), weights: Vec::new(), null_weight: 1.0 }
    }
}

impl EpisodicMemory {
    /// READ: weighs every slot by the similarity of its key to `query`, `[C]` of unit length. Slots
    /// whose signature does not match the query's are left out: they are other photos', however
    /// similar the keys.
    ///
    /// `s_i = sharpness * cos + ln(forget_i)`, `s_0 = null_logit`, `w = softmax(s)`, and the
    /// context is `w_0 v_0 + sum of w_i v_i`. An empty memory returns exactly `v_0`.
    pub fn read(
        &self,
        query: &[f32],
        signature: Option<&Signature>,
        parameters: &ReadParameters,
    ) -> Recall {
        assert_eq!(parameters.null_value.len(), self.width, "the null value has another width");
        let scores: Vec<(SlotIndex, f32)> = self
            .occupied()
            .map(|(index, slot)| {
                let similarity = parameters.sharpness * slot.key.cosine(query);
                (index, similarity + self.forget(slot).ln())
            })
            // Without this cut, hundreds of unrelated episodes would together outweigh the null
            // slot.
            .filter(|&(_, score)| score > parameters.null_logit - STRANGER_MARGIN)
            .collect();
        let scores = self.with_matching_signature(scores, signature);
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

    /// Marks the recalled slots of a completed caption as used. Slots emptied since are skipped.
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

    /// Remaining strength of a slot: 1 when just used, falling to [`FORGET_FLOOR`]. Corrected slots
    /// are not forgotten.
    pub(super) fn forget(&self, slot: &Slot) -> f32 {
        if slot.record.corrected {
            return 1.0;
        }
        let idle = self.tick.saturating_sub(slot.last_write.max(slot.last_read)) as f32;
        FORGET_FLOOR + (1.0 - FORGET_FLOOR) * (-idle / FORGET_HALF_LIFE).exp2()
    }
}
