//! The hyperparameters of the model, checked once when they are read.

use serde::{Deserialize, Serialize};

mod stem;

pub use stem::StemConfig;
pub(crate) use stem::{BlockShape, CONV_CHANNELS, HEAD_CHANNELS, MAX_BLOCKS};

/// Why a [`Config`] was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field} is {found}, expected {expected}")]
pub struct ConfigError {
    /// The offending field.
    pub field: &'static str,
    /// Its value.
    pub found: usize,
    /// The valid values.
    pub expected: &'static str,
}

/// The hyperparameters of a BitMar, as stored in the model file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Number of tokens in the vocabulary.
    pub vocab_size: usize,
    /// Width of every text and fusion row.
    pub hidden_size: usize,
    /// Number of query heads; each is `head_dim` wide.
    pub num_heads: usize,
    /// Number of key and value heads, shared by groups of query heads (GQA).
    pub num_kv_heads: usize,
    /// Width of one head.
    pub head_dim: usize,
    /// Hidden width of the gated feed-forward layers.
    pub mlp_size: usize,
    /// Number of layers of the text encoder.
    pub text_layers: usize,
    /// Number of layers of the cross-modal fusion.
    pub fusion_layers: usize,
    /// Number of layers of the decoder.
    pub decoder_layers: usize,
    /// Number of learned query tokens before the prompt.
    pub num_queries: usize,
    /// Number of learned attention sinks before the decoder's prefix.
    pub num_sinks: usize,
    /// Number of recent tokens that the decoder keeps in addition to the sinks and the prefix.
    pub window: usize,
    /// The frozen convolutional stem.
    pub stem: StemConfig,
    /// Whether the file also holds the rest of Lite0's trunk, which reads the stem's output. Models
    /// without it lack the field.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub has_stem_extension: bool,
    /// Number of names of the tag head, which reads the extension's features; 0 without a head.
    /// Models without it lack the field.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub num_tags: usize,
    /// The ternary blocks above the stem.
    pub vision: VisionConfig,
    /// The episodic memory.
    pub memory: MemoryConfig,
}

/// The ternary vision encoder.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VisionConfig {
    /// Width of a patch row.
    pub hidden_size: usize,
    /// Number of heads, `hidden_size / head_dim`; `head_dim` is that of [`Config`].
    pub num_heads: usize,
    /// Hidden width of the gated feed-forward layers.
    pub mlp_size: usize,
    /// Number of blocks.
    pub num_layers: usize,
}

/// The episodic memory.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MemoryConfig {
    /// K, the number of slots.
    pub num_slots: usize,
    /// C, the width of keys, values and episodes.
    pub width: usize,
}

impl Config {
    /// Size S, the shipped model: 8 M parameters without the stem.
    pub fn small() -> Self {
        Self {
            vocab_size: 4096,
            hidden_size: 256,
            num_heads: 8,
            num_kv_heads: 2,
            head_dim: 32,
            mlp_size: 640,
            text_layers: 2,
            fusion_layers: 2,
            decoder_layers: 6,
            num_queries: 16,
            num_sinks: 4,
            window: 252,
            stem: StemConfig { input_size: 224, num_blocks: 15 },
            has_stem_extension: false,
            num_tags: 0,
            vision: VisionConfig { hidden_size: 256, num_heads: 8, mlp_size: 640, num_layers: 3 },
            memory: MemoryConfig { num_slots: 512, width: 128 },
        }
    }

    /// A model of a few thousand parameters, for tests and goldens.
    pub fn tiny() -> Self {
        Self {
            vocab_size: 320,
            hidden_size: 64,
            num_heads: 2,
            num_kv_heads: 1,
            mlp_size: 64,
            text_layers: 1,
            fusion_layers: 1,
            decoder_layers: 2,
            num_queries: 4,
            num_sinks: 2,
            window: 24,
            stem: StemConfig { input_size: 64, num_blocks: 12 },
            vision: VisionConfig { hidden_size: 64, num_heads: 2, mlp_size: 64, num_layers: 1 },
            memory: MemoryConfig { num_slots: 8, width: 32 },
            ..Self::small()
        }
    }

