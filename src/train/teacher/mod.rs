//! The float networks that the vision encoder is distilled from: EfficientNet-Lite2, Lite0 (the
//! origin of the stem), and Lite3 or DINOv2 if their weights are given.
//!
//! Each turns `[size, size, 3]` RGB8 into a pooled vector and a map of `(size / 32)^2` cells.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use crate::checkpoint::sha256;
use crate::train::teacher::dinov2::{Dinov2, Dinov2Error};
use crate::train::teacher::efficientnet::{EfficientNet, EfficientNetError, Features};

pub mod dinov2;
pub mod efficientnet;
pub mod sentence_encoder;
pub mod stem_cache;
pub mod stem_quantization;

/// Side of a cell in pixels: the stride of Lite2's last map and of the encoder's patches.
const CELL: usize = 32;

/// Why a teacher could not be loaded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TeacherError {
    /// No teacher has this name.
    #[error("expected lite0, lite2, lite3:FILE or dinov2:FILE as a teacher, found {found}")]
    Unknown {
        /// The name given.
        found: String,
    },
    /// The weights could not be read.
    #[error("cannot read {}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The error of the operating system.
        source: std::io::Error,
    },
    /// The weights are not those of an EfficientNet-Lite.
    #[error("{}: {source}", path.display())]
    Lite {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: EfficientNetError,
    },
    /// The weights are not those of a DINOv2.
    #[error("{}: {source}", path.display())]
    Dinov2 {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: Dinov2Error,
    },
}

/// A teacher as it is named on the command line: `lite0`, `lite2`, `lite3:FILE` or `dinov2:FILE`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum TeacherSource {
    /// `efficientnet_lite0.safetensors` in the data folder.
    Lite0,
    /// `efficientnet_lite2.safetensors` in the data folder.
    #[default]
    Lite2,
    /// A file written by `docs/convert_lite3.py`.
    Lite3(PathBuf),
    /// The safetensors file of `facebook/dinov2-small`, or of another size of it.
    Dinov2(PathBuf),
}

impl FromStr for TeacherSource {
    type Err = TeacherError;

    fn from_str(text: &str) -> Result<Self, TeacherError> {
        match text.split_once(':') {
            None if text == "lite0" => Ok(Self::Lite0),
            None if text == "lite2" => Ok(Self::Lite2),
            Some(("lite3", path)) if !path.is_empty() => Ok(Self::Lite3(path.into())),
            Some(("dinov2", path)) if !path.is_empty() => Ok(Self::Dinov2(path.into())),
            _ => Err(TeacherError::Unknown { found: text.into() }),
        }
    }
}

/// The sizes of a teacher's output for a photo.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TargetSizes {
    /// Width of the pooled vector.
    pub pooled: usize,
    /// ImageNet classes; 0 if the teacher has no classifier.
    pub classes: usize,
    /// Cells of the map.
    pub cells: usize,
    /// Channels of a cell.
    pub channels: usize,
}

impl TargetSizes {
    /// The number of values in total.
    pub fn total(self) -> usize {
        self.pooled + self.classes + self.cells * self.channels
    }
}

/// A teacher for photos of one size.
#[derive(Debug)]
pub struct Teacher {
    network: Network,
    name: String,
    size: usize,
}

#[derive(Debug)]
enum Network {
    Lite(Box<EfficientNet>),
    Dinov2(Dinov2),
}

impl Teacher {
    /// Loads the teacher for photos of `size * size` pixels; `data` is the data folder.
    ///
    /// # Errors
    ///
    /// If the file cannot be read or holds another network.
    ///
    /// # Panics
    ///
    /// If the teacher is DINOv2 and `size` is not a multiple of 14.
    pub fn load(source: &TeacherSource, data: &Path, size: usize) -> Result<Self, TeacherError> {
        let (path, lite) = match source {
            TeacherSource::Lite0 => (data.join("efficientnet_lite0.safetensors"), Some("lite0")),
            TeacherSource::Lite2 => (data.join("efficientnet_lite2.safetensors"), Some("lite2")),
            TeacherSource::Lite3(path) => (path.clone(), Some("lite3")),
            TeacherSource::Dinov2(path) => (path.clone(), None),
        };
        let bytes = std::fs::read(&path)
            .map_err(|source| TeacherError::File { path: path.clone(), source })?;
        let (network, name) = match lite {
            Some(name) => {
                let net = EfficientNet::load(&bytes)
                    .map_err(|source| TeacherError::Lite { path, source })?;
                (Network::Lite(Box::new(net)), name.to_owned())
            }
            None => {
                let net = Dinov2::load(&bytes, size)
                    .map_err(|source| TeacherError::Dinov2 { path, source })?;
                (Network::Dinov2(net), format!("dinov2-{}", &sha256(&bytes)[..12]))
            }
        };
        Ok(Self { network, name, size })
    }

    /// The name of its caches, which differs between DINOv2 files with different weights.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Side of its photos in pixels.
    pub fn size(&self) -> usize {
        self.size
    }

    /// The sizes of the output of [`Teacher::forward`].
    pub fn sizes(&self) -> TargetSizes {
        let cells = self.size.div_ceil(CELL) * self.size.div_ceil(CELL);
        let (pooled, classes, channels) = match &self.network {
            Network::Lite(net) => (1280, 1000, net.grid_channels()),
            Network::Dinov2(net) => (net.hidden_size(), 0, net.hidden_size()),
        };
        TargetSizes { pooled, classes, cells, channels }
    }

