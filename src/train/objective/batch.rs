//! The batch of the captioning objective: photos, the episodes that the memory holds, and the
//! captions to predict.

use std::sync::Arc;

use tokenizers::Tokenizer;

use crate::generate::Length;
use crate::memory::MAX_CAPTION_TOKENS;
use crate::random::Random;
use crate::tokenizer::prompt;
use crate::train::data::sample::{CaptionTokens, Sample};
use crate::train::objective::evidence::{EvidenceNoise, TextEvidence};
use crate::train::objective::targets::Targets;
use crate::train::objective::text_batch::TextBatch;
use crate::train::text::encode::encode;
use crate::train::text::hints::Hint;
use crate::train::text::names::personalize;
use crate::train::text::normalize::{length_class, word_count};

/// What one worker processes in a step.
#[derive(Debug, Clone, Default)]
pub struct Batch {
    /// Stem features of the photos to caption, `[patches * channels]` int8 each.
    pub photos: Vec<Arc<[i8]>>,
    /// Prompt of each photo: its hint and its evidence; empty without both.
    pub prompts: Vec<Vec<u32>>,
    /// One caption of each photo, for the alignment loss.
    pub aligned: Vec<Vec<u32>>,
    /// Episodes in the memory.
    pub support: Vec<Support>,
    /// Captions to predict.
    pub captions: Targets,
    /// Texts to predict that have no photo.
    pub texts: TextBatch,
}

/// An episode in the memory.
#[derive(Debug, Clone)]
pub struct Support {
    /// Index in the batch of the photo it shows.
    pub photo: usize,
    /// Stem features of another view of that photo.
    pub view: Arc<[i8]>,
    /// Prompt of that view: its evidence.
    pub prompt: Vec<u32>,
    /// Tokens of the stored caption.
    pub caption: Vec<u32>,
    /// Whether the user wrote that caption; the model is then to repeat it.
    pub is_corrected: bool,
}

/// How batches are drawn.
#[derive(Debug, Clone)]
pub struct BatchOptions {
    /// Share of batches with an empty memory.
    pub empty_memory: f32,
    /// Share of the stored photos whose caption counts as corrected by the user and is to be
    /// repeated.
    pub corrected: f32,
    /// Loss weight of a caption to be repeated: it is the only target of its photo, where other
    /// photos have five.
    pub corrected_weight: f32,
    /// Share of photos with a hint; their targets are the captions that use the hint's words.
    pub hinted: f32,
    /// How the evidence of a photo is drawn from its tags.
    pub evidence: EvidenceNoise,
    /// Share of the decoder's input tokens that are replaced by random ones.
    pub corrupted: f32,
    /// Most tokens of a caption.
    pub max_tokens: usize,
    /// Number of texts without a photo.
    pub texts: usize,
    /// Share of those texts that are to be repeated from the memory.
    pub copied_texts: f32,
    /// Share of the other texts that have a hint.
    pub hinted_texts: f32,
}

impl Default for BatchOptions {
    fn default() -> Self {
        Self {
            empty_memory: 0.5,
            corrected: 0.3,
            corrected_weight: 2.0,
            hinted: 0.2,
            evidence: EvidenceNoise::default(),
            corrupted: 0.1,
            max_tokens: 30,
            texts: 16,
            copied_texts: 0.2,
            hinted_texts: 0.25,
        }
    }
}

/// What a batch is drawn from.
struct Source<'a> {
    texts: &'a [CaptionTokens],
    tokenizer: &'a Tokenizer,
    options: &'a BatchOptions,
}

/// A photo of the batch in the view that was drawn.
struct DrawnView<'a> {
    /// Index in the batch.
    photo: usize,
    sample: &'a Sample,
    /// Index of the view in the sample.
    view: usize,
}

impl Batch {
    /// Draws the views, stored episodes, corrections, hints and evidence of `samples`, and some of
    /// `texts`.
    pub fn draw(
        samples: &[&Sample],
        texts: &[CaptionTokens],
        tokenizer: &Tokenizer,
        options: &BatchOptions,
        text_evidence: Option<&TextEvidence>,
        random: &mut Random,
    ) -> Self {
        let source = Source { texts, tokenizer, options };
        let mut batch = Self::default();
        let uses_memory = random.uniform() >= options.empty_memory;
        for (photo, sample) in samples.iter().enumerate() {
            let view = random.below(sample.views.len());
            let drawn = DrawnView { photo, sample, view };
            // Half of the photos have a stored episode; the others find those of other photos only.
            let is_remembered = uses_memory && photo % 2 == 0 && sample.captions.len() > 1;
            batch.photos.push(sample.views[view].clone());
            let remembered = random.below(sample.captions.len());
            batch.aligned.push(sample.captions[remembered].tokens.clone());
            if is_remembered && random.uniform() < options.corrected {
                batch.add_corrected(&drawn, &source, random);
            } else {
                let remembered = is_remembered.then_some(remembered);
                batch.add_captions(&drawn, remembered, &source, random);
            }
        }
        let chosen: Vec<&CaptionTokens> = (0..options.texts.min(texts.len()))
            .map(|_| &texts[random.below(texts.len())])
            .collect();
        let (copied, hinted) = (options.copied_texts, options.hinted_texts);
        batch.texts =
            TextBatch::new(chosen.into_iter(), copied, hinted, tokenizer, text_evidence, random);
        batch
    }

