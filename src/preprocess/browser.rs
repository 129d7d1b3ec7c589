//! Which files a browser may decode, so that a photo has the same pixels everywhere.

use image::ImageFormat;

use super::kind::{kind, Kind};
use super::{dimensions, jpeg, png, webp_has_its_length, MAX_PIXELS};

/// Longest side in pixels that every browser draws; beyond its limit, Chromium draws nothing.
const MAX_SIDE: u32 = 32_767;

/// Whether to ask a browser's decoder before `decode`: if it gives the same pixels, or if only a
/// browser can read the format. Browsers disagree about files that are cut (Firefox shows the
/// rest), the EXIF orientation of PNG and WebP, and the first frame of an animated PNG.
pub fn is_for_browser(bytes: &[u8]) -> bool {
    let is_alike = match kind(bytes) {
        Kind::Photo(ImageFormat::Jpeg) => jpeg::end(bytes) == Ok(None),
        Kind::Photo(ImageFormat::Png) => is_plain_png(bytes),
        Kind::Photo(ImageFormat::WebP) => webp_has_its_length(bytes) && !webp_has_exif(bytes),
        Kind::Photo(_) => false,
        Kind::Unsupported(_) | Kind::Svg | Kind::Other(_) => true,
    };
    is_alike
        && dimensions(bytes).is_none_or(|(width, height)| {
            width.max(height) <= MAX_SIDE && u64::from(width) * u64::from(height) <= MAX_PIXELS
        })
}

/// Whether a PNG file is whole, is not animated and has no EXIF.
fn is_plain_png(bytes: &[u8]) -> bool {
    let is_last = |name: &[u8]| matches!(name, b"IEND" | b"acTL" | b"eXIf");
    png::chunks(bytes).find(|(name, _)| is_last(name)).is_some_and(|(name, _)| name == b"IEND")
}

/// Whether the header of an extended WebP file announces EXIF.
fn webp_has_exif(bytes: &[u8]) -> bool {
    bytes.get(12..16) == Some(b"VP8X") && bytes.get(20).is_some_and(|flags| flags & 0x08 != 0)
}
