//! What one core works on in a step: some photos, the episodes the memory holds for them, and the captions
//! to predict.

use std::sync::Arc;

use tokenizers::Tokenizer;

use crate::generate::Length;
use crate::memory::MAX_CAPTION_TOKENS;
use crate::random::Random;
use crate::train::data::sample::{CaptionTokens, Sample};
use crate::train::objective::targets::Targets;
use crate::train::objective::text_batch::TextBatch;
use crate::train::text::encode::encode;
use crate::train::text::hints::Hint;
use crate::train::text::names::personalize;
use crate::train::text::normalize::{length_class, word_count};

/// One core's share of a step.
#[derive(Debug, Clone, Default)]
pub struct Batch {
    /// Features of the photos to caption.
    pub photos: Vec<Arc<[i8]>>,
    /// Hint tokens of each, marker first, mostly empty.
    pub hints: Vec<Vec<u32>>,
    /// A caption of each photo for the alignment.
    pub aligned: Vec<Vec<u32>>,
    /// What the memory holds.
    pub support: Vec<Support>,
    /// Captions to predict.
    pub captions: Targets,
    /// Texts without photos to predict.
    pub texts: TextBatch,
}

/// An episode in the memory.
#[derive(Debug, Clone)]
pub struct Support {
    /// The photo it is of.
    pub photo: usize,
    /// Another view of that photo.
    pub view: Arc<[i8]>,
    /// What is remembered of it.
    pub caption: Vec<u32>,
    /// Whether the user wrote that: then it is to be repeated.
    pub is_corrected: bool,
}

/// How workers are put together.
#[derive(Debug, Clone)]
pub struct BatchOptions {
    /// Share of workers whose memory is empty.
    pub empty_memory: f32,
    /// Share of remembered photos whose caption counts as corrected by the user and is to be repeated.
    pub corrected: f32,
    /// Weight of a caption that is to be repeated: it has one photo's caption against five.
    pub corrected_weight: f32,
    /// Share of photos with a hint, which are captioned as those people did it who used its words.
    pub hinted: f32,
    /// Share of a caption's tokens that the decoder is given wrong.
    pub corrupted: f32,
    /// Longest caption, in tokens.
    pub max_tokens: usize,
    /// Texts without photos.
    pub texts: usize,
    /// Share of them that is to be repeated.
    pub copied_texts: f32,
    /// Share of the others that has a hint.
    pub hinted_texts: f32,
}

impl Default for BatchOptions {
    fn default() -> Self {
        Self {
            empty_memory: 0.5,
            corrected: 0.3,
            corrected_weight: 2.0,
            hinted: 0.2,
            corrupted: 0.1,
            max_tokens: 30,
            texts: 16,
            copied_texts: 0.2,
            hinted_texts: 0.25,
        }
    }
}

impl Batch {
    /// Draws views, supports, corrections and hints for `samples`, and some of `texts`.
    pub fn draw(
        samples: &[&Sample],
        texts: &[CaptionTokens],
        tokenizer: &Tokenizer,
        options: &BatchOptions,
        random: &mut Random,
    ) -> Self {
        let mut batch = Self::default();
        let uses_memory = random.uniform() >= options.empty_memory;
        for (photo, sample) in samples.iter().enumerate() {
            let view = random.below(sample.views.len());
            // Half of the photos have an episode of their own; the others find strangers' only.
            let is_remembered = uses_memory && photo % 2 == 0 && sample.captions.len() > 1;
            batch.photos.push(sample.views[view].clone());
            let remembered = random.below(sample.captions.len());
            batch.aligned.push(sample.captions[remembered].tokens.clone());
            if is_remembered && random.uniform() < options.corrected {
                batch.add_corrected(photo, sample, view, texts, tokenizer, options, random);
            } else {
                let remembered = is_remembered.then_some(remembered);
                batch.add_captions(
                    photo, sample, view, remembered, texts, tokenizer, options, random,
                );
            }
        }
        let chosen: Vec<&CaptionTokens> = (0..options.texts.min(texts.len()))
            .map(|_| &texts[random.below(texts.len())])
            .collect();
        let (copied, hinted) = (options.copied_texts, options.hinted_texts);
        batch.texts = TextBatch::new(chosen.into_iter(), copied, hinted, tokenizer, random);
        batch
    }

