//! The evidence that training gives to the model: a photo's tags with noise, and for a text without
//! a photo the names that it mentions.

use tokenizers::Tokenizer;

use crate::random::Random;
use crate::tokenizer::{Evidence, MIN_EVIDENCE};
use crate::train::text::encode::encode;
use crate::train::text::tag_vocabulary::{Mention, TagVocabulary};

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

/// Share of the names in a text that a recognizer finds.
const FOUND: f32 = 0.7;
/// Share of texts without evidence.
const NO_EVIDENCE: f32 = 0.25;

/// Evidence for texts that have no photo.
#[derive(Debug)]
pub struct TextEvidence {
    vocabulary: &'static TagVocabulary,
    /// Tokens of each name.
    tokens: Vec<Vec<u32>>,
}

impl TextEvidence {
    /// The evidence in names of the standard vocabulary.
    pub fn new(tokenizer: &Tokenizer) -> Self {
        let vocabulary = TagVocabulary::standard();
        let names = vocabulary.names().iter();
        Self { vocabulary, tokens: names.map(|name| encode(tokenizer, &name.name)).collect() }
    }

    /// Draws what a calibrated recognizer might see in a photo that `text` describes: most of the
    /// names that it mentions, and false ones from `other`, the text of another photo.
    ///
    /// The probabilities p are uniform from [`MIN_EVIDENCE`] to 1, and a share p of the tags at
    /// each of them is true: true tags have the density p, false ones 1 - p.
    pub fn draw(&self, text: &str, other: &str, random: &mut Random) -> Vec<Evidence> {
        if random.uniform() < NO_EVIDENCE {
            return Vec::new();
        }
        let least = MIN_EVIDENCE;
        let mentions = self.vocabulary.mentions(text);
        let mut evidence = Vec::new();
        for (&name, &mention) in &mentions {
            if mention == Mention::Certain && random.uniform() < FOUND {
                let squared = least * least + (1.0 - least * least) * random.uniform();
                evidence.push(self.tag(name, squared.sqrt()));
            }
        }
        // The integral of 1 - p over that of p.
        let expected = evidence.len() as f32 * (1.0 - least) / (1.0 + least);
        let others = self.vocabulary.mentions(other).into_keys();
        let mut others: Vec<usize> = others.filter(|name| !mentions.contains_key(name)).collect();
        let mut left = expected + random.uniform();
        while left >= 1.0 && !others.is_empty() {
            left -= 1.0;
            let name = others.swap_remove(random.below(others.len()));
            evidence.push(self.tag(name, 1.0 - (1.0 - least) * random.uniform().sqrt()));
        }
        evidence
    }

    fn tag(&self, name: usize, probability: f32) -> Evidence {
        Evidence { words: self.tokens[name].clone(), probability }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on should panic")]
mod tests {
    use super::*;
    use crate::tokenizer::read_tokenizer;

    #[test]
    fn a_text_has_evidence_for_its_own_names_and_some_for_others() {
        let tokenizer =
            read_tokenizer(include_bytes!("../../../pkg/model/tokenizer.json")).unwrap();
        let evidence = TextEvidence::new(&tokenizer);
        let mut random = Random::new(1);
        let dog = encode(&tokenizer, "dog");
        let (mut own, mut all) = ([0, 0], [0, 0]);
        for _ in 0..4000 {
            for tag in evidence.draw("a dog", "a man on a horse", &mut random) {
                let level = usize::from(tag.probability >= 0.6);
                assert!((MIN_EVIDENCE..=1.0).contains(&tag.probability));
                own[level] += usize::from(tag.words == dog);
                all[level] += 1;
            }
        }
        // Where p is uniform, the means of 0.2 to 0.6 and of 0.6 to 1.
        let shares = [0, 1].map(|level| own[level] as f32 / all[level] as f32);
        assert!(
            (0.36..0.44).contains(&shares[0]) && (0.76..0.84).contains(&shares[1]),
            "{shares:?}"
        );
    }

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