    /// Runs the teacher on `pixels`, `[size, size, 3]` RGB8. For DINOv2 the features are the CLS
    /// vector and the patch tokens averaged over each cell, without logits.
    pub fn forward(&self, pixels: &[u8]) -> Features {
        match &self.network {
            Network::Lite(net) => net.forward(pixels, self.size),
            Network::Dinov2(net) => {
                let tokens = net.forward(pixels);
                let grid = average(&tokens.patches, net.grid(), self.size.div_ceil(CELL));
                Features { grid, pooled: tokens.cls, logits: Vec::new() }
            }
        }
    }
}

/// Resizes a map `[from * from, channels]` to `[to * to, channels]` by area averaging: each old
/// cell is weighted by the area that it shares with the new one.
fn average(map: &[f32], from: usize, to: usize) -> Vec<f32> {
    let channels = map.len() / (from * from);
    // In units of 1 / (from * to) of the side the borders of both grids are integers.
    let shared = |old: usize, new: usize| {
        let (low, high) = ((old * to).max(new * from), ((old + 1) * to).min((new + 1) * from));
        high.saturating_sub(low) as f32 / from as f32
    };
    let mut out = Vec::with_capacity(to * to * channels);
    for cell in 0..to * to {
        let mut sums = vec![0.0; channels];
        for (old, row) in map.chunks_exact(channels).enumerate() {
            let weight = shared(old / from, cell / to) * shared(old % from, cell % to);
            if weight > 0.0 {
                sums.iter_mut().zip(row).for_each(|(sum, value)| *sum += weight * value);
            }
        }
        out.extend(sums);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::teacher::dinov2::tests::{file, shapes};

    #[test]
    fn parses_the_names_of_the_command_line() {
        assert_eq!("lite0".parse::<TeacherSource>().expect("a teacher"), TeacherSource::Lite0);
        assert_eq!("lite2".parse::<TeacherSource>().expect("a teacher"), TeacherSource::Lite2);
        let [lite3, dinov2] = ["lite3", "dinov2"].map(|name| {
            format!("{name}:some/model.safetensors").parse::<TeacherSource>().expect("a teacher")
        });
        let path = PathBuf::from("some/model.safetensors");
        assert_eq!(lite3, TeacherSource::Lite3(path.clone()));
        assert_eq!(dinov2, TeacherSource::Dinov2(path));
        for other in ["", "lite1", "lite3", "lite3:", "dinov2", "dinov2:", "clip:x"] {
            let error = other.parse::<TeacherSource>().expect_err("not a teacher");
            assert!(matches!(error, TeacherError::Unknown { found } if found == other));
        }
    }

    #[test]
    fn cells_are_averaged_by_the_area_they_share() {
        // From 3 to 2 cells a side, a new cell covers one and a half old ones in each direction.
        let map: Vec<f32> = (0..9u8).flat_map(|i| [f32::from(i), 1.0]).collect();
        let found = average(&map, 3, 2);
        let corner = (0.0 + 1.0 * 0.5 + 3.0 * 0.5 + 4.0 * 0.25) / 2.25;
        for (i, expected) in
            [corner, corner + 4.0 / 3.0, corner + 4.0, 8.0 - corner].iter().enumerate()
        {
            assert!((found[2 * i] - expected).abs() < 1e-5, "{i}: {found:?}, {expected}");
            assert!((found[2 * i + 1] - 1.0).abs() < 1e-6, "{i}: {found:?}");
        }
        assert_eq!(average(&map, 3, 3), map);
    }

    #[test]
    fn dinov2_has_the_declared_sizes_and_is_named_by_its_weights() {
        let folder = std::env::temp_dir().join(format!("bitmar-teacher-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        let load = |bytes: Option<Vec<u8>>| {
            let path = folder.join("weights");
            match bytes {
                Some(bytes) => std::fs::write(&path, bytes).expect("a file"),
                None => std::fs::remove_file(&path).expect("the file"),
            }
            Teacher::load(&TeacherSource::Dinov2(path), &folder, 224)
        };
        let [teacher, other] =
            [1, 2].map(|layers| load(Some(file(&shapes(64, layers, 4)))).expect("a network"));
        assert!(teacher.name().starts_with("dinov2-") && teacher.name() != other.name());
        let sizes = teacher.sizes();
        assert_eq!(sizes, TargetSizes { pooled: 64, classes: 0, cells: 49, channels: 64 });
        let features = teacher.forward(&[90; 3 * 224 * 224]);
        let lengths = [features.pooled.len(), features.logits.len(), features.grid.len()];
        assert_eq!(lengths, [sizes.pooled, sizes.classes, sizes.cells * sizes.channels]);
        let foreign = load(Some(b"another file".to_vec())).expect_err("a foreign file");
        assert!(matches!(foreign, TeacherError::Dinov2 { .. }), "{foreign}");
        let missing = load(None).expect_err("a missing file");
        assert!(matches!(missing, TeacherError::File { .. }), "{missing}");
        let lite = Teacher::load(&TeacherSource::Lite2, &folder, 224).expect_err("a missing file");
        assert!(matches!(lite, TeacherError::File { .. }), "{lite}");
        std::fs::remove_dir_all(&folder).expect("the folder");
    }
}
