//! Captions that a trained model wrote for photos that only have a label (pseudo-labels, Lee 2013; noisy students, Xie et
//! al. 2020, arXiv 1911.04252): it was told the label, which it then says, and saw the photo, of which a lent sentence
//! ([`borrowed`](super::borrowed)) knows nothing. The next model learns from them under dropout and changed views.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tokenizers::Tokenizer;

use crate::train::batch::Sample;
use crate::train::borrowed::named;
use crate::train::commands::{read_tokenizer, Places, WEAK};
use crate::train::data::{Photo, Split};
use crate::train::dataset::{load, tokenized, write_beside, View};
use crate::train::evaluate::caption_samples;
use crate::train::metrics::words;
use crate::train::restore::Scored;

type AnyError = Box<dyn std::error::Error>;

/// One line of a file.
#[derive(Debug, Serialize, Deserialize)]
struct Line {
    set: String,
    image: String,
    caption: String,
}

/// What models wrote, by set and photo.
#[derive(Debug, Default)]
pub struct PseudoCaptions {
    texts: HashMap<(String, String), Vec<String>>,
}

impl PseudoCaptions {
    /// Reads files of [`write_pseudo_captions`]. What several models wrote alike counts once.
    ///
    /// # Errors
    ///
    /// If a file cannot be read or a line is not such an object.
    pub fn read(files: &[PathBuf]) -> Result<Self, AnyError> {
        let mut texts: HashMap<(String, String), Vec<String>> = HashMap::new();
        for file in files {
            let at = |what: String| format!("{}: {what}", file.display());
            let lines = File::open(file).map_err(|e| at(e.to_string()))?;
            for (line, number) in BufReader::new(lines).lines().zip(1..) {
                let line: Line =
                    serde_json::from_str(&line?).map_err(|e| at(format!("line {number}: {e}")))?;
                let of_photo = texts.entry((line.set, line.image)).or_default();
                if !of_photo.contains(&line.caption) {
                    of_photo.push(line.caption);
                }
            }
        }
        Ok(Self { texts })
    }

    /// Puts what was written about `photo` beside the first of the captions that its label has, in place of the
    /// others. Says whether there was any.
    pub fn give(&self, photo: &Photo, sample: &mut Sample, tokenizer: &Tokenizer) -> bool {
        let key = (photo.set.file_stem().to_owned(), photo.name.clone());
        let Some(texts) = self.texts.get(&key) else { return false };
        sample.captions.truncate(1);
        sample.captions.extend(texts.iter().map(|text| tokenized(text.clone(), tokenizer)));
        true
    }
}

/// Captions every training photo that has a label, told that label, and writes those captions that say it to the
/// one file of `places.pseudo`.
///
/// # Errors
///
/// If there is no such file or several, or a model or photos cannot be read.
pub fn write_pseudo_captions(
    places: &Places,
    scored: Scored<'_>,
    beams: usize,
) -> Result<(), AnyError> {
    let [file] = places.pseudo.as_slice() else { return Err("pseudo needs one --pseudo".into()) };
    let (tokenizer, sha) = read_tokenizer(&places.tokenizer)?;
    let (subject, stem) = scored.load(places, &sha)?;
    let mut lines = String::new();
    for set in WEAK {
        let of_set = (set, Split::Train);
        let mut photos =
            load(&places.data, &places.out, &stem, of_set, &[View::Original], &tokenizer)?;
        photos.retain(|(_, sample)| !sample.subject.is_empty());
        let hints: Vec<String> = photos.iter().map(|(_, s)| s.subject.join(" ")).collect();
        let told: Vec<(&Sample, &str)> =
            photos.iter().zip(&hints).map(|((_, sample), hint)| (sample, hint.as_str())).collect();
        let captioned = caption_samples(&subject, &tokenizer, &told, beams)?;
        let mut written = 0;
        for ((photo, sample), caption) in photos.iter().zip(captioned) {
            if named(&sample.subject, &words(&caption.text)) >= 1.0 {
                let image = photo.name.clone();
                let line = Line { set: set.file_stem().into(), image, caption: caption.text };
                lines += &(serde_json::to_string(&line)? + "\n");
                written += 1;
            }
        }
        eprintln!("{}: {written} of {} photos say their label", set.file_stem(), photos.len());
    }
    Ok(write_beside(Path::new(file), lines.as_bytes())?)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on should panic")]
mod tests {
    use super::*;
    use crate::train::data::PhotoSet;
    use crate::train::tokenizer::train_tokenizer;

    #[test]
    fn what_models_wrote_takes_the_place_of_all_captions_but_the_label() {
        let folder = std::env::temp_dir().join(format!("bitmar-pseudo-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let line = |image: &str, caption: &str| {
            format!(r#"{{"set":"caltech101","image":"{image}","caption":"{caption}"}}"#) + "\n"
        };
        let files = ["one", "two"].map(|name| folder.join(name));
        let same = line("piano.webp", "a black piano in a room");
        std::fs::write(&files[0], same.clone() + &line("other.webp", "a cat")).unwrap();
        std::fs::write(&files[1], same + &line("piano.webp", "a man at a piano")).unwrap();
        let pseudo = PseudoCaptions::read(&files).unwrap();
        let texts = ["a piano", "a piano that was lent"];
        let tokenizer = train_tokenizer(texts.iter().map(|text| (*text).to_owned()), 300).unwrap();
        let photo = |name: &str| Photo {
            set: PhotoSet::Caltech101,
            name: name.into(),
            split: Split::Train,
            captions: Vec::new(),
            label: Some("piano".into()),
        };
        let given = |name: &str| {
            let mut sample = Sample {
                views: Vec::new(),
                mirrored: Vec::new(),
                captions: texts.map(|text| tokenized(text.into(), &tokenizer)).into(),
                weight: 1.0,
                subject: vec!["piano".into()],
            };
            let is_given = pseudo.give(&photo(name), &mut sample, &tokenizer);
            (is_given, sample.captions.into_iter().map(|c| c.text).collect::<Vec<_>>())
        };
        let expected = ["a piano", "a black piano in a room", "a man at a piano"];
        assert_eq!(given("piano.webp"), (true, expected.map(String::from).into()));
        assert_eq!(given("unknown.webp"), (false, texts.map(String::from).into()));
        std::fs::write(&files[1], "{}\n").unwrap();
        let error = PseudoCaptions::read(&files).unwrap_err().to_string();
        assert!(error.contains("two: line 1"), "{error}");
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
