//! What the user can do with the memory: correct, list, delete, undo, export and import.

use std::collections::VecDeque;

use image::codecs::jpeg::JpegEncoder;
use image::RgbImage;

use super::{millis, tokenizer_error, Captioner, Generation, PhotoEncoding};
use crate::error::Error;
use crate::memory::{
    Change, Episode, EpisodicMemory, ForeignMemory, MemoryError, Origin, Signature, SlotIndex,
    SlotRecord, Snapshot, MAX_CAPTION_TOKENS, MAX_CORRECTION_CHARS,
};
use crate::preprocess;

/// Number of changes that can be undone.
const NUM_UNDO: usize = 16;
/// Longest side of a thumbnail in pixels.
const THUMBNAIL_SIDE: u32 = 64;
/// At 64 pixels a JPEG of this quality has about 2 kB.
const THUMBNAIL_QUALITY: u8 = 70;

/// The migration of another model's memory to this model, photo by photo.
pub struct Migration {
    foreign: ForeignMemory,
    memory: EpisodicMemory,
    next: usize,
    left: usize,
}

impl Migration {
    /// Number of episodes to re-encode.
    pub fn total(&self) -> usize {
        self.foreign.len()
    }

    /// Number of episodes that could not be re-encoded, for lack of a usable thumbnail.
    pub fn left(&self) -> usize {
        self.left
    }
}

impl Captioner {
    /// Replaces the caption of a recent photo by the user's and remembers it as a correction.
    pub fn correct(&mut self, id: u64, text: &str) -> Result<SlotIndex, Error> {
        let recent = self.recent.iter().find(|recent| recent.id == id);
        let recent = recent.ok_or(MemoryError::NoSuchCaption { id })?;
        let (encoding, thumbnail) = (recent.encoding.clone(), recent.thumbnail.clone());
        self.teach_encoding(&encoding, text, thumbnail)
    }

    /// Remembers the user's caption of a photo, without generating one.
    pub fn teach(&mut self, photo: &[u8], text: &str) -> Result<SlotIndex, Error> {
        let photo = preprocess::decode(photo)?;
        let encoding = self.encode(&photo)?;
        self.teach_encoding(&encoding, text, thumbnail(&photo))
    }

    /// Ends a generation with the user's caption instead of the model's.
    pub fn finish_with(&mut self, generation: Generation, text: &str) -> Result<SlotIndex, Error> {
        let Generation { encoding, thumbnail, .. } = generation;
        self.teach_encoding(&encoding, text, thumbnail)
    }

    /// Gives a remembered photo another caption. The photo itself is gone, so the new value is
    /// computed from its thumbnail; the key stays as it was.
    pub fn correct_memory(&mut self, slot: SlotIndex, text: &str) -> Result<(), Error> {
        let record = self.memory.get(slot).ok_or(MemoryError::NoSuchSlot { slot })?.clone();
        let text = correction(text)?;
        let tokens = self.caption_tokens(text)?;
        let encoding = self.reencode(&record.thumbnail)?;
        let value = self.model.episode_value(&encoding.episode, &tokens)?;
        let (caption, written_at) = (text.to_owned(), millis(self.now));
        let record = SlotRecord { caption, tokens, corrected: true, written_at, ..record };
        self.with_undo(|captioner| Ok(captioner.memory.revise(slot, &value, record)?))
    }

    /// The memory.
    pub fn memory(&self) -> &EpisodicMemory {
        &self.memory
    }

    /// The memory as a snapshot.
    pub fn export_memory(&self) -> Vec<u8> {
        Snapshot::write(&self.memory, self.origin())
    }

    /// Replaces the memory by a snapshot's. If the snapshot is refused, the memory stays as it is.
    pub fn import_memory(&mut self, snapshot: &[u8]) -> Result<(), Error> {
        let memory = self.read_snapshot(snapshot)?;
        self.with_undo(|captioner| {
            captioner.memory = memory;
            Ok(())
        })
    }

    /// Adds a snapshot's episodes to the memory.
    pub fn merge_memory(&mut self, snapshot: &[u8]) -> Result<(), Error> {
        let memory = self.read_snapshot(snapshot)?;
        self.with_undo(|captioner| {
            captioner.memory.merge(memory);
            Ok(())
        })
    }

