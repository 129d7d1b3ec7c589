//! Label captions that a trained model chose for each photo, one JSON object a line: `set`,
//! `image`, `caption`. `bitmar-train label-captions` writes the file.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use tokenizers::Tokenizer;

use crate::train::data::photo_set::Photo;
use crate::train::data::sample::{tokenized, CaptionTokens};

/// One line of the file.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Line {
    pub(crate) set: String,
    pub(crate) image: String,
    pub(crate) caption: String,
}

/// The chosen captions of each photo.
#[derive(Debug, Default)]
pub struct ChosenCaptions {
    texts: HashMap<(String, String), Vec<String>>,
}

impl ChosenCaptions {
    /// Reads the file.
    ///
    /// # Errors
    ///
    /// If the file cannot be read, or a line is not a JSON object with these fields.
    pub fn read(file: &Path) -> Result<Self> {
        let mut texts: HashMap<(String, String), Vec<String>> = HashMap::new();
        let path = file.display();
        let lines = File::open(file).with_context(|| format!("cannot read {path}"))?;
        for (line, number) in BufReader::new(lines).lines().zip(1..) {
            let at = || format!("{path} line {number}");
            let line: Line = serde_json::from_str(&line.with_context(at)?).with_context(at)?;
            texts.entry((line.set, line.image)).or_default().push(line.caption);
        }
        Ok(Self { texts })
    }

    /// Replaces all `captions` of `photo` except the first, the template of its label, with the
    /// chosen ones. A photo without chosen captions keeps its own.
    pub fn apply(&self, photo: &Photo, captions: &mut Vec<CaptionTokens>, tokenizer: &Tokenizer) {
        let key = (photo.set.name.to_owned(), photo.name.clone());
        if let Some(texts) = self.texts.get(&key) {
            captions.truncate(1);
            captions.extend(texts.iter().map(|text| tokenized(text.clone(), tokenizer)));
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on should panic")]
mod tests {
    use super::*;
    use crate::train::data::bpe::train_tokenizer;
    use crate::train::data::photo_set::{PhotoSet, Split};

    #[test]
    fn chosen_captions_replace_all_but_the_template() {
        let file =
            std::env::temp_dir().join(format!("bitmar-chosen-captions-{}", std::process::id()));
        let line = |image: &str, caption: &str| {
            format!(r#"{{"set":"caltech101","image":"{image}","caption":"{caption}"}}"#) + "\n"
        };
        let lines = [
            line("piano.webp", "a black piano in a room"),
            line("other.webp", "a cat"),
            line("piano.webp", "a man at a piano"),
        ];
        std::fs::write(&file, lines.concat()).unwrap();
        let chosen = ChosenCaptions::read(&file).unwrap();
        let texts = ["a piano", "a piano in a sentence"];
        let tokenizer = train_tokenizer(texts.map(String::from).into_iter(), 300).unwrap();
        let captions_of = |name: &str| {
            let photo = Photo {
                set: PhotoSet::named("caltech101"),
                name: name.into(),
                split: Split::Train,
                captions: Vec::new(),
                label: Some("piano".into()),
                labels: Vec::new(),
                fine: None,
            };
            let mut captions = texts.map(|text| tokenized(text.into(), &tokenizer)).into();
            chosen.apply(&photo, &mut captions, &tokenizer);
            captions.into_iter().map(|caption| caption.text).collect::<Vec<_>>()
        };
        let expected = ["a piano", "a black piano in a room", "a man at a piano"];
        assert_eq!(captions_of("piano.webp"), expected);
        assert_eq!(captions_of("unknown.webp"), texts);
        std::fs::write(&file, "{}\n").unwrap();
        let error = format!("{:#}", ChosenCaptions::read(&file).unwrap_err());
        assert!(error.contains("line 1: missing field `set`"), "{error}");
        std::fs::remove_file(&file).unwrap();
    }
}
