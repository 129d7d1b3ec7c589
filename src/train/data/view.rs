//! The views of a photo: the original, its mirror image, and jittered ones.

use image::{imageops, RgbImage};

use crate::random::Random;

/// An augmentation of a photo.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum View {
    /// The unchanged photo.
    Original,
    /// The photo with left and right exchanged.
    Mirrored,
    /// A random crop with random contrast (factor 0.8 to 1.2) and brightness (-15 to 15 of 255);
    /// mirrored if the number is odd. The sides of the crop are 85 to 100 % of the photo's for the
    /// numbers 1 and 2, 70 to 100 % for the others.
    Jittered(u8),
}

impl View {
    /// The original, the mirrored and `COUNT - 2` jittered views, the latter numbered from 1.
    pub(crate) const fn with_jittered<const COUNT: usize>() -> [Self; COUNT] {
        let mut views = [Self::Original; COUNT];
        views[1] = Self::Mirrored;
        let mut number = 1u8;
        while (number as usize) < COUNT - 1 {
            views[number as usize + 1] = Self::Jittered(number);
            number += 1;
        }
        views
    }

    /// The view's name in the names of cache files.
    pub(crate) fn name(self) -> String {
        match self {
            Self::Original => "original".into(),
            Self::Mirrored => "mirrored".into(),
            Self::Jittered(n) => format!("jittered{n}"),
        }
    }

    pub(crate) fn is_mirrored(self) -> bool {
        matches!(self, Self::Mirrored) || matches!(self, Self::Jittered(n) if n % 2 == 1)
    }

    /// Applies the augmentation; the photo's `name` and the view's number seed the random ones.
    pub(crate) fn apply(self, photo: &RgbImage, name: &str) -> RgbImage {
        let mirrored = |photo: &RgbImage| imageops::flip_horizontal(photo);
        match self {
            Self::Original => photo.clone(),
            Self::Mirrored => mirrored(photo),
            Self::Jittered(n) => {
                let min_share = if n <= 2 { 0.85 } else { 0.7 };
                let jittered = jitter(photo, min_share, &mut Random::named(u64::from(n), name));
                if self.is_mirrored() {
                    mirrored(&jittered)
                } else {
                    jittered
                }
            }
        }
    }
}

/// Crops `photo` to sides of `min_share` to 1 of its own and changes contrast and brightness.
fn jitter(photo: &RgbImage, min_share: f32, random: &mut Random) -> RgbImage {
    let (width, height) = photo.dimensions();
    let crop_side = |size: u32, random: &mut Random| {
        let kept = (size as f32 * (min_share + (1.0 - min_share) * random.uniform())).round();
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "below size")]
        let kept = (kept as u32).clamp(1, size);
        let start = random.below((size - kept + 1) as usize);
        (u32::try_from(start).expect("below size"), kept)
    };
    let ((x, w), (y, h)) = (crop_side(width, random), crop_side(height, random));
    let cropped = imageops::crop_imm(photo, x, y, w, h).to_image();
    let (gain, shift) = (0.8 + 0.4 * random.uniform(), 30.0 * (random.uniform() - 0.5));
    let mut out = cropped;
    for value in out.iter_mut() {
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "`as` saturates"
        )]
        {
            *value = ((f32::from(*value) - 127.0) * gain + 127.0 + shift) as u8;
        }
    }
    out
}
