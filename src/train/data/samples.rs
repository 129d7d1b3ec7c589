//! Photos as the trainer sees them: int8 stem features of a few views each, computed once and kept in a
//! file, and the captions as tokens.

use std::path::Path;
use std::sync::Arc;

use image::{imageops, RgbImage};
use tokenizers::Tokenizer;

use crate::checkpoint::sha256;
use crate::preprocess;
use crate::random::Random;
use crate::stem::{Stem, StemTensor};
use crate::train::data::archive::{load_caption_text, PhotoArchive};
use crate::train::data::label_captions::subject;
use crate::train::data::photo_set::{load_index, Photo, PhotoSet, Split};
use crate::train::objective::batch::{encode, CaptionTokens, Sample};
use crate::train::parallel;
use crate::train::text::ethnicity::without_origin;
use crate::train::text::normalize::{length_class, normalize_caption, word_count};

type AnyError = Box<dyn std::error::Error>;

/// How a photo is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum View {
    /// As it is.
    Original,
    /// Left and right exchanged.
    Mirrored,
    /// A random crop with changed brightness and contrast; mirrored if the number is odd. The sides of numbers
    /// 1 and 2 are 85 to 100 % of the photo's, those of the others 70 to 100 %.
    Jittered(u8),
}

impl View {
    /// The original, the mirrored and `COUNT - 2` jittered views, numbered from 1.
    pub(crate) const fn with_jittered<const COUNT: usize>() -> [Self; COUNT] {
        let mut views = [Self::Original; COUNT];
        views[1] = Self::Mirrored;
        let mut number = 1u8;
        while (number as usize) < COUNT - 1 {
            views[number as usize + 1] = Self::Jittered(number);
            number += 1;
        }
        views
    }

    pub(crate) fn name(self) -> String {
        match self {
            Self::Original => "original".into(),
            Self::Mirrored => "mirrored".into(),
            Self::Jittered(n) => format!("jittered{n}"),
        }
    }

    fn is_mirrored(self) -> bool {
        matches!(self, Self::Mirrored) || matches!(self, Self::Jittered(n) if n % 2 == 1)
    }

    /// `photo` as it is shown; `name` is what chance depends on.
    pub(crate) fn apply(self, photo: &RgbImage, name: &str) -> RgbImage {
        let mirrored = |photo: &RgbImage| imageops::flip_horizontal(photo);
        match self {
            Self::Original => photo.clone(),
            Self::Mirrored => mirrored(photo),
            Self::Jittered(n) => {
                let least = if n <= 2 { 0.85 } else { 0.7 };
                let jittered = jitter(photo, least, &mut Random::named(u64::from(n), name));
                if self.is_mirrored() {
                    mirrored(&jittered)
                } else {
                    jittered
                }
            }
        }
    }
}

fn jitter(photo: &RgbImage, least: f32, random: &mut Random) -> RgbImage {
    let (width, height) = photo.dimensions();
    let part = |size: u32, random: &mut Random| {
        let kept = (size as f32 * (least + (1.0 - least) * random.uniform())).round();
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "below size")]
        let kept = (kept as u32).clamp(1, size);
        let start = random.below((size - kept + 1) as usize);
        (u32::try_from(start).expect("below size"), kept)
    };
    let ((x, w), (y, h)) = (part(width, random), part(height, random));
    let cropped = imageops::crop_imm(photo, x, y, w, h).to_image();
    let (gain, shift) = (0.8 + 0.4 * random.uniform(), 30.0 * (random.uniform() - 0.5));
    let mut out = cropped;
    for value in out.iter_mut() {
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "`as` saturates"
        )]
        {
            *value = ((f32::from(*value) - 127.0) * gain + 127.0 + shift) as u8;
        }
    }
    out
}

