//! Where a command finds its data, and what it reads there.

use std::path::{Path, PathBuf};

use tokenizers::Tokenizer;

use crate::checkpoint::sha256;
use crate::config::Config;
use crate::stem::Stem;
use crate::train::data::archive::CAPTION_TEXTS;
use crate::train::data::photo_set::{Photo, PhotoSet, Role, Split};
use crate::train::data::sample::Sample;
use crate::train::data::samples::load;
use crate::train::data::view::View;
use crate::train::teacher::{stem_cache, Teacher, TeacherError, TeacherSource};

type AnyError = Box<dyn std::error::Error>;

/// Texts about photos; CommonGen's sentences are about words.
pub(crate) const OF_PHOTOS: &[&str] = CAPTION_TEXTS.split_at(2).0;

/// Where a stage finds what it needs, and what it starts from.
#[derive(Debug, Clone)]
pub struct Inputs {
    /// Photos, captions, teacher weights.
    pub data: PathBuf,
    /// Checkpoints and caches.
    pub out: PathBuf,
    /// tokenizer.json.
    pub tokenizer: PathBuf,
    /// A shipped model whose ternary weights are a start.
    pub init: Option<PathBuf>,
    /// Checkpoints of earlier stages whose weights are a start, later ones over earlier ones.
    pub from: Vec<PathBuf>,
    /// Whom the vision encoder learns from: Lite2 if none is named in its own stage, nobody in others.
    pub teachers: Vec<TeacherSource>,
    /// A sentence encoder's files: the vision encoder then also learns what captions mean.
    pub sentences: Option<PathBuf>,
    /// The sentences that a model chose for photos with labels.
    pub label_captions: Option<PathBuf>,
}

impl Inputs {
    pub(crate) fn checkpoint(&self, stage: &str) -> PathBuf {
        self.out.join(format!("{stage}.safetensors"))
    }

    /// The teachers, Lite2 if none is named.
    pub(crate) fn loaded_teachers(&self, config: &Config) -> Result<Vec<Teacher>, TeacherError> {
        let lite2 = [TeacherSource::Lite2];
        let named = if self.teachers.is_empty() { &lite2[..] } else { &self.teachers };
        let size = config.stem.input_size;
        named.iter().map(|source| Teacher::load(source, &self.data, size)).collect()
    }

    pub(crate) fn stem(&self, config: &Config) -> Result<Stem, AnyError> {
        stem_cache::stem(&self.data, &self.out, &config.stem)
    }

    pub(crate) fn samples(
        &self,
        stem: &Stem,
        role: Role,
        views: &[View],
        tokenizer: &Tokenizer,
    ) -> Result<Vec<(Photo, Sample)>, AnyError> {
        let mut samples = Vec::new();
        for set in PhotoSet::of_role(role) {
            let split = (set, Split::Train);
            samples.extend(load(&self.data, &self.out, stem, split, views, tokenizer)?);
        }
        samples.retain(|(_, sample)| !sample.captions.is_empty());
        Ok(samples)
    }
}

/// Reads the tokenizer and its SHA-256.
pub fn read_tokenizer(file: &Path) -> Result<(Tokenizer, String), AnyError> {
    let bytes = std::fs::read(file)?;
    Ok((crate::tokenizer::read_tokenizer(&bytes)?, sha256(&bytes)))
}
