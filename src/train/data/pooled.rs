//! Reads pooled features that `bitmar-train features` computed: `SET-VIEW.safetensors` with the
//! tensor `pooled`, f16 `[pictures, channels]`, and `SET-VIEW.names.jsonl` with a line for each.

use std::path::Path;

use anyhow::{bail, Context, Result};
use candle_core::{Device, Tensor};
use serde::Deserialize;

use crate::train::files;

/// A picture whose features are in a file.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Picture {
    /// The photo's name in the tar.
    pub image: String,
    /// The crop in pixels of the photo.
    #[serde(default)]
    pub crop: Option<[u32; 4]>,
}

/// Pictures and their features, `[pictures, channels]`.
#[derive(Debug)]
pub struct Pooled {
    /// The pictures in their order.
    pub pictures: Vec<Picture>,
    /// Their features.
    pub features: Tensor,
}

/// Reads the features of `view` (`plain`, `crops-1`, ...) of the set `set` in `folder`.
///
/// # Errors
///
/// If a file cannot be read, or the two do not describe equally many pictures.
pub fn load_pooled(folder: &Path, set: &str, view: &str) -> Result<Pooled> {
    let file = folder.join(format!("{set}-{view}.safetensors"));
    let at = || file.display().to_string();
    let mut tensors = candle_core::safetensors::load(&file, &Device::Cpu).with_context(at)?;
    let features = tensors.remove("pooled").context("no tensor pooled").with_context(at)?;
    let names = files::read_text(&file.with_extension("names.jsonl"))?;
    let pictures: Vec<Picture> =
        names.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
    let (rows, _) = features.dims2()?;
    if rows != pictures.len() {
        bail!("{}: {rows} rows for {} names", file.display(), pictures.len());
    }
    Ok(Pooled { pictures, features })
}
