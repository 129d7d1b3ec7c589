//! Photo bytes to a caption: the public interface, natively and in the browser.
//!
//! ```text
//! begin:  decode -> stem -> vision -> fusion -> memory READ -> prefill
//! step:   one token more for every beam
//! finish: memory WRITE -> Caption
//! ```
//! Nothing is remembered of a [`Generation`] that is dropped before `finish`.

mod attention;
mod caption;
mod memory;
mod recall;
mod wording;

use std::collections::{BTreeMap, VecDeque};
use std::str::FromStr;

use image::RgbImage;
use tokenizers::Tokenizer;

use crate::checkpoint::{LoadedModel, ModelFile};
use crate::config::Config;
use crate::decoder::DecoderState;
use crate::error::Error;
use crate::generate::{BeamSearch, HintBonus, Length, MAX_BEAMS};
use crate::hash::sha256;
use crate::memory::{
    EpisodicMemory, ReadParameters, Recall, RecalledCaption, Signature, MAX_CAPTION_TOKENS,
};
use crate::model::BitMar;
use crate::model_name::model_name;
use crate::pipeline;
use crate::preprocess;
use crate::stem::Stem;
use crate::tag_head::{Tag, TagHead};
use crate::tokenizer::{check_vocab, hint_prompt, read_tokenizer, tokenizer_error};

pub use attention::{AttendedWord, Attention};
pub use caption::{Caption, CaptionOptions, ModelInfo, Recalled, Timings};
pub use memory::Migration;
use recall::{copies, RecalledSlot};
use wording::Capitals;

/// Captions that can still be corrected.
const NUM_RECENT: usize = 64;
/// Most tokens of a hint: two sentences. Every one lengthens the prefix that each step attends to.
const MAX_HINT_TOKENS: usize = 64;
/// Probability of the least probable tag of a caption: one in five is right, too few for a reader but
/// enough for a list that is to be shortened.
const SMALLEST_TAG: f64 = 0.2;
/// A clock: milliseconds since 1970, with their fractions.
pub type Clock = fn() -> f64;

/// The model, its tokenizer and its memory.
pub struct Captioner {
    model: BitMar,
    stem: Stem,
    tag_head: Option<TagHead>,
    config: Config,
    sha256: String,
    keys_sha256: String,
    metadata: BTreeMap<String, String>,
    tokenizer: Tokenizer,
    read_parameters: ReadParameters,
    memory: EpisodicMemory,
    changes: memory::Changes,
    recent: VecDeque<Recent>,
    next_id: u64,
    now: Clock,
}

/// A caption that can still be corrected.
struct Recent {
    id: u64,
    encoding: PhotoEncoding,
    thumbnail: Vec<u8>,
}

/// What the memory stores of a photo.
#[derive(Clone)]
struct PhotoEncoding {
    /// Memory key, unit length, `[C]`.
    key: Vec<f32>,
    signature: Signature,
    /// The episode e, `[C]`.
    episode: Vec<f32>,
}

/// A caption that is being generated.
pub struct Generation {
    search: BeamSearch<DecoderState>,
    encoding: PhotoEncoding,
    recall: Recall,
    recalled: Vec<RecalledSlot>,
    thumbnail: Vec<u8>,
    tags: Option<Vec<Tag>>,
    /// Capitalization of the hint's words.
    capitals: Capitals,
    observer: Option<attention::Observer>,
    remember: bool,
    count_recalls: bool,
    ms: Timings,
}

impl Generation {
    /// Remembered captions given to the decoder, best first.
    pub fn recalled(&self) -> impl Iterator<Item = &Recalled> {
        self.recalled.iter().map(|slot| &slot.recalled)
    }
}

impl Captioner {
    /// Loads a model file and its tokenizer.json; the memory is empty.
    pub fn new(model: &[u8], tokenizer: &[u8], now: Clock) -> Result<Self, Error> {
        let loaded = ModelFile::read(model)?;
        // Checked before parsing: the tokenizer of the training is the only trusted one.
        let check = loaded.check_tokenizer(&sha256(tokenizer));
        check.map_err(|error| Error::Tokenizer(error.to_string()))?;
        let tokenizer = read_tokenizer(tokenizer)?;
        check_vocab(&tokenizer, loaded.config.vocab_size)?;
        let keys_sha256 = loaded.keys_sha256()?;
        let LoadedModel { model, stem, tag_head, config, sha256, metadata } = loaded;
        Ok(Self {
            read_parameters: model.read_parameters()?,
            keys_sha256,
            memory: EpisodicMemory::new(config.memory.num_slots, config.memory.width),
            changes: memory::Changes::new(),
            model,
            stem,
            tag_head,
            config,
            sha256,
            metadata,
            tokenizer,
            recent: VecDeque::with_capacity(NUM_RECENT),
            // Starts at the clock, so that ids differ from those of an earlier captioner, whose
            // captions the caller may still hold.
            next_id: millis(now),
            now,
        })
    }

