//! Tags of photos in files: one a set, one JSON object a line, as `eval --list` and
//! `bitmar caption --json` print them.

use std::collections::HashMap;
use std::path::Path;

use anyhow::{Context, Result};
use serde::Deserialize;
use tokenizers::Tokenizer;

use crate::control_tokens::Evidence;
use crate::train::data::photo_set::{Photo, PhotoSet};
use crate::train::data::sample::Sample;
use crate::train::files;
use crate::train::text::encode::encode;

/// The tags of the photos of one set.
#[derive(Debug, Default)]
pub struct PhotoTags(HashMap<String, Vec<Evidence>>);

#[derive(Deserialize)]
struct Line {
    photo: String,
    tags: Vec<Tag>,
}

#[derive(Deserialize)]
struct Tag {
    name: String,
    probability: f32,
}

impl PhotoTags {
    /// Reads the tags of `set` from `SET.jsonl` in `folder`.
    ///
    /// # Errors
    ///
    /// If the file cannot be read or a line is not `{"photo", "tags": [{"name", "probability"}]}`.
    pub fn read(folder: &Path, set: &PhotoSet, tokenizer: &Tokenizer) -> Result<Self> {
        let path = folder.join(set.name).with_extension("jsonl");
        let text = files::read_text(&path)?;
        let mut tags = HashMap::new();
        for line in text.lines() {
            let line = serde_json::from_str(line).with_context(|| path.display().to_string());
            let line: Line = line?;
            let of_photo = line.tags.iter().map(|Tag { name, probability }| Evidence {
                words: encode(tokenizer, name),
                probability: *probability,
            });
            tags.insert(line.photo, of_photo.collect());
        }
        Ok(Self(tags))
    }

    /// The tags of a photo, none if the file has none.
    fn of(&self, photo: &Photo) -> Vec<Evidence> {
        self.0.get(&photo.name).cloned().unwrap_or_default()
    }

    /// Adds the tags to the samples of the set's photos.
    pub fn add_to(&self, samples: &mut [(Photo, Sample)]) {
        for (photo, sample) in samples {
            sample.evidence = self.of(photo);
        }
    }
}