    /// A photo that the user corrected: any text at all, half of them about the photo, most with a name.
    #[allow(clippy::too_many_arguments, reason = "one call site, the pieces of one draw")]
    fn add_corrected(
        &mut self,
        photo: usize,
        sample: &Sample,
        view: usize,
        texts: &[CaptionTokens],
        tokenizer: &Tokenizer,
        options: &BatchOptions,
        random: &mut Random,
    ) {
        let pool =
            if texts.is_empty() || random.uniform() < 0.5 { &sample.captions } else { texts };
        let mut text = pool[random.below(pool.len())].text.clone();
        if random.uniform() < 0.7 {
            // The captioner sees a user's words in lower case, too.
            text = personalize(&text, random).to_lowercase();
        }
        let mut caption = encode(tokenizer, &text);
        caption.truncate(MAX_CAPTION_TOKENS);
        let start = length_class(word_count(&text)).start_token();
        // What the user wrote is repeated whatever length was asked for.
        let start = if random.uniform() < 0.5 { start } else { Length::Medium.start_token() };
        self.captions.push(photo, start, &caption, sample.weight * options.corrected_weight);
        self.hints.push(Vec::new());
        self.remember(photo, sample, view, caption, true, random);
    }

    /// A photo with its captions, but for the one that is remembered.
    #[allow(clippy::too_many_arguments, reason = "one call site, the pieces of one draw")]
    fn add_captions(
        &mut self,
        photo: usize,
        sample: &Sample,
        view: usize,
        remembered: Option<usize>,
        texts: &[CaptionTokens],
        tokenizer: &Tokenizer,
        options: &BatchOptions,
        random: &mut Random,
    ) {
        let is_mirrored = sample.mirrored[view];
        let others = sample.captions.iter().enumerate().filter(|&(i, _)| remembered != Some(i));
        let targets: Vec<&CaptionTokens> =
            others.map(|(_, c)| c).filter(|c| !(is_mirrored && names_a_side(&c.text))).collect();
        let has_hint = !targets.is_empty() && random.uniform() < options.hinted;
        let drawn = if has_hint { random.below(targets.len()) } else { 0 };
        let hint = has_hint.then(|| Hint::draw(&targets[drawn].text, random)).flatten();
        self.hints.push(hint.as_ref().map_or_else(Vec::new, |hint| hint.prompt(tokenizer)));
        for (number, caption) in targets.iter().enumerate() {
            // Captions without its words would teach that a hint may be left aside.
            let told = match &hint {
                Some(hint) if number == drawn => encode(tokenizer, &hint.caption),
                Some(hint) if !hint.is_taken_up(&caption.text) => continue,
                _ => caption.tokens.clone(),
            };
            let body = &told[..told.len().min(options.max_tokens)];
            self.captions.push(photo, caption.start, body, sample.weight * caption.weight);
            self.captions.corrupt(options.corrupted, texts, random);
        }
        if let Some(remembered) = remembered {
            let caption = sample.captions[remembered].tokens.clone();
            self.remember(photo, sample, view, caption, false, random);
        }
    }

    /// Puts another view of the photo into the memory.
    fn remember(
        &mut self,
        photo: usize,
        sample: &Sample,
        view: usize,
        caption: Vec<u32>,
        is_corrected: bool,
        random: &mut Random,
    ) {
        let views = sample.views.len();
        let other = (view + 1 + random.below(views.max(2) - 1)) % views;
        let view = sample.views[other].clone();
        self.support.push(Support { photo, view, caption, is_corrected });
    }
}

fn names_a_side(text: &str) -> bool {
    text.split_whitespace().any(|word| matches!(word.trim_end_matches(','), "left" | "right"))
}