    /// Starts the caption of a JPEG, PNG, WebP, GIF or BMP file.
    pub fn begin(&self, photo: &[u8], options: &CaptionOptions) -> Result<Generation, Error> {
        let start = (self.now)();
        let hint = self.check(options)?;
        let photo = preprocess::decode(photo)?;
        self.begin_at(start, &photo, &hint, options)
    }

    /// Starts the caption of decoded pixels.
    pub fn begin_pixels(
        &self,
        photo: &RgbImage,
        options: &CaptionOptions,
    ) -> Result<Generation, Error> {
        let start = (self.now)();
        let hint = self.check(options)?;
        self.begin_at(start, photo, &hint, options)
    }

    /// Adds a token to every candidate; returns whether there is more to do.
    pub fn step(&self, generation: &mut Generation) -> Result<bool, Error> {
        let start = (self.now)();
        let Generation { search, encoding, .. } = generation;
        let has_more = self.model.search_step(search, &encoding.episode)?;
        generation.ms.text += (self.now)() - start;
        Ok(has_more)
    }

    /// The best text so far.
    pub fn text(&self, generation: &Generation) -> Result<String, Error> {
        let tokens = &generation.search.best().tokens;
        // A copied correction is shown as the user wrote it, with its names and capitals.
        let own = generation
            .recalled
            .iter()
            .find(|slot| slot.recalled.corrected && slot.tokens == *tokens);
        match own {
            Some(slot) => Ok(slot.recalled.text.clone()),
            None => Ok(generation.capitals.spell(self.decoded(tokens)?.trim())),
        }
    }

    /// Ends a generation and remembers the caption.
    pub fn finish(&mut self, mut generation: Generation) -> Result<Caption, Error> {
        let start = (self.now)();
        let text = self.text(&generation)?;
        let attention = self.attention(&mut generation, &text)?;
        generation.ms.text += (self.now)() - start;
        let start = (self.now)();
        if generation.count_recalls && !text.is_empty() {
            self.memory.touch(&self.unchanged_recall(&generation));
        }
        let Generation { search, encoding, recalled, thumbnail, tags, remember, mut ms, .. } =
            generation;
        let best = search.best();
        let slot = if remember && !text.is_empty() {
            let tokens = best.tokens[..best.tokens.len().min(MAX_CAPTION_TOKENS)].to_vec();
            Some(self.remember(&encoding, &text, tokens, false, thumbnail.clone())?)
        } else {
            None
        };
        let id = self.next_id;
        self.next_id += 1;
        if self.recent.len() == NUM_RECENT {
            self.recent.pop_front();
        }
        self.recent.push_back(Recent { id, encoding, thumbnail });
        ms.memory += (self.now)() - start;
        ms.total = ms.decode + ms.vision + ms.memory + ms.text;
        let recalled = recalled.into_iter().map(|slot| slot.recalled).collect();
        let (tokens, confidence) = (best.tokens.len(), best.confidence());
        Ok(Caption { id, text, tokens, confidence, tags, recalled, slot, attention, ms })
    }

    /// Runs `begin`, every `step` and `finish`.
    pub fn caption(&mut self, photo: &[u8], options: &CaptionOptions) -> Result<Caption, Error> {
        let mut generation = self.begin(photo, options)?;
        while self.step(&mut generation)? {}
        self.finish(generation)
    }

    /// Name, hash, configuration and origin of the loaded model.
    pub fn info(&self) -> ModelInfo {
        let trained = &self.metadata["trained"];
        ModelInfo {
            name: model_name(&self.sha256),
            sha256: self.sha256.clone(),
            config: self.config.clone(),
            commit: self.metadata["commit"].clone(),
            trained: serde_json::from_str(trained).unwrap_or_else(|_| trained.as_str().into()),
            version: env!("CARGO_PKG_VERSION"),
            kernels: crate::kernels::active().name,
        }
    }

    /// Checks the options and returns the hint's tokens.
    fn check(&self, options: &CaptionOptions) -> Result<Vec<u32>, Error> {
        if !(1..=MAX_BEAMS).contains(&options.beams) {
            let found = options.beams;
            return Err(Error::Option(format!("beams is {found}, expected 1 to {MAX_BEAMS}")));
        }
        let hint = self.encoded(&options.hint)?;
        if hint.len() > MAX_HINT_TOKENS {
            let found = hint.len();
            return Err(Error::Option(format!(
                "hint has {found} tokens, at most {MAX_HINT_TOKENS}"
            )));
        }
        Ok(hint)
    }

