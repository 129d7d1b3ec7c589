//! Evaluates the memory on drawn pictures: pages of text, tables, charts, screenshots, maps, line
//! drawings and logos, whose keys lie close together (`tests/drawn-pictures`).

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::memory::{copies, Perturbation};
use crate::captioner::{CaptionOptions, Captioner};
use crate::error::Error;
use crate::preprocess;
use crate::train::parallel;

/// A drawn picture's file.
#[derive(Debug, Clone)]
pub struct DrawnPicture {
    /// Such as `chart`.
    pub kind: String,
    /// The file's bytes.
    pub picture: Vec<u8>,
}

/// Copies of corrected pictures of a kind.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct DrawnReturns {
    /// Copies looked up, all kinds of copy together.
    pub copies: usize,
    /// Those that recalled their own correction, by its text, first.
    pub found: usize,
    /// Those that recalled another picture's correction, too or instead.
    pub wrong: usize,
}

/// The table for drawn pictures.
#[derive(Debug, Clone, Serialize)]
pub struct DrawnEvaluation {
    /// Pictures corrected, each with a text of its own.
    pub pictures: usize,
    /// Corrections that are left in the memory; fewer if one has replaced another.
    pub kept: usize,
    /// By kind of picture.
    pub by_kind: BTreeMap<String, DrawnReturns>,
    /// By kind of copy.
    pub by_copy: Vec<(Perturbation, DrawnReturns)>,
    /// Pictures that recalled another one's correction when their own was not in the memory.
    pub strangers_recalled: usize,
    /// Pairs of a picture and another one's correction that this covers.
    pub pairs: usize,
}

/// A line of `drawn.jsonl`.
#[derive(Deserialize)]
struct Line {
    image: String,
    kind: String,
}

/// The pictures of a folder that `./build.sh draw` made.
pub fn read_drawn(folder: &Path) -> anyhow::Result<Vec<DrawnPicture>> {
    let index = std::fs::read_to_string(folder.join("drawn.jsonl"))?;
    let pictures = index.lines().map(|line| {
        let Line { image, kind } = serde_json::from_str(line)?;
        Ok(DrawnPicture { kind, picture: std::fs::read(folder.join(image))? })
    });
    pictures.collect()
}

/// Corrects every picture, as many as the memory has slots, and looks copies of them up. The
/// captioner's memory is cleared first, and not restored.
///
/// # Errors
///
/// If a picture cannot be read.
pub fn evaluate_drawn(
    captioner: &mut Captioner,
    pictures: &[DrawnPicture],
) -> Result<DrawnEvaluation, Error> {
    let pictures = &pictures[..pictures.len().min(captioner.memory().num_slots())];
    captioner.clear_memory();
    let (mut slots, mut texts) = (Vec::new(), Vec::new());
    for (number, DrawnPicture { kind, picture }) in pictures.iter().enumerate() {
        let text = format!("{kind} number {number}");
        slots.push(captioner.teach(picture, &text)?);
        texts.push(text);
    }
    let images = pictures.iter().map(|drawn| Ok(preprocess::decode(&drawn.picture)?));
    let images = images.collect::<Result<Vec<_>, Error>>()?;
    let mut by_kind: BTreeMap<String, DrawnReturns> = BTreeMap::new();
    let mut by_copy = Vec::new();
    for copy in Perturbation::ALL {
        let mut sum = DrawnReturns::default();
        let copies = copies(&images, copy);
        let recalled: Result<Vec<Vec<String>>, Error> =
            parallel::map(&copies, |copy| lookup(captioner, copy));
        let recalled = recalled?;
        for ((recalled, text), DrawnPicture { kind, .. }) in
            recalled.iter().zip(&texts).zip(pictures)
        {
            for returns in [&mut sum, by_kind.entry(kind.clone()).or_default()] {
                returns.copies += 1;
                returns.found += usize::from(recalled.first() == Some(text));
                returns.wrong += usize::from(recalled.iter().any(|other| other != text));
            }
        }
        by_copy.push((copy, sum));
    }
    let kept = captioner.memory().len();
    let mut strangers_recalled = 0;
    for (image, &slot) in images.iter().zip(&slots) {
        captioner.delete_memory(slot)?;
        strangers_recalled += usize::from(!lookup(captioner, image)?.is_empty());
        captioner.undo_memory();
    }
    let pairs = pictures.len() * kept.saturating_sub(1);
    Ok(DrawnEvaluation {
        pictures: pictures.len(),
        kept,
        by_kind,
        by_copy,
        strangers_recalled,
        pairs,
    })
}

/// The corrections that a picture recalls, best first.
fn lookup(captioner: &Captioner, image: &image::RgbImage) -> Result<Vec<String>, Error> {
    let generation = captioner.begin_pixels(image, &CaptionOptions::default())?;
    Ok(generation.recalled().map(|recalled| recalled.text.clone()).collect())
}