    /// Checks every condition that the layers rely on.
    pub fn validate(&self) -> Result<(), ConfigError> {
        /// Larger than in any model this project will ship; limits what a hostile file can
        /// allocate.
        const LARGEST: usize = 1 << 16;
        /// Several times the names that people use often.
        const MAX_TAGS: usize = 4096;
        let sizes = [
            ("vocab_size", self.vocab_size),
            ("hidden_size", self.hidden_size),
            ("mlp_size", self.mlp_size),
            ("vision.hidden_size", self.vision.hidden_size),
            ("vision.mlp_size", self.vision.mlp_size),
            ("memory.width", self.memory.width),
        ];
        for (field, found) in sizes {
            check(
                field,
                found,
                found >= 32 && found.is_multiple_of(32) && found <= LARGEST,
                "a multiple of 32",
            )?;
        }
        let counts = [
            ("num_heads", self.num_heads),
            ("num_kv_heads", self.num_kv_heads),
            ("vision.num_heads", self.vision.num_heads),
            ("text_layers", self.text_layers),
            ("fusion_layers", self.fusion_layers),
            ("decoder_layers", self.decoder_layers),
            ("vision.num_layers", self.vision.num_layers),
            ("num_queries", self.num_queries),
            ("num_sinks", self.num_sinks),
        ];
        for (field, found) in counts {
            check(field, found, (1..=64).contains(&found), "between 1 and 64")?;
        }
        check(
            "head_dim",
            self.head_dim,
            self.head_dim == 32,
            "32, the width the kernels are written for",
        )?;
        let heads_fill = self.num_heads * self.head_dim == self.hidden_size;
        check("num_heads", self.num_heads, heads_fill, "hidden_size / head_dim")?;
        let grouped = self.num_heads.is_multiple_of(self.num_kv_heads);
        check("num_kv_heads", self.num_kv_heads, grouped, "a divisor of num_heads")?;
        let vision_fill = self.vision.num_heads * self.head_dim == self.vision.hidden_size;
        check(
            "vision.num_heads",
            self.vision.num_heads,
            vision_fill,
            "vision.hidden_size / head_dim",
        )?;
        check("window", self.window, (1..=8192).contains(&self.window), "between 1 and 8192")?;
        let slots = self.memory.num_slots;
        check("memory.num_slots", slots, (1..=8192).contains(&slots), "between 1 and 8192")?;
        let can_tag = self.num_tags == 0 || self.has_stem_extension;
        let is_limited = self.num_tags <= MAX_TAGS;
        check("num_tags", self.num_tags, can_tag, "0 without a stem extension")?;
        check("num_tags", self.num_tags, is_limited, "at most 4096")?;
        self.stem.validate()?;
        let channels = self.stem.output_channels();
        check(
            "stem.num_blocks",
            channels,
            channels.is_multiple_of(32),
            "output channels a multiple of 32",
        )
    }

    /// Number of cells in the stem's grid: the patches of one photo.
    pub fn num_patches(&self) -> usize {
        self.stem.output_grid() * self.stem.output_grid()
    }
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(count: &usize) -> bool {
    *count == 0
}

fn check(
    field: &'static str,
    found: usize,
    holds: bool,
    expected: &'static str,
) -> Result<(), ConfigError> {
    if holds {
        Ok(())
    } else {
        Err(ConfigError { field, found, expected })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_named_size_is_valid() {
        for config in [Config::small(), Config::tiny()] {
            config.validate().expect("named sizes are valid");
        }
    }

    #[test]
    fn a_width_that_no_kernel_takes_is_refused() {
        let config = Config { hidden_size: 100, ..Config::small() };
        assert_eq!(config.validate().expect_err("100 is no multiple of 32").field, "hidden_size");
    }

    #[test]
    fn tags_without_a_stem_extension_are_refused() {
        let config = Config { num_tags: 600, ..Config::small() };
        assert_eq!(config.validate().expect_err("no extension").field, "num_tags");
        Config { has_stem_extension: true, ..config }.validate().expect("a valid configuration");
    }

    #[test]
    fn an_unknown_field_is_refused() {
        let mut json = serde_json::to_value(Config::small()).expect("a config is plain data");
        json["surprise"] = 1.into();
        assert!(serde_json::from_value::<Config>(json).is_err());
    }
}
