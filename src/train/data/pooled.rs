//! Reads pooled features that `bitmar-train features` computed: `SET-VIEW.safetensors` with the
//! tensor `pooled`, f16 `[regions, channels]`, and `SET-VIEW.names.jsonl` with a line for each.

use std::path::Path;

use anyhow::{bail, Context, Result};
use candle_core::{Device, Tensor};
use serde::{Deserialize, Serialize};

use crate::train::files;

/// A photo of a set, or a part of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Region {
    /// The photo's name in the set's tar.
    pub image: String,
    /// Left, top, right and bottom in pixels; right and bottom are exclusive.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub crop: Option<[u32; 4]>,
}

/// Regions and their features.
#[derive(Debug)]
pub struct Pooled {
    /// The regions in their order.
    pub regions: Vec<Region>,
    /// Their features, `[regions, channels]`.
    pub features: Tensor,
}

/// Reads the features of `view` (`plain`, `crops-1`, ...) of the set `set` in `folder`.
///
/// # Errors
///
/// If a file cannot be read, or the two do not describe equally many regions.
pub fn load_pooled(folder: &Path, set: &str, view: &str) -> Result<Pooled> {
    let file = folder.join(format!("{set}-{view}.safetensors"));
    let at = || file.display().to_string();
    let mut tensors = candle_core::safetensors::load(&file, &Device::Cpu).with_context(at)?;
    let features = tensors.remove("pooled").context("no tensor pooled").with_context(at)?;
    let names = files::read_text(&file.with_extension("names.jsonl"))?;
    let regions: Vec<Region> = names.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
    let (rows, _) = features.dims2()?;
    if rows != regions.len() {
        bail!("{}: {rows} rows for {} names", file.display(), regions.len());
    }
    Ok(Pooled { regions, features })
}
