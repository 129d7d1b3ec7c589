//! Evaluates the memory: corrects the captions of some photos, then captions altered copies of them
//! and other photos with the captioner as shipped.

use std::io::Cursor;

use image::codecs::jpeg::JpegEncoder;
use image::{imageops, RgbImage};
use serde::Serialize;

use crate::captioner::{CaptionOptions, Captioner};
use crate::error::Error;
use crate::memory::{Origin, Snapshot};
use crate::preprocess;
use crate::random::Random;
use crate::train::eval::drawn::DrawnEvaluation;
use crate::train::metrics::rouge_l;
use crate::train::parallel;
use crate::train::text::names::personalize;
use crate::train::text::normalize::normalize_caption;

/// Minimum ROUGE-L to the correction for it to count as returned.
const RETURNED: f64 = 0.9;
/// Every fourth correction has a made-up name in it.
const NAMED_EVERY: usize = 4;
/// Copies captioned where only the number of episodes matters.
const PROBES: usize = 60;

/// A photo file and what a person wrote about it.
#[derive(Debug, Clone)]
pub struct CaptionedPhoto {
    /// The file's bytes.
    pub photo: Vec<u8>,
    /// A caption.
    pub caption: String,
}

/// An alteration of a photo.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Perturbation {
    /// The same file.
    Same,
    /// A crop of 90 % of its area.
    Cropped,
    /// Left and right exchanged.
    Mirrored,
    /// As a JPEG of quality 40.
    Jpeg40,
    /// 20 % brighter.
    Brighter,
    /// 20 % darker.
    Darker,
    /// A third as wide and high.
    Smaller,
}

impl Perturbation {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Same,
        Self::Cropped,
        Self::Mirrored,
        Self::Jpeg40,
        Self::Brighter,
        Self::Darker,
        Self::Smaller,
    ];

    fn of(self, photo: &RgbImage, random: &mut Random) -> RgbImage {
        match self {
            Self::Same => photo.clone(),
            Self::Cropped => cropped(photo, random),
            Self::Mirrored => imageops::flip_horizontal(photo),
            Self::Jpeg40 => recompressed(photo),
            Self::Brighter => brightened(photo, 1.2),
            Self::Darker => brightened(photo, 0.8),
            Self::Smaller => {
                let (width, height) = ((photo.width() / 3).max(1), (photo.height() / 3).max(1));
                imageops::resize(photo, width, height, imageops::FilterType::Triangle)
            }
        }
    }
}

fn cropped(photo: &RgbImage, random: &mut Random) -> RgbImage {
    let mut part = |size: u32| {
        // 0.9487 squared is 90 % of the area.
        let kept = u32::try_from(u64::from(size) * 9487 / 10_000).expect("below size").max(1);
        let start = random.below((size - kept + 1) as usize);
        (u32::try_from(start).expect("below size"), kept)
    };
    let ((x, width), (y, height)) = (part(photo.width()), part(photo.height()));
    imageops::crop_imm(photo, x, y, width, height).to_image()
}

fn recompressed(photo: &RgbImage) -> RgbImage {
    let mut bytes = Cursor::new(Vec::new());
    let encoder = JpegEncoder::new_with_quality(&mut bytes, 40);
    photo.write_with_encoder(encoder).expect("an RGB image has a JPEG form");
    preprocess::decode(bytes.get_ref()).expect("a JPEG that was just written")
}

fn brightened(photo: &RgbImage, factor: f32) -> RgbImage {
    let mut out = photo.clone();
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "`as` saturates")]
    out.iter_mut().for_each(|value| *value = (f32::from(*value) * factor).round() as u8);
    out
}

/// How often a correction came back.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Returns {
    /// Copies captioned.
    pub copies: usize,
    /// Share that got the correction word for word.
    pub exact: f64,
    /// Share whose ROUGE-L to the correction is at least 0.9.
    pub returned: f64,
    /// Mean ROUGE-L to the correction.
    pub rouge_l: f64,
    /// Share of those with a made-up name that kept it.
    pub name_kept: f64,
}

/// Scores on photos that were not corrected.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Others {
    /// Photos captioned.
    pub photos: usize,
    /// Share whose caption recalled a correction.
    pub false_recalls: f64,
    /// Share whose caption is the one they have without a memory.
    pub unchanged: f64,
}

