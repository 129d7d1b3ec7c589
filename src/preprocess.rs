//! Photo bytes to the pixels the model sees.
//!
//! `decode` (or `from_rgba` for pixels a browser decoded) gives an upright RGB image without alpha;
//! `to_pixels` squashes it to the model's square, `[size, size, 3]` RGB8, row by row. Photos are
//! squashed, not cropped, like those of the training, because captions describe the whole photo.

mod browser;
mod jpeg;
mod kind;
mod png;
mod resize;
#[cfg(test)]
mod tests;

use std::io::{Cursor, ErrorKind};

use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, ImageError, ImageFormat, ImageReader, Limits, RgbImage};

use kind::Kind;

pub use browser::is_for_browser;
pub use resize::to_pixels;

/// Maximum number of pixels of a photo. Large phone sensors reach 50 megapixels; RGB of 100
/// megapixels is 300 MB, near the limit of a browser tab on a phone.
pub const MAX_PIXELS: u64 = 100_000_000;

/// Maximum memory of a decoder in bytes: `MAX_PIXELS` in RGBA8.
const MAX_DECODER_BYTES: u64 = 4 * MAX_PIXELS;

/// Pixels that a file of any length may have, so that no blank or cartoon-like photo is refused.
const UNEXPLAINED_PIXELS: u64 = 16_000_000;
/// Above that, the maximum number of pixels per byte. JPEG reaches 512 (a bit for each block of
/// 64), GIF 2,730 (12 bits for a run of 4,096); only a blank PNG or WebP can have more.
const PIXELS_PER_BYTE: u64 = 4096;

/// Why a photo could not be turned into pixels.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PhotoError {
    /// There are no bytes, or no pixels.
    #[error("the photo is empty")]
    Empty,
    /// The bytes are a photo in a format that cannot be decoded.
    #[error("{format} is not supported; JPEG, PNG, WebP, GIF and BMP are")]
    UnsupportedFormat {
        /// The name of the format, such as `HEIC` or `12-bit JPEG`.
        format: &'static str,
    },
    /// The bytes are not a photo.
    #[error("expected JPEG, PNG, WebP, GIF or BMP, found {found}")]
    NotAPhoto {
        /// What the bytes seem to be.
        found: &'static str,
    },
    /// The bytes are a vector drawing, which has no pixels until a browser draws it.
    #[error("an SVG drawing has to be drawn into pixels first")]
    Svg,
    /// The photo has more pixels than `MAX_PIXELS`, or needs more memory than a photo of that size.
    #[error("a photo of {width} x {height} pixels is over the limit of {limit} pixels")]
    TooLarge {
        /// Width in pixels, from the header.
        width: u32,
        /// Height in pixels, from the header.
        height: u32,
        /// `MAX_PIXELS`.
        limit: u64,
    },
    /// The file ends before the image does.
    #[error("the photo's file ends too early")]
    Truncated,
    /// The format was recognized but its contents are invalid.
    #[error("the photo is damaged: {reason}")]
    Corrupt {
        /// The decoder's message.
        reason: String,
    },
    /// The pixel buffer does not hold `width * height` RGBA pixels.
    #[error("expected {expected} bytes of RGBA, found {found}")]
    WrongLength {
        /// `width * height * 4`.
        expected: u64,
        /// The buffer's length.
        found: usize,
    },
}

impl PhotoError {
    /// A stable name for programs.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::UnsupportedFormat { .. } => "unsupported",
            Self::NotAPhoto { .. } | Self::Svg => "not-a-photo",
            Self::TooLarge { .. } => "too-large",
            Self::Truncated => "truncated",
            Self::Corrupt { .. } | Self::WrongLength { .. } => "damaged",
        }
    }

    /// The name of the format that is not supported.
    pub fn format(&self) -> Option<&'static str> {
        match self {
            Self::UnsupportedFormat { format } => Some(format),
            _ => None,
        }
    }
}

/// Width and height in pixels from a photo file's header, before its EXIF orientation is applied;
/// `None` if they cannot be determined. The first bytes of a file suffice, except for a WebP file
/// with EXIF, which comes last.
pub fn dimensions(bytes: &[u8]) -> Option<(u32, u32)> {
    let mut reader = ImageReader::new(Cursor::new(bytes)).with_guessed_format().ok()?;
    reader.limits(decoder_limits());
    reader.into_dimensions().ok()
}

/// Decodes a JPEG, PNG, WebP, GIF or BMP file; the format is detected from its content.
///
/// The first frame of an animation is used, the EXIF orientation is applied, and transparent pixels
/// are blended with white.
pub fn decode(bytes: &[u8]) -> Result<RgbImage, PhotoError> {
    if bytes.is_empty() {
        return Err(PhotoError::Empty);
    }
    let format = supported_format(bytes)?;
    // The decoder would call it damaged.
    if format == ImageFormat::WebP && !webp_has_its_length(bytes) {
        return Err(PhotoError::Truncated);
    }
    if let (ImageFormat::Png, Some(whole)) = (format, png::with_end_chunk(bytes)) {
        return decode(&whole).map_err(cut);
    }
    // The decoder would fill the missing part with gray.
    let end = if format == ImageFormat::Jpeg { jpeg::end(bytes)? } else { None };
    let mut decoder = checked_decoder(format, bytes)?;
    if let Some(end) = end {
        return decode(&jpeg::with_end_marker(bytes, end)?);
    }
    let dimensions = decoder.dimensions();
    // A photo with unreadable EXIF is still a photo.
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    let mut photo =
        DynamicImage::from_decoder(decoder).map_err(|error| photo_error(error, dimensions))?;
    photo.apply_orientation(orientation);
    Ok(if photo.color().has_alpha() { over_white(photo) } else { photo.into_rgb8() })
}