/// Photos of one set and split with the features of `views`, from `cache` or computed into it.
pub fn load(
    data: &Path,
    cache: &Path,
    stem: &Stem,
    (set, split): (&'static PhotoSet, Split),
    views: &[View],
    tokenizer: &Tokenizer,
) -> Result<Vec<(Photo, Sample)>, AnyError> {
    let photos: Vec<Photo> =
        load_index(data, set)?.into_iter().filter(|photo| photo.split == split).collect();
    let mut samples: Vec<Sample> = photos
        .iter()
        .map(|photo| {
            let captions = captions(photo, tokenizer);
            let has_template = photo.label.is_some() && !set.has_human_text();
            let template = captions.first().filter(|_| has_template);
            Sample {
                views: Vec::new(),
                mirrored: views.iter().map(|view| view.is_mirrored()).collect(),
                subject: template.map_or_else(Vec::new, |template| subject(&template.text)),
                captions,
                weight: 1.0,
            }
        })
        .collect();
    // Features belong to one stem: another one's must not be taken for them.
    let stem_name = &fingerprint(stem)[..12];
    for &view in views {
        let file = format!("{}-{split:?}-{}-{stem_name}.bin", set.name, view.name());
        let features = view_features(data, &cache.join(file), stem, &photos, view)?;
        let len = features.len() / photos.len();
        for (sample, features) in samples.iter_mut().zip(features.chunks_exact(len)) {
            sample.views.push(Arc::from(features));
        }
    }
    Ok(photos.into_iter().zip(samples).collect())
}

/// SHA-256 of a stem's numbers.
fn fingerprint(stem: &Stem) -> String {
    let mut bytes = Vec::new();
    for (name, _, tensor) in stem.tensors() {
        bytes.extend_from_slice(name.as_bytes());
        match tensor {
            StemTensor::I8(values) => bytes.extend(values.iter().map(|v| v.to_le_bytes()[0])),
            StemTensor::F32(values) => bytes.extend(values.iter().flat_map(|v| v.to_le_bytes())),
        }
    }
    sha256(&bytes)
}

/// Texts without photos from `files`, ready for training.
pub fn load_texts(
    data: &Path,
    files: &[&str],
    tokenizer: &Tokenizer,
) -> Result<Vec<CaptionTokens>, AnyError> {
    let mut texts = Vec::new();
    for file in files {
        let lines = load_caption_text(data, file)?;
        let lines = lines.iter().map(|line| without_origin(&normalize_caption(line)));
        texts.extend(lines.filter(|line| !line.is_empty()).map(|text| tokenized(text, tokenizer)));
    }
    Ok(texts)
}

/// A normalised text as a training target.
pub(crate) fn tokenized(text: String, tokenizer: &Tokenizer) -> CaptionTokens {
    CaptionTokens {
        tokens: encode(tokenizer, &text),
        start: length_class(word_count(&text)).start_token(),
        text,
        weight: 1.0,
    }
}

fn captions(photo: &Photo, tokenizer: &Tokenizer) -> Vec<CaptionTokens> {
    let mut texts: Vec<String> =
        photo.captions.iter().map(|text| normalize_caption(text)).collect();
    if let (true, Some(label)) = (texts.is_empty(), &photo.label) {
        texts.push(thing(label));
    }
    if photo.split == Split::Train {
        texts.iter_mut().for_each(|text| *text = without_origin(text));
    }
    let texts = texts.into_iter().enumerate().filter(|(_, text)| !text.is_empty());
    let weighted = texts.map(|(number, text)| CaptionTokens {
        weight: photo.set.weight(number),
        ..tokenized(text, tokenizer)
    });
    weighted.collect()
}

/// What people call the things that Caltech-101 calls otherwise. Its cougars and wild cats are the only cats with a label:
/// a model that learns "cougar" calls every cat one, and what people wrote about cats would be lent to no photo. Nobody
/// writes of a face, and who "watches" has no watch.
const EVERYDAY: [(&str, &str); 7] = [
    ("face", "person looking at the camera"),
    ("watch", "wrist watch"),
    ("cougar", "cat"),
    ("wild cat", "cat"),
    ("motorbike", "motorcycle"),
    ("cellphone", "cell phone"),
    ("water lilly", "water lily"),
];

/// What a labelled thing is called, with its article if it is one; parts of Caltech-101's things are the things.
fn thing(label: &str) -> String {
    let label = label.replace('_', " ");
    let mut name = label.as_str();
    for part in [" side", " face", " head", " body"] {
        name = name.strip_suffix(part).unwrap_or(name);
    }
    name = EVERYDAY.iter().find(|(theirs, _)| *theirs == name).map_or(name, |(_, ours)| ours);
    match name {
        "scissors" => name.into(),
        "airplanes" | "motorbikes" | "faces" | "leopards" => thing(&name[..name.len() - 1]),
        _ if is_plural(name) => name.into(),
        _ if name.starts_with(['a', 'e', 'i', 'o', 'u'])
            && !(name.starts_with("eu") || name.starts_with("ew")) =>
        {
            format!("an {name}")
        }
        _ => format!("a {name}"),
    }
}

/// Whether the last word of a label is several things: "carrots", and not "bus", "iris" or "dress".
fn is_plural(name: &str) -> bool {
    name.ends_with('s') && !["ss", "us", "is"].iter().any(|ending| name.ends_with(ending))
}

fn view_features(
    data: &Path,
    file: &Path,
    stem: &Stem,
    photos: &[Photo],
    view: View,
) -> Result<Vec<i8>, AnyError> {
    let config = stem.config();
    let len = config.output_grid() * config.output_grid() * config.output_channels();
    cached(data, file, photos, len, |photo, image| {
        let shown = view.apply(image, &photo.name);
        stem.forward(&preprocess::to_pixels(&shown, config.input_size))
    })
}

/// `len` bytes for each of `photos`, all of one set: from `file`, or computed on all cores into it.
pub(crate) fn cached(
    data: &Path,
    file: &Path,
    photos: &[Photo],
    len: usize,
    compute: impl Fn(&Photo, &RgbImage) -> Vec<i8> + Sync,
) -> Result<Vec<i8>, AnyError> {
    if let Ok(bytes) = std::fs::read(file) {
        if bytes.len() == len * photos.len() {
            return Ok(bytes.into_iter().map(|b| i8::from_le_bytes([b])).collect());
        }
    }
    let Some(first) = photos.first() else { return Ok(Vec::new()) };
    eprintln!("computing {} photos into {}", photos.len(), file.display());
    let archive = PhotoArchive::open(data, first.set)?;
    let of_photos: Result<Vec<Vec<i8>>, String> = parallel::map(photos, |photo| {
        let bytes = archive.read(&photo.name).map_err(|e| e.to_string())?;
        let image = preprocess::decode(&bytes).map_err(|e| format!("{}: {e}", photo.name))?;
        Ok(compute(photo, &image))
    });
    let out = of_photos?.concat();
    let bytes: Vec<u8> = out.iter().map(|v| v.to_le_bytes()[0]).collect();
    write_beside(file, &bytes)?;
    Ok(out)
}

/// Writes `bytes` beside `file`, then renames them onto it: a file is whole or not there.
pub(crate) fn write_beside(file: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let beside = file.with_extension("part");
    std::fs::write(&beside, bytes)?;
    std::fs::rename(beside, file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jittered_views_are_numbered_from_one() {
        let expected = [View::Original, View::Mirrored, View::Jittered(1), View::Jittered(2)];
        assert_eq!(View::with_jittered(), expected);
        assert_eq!(View::with_jittered::<16>()[15], View::Jittered(14));
    }

    #[test]
    fn things_have_their_articles() {
        for (label, expected) in [
            ("pizza", "a pizza"),
            ("electric_guitar", "an electric guitar"),
            ("euphonium", "a euphonium"),
            ("airplanes", "an airplane"),
            ("cougar_face", "a cat"),
            ("motorbikes", "a motorcycle"),
            ("car_side", "a car"),
            ("scissors", "scissors"),
            ("bell peppers", "bell peppers"),
            ("school bus", "a school bus"),
            ("compass", "a compass"),
            ("faces", "a person looking at the camera"),
        ] {
            assert_eq!(thing(label), expected);
        }
    }
}
