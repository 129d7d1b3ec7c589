//! The paths that a training command reads and writes, and functions that load from them.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use tokenizers::Tokenizer;

use crate::checkpoint::sha256;
use crate::config::Config;
use crate::stem::Stem;
use crate::train::data::archive::CAPTION_TEXTS;
use crate::train::data::photo_set::{Photo, PhotoSet, Role, Split};
use crate::train::data::photo_tags::PhotoTags;
use crate::train::data::sample::Sample;
use crate::train::data::samples::load;
use crate::train::data::view::View;
use crate::train::files;
use crate::train::teacher::{stem_cache, Teacher, TeacherError, TeacherSource};

/// The caption texts that describe photos; CommonGen's sentences were written for given words.
pub(crate) const PHOTO_CAPTION_TEXTS: &[&str] = CAPTION_TEXTS.split_at(2).0;

/// Number of dev photos of Flickr8k on which a run is measured.
const FLICKR8K_DEV_PHOTOS: usize = 300;

/// The files and folders of a command.
#[derive(Debug, Clone)]
pub struct Inputs {
    /// Data folder: photos, captions and teacher weights.
    pub data: PathBuf,
    /// Folder for checkpoints and caches.
    pub out: PathBuf,
    /// The tokenizer file, `tokenizer.json`.
    pub tokenizer: PathBuf,
    /// A model file whose ternary weights initialize training.
    pub init: Option<PathBuf>,
    /// Checkpoints of earlier stages that initialize training; of a tensor in several of them, the
    /// last one counts.
    pub from: Vec<PathBuf>,
    /// The teachers of the vision encoder. If empty, the vision stage uses EfficientNet-Lite2 and
    /// the other stages use no teacher.
    pub teachers: Vec<TeacherSource>,
    /// Folder of a sentence encoder. If set, the vision encoder also learns to predict the sentence
    /// embeddings of captions.
    pub sentences: Option<PathBuf>,
    /// File of label captions that a model chose
    /// ([`ChosenCaptions`](crate::train::data::chosen_captions::ChosenCaptions)).
    pub label_captions: Option<PathBuf>,
    /// Folder with the tags of the photos, one file a set
    /// ([`PhotoTags`](crate::train::data::photo_tags::PhotoTags)). Without it photos have none.
    pub tags: Option<PathBuf>,
}

impl Inputs {
    /// Creates the folder for checkpoints and caches, unless it exists.
    pub(crate) fn create_out(&self) -> Result<()> {
        std::fs::create_dir_all(&self.out)
            .with_context(|| format!("cannot create {}", self.out.display()))
    }

    /// The checkpoint file of a stage.
    pub(crate) fn checkpoint(&self, stage: &str) -> PathBuf {
        self.out.join(format!("{stage}.safetensors"))
    }

    /// Loads the teachers, or EfficientNet-Lite2 if none is named.
    pub(crate) fn loaded_teachers(&self, config: &Config) -> Result<Vec<Teacher>, TeacherError> {
        let lite2 = [TeacherSource::Lite2];
        let named = if self.teachers.is_empty() { &lite2[..] } else { &self.teachers };
        let size = config.stem.input_size;
        named.iter().map(|source| Teacher::load(source, &self.data, size)).collect()
    }

    /// Loads the stem, with an extension if `config` has one, from its cache in the output folder,
    /// or builds it from its source.
    pub(crate) fn stem(&self, config: &Config) -> Result<Stem> {
        let stem = stem_cache::stem(&self.data, &self.out, &config.stem)?;
        if config.has_stem_extension {
            return stem_cache::extended_stem(&self.data, &self.out, stem);
        }
        Ok(stem)
    }

    /// Loads the photos of one set and split, with the tags in [`Self::tags`].
    pub(crate) fn load(
        &self,
        stem: &Stem,
        (set, split): (&'static PhotoSet, Split),
        views: &[View],
        tokenizer: &Tokenizer,
    ) -> anyhow::Result<Vec<(Photo, Sample)>> {
        let mut samples = load(&self.data, &self.out, stem, (set, split), views, tokenizer)?;
        if let Some(folder) = &self.tags {
            PhotoTags::read(folder, set, tokenizer)?.add_to(&mut samples);
        }
        Ok(samples)
    }

    /// Loads the training photos of all sets of `role`, without those that have no caption.
    pub(crate) fn samples(
        &self,
        stem: &Stem,
        role: Role,
        views: &[View],
        tokenizer: &Tokenizer,
    ) -> Result<Vec<(Photo, Sample)>> {
        let mut samples = Vec::new();
        for set in PhotoSet::of_role(role) {
            let split = (set, Split::Train);
            samples.extend(self.load(stem, split, views, tokenizer)?);
        }
        samples.retain(|(_, sample)| !sample.captions.is_empty());
        Ok(samples)
    }

    /// Loads the first 300 dev photos of Flickr8k, which are never trained on, in their original
    /// view.
    pub(crate) fn flickr8k_dev(
        &self,
        stem: &Stem,
        tokenizer: &Tokenizer,
    ) -> Result<Vec<(Photo, Sample)>> {
        let split = (PhotoSet::flickr8k(), Split::Dev);
        let mut samples = self.load(stem, split, &[View::Original], tokenizer)?;
        samples.truncate(FLICKR8K_DEV_PHOTOS);
        Ok(samples)
    }

    /// Loads the photos of [`Self::flickr8k_dev`], then those of the dev sets, without those that
    /// have no caption.
    pub(crate) fn dev_samples(&self, stem: &Stem, tokenizer: &Tokenizer) -> Result<Vec<Sample>> {
        let mut samples = self.flickr8k_dev(stem, tokenizer)?;
        for set in PhotoSet::of_role(Role::Dev) {
            let split = (set, Split::Dev);
            samples.extend(self.load(stem, split, &[View::Original], tokenizer)?);
        }
        samples.retain(|(_, sample)| !sample.captions.is_empty());
        Ok(samples.into_iter().map(|(_, sample)| sample).collect())
    }
}

/// Reads a tokenizer; also returns the SHA-256 of its file in hexadecimal.
///
/// # Errors
///
/// If the file cannot be read or is not a tokenizer of this crate.
pub fn read_tokenizer(file: &Path) -> Result<(Tokenizer, String)> {
    let bytes = files::read(file)?;
    let tokenizer = crate::tokenizer::read_tokenizer(&bytes);
    Ok((tokenizer.with_context(|| file.display().to_string())?, sha256(&bytes)))
}