/// The table of an evaluation.
#[derive(Debug, Clone, Serialize)]
pub struct MemoryEvaluation {
    /// Corrections stored.
    pub corrections: usize,
    /// By kind of copy.
    pub by_copy: Vec<(Perturbation, Returns)>,
    /// All copies but the same file.
    pub perturbed: Returns,
    /// Mirrored photos with the search's copying turned off: what the decoder has learned to copy.
    pub by_decoder: Returns,
    /// Other photos.
    pub others: Others,
    /// As `perturbed`, mirrored photos only, after the memory was saved and loaded.
    pub reloaded: Returns,
    /// As `perturbed`, after migration from another model that makes the same keys.
    pub taken_over_keys: Returns,
    /// As `perturbed`, after migration from a model with other keys, where only thumbnails are left
    /// of the photos.
    pub taken_over_thumbnails: Returns,
    /// As `reloaded`, without a memory.
    pub empty: Returns,
    /// The same with every correction given to another photo's slot.
    pub shuffled: Returns,
    /// By episodes written: the last of them, mirrored.
    pub by_episodes: Vec<(usize, Returns)>,
    /// Pictures that are no photos, if there are any.
    pub drawn: Option<DrawnEvaluation>,
    /// Bytes of the snapshot without thumbnails.
    pub snapshot_bytes: usize,
}

/// A correction and the made-up name in it, if there is one.
struct Correction {
    text: String,
    name: Option<String>,
}

/// Corrects the first `corrections` of `photos`, captions copies of them and `others` of the rest.
/// The captioner's memory is cleared first, and not restored.
///
/// # Errors
///
/// If a photo cannot be read.
pub fn evaluate_memory(
    captioner: &mut Captioner,
    photos: &[CaptionedPhoto],
    corrections: usize,
    others: usize,
) -> Result<MemoryEvaluation, Error> {
    let (taught, rest) = photos.split_at(corrections);
    let other_photos = &rest[..others.min(rest.len())];
    let texts = corrections_of(photos);
    captioner.clear_memory();
    let before = captions(captioner, &images(other_photos)?)?;
    let mirrored = copies(&images(&taught[..PROBES.min(taught.len())])?, Perturbation::Mirrored);
    let empty = returns(captioner, &mirrored, &texts)?;
    teach(captioner, taught, &texts, 0)?;
    let by_copy = by_copy_of(captioner, taught, &texts)?;
    let alone = CaptionOptions { repeat: false, ..CaptionOptions::default() };
    let all_mirrored = copies(&images(taught)?, Perturbation::Mirrored);
    let by_decoder = compared(&captions_with(captioner, &all_mirrored, &alone)?, &texts);
    let after = captions(captioner, &images(other_photos)?)?;
    let unchanged = before.iter().zip(&after).filter(|(a, b)| a.text == b.text).count();
    let recalls = after.iter().filter(|made| made.is_reminded).count();
    let snapshot = captioner.export_memory();
    captioner.clear_memory();
    captioner.import_memory(&snapshot)?;
    let reloaded = returns(captioner, &mirrored, &texts)?;
    captioner.clear_memory();
    teach(captioner, taught, &texts, 1)?;
    let shuffled = returns(captioner, &mirrored, &texts)?;
    let keys = captioner.origin().keys_sha256.to_owned();
    let taken_over_keys = taken_over(captioner, taught, &texts, &keys)?;
    let taken_over_thumbnails = taken_over(captioner, taught, &texts, "others")?;
    let by_episodes = by_episodes(captioner, photos, &texts)?;
    let thumbnails: usize = captioner.memory().iter().map(|(_, r)| r.thumbnail.len()).sum();
    Ok(MemoryEvaluation {
        corrections,
        perturbed: mean(&by_copy[1..]),
        taken_over_keys,
        taken_over_thumbnails,
        by_copy,
        by_decoder,
        others: Others {
            photos: other_photos.len(),
            false_recalls: recalls as f64 / other_photos.len().max(1) as f64,
            unchanged: unchanged as f64 / other_photos.len().max(1) as f64,
        },
        reloaded,
        empty,
        shuffled,
        snapshot_bytes: captioner.export_memory().len() - thumbnails,
        by_episodes,
        drawn: None,
    })
}

/// What every kind of copy of `photos` gets, whose first corrections are `texts`.
fn by_copy_of(
    captioner: &Captioner,
    photos: &[CaptionedPhoto],
    texts: &[Correction],
) -> Result<Vec<(Perturbation, Returns)>, Error> {
    let photos = images(photos)?;
    let each = Perturbation::ALL.into_iter();
    each.map(|copy| Ok((copy, returns(captioner, &copies(&photos, copy), texts)?))).collect()
}

/// As [`by_copy_of`], after migration from another model with keys of this origin. Only thumbnails,
/// captions and keys are left of its photos.
fn taken_over(
    captioner: &mut Captioner,
    photos: &[CaptionedPhoto],
    texts: &[Correction],
    keys_sha256: &str,
) -> Result<Returns, Error> {
    captioner.clear_memory();
    teach(captioner, photos, texts, 0)?;
    let origin = Origin { model_sha256: "another", keys_sha256 };
    let mut migration = captioner.begin_migration(&Snapshot::write(captioner.memory(), origin))?;
    while captioner.migrate_next(&mut migration)? {}
    captioner.import_memory(&captioner.migrated_memory(&migration))?;
    Ok(mean(&by_copy_of(captioner, photos, texts)?[1..]))
}

