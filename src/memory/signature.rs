//! A small picture of each photo, to tell whether two photos with similar keys are the same one.
//!
//! Keys are means over a photo's cells. Those of text pages, charts, screenshots and drawings lie
//! so close together that different ones pass for copies. The signature holds the photo's luminance
//! at three sizes, each normalized by its local mean and deviation, and its mean colors. Two
//! signatures are compared after one has been moved over the other: a copy may be mirrored and
//! cropped to 90 % of each side.
//!
//! The constants were chosen on 840 drawn pictures of seeds 1 to 4 and 105 dev photos of Flickr8k;
//! `bitmar-train eval-memory --drawn DIR` measures the outcome on another seed.

mod alignment;
mod linear;

use alignment::{Alignment, Picture, Slope};

/// Sides of the three pictures, in pixels: coarse to find the alignment, fine to compare.
const SIDES: [usize; 3] = [16, 32, 64];
/// Half width of the window over which each of them is normalized.
const RADII: [usize; 3] = [2, 3, 3];
/// Deviation of luminance, of 255, below which a window counts as flat: JPEG's noise lies below it.
const FLAT: f32 = 4.0;
/// Steps for a deviation of 1. A pixel is stored in 4 bits as 1 to 15, where 8 stands for 0.
const STEPS: f32 = 2.0;
/// Side of the two pictures of color differences, blue and red.
const COLOR_SIDE: usize = 16;
const COLORS: usize = 2 * COLOR_SIDE * COLOR_SIDE;
const PIXELS: usize = SIDES[0] * SIDES[0] + SIDES[1] * SIDES[1] + SIDES[2] * SIDES[2];
/// Size of a signature in bytes.
pub const SIGNATURE_BYTES: usize = PIXELS / 2 + COLORS;

/// Least correlation of two coarse pictures for which the others are compared. Copies have at least
/// 0.56.
const MIN_COARSE: f32 = 0.45;
/// Signatures that are compared in full, those with the highest coarse correlation: a full
/// comparison takes about 0.3 ms, and a memory may hold hundreds of pages of one layout.
const MAX_COMPARED: usize = 16;
/// Alignments followed up after the coarse pictures, after the middle ones, and after the fine
/// ones.
const KEPT: [usize; 4] = [8, 4, 2, 1];
/// Steps of the alignment at each size.
const REFINEMENTS: usize = 5;
/// Side of a block whose correlation is looked at separately, and the distance to the next.
const BLOCK: usize = 8;
const STRIDE: usize = BLOCK / 2;
/// Least mean square of the slopes of a block that is not flat.
const MIN_ENERGY: f32 = 0.03;
/// Share of the blocks that may be unlike: different words change some blocks only, and so does
/// what a crop cuts off.
const LOW_SHARE: f32 = 0.1;
/// Least score of two copies: the mean of the blocks' correlations and their lower tenth, halved.
/// Different pages of one layout stay below 0.62, all but a few in type too small to be seen.
const MIN_SCORE: f32 = 0.63;
/// Color of a pixel, of 254, above which it counts as colored.
const COLORED: f32 = 16.0;
/// Difference of two colors, as a share of the stronger, above which they are not one color. Copies
/// 20 % brighter or darker stay below it.
const OTHER_COLOR: f32 = 0.8;
/// Largest share of the colored pixels that may have another color.
const MAX_OTHER_COLORS: f32 = 0.25;

/// A photo's signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature(Box<[u8]>);

/// A signature prepared to be compared with others.
pub(super) struct Probe {
    /// As it is, and mirrored.
    views: [View; 2],
    /// The coarse pictures of both in all alignments to start from.
    starts: Vec<Start>,
}

struct View {
    pictures: [Picture; 3],
    colors: [Picture; 2],
}

struct Start {
    is_mirrored: bool,
    alignment: Alignment,
    /// Of unit length.
    pixels: Vec<f32>,
}

