//! Arbitrary and damaged photo files: `decode` always returns, with a photo or an error.

#![cfg(not(target_arch = "wasm32"))]
#![allow(clippy::unwrap_used, reason = "a test that cannot set itself up should fail")]

use std::io::Cursor;

use bitmar::preprocess::{decode, dimensions, from_rgba, to_pixels, PhotoError, MAX_PIXELS};
use image::{DynamicImage, ImageFormat, Rgb, RgbImage, RgbaImage};
use proptest::prelude::*;

const FORMATS: [ImageFormat; 5] =
    [ImageFormat::Jpeg, ImageFormat::Png, ImageFormat::WebP, ImageFormat::Gif, ImageFormat::Bmp];

/// A small image with edges, gradients and some noise, so that every part of a format is used.
fn picture(format: ImageFormat) -> Vec<u8> {
    let photo = RgbImage::from_fn(37, 29, |x, y| {
        let bytes = (x * 40_503 + y * 30_011).wrapping_mul(2_654_435_769).to_le_bytes();
        Rgb([
            bytes[3] / 8 + 7 * u8::try_from(x % 32).expect("below 32"),
            bytes[2] / 4,
            if x > y { 255 } else { 0 },
        ])
    });
    let mut bytes = Cursor::new(Vec::new());
    DynamicImage::from(photo).write_to(&mut bytes, format).expect("every format takes RGB");
    bytes.into_inner()
}

fn shipped(name: &str) -> Vec<u8> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/photos/");
    std::fs::read(format!("{path}{name}")).expect("the photo is in the repository")
}

/// Decodes the bytes and checks the properties of every decoded photo.
fn decode_checked(bytes: &[u8]) -> Result<RgbImage, PhotoError> {
    let stated = dimensions(bytes);
    let photo = decode(bytes)?;
    let (width, height) = photo.dimensions();
    // The orientation may swap width and height.
    assert!(stated == Some((width, height)) || stated == Some((height, width)), "{stated:?}");
    assert!(width > 0 && height > 0);
    assert!(u64::from(width) * u64::from(height) <= MAX_PIXELS);
    assert_eq!(to_pixels(&photo, 32).len(), 3 * 32 * 32);
    Ok(photo)
}

#[test]
fn shipped_photos_are_read() {
    for name in ["cat.jpg", "coffee.jpg", "astronaut.jpg", "rocket.jpg"] {
        let photo = decode_checked(&shipped(name)).expect(name);
        assert!(photo.width().max(photo.height()) <= 640, "{name}");
    }
}

#[test]
fn a_cmyk_jpeg_has_the_colors_of_its_rgb_twin() {
    let cmyk = to_pixels(&decode(&shipped("cat-cmyk.jpg")).expect("a CMYK photo"), 16);
    let rgb = to_pixels(&decode(&shipped("cat.jpg")).expect("an RGB photo"), 16);
    let differences: u32 = cmyk.iter().zip(&rgb).map(|(a, b)| u32::from(a.abs_diff(*b))).sum();
    let mean = f64::from(differences) / cmyk.len() as f64;
    assert!(mean < 6.0, "the colors differ by {mean} on average");
}

#[test]
fn every_truncation_is_an_error_or_a_photo() {
    for format in FORMATS {
        let bytes = picture(format);
        for length in 0..bytes.len() {
            let _ = decode_checked(&bytes[..length]);
        }
        for length in [0, 1, 8, 20, bytes.len() / 2] {
            decode_checked(&bytes[..length]).expect_err("half a picture is none");
        }
    }
}

/// JPEGs of every kind of scan, each with its end marker last.
fn jpegs() -> [Vec<u8>; 4] {
    let photo = image::load_from_memory(&picture(ImageFormat::Png)).unwrap();
    let mut gray = Cursor::new(Vec::new());
    photo.to_luma8().write_to(&mut gray, ImageFormat::Jpeg).unwrap();
    let progressive = shipped("cases/progressive.jpg");
    [picture(ImageFormat::Jpeg), gray.into_inner(), progressive, shipped("cases/plain.jpg")]
}

#[test]
fn a_jpeg_without_its_end_marker_is_read() {
    for (index, jpeg) in jpegs().into_iter().enumerate() {
        let photo = decode_checked(&jpeg).expect("a good photo");
        let start = &jpeg[..jpeg.len() - 2];
        // Bytes without a marker, a segment, a marker of no segment, another JPEG, a stray FF.
        let trailers: [&[u8]; 6] =
            [b"", b"MOTION", b"\xff\xe1\0\x08Exif\0\0", b"\xff\x55\x55", &jpeg, b"\xff"];
        for trailer in trailers {
            let found = decode_checked(&[start, trailer].concat());
            assert!(found == Ok(photo.clone()), "JPEG {index}, then {} bytes", trailer.len());
        }
    }
    let photo = decode(&shipped("cases/jpg-no-end-marker.jpg"));
    assert_eq!(photo, decode(&shipped("cases/plain.jpg")));
    assert_eq!(photo, decode(&shipped("cases/jpg-no-end-marker-trailer.jpg")));
}

