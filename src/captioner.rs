//! Photo bytes to a caption: the public interface, natively and in the browser.
//!
//! ```text
//! begin:  decode -> stem -> vision -> fusion -> memory READ -> prefill
//! step:   one token more for every beam
//! finish: memory WRITE -> Caption
//! ```
//! Nothing is remembered of a [`Generation`] that is dropped before `finish`.

use std::collections::{BTreeMap, VecDeque};
use std::str::FromStr;

use image::codecs::jpeg::JpegEncoder;
use image::RgbImage;
use serde::Serialize;
use tokenizers::Tokenizer;

use crate::checkpoint::{sha256, LoadedModel, ModelFile};
use crate::config::Config;
use crate::decoder::DecoderState;
use crate::error::Error;
use crate::generate::{BeamSearch, Length, DEFAULT_BEAMS, FIRST_TEXT_TOKEN, MAX_BEAMS};
use crate::memory::{
    Episode, EpisodicMemory, MemoryError, ReadParameters, Recall, RecalledCaption, SlotIndex,
    SlotRecord, Snapshot, MAX_CAPTION_TOKENS,
};
use crate::model::{special, BitMar};
use crate::preprocess;
use crate::stem::Stem;

/// Captions that can still be corrected.
const NUM_RECENT: usize = 64;
/// Most tokens of a hint: two sentences. Every one lengthens the prefix that each step attends to.
const MAX_HINT_TOKENS: usize = 64;
/// Longest side of a thumbnail in pixels.
const THUMBNAIL_SIDE: u32 = 64;
/// At 64 pixels a JPEG of this quality has about 2 kB.
const THUMBNAIL_QUALITY: u8 = 70;

/// A clock: milliseconds since 1970, with their fractions.
pub type Clock = fn() -> f64;

/// The model, its tokenizer and its memory.
pub struct Captioner {
    model: BitMar,
    stem: Stem,
    config: Config,
    sha256: String,
    metadata: BTreeMap<String, String>,
    tokenizer: Tokenizer,
    read_parameters: ReadParameters,
    memory: EpisodicMemory,
    recent: VecDeque<Recent>,
    next_id: u64,
    now: Clock,
}

/// What it takes to correct a caption.
struct Recent {
    id: u64,
    seen: Seen,
    thumbnail: Vec<u8>,
}

/// What the memory wants to know of a photo.
#[derive(Clone)]
struct Seen {
    /// What it is found by, unit length, `[C]`.
    key: Vec<f32>,
    /// The episode e, `[C]`.
    episode: Vec<f32>,
}

/// What a caption should be like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CaptionOptions {
    /// How much to say.
    pub length: Length,
    /// What the photo is known to show, such as "my dog Rex"; maybe empty.
    pub hint: String,
    /// Candidates the search keeps, 1 to 8.
    pub beams: usize,
    /// Whether the memory may keep the caption.
    pub remember: bool,
}

impl Default for CaptionOptions {
    fn default() -> Self {
        Self {
            length: Length::default(),
            hint: String::new(),
            beams: DEFAULT_BEAMS,
            remember: true,
        }
    }
}

/// A caption being written.
pub struct Generation {
    search: BeamSearch<DecoderState>,
    seen: Seen,
    recall: Recall,
    recalled: Vec<(Recalled, Vec<u32>)>,
    thumbnail: Vec<u8>,
    remember: bool,
    ms: Timings,
}

impl Generation {
    /// Remembered captions that the text leans on, best first.
    pub fn recalled(&self) -> impl Iterator<Item = &Recalled> {
        self.recalled.iter().map(|(recalled, _)| recalled)
    }
}

/// A finished caption.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Caption {
    /// Names this caption for [`Captioner::correct`].
    pub id: u64,
    /// What the photo shows.
    pub text: String,
    /// How many tokens the text has.
    pub tokens: usize,
    /// Geometric mean of the tokens' probabilities, 0 to 1.
    pub confidence: f32,
    /// Remembered captions that this one leaned on, best first.
    pub recalled: Vec<Recalled>,
    /// Where the time went.
    pub ms: Timings,
}