    /// Adds a photo whose caption the user corrected. Half of the corrections are captions of the
    /// photo and half are unrelated texts; most have a name put into them.
    fn add_corrected(&mut self, drawn: &DrawnView, source: &Source, random: &mut Random) {
        let (texts, sample) = (source.texts, drawn.sample);
        let pool =
            if texts.is_empty() || random.uniform() < 0.5 { &sample.captions } else { texts };
        let mut text = pool[random.below(pool.len())].text.clone();
        if random.uniform() < 0.7 {
            // The captioner lower-cases a user's words as well.
            text = personalize(&text, random).to_lowercase();
        }
        let mut caption = encode(source.tokenizer, &text);
        caption.truncate(MAX_CAPTION_TOKENS);
        let start = length_class(word_count(&text)).start_token();
        // A correction is repeated whatever length is asked for.
        let start = if random.uniform() < 0.5 { start } else { Length::Medium.start_token() };
        let weight = sample.weight * source.options.corrected_weight;
        self.captions.push(drawn.photo, start, &caption, weight);
        let evidence = source.options.evidence.draw(&sample.evidence, random);
        self.prompts.push(prompt(&[], &evidence));
        self.remember(drawn, caption, true, source.options, random);
    }

    /// Adds a photo with all of its captions except the one that the memory holds.
    fn add_captions(
        &mut self,
        drawn_view: &DrawnView,
        remembered: Option<usize>,
        source: &Source,
        random: &mut Random,
    ) {
        let DrawnView { photo, sample, view } = *drawn_view;
        let Source { texts, tokenizer, options } = *source;
        let is_mirrored = sample.mirrored[view];
        let others = sample.captions.iter().enumerate().filter(|&(i, _)| remembered != Some(i));
        let targets: Vec<&CaptionTokens> =
            others.map(|(_, c)| c).filter(|c| !(is_mirrored && mentions_side(&c.text))).collect();
        let has_hint = !targets.is_empty() && random.uniform() < options.hinted;
        let hinted = if has_hint { random.below(targets.len()) } else { 0 };
        let hint = has_hint.then(|| Hint::draw(&targets[hinted].text, random)).flatten();
        let words = hint.as_ref().map_or_else(Vec::new, |hint| encode(tokenizer, &hint.text));
        let evidence = options.evidence.draw(&sample.evidence, random);
        self.prompts.push(prompt(&words, &evidence));
        for (index, caption) in targets.iter().enumerate() {
            // A target without the hint's words would teach the model to ignore hints.
            let tokens = match &hint {
                Some(hint) if index == hinted => encode(tokenizer, &hint.caption),
                Some(hint) if !hint.is_taken_up(&caption.text) => continue,
                _ => caption.tokens.clone(),
            };
            let tokens = &tokens[..tokens.len().min(options.max_tokens)];
            self.captions.push(photo, caption.start, tokens, sample.weight * caption.weight);
            self.captions.corrupt(options.corrupted, texts, random);
        }
        if let Some(remembered) = remembered {
            let caption = sample.captions[remembered].tokens.clone();
            self.remember(drawn_view, caption, false, options, random);
        }
    }

    /// Stores another view of the photo in the memory with `caption`.
    fn remember(
        &mut self,
        &DrawnView { photo, sample, view }: &DrawnView,
        caption: Vec<u32>,
        is_corrected: bool,
        options: &BatchOptions,
        random: &mut Random,
    ) {
        let views = sample.views.len();
        let other = (view + 1 + random.below(views.max(2) - 1)) % views;
        let view = sample.views[other].clone();
        let prompt = prompt(&[], &options.evidence.draw(&sample.evidence, random));
        self.support.push(Support { photo, view, prompt, caption, is_corrected });
    }
}

/// Whether `text` has the word "left" or "right", which a mirrored view makes wrong.
fn mentions_side(text: &str) -> bool {
    text.split_whitespace().any(|word| matches!(word.trim_end_matches(','), "left" | "right"))
}
