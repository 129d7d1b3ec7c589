//! The vision encoder above the frozen stem (architecture.md, "Vision"): DINOv2-style ternary
//! blocks.
//!
//! Stem features `[photos * patches, channels]` to rows `[photos * (patches + 1), hidden]`: first
//! every photo's patches, then one CLS row a photo.

use std::ops::Range;

use candle_core::{Result, Tensor};

use crate::config::Config;
use crate::nn::{AttentionLayout, BitLinear, Block, BlockSizes, Heads, RmsNorm, Segment};
use crate::weights::{Init, ModelError, Weights};

/// DINOv2 starts its LayerScale at 1e-5 for depth 40; three blocks want to be heard sooner.
const LAYER_SCALE: f32 = 0.1;

/// Stem features to patch rows.
pub struct VisionEncoder {
    patch_norm: RmsNorm,
    patch_embed: BitLinear,
    cls_token: Tensor,
    pos_embed: Tensor,
    blocks: Vec<Block>,
    norm: RmsNorm,
    out_proj: BitLinear,
    num_patches: usize,
}

/// What the rest of the model sees of some photos.
pub struct EncodedPhotos {
    /// `[photos * (patches + 1), hidden_size]`, patches first, CLS rows last.
    pub rows: Tensor,
    /// The CLS rows before the projection, `[photos, vision.hidden_size]`.
    pub pooled: Tensor,
    /// Normalized patch rows before the projection, `[photos * patches, vision.hidden_size]`.
    pub patches: Tensor,
    pub(crate) num_photos: usize,
    pub(crate) num_patches: usize,
}

impl EncodedPhotos {
    /// The rows that belong to a photo.
    pub(crate) fn rows_of(&self, photo: usize) -> [Range<usize>; 2] {
        photo_rows(photo, self.num_photos, self.num_patches)
    }
}

/// The patch rows and the CLS row of a photo.
fn photo_rows(photo: usize, photos: usize, patches: usize) -> [Range<usize>; 2] {
    let cls = photos * patches + photo;
    [photo * patches..(photo + 1) * patches, cls..cls + 1]
}

impl VisionEncoder {
    /// The encoder of `config`.
    pub fn new(weights: &Weights, config: &Config) -> std::result::Result<Self, ModelError> {
        let vision = &config.vision;
        let hidden = vision.hidden_size;
        let channels = config.stem.output_channels();
        let heads =
            Heads { queries: vision.num_heads, keys: vision.num_heads, dim: config.head_dim };
        let sizes =
            BlockSizes { hidden, mlp: vision.mlp_size, heads, layer_scale: Some(LAYER_SCALE) };
        let blocks = (0..vision.num_layers)
            .map(|i| Block::new(&weights.pp("blocks").pp(i), sizes))
            .collect::<std::result::Result<_, _>>()?;
        let num_patches = config.num_patches();
        Ok(Self {
            patch_norm: RmsNorm::new(&weights.pp("patch_norm"), channels)?,
            patch_embed: BitLinear::new(&weights.pp("patch_proj"), channels, hidden)?,
            cls_token: weights.tensor("cls_token", &[1, hidden], Init::Normal(0.02))?,
            pos_embed: weights.tensor("pos_embed", &[num_patches, hidden], Init::Normal(0.02))?,
            blocks,
            norm: RmsNorm::new(&weights.pp("norm"), hidden)?,
            out_proj: BitLinear::new(&weights.pp("out_proj"), hidden, config.hidden_size)?,
            num_patches,
        })
    }

    /// Encodes the photos whose stem features are `[photos * patches, channels]`.
    pub fn forward(&self, features: &Tensor) -> Result<EncodedPhotos> {
        let patches = self.num_patches;
        let photos = features.dim(0)? / patches;
        let embedded = self.patch_embed.forward(&self.patch_norm.forward(features)?)?;
        let hidden = embedded.dim(1)?;
        let embedded = embedded
            .reshape((photos, patches, hidden))?
            .broadcast_add(&self.pos_embed)?
            .reshape((photos * patches, hidden))?;
        let cls = self.cls_token.broadcast_as((photos, hidden))?;
        let mut rows = Tensor::cat(&[embedded, cls.contiguous()?], 0)?;
        let layout = self.layout(photos);
        for block in &self.blocks {
            rows = block.forward(&rows, &layout)?;
        }
        let rows = self.norm.forward(&rows)?;
        Ok(EncodedPhotos {
            pooled: rows.narrow(0, photos * patches, photos)?,
            patches: rows.narrow(0, 0, photos * patches)?,
            rows: self.out_proj.forward(&rows)?,
            num_photos: photos,
            num_patches: patches,
        })
    }

    fn layout(&self, photos: usize) -> AttentionLayout {
        let segments = (0..photos).flat_map(|photo| {
            let keys = photo_rows(photo, photos, self.num_patches);
            keys.clone().into_iter().map(move |queries| Segment {
                queries,
                keys: keys.to_vec(),
                causal: false,
            })
        });
        AttentionLayout::new(segments.collect())
    }
}
