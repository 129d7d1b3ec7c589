//! What a file is, by its first bytes.

use image::ImageFormat;

use super::jpeg;

/// What a file seems to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A photo that `decode` reads, if it is not damaged.
    Photo(ImageFormat),
    /// A photo that `decode` does not read; some browsers do.
    Unsupported(&'static str),
    /// A vector drawing.
    Svg,
    /// No photo.
    Other(&'static str),
}

/// Formats that `decode` does not read, by what their files begin with.
const SIGNATURES: [(&[u8], &str); 15] = [
    (b"II*\0", "TIFF"),
    (b"MM\0*", "TIFF"),
    (b"II+\0", "BigTIFF"),
    (b"MM\0+", "BigTIFF"),
    (b"II\xbc", "JPEG XR"),
    (b"\xff\x0a", "JPEG XL"),
    (b"\0\0\0\x0cJXL ", "JPEG XL"),
    (b"\xff\x4f\xff\x51", "JPEG 2000"),
    (b"\0\0\0\x0cjP  ", "JPEG 2000"),
    (b"\0\0\x01\0", "ICO"),
    (b"8BPS", "PSD"),
    (b"qoif", "QOI"),
    (b"v/1\x01", "OpenEXR"),
    (b"#?RADIANCE", "Radiance HDR"),
    (b"DDS ", "DDS"),
];

/// Recognizes a file.
pub(super) fn kind(bytes: &[u8]) -> Kind {
    let head = &bytes[..bytes.len().min(1024)];
    let unsupported =
        SIGNATURES.iter().find(|(signature, _)| head.starts_with(signature)).map(|(_, name)| *name);
    if let Some(name) = unsupported.or_else(|| heif(head)) {
        return Kind::Unsupported(name);
    }
    match image::guess_format(head) {
        Ok(ImageFormat::Jpeg) => {
            let supported = Kind::Photo(ImageFormat::Jpeg);
            jpeg::unsupported_kind(bytes).map_or(supported, Kind::Unsupported)
        }
        Ok(format) if format.reading_enabled() => Kind::Photo(format),
        _ => other(head),
    }
}

/// The name of a photo in an ISO media file (ISO 14496-12), by the brands of its first box.
fn heif(head: &[u8]) -> Option<&'static str> {
    if head.get(4..8)? != b"ftyp" {
        return None;
    }
    let length = u32::from_be_bytes(head[..4].try_into().expect("four bytes"));
    let end = head.len().min(usize::try_from(length).unwrap_or(usize::MAX));
    let brands = head.get(8..end)?;
    // The major brand, its version, the compatible brands.
    let name = |brand: &[u8]| match brand {
        b"avif" | b"avis" => Some("AVIF"),
        b"heic" | b"heix" | b"heim" | b"heis" | b"hevc" | b"hevx" => Some("HEIC"),
        _ => None,
    };
    let is_general = |brand: &[u8]| matches!(brand, b"mif1" | b"mif2" | b"msf1");
    let general = brands.chunks_exact(4).any(is_general).then_some("HEIF");
    brands.chunks_exact(4).find_map(name).or(general)
}

/// What is not a photo.
fn other(head: &[u8]) -> Kind {
    let text = std::str::from_utf8(head);
    // The end of `head` may split a character.
    let is_text = text.is_ok() || text.is_err_and(|error| error.error_len().is_none());
    if is_text && String::from_utf8_lossy(head).contains("<svg") {
        return Kind::Svg;
    }
    Kind::Other(match head.get(4..8) {
        Some(b"ftyp") => "a video",
        _ if head.starts_with(b"%PDF") => "PDF",
        _ if is_text && !head.contains(&0) => "text",
        _ => "unknown data",
    })
}