    /// Loads the snapshot that this session or another one stored. This is not a change to undo.
    pub fn reload_memory(&mut self, snapshot: &[u8]) -> Result<(), Error> {
        self.memory = self.read_snapshot(snapshot)?;
        Ok(())
    }

    /// Deletes one episode.
    pub fn delete_memory(&mut self, slot: SlotIndex) -> Result<(), Error> {
        self.with_undo(|captioner| Ok(captioner.memory.delete(slot)?))
    }

    /// Deletes every episode, and the recent captions, too.
    pub fn clear_memory(&mut self) {
        let cleared = self.with_undo(|captioner| {
            captioner.memory.clear();
            Ok(())
        });
        cleared.expect("clearing cannot fail");
        self.recent.clear();
    }

    /// Undoes the latest correction, deletion, clearing or import; returns whether there was one.
    pub fn undo_memory(&mut self) -> bool {
        let Some(change) = self.changes.pop_back() else { return false };
        self.memory.undo(change);
        true
    }

    /// Whether a snapshot was written by this model.
    pub fn is_own_memory(&self, snapshot: &[u8]) -> Result<bool, Error> {
        Ok(Snapshot::model_sha256(snapshot)? == self.sha256)
    }

    /// Starts to re-encode a snapshot of another model from its thumbnails and captions: of the
    /// photos themselves only the keys are left, which are kept if this model makes the same keys.
    /// The memory in use stays as it is.
    pub fn begin_migration(&self, snapshot: &[u8]) -> Result<Migration, Error> {
        let foreign = Snapshot::read_foreign(snapshot)?;
        let memory = EpisodicMemory::new(self.memory.num_slots(), self.memory.width());
        Ok(Migration { foreign, memory, next: 0, left: 0 })
    }

    /// Re-encodes the next episode; returns whether there was one.
    pub fn migrate_next(&self, migration: &mut Migration) -> Result<bool, Error> {
        let index = migration.next;
        if index == migration.foreign.len() {
            return Ok(false);
        }
        migration.next += 1;
        match self.reencode_record(migration.foreign.record(index)) {
            Ok(episode) => {
                let Migration { foreign, memory, .. } = migration;
                memory.insert_migrated(foreign, index, episode, &self.keys_sha256)?;
            }
            Err(Error::Photo(_) | Error::Memory(_)) => migration.left += 1,
            Err(error) => return Err(error),
        }
        Ok(true)
    }

    /// The episodes re-encoded so far, as a snapshot of this model.
    pub fn migrated_memory(&self, migration: &Migration) -> Vec<u8> {
        Snapshot::write(&migration.memory, self.origin())
    }

    pub(super) fn remember(
        &mut self,
        encoding: &PhotoEncoding,
        text: &str,
        tokens: Vec<u32>,
        corrected: bool,
        thumbnail: Vec<u8>,
    ) -> Result<SlotIndex, Error> {
        let PhotoEncoding { key, signature, .. } = encoding.clone();
        let value = self.model.episode_value(&encoding.episode, &tokens)?;
        let (caption, written_at) = (text.to_owned(), millis(self.now));
        let record = SlotRecord { caption, tokens, corrected, written_at, thumbnail };
        Ok(self.memory.write(Episode { key, signature: Some(signature), value, record })?)
    }

    fn teach_encoding(
        &mut self,
        encoding: &PhotoEncoding,
        text: &str,
        thumbnail: Vec<u8>,
    ) -> Result<SlotIndex, Error> {
        let text = correction(text)?;
        let tokens = self.caption_tokens(text)?;
        self.with_undo(|captioner| captioner.remember(encoding, text, tokens, true, thumbnail))
    }

    /// The tokens that stand for a remembered caption: as many as a slot keeps, at least one.
    fn caption_tokens(&self, caption: &str) -> Result<Vec<u32>, Error> {
        let mut tokens = self.encoded(caption)?;
        if tokens.is_empty() {
            // All of it is punctuation that ends a sentence.
            let encoding = self.tokenizer.encode(caption, false).map_err(tokenizer_error)?;
            tokens.extend(encoding.get_ids());
        }
        tokens.truncate(MAX_CAPTION_TOKENS);
        Ok(tokens)
    }

