//! Reads pooled features that `bitmar-train features` computed: `SET-VIEW.safetensors` with the
//! tensor `pooled`, f16 `[pictures, channels]`, and `SET-VIEW.names.jsonl` with a line for each.

use std::path::Path;

use candle_core::{Device, Tensor};
use serde::Deserialize;

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
pub fn load_pooled(
    folder: &Path,
    set: &str,
    view: &str,
) -> Result<Pooled, Box<dyn std::error::Error>> {
    let file = folder.join(format!("{set}-{view}.safetensors"));
    let at = |message: String| format!("{}: {message}", file.display());
    let mut tensors = candle_core::safetensors::load(&file, &Device::Cpu)
        .map_err(|error| at(error.to_string()))?;
    let features = tensors.remove("pooled").ok_or_else(|| at("no tensor pooled".into()))?;
    let names = std::fs::read_to_string(file.with_extension("names.jsonl"))?;
    let pictures: Vec<Picture> =
        names.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
    let (rows, _) = features.dims2()?;
    if rows != pictures.len() {
        return Err(at(format!("{rows} rows for {} names", pictures.len())).into());
    }
    Ok(Pooled { pictures, features })
}