/// The last photos of 1, 10, 100, .. written ones.
fn by_episodes(
    captioner: &mut Captioner,
    photos: &[CaptionedPhoto],
    texts: &[Correction],
) -> Result<Vec<(usize, Returns)>, Error> {
    let mut out = Vec::new();
    for episodes in [1, 10, 100, 512, 1000].into_iter().filter(|&n| n <= photos.len()) {
        captioner.clear_memory();
        teach(captioner, &photos[..episodes], texts, 0)?;
        let first = episodes.saturating_sub(PROBES);
        let probes = copies(&images(&photos[first..episodes])?, Perturbation::Mirrored);
        out.push((episodes, returns(captioner, &probes, &texts[first..])?));
    }
    Ok(out)
}

fn corrections_of(photos: &[CaptionedPhoto]) -> Vec<Correction> {
    let mut random = Random::new(7);
    let each = photos.iter().enumerate().map(|(i, photo)| {
        let plain = normalize_caption(&photo.caption);
        let text = personalize(&plain, &mut random);
        if i % NAMED_EVERY != 0 || text == plain {
            return Correction { text: plain, name: None };
        }
        let name = text.split_whitespace().find(|word| word.starts_with(char::is_uppercase));
        let name = name.map(|name| name.trim_end_matches(',').to_owned());
        Correction { text, name }
    });
    each.collect()
}

/// Corrects every photo, giving it the text that stands `shift` inputs further on.
fn teach(
    captioner: &mut Captioner,
    photos: &[CaptionedPhoto],
    texts: &[Correction],
    shift: usize,
) -> Result<(), Error> {
    for (i, photo) in photos.iter().enumerate() {
        let text = &texts[(i + shift) % photos.len()].text;
        captioner.teach(&photo.photo, text)?;
    }
    Ok(())
}

fn images(photos: &[CaptionedPhoto]) -> Result<Vec<RgbImage>, Error> {
    photos.iter().map(|photo| Ok(preprocess::decode(&photo.photo)?)).collect()
}

pub(super) fn copies(photos: &[RgbImage], copy: Perturbation) -> Vec<RgbImage> {
    let mut random = Random::new(11);
    photos.iter().map(|photo| copy.of(photo, &mut random)).collect()
}

/// A caption that a captioner made.
struct Made {
    text: String,
    is_reminded: bool,
}

fn captions(captioner: &Captioner, photos: &[RgbImage]) -> Result<Vec<Made>, Error> {
    captions_with(captioner, photos, &CaptionOptions::default())
}

/// Captions photos on all cores, remembering none of them.
fn captions_with(
    captioner: &Captioner,
    photos: &[RgbImage],
    options: &CaptionOptions,
) -> Result<Vec<Made>, Error> {
    parallel::map(photos, |photo| {
        let mut generation = captioner.begin_pixels(photo, options)?;
        while captioner.step(&mut generation)? {}
        let is_reminded = generation.recalled().next().is_some();
        Ok(Made { text: captioner.text(&generation)?, is_reminded })
    })
}

fn returns(
    captioner: &Captioner,
    photos: &[RgbImage],
    texts: &[Correction],
) -> Result<Returns, Error> {
    Ok(compared(&captions(captioner, photos)?, texts))
}

/// How many of the captions `made` are the corrections `texts`, of which there may be more.
fn compared(made: &[Made], texts: &[Correction]) -> Returns {
    let mut sums = Returns { copies: made.len(), ..Returns::default() };
    let mut named = 0.0;
    for (made, wanted) in made.iter().zip(texts) {
        let (text, expected) = (made.text.to_lowercase(), wanted.text.to_lowercase());
        let score = rouge_l(&text, std::slice::from_ref(&expected));
        sums.exact += f64::from(u8::from(text == expected));
        sums.returned += f64::from(u8::from(score >= RETURNED));
        sums.rouge_l += score;
        if let Some(name) = &wanted.name {
            named += 1.0;
            sums.name_kept += f64::from(u8::from(text.contains(&name.to_lowercase())));
        }
    }
    let count = made.len().max(1) as f64;
    sums.exact /= count;
    sums.returned /= count;
    sums.rouge_l /= count;
    sums.name_kept /= f64::max(named, 1.0);
    sums
}

fn mean(parts: &[(Perturbation, Returns)]) -> Returns {
    let count = parts.len() as f64;
    let over = |field: fn(&Returns) -> f64| {
        parts.iter().map(|(_, returns)| field(returns)).sum::<f64>() / count
    };
    Returns {
        copies: parts.iter().map(|(_, returns)| returns.copies).sum(),
        exact: over(|r| r.exact),
        returned: over(|r| r.returned),
        rouge_l: over(|r| r.rouge_l),
        name_kept: over(|r| r.name_kept),
    }
}