/// The decoder of a file whose header states a size that can be decoded.
fn checked_decoder(
    format: ImageFormat,
    bytes: &[u8],
) -> Result<impl ImageDecoder + '_, PhotoError> {
    let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
    reader.limits(decoder_limits());
    let decoder = reader.into_decoder().map_err(|error| photo_error(error, (0, 0)))?;
    let dimensions = decoder.dimensions();
    check_dimensions(dimensions)?;
    check_explained(dimensions, bytes.len())?;
    if decoder.total_bytes() > MAX_DECODER_BYTES {
        return Err(too_large(dimensions));
    }
    Ok(decoder)
}

/// The format of a photo that can be decoded.
fn supported_format(bytes: &[u8]) -> Result<ImageFormat, PhotoError> {
    match kind::kind(bytes) {
        Kind::Photo(format) => Ok(format),
        Kind::Unsupported(format) => Err(PhotoError::UnsupportedFormat { format }),
        Kind::Svg => Err(PhotoError::Svg),
        Kind::Other(found) => Err(PhotoError::NotAPhoto { found }),
    }
}

/// Converts pixels that a browser decoded: `[height, width, 4]` RGBA8 with straight alpha, as in a
/// canvas.
pub fn from_rgba(width: u32, height: u32, rgba: &[u8]) -> Result<RgbImage, PhotoError> {
    check_dimensions((width, height))?;
    let expected = 4 * u64::from(width) * u64::from(height);
    if rgba.len() as u64 != expected {
        return Err(PhotoError::WrongLength { expected, found: rgba.len() });
    }
    let rgb = rgba.chunks_exact(4).flat_map(rgba_over_white).collect();
    Ok(RgbImage::from_raw(width, height, rgb).expect("three bytes were written for every pixel"))
}

/// Blends a transparent photo with white.
fn over_white(photo: DynamicImage) -> RgbImage {
    let photo = photo.into_rgba8();
    let (width, height) = photo.dimensions();
    let rgb = photo.as_raw().chunks_exact(4).flat_map(rgba_over_white).collect();
    RgbImage::from_raw(width, height, rgb).expect("three bytes were written for every pixel")
}

/// Blends one straight-alpha pixel with white, rounded to the nearest.
fn rgba_over_white(rgba: &[u8]) -> [u8; 3] {
    let alpha = u16::from(rgba[3]);
    let blend = |value: u8| (u16::from(value) * alpha + 255 * (255 - alpha) + 127) / 255;
    [rgba[0], rgba[1], rgba[2]]
        .map(|value| u8::try_from(blend(value)).expect("a blend of bytes is a byte"))
}

fn decoder_limits() -> Limits {
    let mut limits = Limits::default();
    limits.max_alloc = Some(MAX_DECODER_BYTES);
    limits
}

fn check_dimensions((width, height): (u32, u32)) -> Result<(), PhotoError> {
    if width == 0 || height == 0 {
        return Err(PhotoError::Empty);
    }
    if u64::from(width) * u64::from(height) > MAX_PIXELS {
        return Err(too_large((width, height)));
    }
    Ok(())
}

/// Refuses a header that states far more pixels than the file can hold, before they are allocated.
fn check_explained((width, height): (u32, u32), length: usize) -> Result<(), PhotoError> {
    let pixels = u64::from(width) * u64::from(height);
    if pixels > UNEXPLAINED_PIXELS.max(PIXELS_PER_BYTE * length as u64) {
        let reason = format!("{width} x {height} pixels cannot come from {length} bytes");
        return Err(PhotoError::Corrupt { reason });
    }
    Ok(())
}

fn too_large((width, height): (u32, u32)) -> PhotoError {
    PhotoError::TooLarge { width, height, limit: MAX_PIXELS }
}

fn corrupt(error: &dyn std::error::Error) -> PhotoError {
    PhotoError::Corrupt { reason: error.to_string() }
}

/// The error of a file that is known to be cut.
fn cut(error: PhotoError) -> PhotoError {
    match error {
        PhotoError::Corrupt { .. } => PhotoError::Truncated,
        error => error,
    }
}

fn photo_error(error: ImageError, dimensions: (u32, u32)) -> PhotoError {
    match error {
        ImageError::Limits(_) => too_large(dimensions),
        ImageError::IoError(error) if error.kind() == ErrorKind::UnexpectedEof => {
            PhotoError::Truncated
        }
        other if is_caused_by_end_of_file(&other) => PhotoError::Truncated,
        other => corrupt(&other),
    }
}

/// Whether an unexpected end of the file is among an error's causes.
fn is_caused_by_end_of_file(error: &dyn std::error::Error) -> bool {
    std::iter::successors(error.source(), |cause| cause.source()).any(|cause| {
        let io = cause.downcast_ref::<std::io::Error>();
        let gif = cause.downcast_ref::<gif::DecodingError>();
        io.is_some_and(|io| io.kind() == ErrorKind::UnexpectedEof)
            || matches!(gif, Some(gif::DecodingError::UnexpectedEof))
    })
}

/// Whether a WebP file is as long as its RIFF header says; some writers forget the last padding
/// byte.
fn webp_has_its_length(bytes: &[u8]) -> bool {
    let Some(&[a, b, c, d]) = bytes.get(4..8) else { return false };
    let content = u64::from(u32::from_le_bytes([a, b, c, d]));
    bytes.len() as u64 + 1 >= 8 + content
}