    fn begin_at(
        &self,
        start: f64,
        photo: &RgbImage,
        hint: &[u32],
        options: &CaptionOptions,
    ) -> Result<Generation, Error> {
        let pixels = preprocess::to_pixels(photo, self.config.stem.input_size);
        let thumbnail = memory::thumbnail(photo);
        let decoded_at = (self.now)();
        let convolved = self.stem.forward(&pixels);
        let tags = self.tags(&convolved);
        let features = self.scaled(&convolved);
        let convolved_at = (self.now)();
        let encoded = self.model.encode_photo(&features)?;
        let encoded_at = (self.now)();
        let fused = self.model.fuse(&encoded, &hint_prompt(hint))?;
        let fused_at = (self.now)();
        let key = self.model.photo_key(&features)?;
        let signature = Signature::of(&pixels, self.config.stem.input_size);
        let recall = if options.recall {
            self.memory.read(&key, Some(&signature), &self.read_parameters)
        } else {
            Recall::nothing(&self.read_parameters)
        };
        let recalled = self.recalled(&recall);
        let read_at = (self.now)();
        let captions: Vec<RecalledCaption> = recalled.iter().map(RecalledSlot::caption).collect();
        let state = self.model.prefill(&fused, &captions, &recall.context)?;
        let prefilled_at = (self.now)();
        let start_token = options.length.start_token();
        let copies = if options.repeat { copies(&recalled) } else { Vec::new() };
        let hint_bonus = HintBonus::from_hint(&self.tokenizer, &options.hint)?;
        let encoding = PhotoEncoding { key, signature, episode: fused.episode.clone() };
        let observer = options.attention.then(|| attention::Observer {
            photo: fused,
            state: state.clone(),
            start_token,
        });
        Ok(Generation {
            search: BeamSearch::new(state, start_token, options.beams)
                .with_copies(copies)
                .with_hint(hint_bonus),
            encoding,
            observer,
            recall,
            recalled,
            thumbnail,
            tags,
            capitals: Capitals::of(&options.hint),
            remember: options.remember,
            count_recalls: options.count_recalls,
            ms: Timings {
                decode: decoded_at - start,
                vision: encoded_at - decoded_at,
                stem: convolved_at - decoded_at,
                memory: read_at - fused_at,
                text: fused_at - encoded_at + prefilled_at - read_at,
                fusion: fused_at - encoded_at,
                prefill: prefilled_at - read_at,
                total: 0.0,
            },
        })
    }

    /// What the model recognizes, given the stem's output; `None` without a tag head.
    fn tags(&self, convolved: &[i8]) -> Option<Vec<Tag>> {
        let head = self.tag_head.as_ref()?;
        let deep = self.stem.deep_features(convolved);
        let deep = deep.expect("a model with a tag head has a stem extension");
        Some(head.tags(&deep.pooled, SMALLEST_TAG))
    }

    /// The stem's output as numbers, `[patches * channels]`.
    fn scaled(&self, convolved: &[i8]) -> Vec<f32> {
        pipeline::features(convolved, self.stem.output_scale())
    }

    /// The tokens of a user's text, normalized like the training captions.
    fn encoded(&self, text: &str) -> Result<Vec<u32>, Error> {
        let text = text.to_lowercase().split_whitespace().collect::<Vec<_>>().join(" ");
        let text = text.trim_end_matches(['.', ' ']);
        if text.is_empty() {
            return Ok(Vec::new());
        }
        let encoding = self.tokenizer.encode(text, false).map_err(tokenizer_error)?;
        Ok(encoding.get_ids().to_vec())
    }

    fn decoded(&self, tokens: &[u32]) -> Result<String, Error> {
        let text = self.tokenizer.decode(tokens, true).map_err(tokenizer_error)?;
        // The bytes of a character may be spread over several tokens, of which the last are missing.
        Ok(text.trim_end_matches(char::REPLACEMENT_CHARACTER).to_owned())
    }
}

impl FromStr for Length {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        match name {
            "short" => Ok(Self::Short),
            "medium" => Ok(Self::Medium),
            "long" => Ok(Self::Long),
            _ => Err(Error::Option(format!("length is {name}, expected short, medium or long"))),
        }
    }
}

/// The clock in whole milliseconds.
fn millis(now: Clock) -> u64 {
    #[allow(clippy::cast_possible_truncation, reason = "a float cast to an integer saturates")]
    #[allow(clippy::cast_sign_loss, reason = "a float cast to an integer saturates")]
    let millis = now() as u64;
    millis
}

#[cfg(test)]
mod tests;