impl Signature {
    /// The signature of `[size, size, 3]` RGB8, which is what the stem sees.
    pub fn of(pixels: &[u8], size: usize) -> Self {
        assert_eq!(pixels.len(), 3 * size * size, "a square RGB picture");
        let plane = |weights: [f32; 3]| -> Vec<f32> {
            let value = |rgb: &[u8]| rgb.iter().zip(weights).map(|(&v, w)| f32::from(v) * w).sum();
            pixels.chunks_exact(3).map(value).collect()
        };
        let fine = Picture::reduced(&plane([0.299, 0.587, 0.114]), size, SIDES[2]);
        let middle = fine.halved();
        let coarse = middle.halved();
        let mut bytes = Vec::with_capacity(SIGNATURE_BYTES);
        for (picture, radius) in [coarse, middle, fine].iter().zip(RADII) {
            let codes: Vec<u8> = picture.normalized(radius, FLAT).pixels().map(code).collect();
            bytes.extend(codes.chunks_exact(2).map(|pair| pair[0] | pair[1] << 4));
        }
        for weights in [[-0.169, -0.331, 0.5], [0.5, -0.419, -0.081]] {
            let picture = Picture::reduced(&plane(weights), size, COLOR_SIDE);
            #[allow(clippy::cast_possible_truncation, reason = "`as` saturates")]
            bytes.extend(picture.pixels().map(|value| (value.round() as i8).to_le_bytes()[0]));
        }
        Self(bytes.into())
    }

    /// The signature stored as `bytes`; `None` if no signature has these bytes.
    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let codes = bytes.get(..PIXELS / 2)?;
        let is_sound = codes.iter().all(|byte| byte & 15 != 0 && byte >> 4 != 0);
        (is_sound && bytes.len() == SIGNATURE_BYTES).then(|| Self(bytes.into()))
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// Whether the two are of copies of one photo.
    pub fn matches(&self, other: &Self) -> bool {
        Probe::new(self).score(other).is_some_and(|score| score >= MIN_SCORE)
    }

    /// The luminance at `SIDES[level]`.
    fn picture(&self, level: usize) -> Picture {
        let before: usize = SIDES[..level].iter().map(|side| side * side).sum();
        let side = SIDES[level];
        let bytes = &self.0[before / 2..][..side * side / 2];
        let codes = bytes.iter().flat_map(|byte| [byte & 15, byte >> 4]);
        Picture::new(side, codes.map(|code| (f32::from(code) - 8.0) / STEPS).collect())
    }

    fn colors(&self) -> [Picture; 2] {
        let bytes = &self.0[PIXELS / 2..];
        let planes = bytes.split_at(COLORS / 2);
        [planes.0, planes.1].map(|plane| {
            let value = |&byte: &u8| f32::from(i8::from_le_bytes([byte]));
            Picture::new(COLOR_SIDE, plane.iter().map(value).collect())
        })
    }
}

impl Probe {
    pub(super) fn new(signature: &Signature) -> Self {
        let view = View {
            pictures: [0, 1, 2].map(|level| signature.picture(level)),
            colors: signature.colors(),
        };
        let mirrored = View {
            pictures: view.pictures.each_ref().map(Picture::mirrored),
            colors: view.colors.each_ref().map(Picture::mirrored),
        };
        let views = [view, mirrored];
        let mut starts = Vec::new();
        for (is_mirrored, view) in [false, true].into_iter().zip(&views) {
            for alignment in Alignment::starts() {
                let mut moved = view.pictures[0].moved(&alignment).zero_outside();
                let length = super::length(&moved).max(f32::MIN_POSITIVE);
                moved.iter_mut().for_each(|v| *v /= length);
                starts.push(Start { is_mirrored, alignment, pixels: moved });
            }
        }
        Self { views, starts }
    }

    /// Those of `others` that are of copies of the same photo, by their positions.
    pub(super) fn matches<'a>(
        &self,
        others: impl Iterator<Item = (usize, &'a Signature)>,
    ) -> Vec<usize> {
        let coarse = others.map(|(position, other)| (position, other, self.coarse(other)));
        let mut near: Vec<_> = coarse.filter(|(_, _, best)| *best >= MIN_COARSE).collect();
        near.sort_by(|a, b| b.2.total_cmp(&a.2));
        near.truncate(MAX_COMPARED);
        let is_same = |other| self.score(other).is_some_and(|score| score >= MIN_SCORE);
        near.retain(|&(_, other, _)| is_same(other));
        near.into_iter().map(|(position, ..)| position).collect()
    }

