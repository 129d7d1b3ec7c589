//! What teacher networks see in photos and in crops of them: `tags/SET.jsonl` in the data folder, and
//! `SET-ROUND.jsonl` in a folder of crops, one JSON object a line.

use std::path::Path;

use anyhow::{Context, Result};
use serde::Deserialize;

use crate::train::files;

/// A line of such a file. Its boxes are ignored: a tag belongs to the whole picture.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Seen {
    /// The photo's name in the tar.
    pub image: String,
    /// The crop in pixels of the photo, `[left, top, right, bottom]`, right and bottom exclusive;
    /// `None` for a whole photo.
    #[serde(default)]
    pub crop: Option<[u32; 4]>,
    /// The most probable classes of ImageNet with their probabilities.
    #[serde(default)]
    pub imagenet: Vec<(usize, f32)>,
    /// The detected things of COCO's categories: category, score, box.
    #[serde(default)]
    pub coco: Vec<(String, f32, f32, f32, f32, f32)>,
}

/// Reads such a file. A last line without an end is left out: the file may still be written.
///
/// # Errors
///
/// If the file cannot be read or a line is not of this form; the message names the line.
pub fn load_seen(file: &Path) -> Result<Vec<Seen>> {
    let text = files::read_text(file)?;
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    let lines = whole.lines().zip(1..).map(|(line, number)| {
        serde_json::from_str(line).with_context(|| format!("{} line {number}", file.display()))
    });
    lines.collect()
}