/// A remembered caption.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Recalled {
    /// Its slot of the memory.
    pub slot: SlotIndex,
    /// Its share of what was recalled, 0 to 1.
    pub weight: f32,
    /// The caption.
    pub text: String,
    /// Whether the user wrote it.
    pub corrected: bool,
}

/// Milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct Timings {
    /// Photo file to pixels of the model's size.
    pub decode: f64,
    /// Stem and vision encoder.
    pub vision: f64,
    /// Reading and writing the memory.
    pub memory: f64,
    /// Fusion and decoder.
    pub text: f64,
    /// The sum of these.
    pub total: f64,
}

/// What is loaded.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ModelInfo {
    /// SHA-256 of the model file.
    pub sha256: String,
    /// The numbers that shape it.
    pub config: Config,
    /// Commit of the trainer.
    pub commit: String,
    /// How it was trained.
    pub trained: serde_json::Value,
    /// Version of this program.
    pub version: &'static str,
    /// The integer kernels in use.
    pub kernels: &'static str,
}

impl Captioner {
    /// Loads a model file and its tokenizer.json; the memory is empty.
    pub fn new(model: &[u8], tokenizer: &[u8], now: Clock) -> Result<Self, Error> {
        let loaded = ModelFile::read(model)?;
        // Before it is parsed: only the tokenizer of the training can be trusted to be one.
        let check = loaded.check_tokenizer(&sha256(tokenizer));
        check.map_err(|error| Error::Tokenizer(error.to_string()))?;
        let tokenizer = read_tokenizer(tokenizer, loaded.config.vocab_size)?;
        let LoadedModel { model, stem, config, sha256, metadata } = loaded;
        Ok(Self {
            read_parameters: model.read_parameters()?,
            memory: EpisodicMemory::new(config.memory.num_slots, config.memory.width),
            model,
            stem,
            config,
            sha256,
            metadata,
            tokenizer,
            recent: VecDeque::with_capacity(NUM_RECENT),
            next_id: 1,
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
        let has_more = generation.search.step(|states, tokens| self.model.step(states, tokens))?;
        generation.ms.text += (self.now)() - start;
        Ok(has_more)
    }

    /// The best text so far.
    pub fn text(&self, generation: &Generation) -> Result<String, Error> {
        let tokens = &generation.search.best().tokens;
        // Whoever was corrected wants their own words back, names and capitals included.
        let own = generation.recalled.iter().find(|(r, own)| r.corrected && own == tokens);
        match own {
            Some((recalled, _)) => Ok(recalled.text.clone()),
            None => Ok(capitalized(self.decoded(tokens)?.trim())),
        }
    }

    /// Ends a generation and remembers the caption.
    pub fn finish(&mut self, generation: Generation) -> Result<Caption, Error> {
        let start = (self.now)();
        let text = self.text(&generation)?;
        let Generation { search, seen, recall, recalled, thumbnail, remember, mut ms } =
            generation;
        let best = search.best();
        if remember && !text.is_empty() {
            self.memory.touch(&recall);
            let tokens = best.tokens[..best.tokens.len().min(MAX_CAPTION_TOKENS)].to_vec();
            self.remember(&seen, &text, tokens, false, thumbnail.clone())?;
        }
        let id = self.next_id;
        self.next_id += 1;
        if self.recent.len() == NUM_RECENT {
            self.recent.pop_front();
        }
        self.recent.push_back(Recent { id, seen, thumbnail });
        ms.memory += (self.now)() - start;
        ms.total = ms.decode + ms.vision + ms.memory + ms.text;
        let recalled = recalled.into_iter().map(|(recalled, _)| recalled).collect();
        let (tokens, confidence) = (best.tokens.len(), best.confidence());
        Ok(Caption { id, text, tokens, confidence, recalled, ms })
    }

    /// Begins, steps and finishes.
    pub fn caption(&mut self, photo: &[u8], options: &CaptionOptions) -> Result<Caption, Error> {
        let mut generation = self.begin(photo, options)?;
        while self.step(&mut generation)? {}
        self.finish(generation)
    }

    /// Teaches what the photo of a recent caption shows.
    pub fn correct(&mut self, id: u64, text: &str) -> Result<SlotIndex, Error> {
        let recent = self.recent.iter().find(|recent| recent.id == id);
        let recent = recent.ok_or(MemoryError::NoSuchCaption { id })?;
        let (seen, thumbnail) = (recent.seen.clone(), recent.thumbnail.clone());
        self.teach_seen(&seen, text, thumbnail)
    }

    /// Teaches what a photo shows, without captioning it.
    pub fn teach(&mut self, photo: &[u8], text: &str) -> Result<SlotIndex, Error> {
        let Generation { seen, thumbnail, .. } = self.begin(photo, &CaptionOptions::default())?;
        self.teach_seen(&seen, text, thumbnail)
    }

    /// What is remembered.
    pub fn memory(&self) -> &EpisodicMemory {
        &self.memory
    }

    /// The memory as bytes.
    pub fn export_memory(&self) -> Vec<u8> {
        Snapshot::write(&self.memory, &self.sha256)
    }

    /// Puts a snapshot in the memory's place. If it is refused, the memory stays as it is.
    pub fn import_memory(&mut self, snapshot: &[u8]) -> Result<(), Error> {
        self.memory = Snapshot::read(snapshot, &self.sha256, &self.config)?;
        Ok(())
    }

    /// Forgets one episode.
    pub fn delete_memory(&mut self, slot: SlotIndex) -> Result<(), Error> {
        Ok(self.memory.delete(slot)?)
    }

    /// Forgets everything, recent captions included.
    pub fn clear_memory(&mut self) {
        self.memory.clear();
        self.recent.clear();
    }

    /// What is loaded.
    pub fn info(&self) -> ModelInfo {
        let trained = &self.metadata["trained"];
        ModelInfo {
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
        let thumbnail = thumbnail(photo);
        let decoded = (self.now)();
        let features = self.features(&pixels);
        let encoded = self.model.encode_photo(&features)?;
        let encoded_at = (self.now)();
        let fused = self.model.fuse(&encoded, hint)?;
        let understood = (self.now)();
        let key = self.model.photo_key(&features)?;
        let recall = self.memory.read(&key, &self.read_parameters);
        let recalled = self.recalled(&recall);
        let remembered = (self.now)();
        let lent: Vec<RecalledCaption> = recalled.iter().map(lent).collect();
        let state = self.model.prefill(&fused, &lent, &recall.context)?;
        let prefilled = (self.now)();
        Ok(Generation {
            search: BeamSearch::new(state, options.length.start_token(), options.beams),
            seen: Seen { key, episode: fused.episode },
            recall,
            recalled,
            thumbnail,
            remember: options.remember,
            ms: Timings {
                decode: decoded - start,
                vision: encoded_at - decoded,
                memory: remembered - understood,
                text: understood - encoded_at + prefilled - remembered,
                total: 0.0,
            },
        })
    }

    /// The stem's features of one photo's pixels, `[patches * channels]`.
    fn features(&self, pixels: &[u8]) -> Vec<f32> {
        let scale = self.stem.output_scale();
        self.stem.forward(pixels).into_iter().map(|value| f32::from(value) * scale).collect()
    }

    /// The recalled captions with their tokens.
    fn recalled(&self, recall: &Recall) -> Vec<(Recalled, Vec<u32>)> {
        let recalled = recall.weights.iter().filter_map(|&(slot, weight)| {
            let SlotRecord { caption, tokens, corrected, .. } = self.memory.get(slot)?.clone();
            Some((Recalled { slot, weight, text: caption, corrected }, tokens))
        });
        recalled.collect()
    }

    fn teach_seen(
        &mut self,
        seen: &Seen,
        text: &str,
        thumbnail: Vec<u8>,
    ) -> Result<SlotIndex, Error> {
        let tokens = self.encoded(text)?;
        if tokens.is_empty() {
            return Err(MemoryError::EmptyCaption.into());
        }
        if tokens.len() > MAX_CAPTION_TOKENS {
            let (found, limit) = (tokens.len(), MAX_CAPTION_TOKENS);
            return Err(MemoryError::CaptionTooLong { found, limit }.into());
        }
        self.remember(seen, text.trim(), tokens, true, thumbnail)
    }

    fn remember(
        &mut self,
        seen: &Seen,
        text: &str,
        tokens: Vec<u32>,
        corrected: bool,
        thumbnail: Vec<u8>,
    ) -> Result<SlotIndex, Error> {
        #[allow(clippy::cast_possible_truncation, reason = "a float cast to an integer saturates")]
        #[allow(clippy::cast_sign_loss, reason = "a float cast to an integer saturates")]
        let written_at = (self.now)() as u64;
        let key = seen.key.clone();
        let value = self.model.episode_value(&seen.episode, &tokens)?;
        let record =
            SlotRecord { caption: text.to_owned(), tokens, corrected, written_at, thumbnail };
        Ok(self.memory.write(Episode { key, value, record })?)
    }

    /// The tokens of a user's words, written the way the training captions are.
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
        self.tokenizer.decode(tokens, true).map_err(tokenizer_error)
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

/// Reads a tokenizer.json whose control tokens are where the model expects them.
fn read_tokenizer(json: &[u8], vocab_size: usize) -> Result<Tokenizer, Error> {
    let mut tokenizer = Tokenizer::from_bytes(json).map_err(tokenizer_error)?;
    // The file cannot say that "<eos>" written by a user is text, so it is said here.
    tokenizer.set_encode_special_tokens(true);
    let control = [
        ("<eos>", special::EOS),
        ("<short>", Length::Short.start_token()),
        ("<medium>", Length::Medium.start_token()),
        ("<long>", Length::Long.start_token()),
        ("<recalled>", special::RECALLED),
        ("<corrected>", special::CORRECTED),
        ("<hint>", special::HINT),
        ("<reserved15>", FIRST_TEXT_TOKEN - 1),
    ];
    for (token, id) in control {
        if tokenizer.token_to_id(token) != Some(id) {
            return Err(Error::Tokenizer(format!("expected {token} at id {id}")));
        }
    }
    match tokenizer.get_vocab(true).into_values().max() {
        Some(largest) if (largest as usize) < vocab_size => Ok(tokenizer),
        largest => Err(Error::Tokenizer(format!(
            "expected at most {vocab_size} tokens, found id {}",
            largest.unwrap_or_default()
        ))),
    }
}

fn tokenizer_error(error: tokenizers::Error) -> Error {
    Error::Tokenizer(error.to_string())
}

fn lent((recalled, tokens): &(Recalled, Vec<u32>)) -> RecalledCaption {
    RecalledCaption { tokens: tokens.clone(), corrected: recalled.corrected }
}

fn capitalized(text: &str) -> String {
    let mut rest = text.chars();
    match rest.next() {
        Some(first) => first.to_uppercase().chain(rest).collect(),
        None => String::new(),
    }
}

/// A JPEG of the photo, its longest side [`THUMBNAIL_SIDE`] pixels.
fn thumbnail(photo: &RgbImage) -> Vec<u8> {
    let longest = photo.width().max(photo.height());
    let side = |length: u32| {
        let scaled = u64::from(length) * u64::from(THUMBNAIL_SIDE) / u64::from(longest);
        u32::try_from(scaled.max(1)).expect("no side is longer than the longest")
    };
    let small = match longest > THUMBNAIL_SIDE {
        true => &image::imageops::thumbnail(photo, side(photo.width()), side(photo.height())),
        false => photo,
    };
    let mut jpeg = Vec::new();
    let encoder = JpegEncoder::new_with_quality(&mut jpeg, THUMBNAIL_QUALITY);
    small.write_with_encoder(encoder).expect("a small RGB image has a JPEG form");
    jpeg
}

#[cfg(test)]
mod tests;