    /// The highest correlation of the coarse pictures, over all alignments.
    fn coarse(&self, other: &Signature) -> f32 {
        self.correlations(&other.picture(0)).into_iter().fold(-1.0, f32::max)
    }

    fn correlations(&self, coarse: &Picture) -> Vec<f32> {
        // Where nothing stands out there is nothing to align.
        if coarse.is_flat() && self.views[0].pictures[0].is_flat() {
            return vec![1.0; self.starts.len()];
        }
        let pixels: Vec<f32> = coarse.pixels().collect();
        let length = super::length(&pixels).max(f32::MIN_POSITIVE);
        let dot = |start: &Start| -> f32 {
            start.pixels.iter().zip(&pixels).map(|(a, b)| a * b).sum::<f32>() / length
        };
        self.starts.iter().map(dot).collect()
    }

    /// How alike the other photo is once aligned, at most 1; `None` if it is certainly another.
    fn score(&self, other: &Signature) -> Option<f32> {
        let pictures = [0, 1, 2].map(|level| other.picture(level));
        let correlations = self.correlations(&pictures[0]);
        let mut tried: Vec<(f32, bool, Alignment)> = correlations
            .into_iter()
            .zip(&self.starts)
            .map(|(correlation, start)| (correlation, start.is_mirrored, start.alignment))
            .collect();
        for (level, kept) in KEPT.into_iter().enumerate() {
            tried.sort_by(|a, b| b.0.total_cmp(&a.0));
            tried.truncate(kept);
            if tried[0].0 < MIN_COARSE {
                return None;
            }
            let Some(picture) = pictures.get(level) else { break };
            for (correlation, is_mirrored, alignment) in &mut tried {
                let own = &self.views[usize::from(*is_mirrored)].pictures[level];
                if own.is_flat() && picture.is_flat() {
                    break;
                }
                *correlation = alignment.refine(own, picture, REFINEMENTS);
            }
        }
        let (_, is_mirrored, alignment) = tried[0];
        let own = &self.views[usize::from(is_mirrored)];
        if other_colors(&own.colors, &other.colors(), &alignment) > MAX_OTHER_COLORS {
            return None;
        }
        // Softened, because moving by part of a pixel softens the one that is moved.
        let moved = own.pictures[2].moved(&alignment).softened();
        let other = pictures[2].softened();
        // Slopes, because the lines of all pages of text are alike, and not what changes along them.
        let mut correlations = Vec::new();
        for slope in [Slope::Across, Slope::Down] {
            let (own, other) = (moved.slopes(slope), other.slopes(slope));
            correlations.extend(own.block_correlations(&other, BLOCK, STRIDE, MIN_ENERGY));
        }
        Some(summary(correlations))
    }
}

/// A pixel in 4 bits.
fn code(value: f32) -> u8 {
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "1 to 15")]
    let code = ((value * STEPS).round().clamp(-7.0, 7.0) + 8.0) as u8;
    code
}

/// The mean of the correlations and their lower tenth, halved; 1 without any.
fn summary(mut correlations: Vec<f32>) -> f32 {
    if correlations.is_empty() {
        return 1.0;
    }
    correlations.sort_by(f32::total_cmp);
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an index")]
    let low = correlations[(correlations.len() as f32 * LOW_SHARE) as usize];
    let mean = correlations.iter().sum::<f32>() / correlations.len() as f32;
    (mean + low) / 2.0
}

/// The share of the colored pixels whose colors differ.
fn other_colors(own: &[Picture; 2], other: &[Picture; 2], alignment: &Alignment) -> f32 {
    let moved = own.each_ref().map(|plane| plane.moved(alignment));
    let (blue, red) = (moved[0].pairs(&other[0]), moved[1].pairs(&other[1]));
    let (mut colored, mut differing) = (0.0, 0.0);
    for ((own_blue, blue), (own_red, red)) in blue.zip(red) {
        let strength = f32::max(own_blue.abs() + own_red.abs(), blue.abs() + red.abs());
        if strength >= COLORED {
            colored += 1.0;
            let difference = (own_blue - blue).abs() + (own_red - red).abs();
            differing += f32::from(u8::from(difference > OTHER_COLOR * strength));
        }
    }
    differing / f32::max(colored, 1.0)
}

#[cfg(test)]
mod tests;