#[test]
fn a_jpeg_that_is_cut_is_none_whatever_follows() {
    for (index, jpeg) in jpegs().into_iter().enumerate() {
        // The last byte may hold the padding only.
        for length in (4..jpeg.len() - 3).step_by(7) {
            let cut = &jpeg[..length];
            assert_eq!(decode(cut), Err(PhotoError::Truncated), "JPEG {index}, {length} bytes");
        }
        let error = decode(&[&jpeg[..jpeg.len() - 60], &jpeg].concat()).expect_err("a part");
        assert_eq!(error.reason(), "damaged", "JPEG {index}: {error}");
    }
}

#[test]
fn jpegs_of_rare_kinds_are_called_by_name() {
    for (name, format) in
        [("jpg-arithmetic.jpg", "arithmetic-coded JPEG"), ("jpg-12bit-header.jpg", "12-bit JPEG")]
    {
        let error = decode(&shipped(&format!("cases/{name}"))).expect_err(name);
        assert_eq!(error, PhotoError::UnsupportedFormat { format });
    }
}

/// Bytes after a valid signature get further into a decoder than arbitrary ones.
fn signatures() -> impl Strategy<Value = &'static [u8]> {
    prop::sample::select(vec![
        b"\xff\xd8\xff\xe0".as_slice(),
        b"\xff\xd8\xff\xe1\x00\x20Exif\0\0II*\0",
        b"\xff\xd8\xff\xc2\x00\x11\x08",
        b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR",
        b"RIFF\x40\0\0\0WEBPVP8 ",
        b"RIFF\x40\0\0\0WEBPVP8L",
        b"RIFF\x40\0\0\0WEBPVP8X\x0a\0\0\0",
        b"GIF89a",
        b"GIF87a",
        b"BM",
        b"<svg",
        b"\0\0\0\x18ftyp",
    ])
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let _ = decode_checked(&bytes);
    }

    #[test]
    fn arbitrary_bytes_behind_a_signature_never_panic(
        signature in signatures(),
        bytes in prop::collection::vec(any::<u8>(), 0..400),
    ) {
        let _ = decode_checked(&[signature, &bytes].concat());
    }

    #[test]
    fn flipped_bits_never_panic(
        format in prop::sample::select(FORMATS.to_vec()),
        flips in prop::collection::vec((any::<prop::sample::Index>(), 0..8u8), 1..12),
    ) {
        let mut bytes = picture(format);
        for (position, bit) in flips {
            let position = position.index(bytes.len());
            bytes[position] ^= 1 << bit;
        }
        let _ = decode_checked(&bytes);
    }

    #[test]
    fn flipped_headers_never_panic(
        format in prop::sample::select(FORMATS.to_vec()),
        flips in prop::collection::vec((0..64usize, any::<u8>()), 1..4),
    ) {
        let mut bytes = picture(format);
        for (position, value) in flips {
            bytes[position] = value;
        }
        let _ = decode_checked(&bytes);
    }

    #[test]
    fn a_removed_middle_never_panics(
        format in prop::sample::select(FORMATS.to_vec()),
        from in any::<prop::sample::Index>(),
        length in 1..200usize,
    ) {
        let mut bytes = picture(format);
        let from = from.index(bytes.len());
        bytes.drain(from..bytes.len().min(from + length));
        let _ = decode_checked(&bytes);
    }

    #[test]
    fn rgba_of_any_length_is_a_photo_or_an_error(
        width in 0..40u32,
        height in 0..40u32,
        rgba in prop::collection::vec(any::<u8>(), 0..6400),
    ) {
        let fits = width > 0 && height > 0 && rgba.len() as u64 == 4 * u64::from(width * height);
        prop_assert_eq!(from_rgba(width, height, &rgba).is_ok(), fits);
    }

    #[test]
    fn opaque_rgba_is_kept(width in 1..20u32, height in 1..20u32, color in any::<[u8; 3]>()) {
        let [r, g, b] = color;
        let rgba = RgbaImage::from_pixel(width, height, image::Rgba([r, g, b, 255]));
        let photo = from_rgba(width, height, &rgba).expect("the right length");
        prop_assert!(photo.pixels().all(|pixel| pixel.0 == color));
    }
}
