//! Sentences lent to photos that only have a label, chosen by a trained model: of all that people wrote about others of
//! their kind ([`label_captions`](crate::train::data::label_captions)) those that are most like the ones that fit the photo, by the cosine that
//! the alignment loss has taught it. A sentence that fits alone tells things that nobody sees on the photo; what many
//! have in common is there more often (Devlin et al. 2015). Its own captions would be no better teachers: told the
//! label, it says little else.

use std::cmp::Ordering;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

use candle_core::Tensor;
use serde::{Deserialize, Serialize};
use tokenizers::Tokenizer;

use crate::model::unit_rows;
use crate::train::commands::{read_tokenizer, Places, OF_PHOTOS};
use crate::train::data::consensus::agreements;
use crate::train::data::label_captions::{Lender, LENT};
use crate::train::data::photo_set::{Photo, PhotoSet, Role, Split};
use crate::train::data::samples::{load, load_texts, tokenized, write_beside, View};
use crate::train::eval::captions::Subject;
use crate::train::metrics::{words, CaptionVector, Cider};
use crate::train::model_source::Scored;
use crate::train::objective::batch::{CaptionTokens, Sample};

type AnyError = Box<dyn std::error::Error>;

/// Sentences that fit a photo and choose among themselves: at the most, and as a share of those of its kind.
const FITTING: usize = 40;
const FITTING_SHARE: usize = 4;
/// Texts and photos that the model sees at once.
const BATCH: usize = 64;

/// One line of a file.
#[derive(Debug, Serialize, Deserialize)]
struct Line {
    set: String,
    image: String,
    caption: String,
}

/// What was chosen, by set and photo.
#[derive(Debug, Default)]
pub struct LentSentences {
    texts: HashMap<(String, String), Vec<String>>,
}

impl LentSentences {
    /// Reads a file of [`choose_lent_sentences`].
    ///
    /// # Errors
    ///
    /// If the file cannot be read or a line is not such an object.
    pub fn read(file: &Path) -> Result<Self, AnyError> {
        let mut texts: HashMap<(String, String), Vec<String>> = HashMap::new();
        let at = |what: String| format!("{}: {what}", file.display());
        let lines = File::open(file).map_err(|e| at(e.to_string()))?;
        for (line, number) in BufReader::new(lines).lines().zip(1..) {
            let line: Line =
                serde_json::from_str(&line?).map_err(|e| at(format!("line {number}: {e}")))?;
            texts.entry((line.set, line.image)).or_default().push(line.caption);
        }
        Ok(Self { texts })
    }

    /// Puts what was chosen for `photo` behind the first of the captions that its label has, in place of the others.
    pub fn give(&self, photo: &Photo, captions: &mut Vec<CaptionTokens>, tokenizer: &Tokenizer) {
        let key = (photo.set.name.to_owned(), photo.name.clone());
        if let Some(texts) = self.texts.get(&key) {
            captions.truncate(1);
            captions.extend(texts.iter().map(|text| tokenized(text.clone(), tokenizer)));
        }
    }
}

/// Chooses sentences for every training photo that has a label and writes them to `places.lent`.
///
/// # Errors
///
/// If there is no such place, or the model, photos or texts cannot be read.
pub fn choose_lent_sentences(places: &Places, scored: Scored<'_>) -> Result<(), AnyError> {
    let file: &PathBuf = places.lent.as_ref().ok_or("lend needs --lent FILE")?;
    let (tokenizer, sha) = read_tokenizer(&places.tokenizer)?;
    let (subject, stem) = scored.load(places, &sha)?;
    let texts = load_texts(&places.data, OF_PHOTOS, &tokenizer)?;
    let lender = Lender::new(&texts);
    let mut lines = String::new();
    for set in PhotoSet::of_role(Role::LabelCaptions) {
        let of_set = (set, Split::Train);
        let photos = load(&places.data, &places.out, &stem, of_set, &[View::Original], &tokenizer)?;
        let mut by_label: BTreeMap<String, Vec<(Photo, Sample)>> = BTreeMap::new();
        for (photo, sample) in photos.into_iter().filter(|(photo, _)| photo.label.is_some()) {
            let template = sample.captions[0].text.clone();
            by_label.entry(template).or_default().push((photo, sample));
        }
        for (template, photos) in by_label {
            let sentences = lender.sentences(&template, &tokenizer);
            if sentences.is_empty() {
                continue;
            }
            let chosen = choose(&subject, &photos, &sentences)?;
            let different: HashSet<usize> = chosen.iter().flatten().copied().collect();
            eprintln!(
                "{template}: {} photos, {} sentences, {} of them lent",
                photos.len(),
                sentences.len(),
                different.len()
            );
            for ((photo, _), chosen) in photos.iter().zip(chosen) {
                for number in chosen {
                    let (set, image) = (set.name.into(), photo.name.clone());
                    let line = Line { set, image, caption: sentences[number].text.clone() };
                    lines += &(serde_json::to_string(&line)? + "\n");
                }
            }
        }
    }
    Ok(write_beside(file, lines.as_bytes())?)
}

