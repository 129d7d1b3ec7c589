//! The evidence of a training photo: its tags, with noise.

use crate::random::Random;
use crate::tokenizer::Evidence;

/// How much of the tags a photo's evidence has.
///
/// The tags come from a recognizer that has not learned from the photo, so their errors are those
/// of run time already. What is left out teaches the model to caption without them.
#[derive(Debug, Clone, Copy)]
pub struct EvidenceNoise {
    /// Share of photos without evidence.
    pub none: f32,
    /// Share of the tags that are left out of the others' evidence.
    pub dropped: f32,
}

impl Default for EvidenceNoise {
    fn default() -> Self {
        Self { none: 0.15, dropped: 0.15 }
    }
}

impl EvidenceNoise {
    /// Draws the evidence of a photo with these tags.
    pub fn draw(self, tags: &[Evidence], random: &mut Random) -> Vec<Evidence> {
        // Nothing is drawn where there is nothing to draw from: a run without tags stays the same.
        if tags.is_empty() || random.uniform() < self.none {
            return Vec::new();
        }
        tags.iter().filter(|_| random.uniform() >= self.dropped).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn evidence_is_a_part_of_the_tags_and_sometimes_nothing() {
        let tags: Vec<Evidence> =
            (20..40).map(|word| Evidence { words: vec![word], probability: 0.5 }).collect();
        let noise = EvidenceNoise { none: 0.25, dropped: 0.2 };
        let mut random = Random::new(1);
        let (mut none, mut kept) = (0, 0);
        for _ in 0..400 {
            let evidence = noise.draw(&tags, &mut random);
            assert!(evidence.iter().all(|tag| tags.contains(tag)));
            none += usize::from(evidence.is_empty());
            kept += evidence.len();
        }
        assert!((70..130).contains(&none), "{none}");
        let share = kept as f32 / (20 * (400 - none)) as f32;
        assert!((0.77..0.83).contains(&share), "{share}");
    }
}