    /// Re-encodes the record of another model's episode.
    fn reencode_record(&self, record: &SlotRecord) -> Result<Episode, Error> {
        let PhotoEncoding { key, signature, episode } = self.reencode(&record.thumbnail)?;
        let tokens = self.caption_tokens(&record.caption)?;
        let value = self.model.episode_value(&episode, &tokens)?;
        let record = SlotRecord { tokens, ..record.clone() };
        Ok(Episode { key, signature: Some(signature), value, record })
    }

    /// Encodes a photo of which only the thumbnail is left.
    fn reencode(&self, thumbnail: &[u8]) -> Result<PhotoEncoding, Error> {
        self.encode(&preprocess::decode(thumbnail)?)
    }

    /// Encodes a photo, without a caption.
    fn encode(&self, photo: &RgbImage) -> Result<PhotoEncoding, Error> {
        let pixels = preprocess::to_pixels(photo, self.config.stem.input_size);
        let features = self.scaled(&self.stem.forward(&pixels));
        let key = self.model.photo_key(&features)?;
        let signature = Signature::of(&pixels, self.config.stem.input_size);
        let episode = self.model.fuse_features(&features, &[])?.episode;
        Ok(PhotoEncoding { key, signature, episode })
    }

    pub(crate) fn origin(&self) -> Origin<'_> {
        Origin { model_sha256: &self.sha256, keys_sha256: &self.keys_sha256 }
    }

    fn read_snapshot(&self, snapshot: &[u8]) -> Result<EpisodicMemory, Error> {
        let mut memory = Snapshot::read(snapshot, self.origin(), &self.config)?;
        // Before version 4 snapshots had none; a slot whose thumbnail is of no use keeps none.
        memory.sign(|record| {
            let photo = preprocess::decode(&record.thumbnail).ok()?;
            let size = self.config.stem.input_size;
            Some(Signature::of(&preprocess::to_pixels(&photo, size), size))
        });
        Ok(memory)
    }

    /// Changes the memory in a way that can be undone.
    fn with_undo<T>(
        &mut self,
        change: impl FnOnce(&mut Self) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let before = self.memory.clone();
        let result = change(self)?;
        if self.changes.len() == NUM_UNDO {
            self.changes.pop_front();
        }
        self.changes.push_back(Change::between(&before, &self.memory));
        Ok(result)
    }
}

/// A correction without the white space around it. Any text of 1 to [`MAX_CORRECTION_CHARS`] code
/// points on one line is one.
fn correction(text: &str) -> Result<&str, Error> {
    let text = text.trim();
    let found = text.chars().count();
    if found == 0 {
        return Err(MemoryError::EmptyCaption.into());
    }
    if found > MAX_CORRECTION_CHARS {
        return Err(MemoryError::CaptionTooLong { found, limit: MAX_CORRECTION_CHARS }.into());
    }
    if text.contains(|c: char| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}')) {
        let message = "the caption has a line break or another control character";
        return Err(Error::Option(message.into()));
    }
    Ok(text)
}

/// Changes that can be undone, the latest last.
pub(super) type Changes = VecDeque<Change>;

/// A JPEG of the photo, its longest side [`THUMBNAIL_SIDE`] pixels.
pub(super) fn thumbnail(photo: &RgbImage) -> Vec<u8> {
    let longest = photo.width().max(photo.height());
    let side = |length: u32| {
        let scaled = u64::from(length) * u64::from(THUMBNAIL_SIDE) / u64::from(longest);
        u32::try_from(scaled.max(1)).expect("no side is longer than the longest")
    };
    let small = if longest > THUMBNAIL_SIDE {
        &image::imageops::thumbnail(photo, side(photo.width()), side(photo.height()))
    } else {
        photo
    };
    let mut jpeg = Vec::new();
    let encoder = JpegEncoder::new_with_quality(&mut jpeg, THUMBNAIL_QUALITY);
    small.write_with_encoder(encoder).expect("a small RGB image has a JPEG form");
    jpeg
}
