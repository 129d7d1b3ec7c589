//! What one core works on in a step: some photos, the episodes the memory holds for them, and the captions
//! to predict.

use tokenizers::Tokenizer;

use crate::model::{special, PlacedText};
use crate::random::Random;
use crate::train::names::personalize;

/// A caption ready for training.
#[derive(Debug, Clone)]
pub struct CaptionTokens {
    /// Its text.
    pub text: String,
    /// Its tokens, without start and end.
    pub tokens: Vec<u32>,
    /// `<short>`, `<medium>` or `<long>`.
    pub start: u32,
}

/// A photo with its captions and the views of it that are cached.
#[derive(Debug, Clone)]
pub struct Sample {
    /// Stem features of each view, `[patches * channels]` int8.
    pub views: Vec<std::sync::Arc<[i8]>>,
    /// Views a caption with "left" or "right" must not be paired with.
    pub mirrored: Vec<bool>,
    /// Its captions.
    pub captions: Vec<CaptionTokens>,
    /// Weight of its captions in the loss.
    pub weight: f32,
}

/// One core's share of a step.
#[derive(Debug, Clone)]
pub struct Shard {
    /// Features of the photos to caption.
    pub photos: Vec<std::sync::Arc<[i8]>>,
    /// Hint tokens of each, marker first, mostly empty.
    pub hints: Vec<Vec<u32>>,
    /// A caption of each photo for the alignment; the same one is in memory where it is supported.
    pub aligned: Vec<Vec<u32>>,
    /// Photos (by position) that have an episode in memory, with another view of theirs.
    pub support: Vec<(usize, std::sync::Arc<[i8]>)>,
    /// Recalled captions that are placed whatever the memory reads.
    pub forced: Vec<PlacedText>,
    /// Photos that may also get the captions of the slots they read strongly.
    pub may_recall: Vec<bool>,
    /// Decoder inputs: start token and caption.
    pub inputs: Vec<PlacedText>,
    /// The token after each input token.
    pub targets: Vec<u32>,
    /// Weight of each target.
    pub weights: Vec<f32>,
}

/// How shards are put together.
#[derive(Debug, Clone)]
pub struct ShardOptions {
    /// Share of shards whose memory is empty.
    pub empty_memory: f32,
    /// Share of supported photos whose caption counts as corrected by the user and is to be repeated.
    pub corrected: f32,
    /// Share of supported photos that get their recalled caption even if the memory does not find it.
    pub forced_recall: f32,
    /// Share of photos with a hint.
    pub hinted: f32,
    /// Longest caption, in tokens.
    pub max_tokens: usize,
}

impl Default for ShardOptions {
    fn default() -> Self {
        Self {
            empty_memory: 0.3,
            corrected: 0.25,
            forced_recall: 0.5,
            hinted: 0.08,
            max_tokens: 30,
        }
    }
}

impl Shard {
    /// Draws views, supports, corrections and hints for `samples`.
    pub fn draw(
        samples: &[&Sample],
        tokenizer: &Tokenizer,
        options: &ShardOptions,
        random: &mut Random,
    ) -> Self {
        let mut shard = Self {
            photos: Vec::new(),
            hints: Vec::new(),
            aligned: Vec::new(),
            support: Vec::new(),
            forced: Vec::new(),
            may_recall: Vec::new(),
            inputs: Vec::new(),
            targets: Vec::new(),
            weights: Vec::new(),
        };
        let uses_memory = random.uniform() >= options.empty_memory;
        for (photo, sample) in samples.iter().enumerate() {
            let view = random.below(sample.views.len());
            let support = random.below(sample.captions.len());
            // Half of the photos have an episode of their own; the others find strangers' only.
            let supported = uses_memory && photo % 2 == 0 && sample.captions.len() > 1;
            shard.add(photo, sample, view, (support, supported), tokenizer, options, random);
        }
        shard
    }

    #[allow(clippy::too_many_arguments, reason = "one call site, the pieces of one draw")]
    fn add(
        &mut self,
        photo: usize,
        sample: &Sample,
        view: usize,
        (support, supported): (usize, bool),
        tokenizer: &Tokenizer,
        options: &ShardOptions,
        random: &mut Random,
    ) {
        self.photos.push(sample.views[view].clone());
        let mut remembered = sample.captions[support].clone();
        let corrected = supported && random.uniform() < options.corrected;
        if corrected {
            remembered.text = personalize(&remembered.text, random);
            remembered.tokens = encode(tokenizer, &remembered.text);
        }
        if supported {
            let other =
                (view + 1 + random.below(sample.views.len().max(2) - 1)) % sample.views.len();
            self.support.push((photo, sample.views[other].clone()));
            if corrected || random.uniform() < options.forced_recall {
                let marker = if corrected { special::CORRECTED } else { special::RECALLED };
                let tokens = std::iter::once(marker).chain(remembered.tokens.iter().copied());
                self.forced.push(PlacedText { photo, tokens: tokens.take(25).collect() });
            }
        }
        self.may_recall.push(!self.forced.iter().any(|text| text.photo == photo));
        self.aligned.push(remembered.tokens.clone());
        let mirrored = sample.mirrored[view];
        let targets: Vec<&CaptionTokens> = if corrected {
            vec![&remembered]
        } else {
            let others =
                sample.captions.iter().enumerate().filter(|(i, _)| !(supported && *i == support));
            others.map(|(_, c)| c).filter(|c| !(mirrored && names_a_side(&c.text))).collect()
        };
        let hint = targets
            .first()
            .filter(|_| !corrected && random.uniform() < options.hinted)
            .and_then(|_| content_word(&targets[random.below(targets.len())].text, random));
        self.hints.push(hint.map_or_else(Vec::new, |word| {
            std::iter::once(special::HINT).chain(encode(tokenizer, &word)).collect()
        }));
        for caption in targets {
            let body = &caption.tokens[..caption.tokens.len().min(options.max_tokens)];
            let tokens: Vec<u32> =
                std::iter::once(caption.start).chain(body.iter().copied()).collect();
            self.targets.extend_from_slice(body);
            self.targets.push(special::EOS);
            self.weights.resize(self.targets.len(), sample.weight);
            self.inputs.push(PlacedText { photo, tokens });
        }
    }
}

/// Tokens of a text without special ones.
pub fn encode(tokenizer: &Tokenizer, text: &str) -> Vec<u32> {
    let encoding = tokenizer.encode(text, false).expect("byte-level BPE encodes any text");
    encoding.get_ids().to_vec()
}

fn names_a_side(text: &str) -> bool {
    text.split_whitespace().any(|word| matches!(word.trim_end_matches(','), "left" | "right"))
}

/// A word that says what is in the photo: longer than the common small words.
fn content_word(text: &str, random: &mut Random) -> Option<String> {
    const SMALL: [&str; 12] = [
        "with", "that", "from", "their", "while", "into", "near", "over", "through", "next",
        "some", "front",
    ];
    let words: Vec<&str> =
        text.split_whitespace().filter(|w| w.len() > 3 && !SMALL.contains(w)).collect();
    (!words.is_empty()).then(|| words[random.below(words.len())].trim_end_matches(',').to_owned())
}
