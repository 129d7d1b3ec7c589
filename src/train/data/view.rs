//! The augmented views of a photo: original, mirrored, cropped at random.

use image::{imageops, RgbImage};

use crate::random::Random;

/// An augmentation of a photo.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum View {
    /// The unchanged photo.
    Original,
    /// The photo with left and right exchanged.
    Mirrored,
    /// A random crop with changed brightness and contrast; mirrored if the number is odd. The sides
    /// of numbers 1 and 2 are 85 to 100 % of the photo's, those of the others 70 to 100 %.
    Jittered(u8),
}

impl View {
    /// The original, the mirrored and `COUNT - 2` jittered views, numbered from 1.
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

    /// Applies the augmentation; the photo's `name` seeds the random ones.
    pub(crate) fn apply(self, photo: &RgbImage, name: &str) -> RgbImage {
        let mirrored = |photo: &RgbImage| imageops::flip_horizontal(photo);
        match self {
            Self::Original => photo.clone(),
            Self::Mirrored => mirrored(photo),
            Self::Jittered(n) => {
                let least = if n <= 2 { 0.85 } else { 0.7 };
                let jittered = jitter(photo, least, &mut Random::named(u64::from(n), name));
                if self.is_mirrored() {
                    mirrored(&jittered)
                } else {
                    jittered
                }
            }
        }
    }
}

fn jitter(photo: &RgbImage, least: f32, random: &mut Random) -> RgbImage {
    let (width, height) = photo.dimensions();
    let part = |size: u32, random: &mut Random| {
        let kept = (size as f32 * (least + (1.0 - least) * random.uniform())).round();
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "below size")]
        let kept = (kept as u32).clamp(1, size);
        let start = random.below((size - kept + 1) as usize);
        (u32::try_from(start).expect("below size"), kept)
    };
    let ((x, w), (y, h)) = (part(width, random), part(height, random));
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