/// For each photo the numbers of the sentences that are lent to it.
fn choose(
    subject: &Subject,
    photos: &[(Photo, Sample)],
    sentences: &[CaptionTokens],
) -> Result<Vec<Vec<usize>>, AnyError> {
    let model = &subject.model;
    let table = model.table()?;
    let mut vectors = Vec::new();
    for sentences in sentences.chunks(BATCH) {
        let texts: Vec<&[u32]> = sentences.iter().map(|s| s.tokens.as_slice()).collect();
        let of_texts = model.caption_vectors(&model.encode_texts(&table, &texts)?)?;
        vectors.push(unit_rows(&of_texts)?.detach());
    }
    let vectors = Tensor::cat(&vectors, 0)?.t()?.contiguous()?;
    let documents: Vec<Vec<Vec<String>>> = sentences.iter().map(|s| vec![words(&s.text)]).collect();
    let cider = Cider::new(&documents);
    let contents: Vec<CaptionVector> = documents.iter().map(|d| cider.vector(&d[0])).collect();
    let fitting = FITTING.min(sentences.len() / FITTING_SHARE).max(2 * LENT);
    let mut chosen = Vec::new();
    for photos in photos.chunks(BATCH) {
        let views: Vec<_> = photos.iter().map(|(_, sample)| sample.views[0].clone()).collect();
        let hints = vec![Vec::new(); photos.len()];
        let fused = model.fuse_photos(&table, &subject.encode(&views)?, &hints)?;
        let cosines = unit_rows(&fused.episodes)?.detach().matmul(&vectors)?.to_vec2::<f32>()?;
        chosen.extend(cosines.iter().map(|cosines| {
            let fitting = highest(cosines, fitting);
            let contents: Vec<&CaptionVector> = fitting.iter().map(|&n| &contents[n]).collect();
            let agreed = highest(&agreements(&contents), LENT);
            agreed.into_iter().map(|place| fitting[place]).collect()
        }));
    }
    Ok(chosen)
}

/// The places of the `count` highest numbers, the highest first.
fn highest<T: PartialOrd>(numbers: &[T], count: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..numbers.len()).collect();
    order.sort_by(|&a, &b| numbers[b].partial_cmp(&numbers[a]).unwrap_or(Ordering::Equal));
    order.truncate(count);
    order
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on should panic")]
mod tests {
    use super::*;
    use crate::train::data::bpe::train_tokenizer;

    #[test]
    fn what_was_chosen_takes_the_place_of_all_captions_but_the_label() {
        let file = std::env::temp_dir().join(format!("bitmar-lent-{}", std::process::id()));
        let line = |image: &str, caption: &str| {
            format!(r#"{{"set":"caltech101","image":"{image}","caption":"{caption}"}}"#) + "\n"
        };
        let lines = [
            line("piano.webp", "a black piano in a room"),
            line("other.webp", "a cat"),
            line("piano.webp", "a man at a piano"),
        ];
        std::fs::write(&file, lines.concat()).unwrap();
        let lent = LentSentences::read(&file).unwrap();
        let texts = ["a piano", "a piano that was lent"];
        let tokenizer = train_tokenizer(texts.map(String::from).into_iter(), 300).unwrap();
        let given = |name: &str| {
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
            lent.give(&photo, &mut captions, &tokenizer);
            captions.into_iter().map(|caption| caption.text).collect::<Vec<_>>()
        };
        let expected = ["a piano", "a black piano in a room", "a man at a piano"];
        assert_eq!(given("piano.webp"), expected);
        assert_eq!(given("unknown.webp"), texts);
        std::fs::write(&file, "{}\n").unwrap();
        let error = LentSentences::read(&file).unwrap_err().to_string();
        assert!(error.contains("line 1"), "{error}");
        std::fs::remove_file(&file).unwrap();
    }

    #[test]
    fn the_highest_are_chosen() {
        assert_eq!(highest(&[0.1, 0.9, 0.4, 0.8, 0.4], 4), [1, 3, 2, 4]);
        assert_eq!(highest(&[0.1, 0.9], 3), [1, 0]);
    }
}
