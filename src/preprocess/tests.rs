//! Handmade files of every kind, decoded and squashed.

use image::codecs::gif::GifEncoder;
use image::codecs::jpeg::JpegEncoder;
use image::imageops::FilterType;
use image::{Frame, ImageEncoder, Luma, LumaA, Rgb, Rgba, RgbaImage};

use super::resize::{resize, rounded_mean, MAX_BOX};
use super::*;

const RED: [u8; 3] = [255, 0, 0];
const BLUE: [u8; 3] = [0, 0, 255];
const FORMATS: [ImageFormat; 5] =
    [ImageFormat::Jpeg, ImageFormat::Png, ImageFormat::WebP, ImageFormat::Gif, ImageFormat::Bmp];

fn encode(photo: impl Into<DynamicImage>, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    photo.into().write_to(&mut bytes, format).expect("the format takes this photo");
    bytes.into_inner()
}

/// 48 x 32, blue, with a red quarter at the top left.
fn red_corner() -> RgbImage {
    RgbImage::from_fn(48, 32, |x, y| Rgb(if x < 24 && y < 16 { RED } else { BLUE }))
}

fn noise(width: u32, height: u32) -> RgbImage {
    let mut state = 1u32;
    RgbImage::from_fn(width, height, |_, _| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let [_, r, g, b] = state.to_le_bytes();
        Rgb([r, g, b])
    })
}

fn is_near(pixel: &Rgb<u8>, color: [u8; 3]) -> bool {
    pixel.0.iter().zip(color).all(|(&a, b)| a.abs_diff(b) <= 8)
}

fn largest_difference(a: &[u8], b: &[u8]) -> u8 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| a.abs_diff(*b)).max().unwrap_or(0)
}

/// Inserts an EXIF segment with only the orientation after the start marker of a JPEG.
fn with_orientation(jpeg: &[u8], orientation: u8) -> Vec<u8> {
    let mut exif = b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0".to_vec();
    exif.extend([orientation, 0, 0, 0, 0, 0, 0, 0]);
    let length = u16::try_from(exif.len() + 2).expect("a short segment").to_be_bytes();
    [&jpeg[..2], b"\xff\xe1", &length, &exif, &jpeg[2..]].concat()
}

#[test]
fn every_format_is_recognized_by_its_content() {
    for format in FORMATS {
        let photo = decode(&encode(red_corner(), format)).expect("a good file");
        assert_eq!(photo.dimensions(), (48, 32), "{format:?}");
        assert!(is_near(photo.get_pixel(8, 8), RED), "{format:?}");
        assert!(is_near(photo.get_pixel(40, 24), BLUE), "{format:?}");
    }
}

#[test]
fn every_exif_orientation_is_applied() {
    let jpeg = encode(red_corner(), ImageFormat::Jpeg);
    // The corner in which orientations 1, 2, .. 8 show the red one: (is right, is bottom).
    let corners = [(0, 0), (1, 0), (1, 1), (0, 1), (0, 0), (1, 0), (1, 1), (0, 1)];
    for (orientation, (right, bottom)) in (1..).zip(corners) {
        let photo = decode(&with_orientation(&jpeg, orientation)).expect("a good file");
        let (width, height) = if orientation < 5 { (48, 32) } else { (32, 48) };
        assert_eq!(photo.dimensions(), (width, height), "orientation {orientation}");
        for (x, y) in [(0, 0), (1, 0), (0, 1), (1, 1)] {
            let color = if (x, y) == (right, bottom) { RED } else { BLUE };
            let pixel = photo.get_pixel(width / 4 + x * width / 2, height / 4 + y * height / 2);
            assert!(is_near(pixel, color), "orientation {orientation}, quarter {x} {y}");
        }
    }
}

#[test]
fn a_photo_with_damaged_exif_is_read() {
    let jpeg = with_orientation(&encode(red_corner(), ImageFormat::Jpeg), 77);
    assert_eq!(decode(&jpeg).expect("a good picture").dimensions(), (48, 32));
}

#[test]
fn sixteen_bits_gray_and_alpha_become_rgb() {
    let deep = image::ImageBuffer::from_pixel(4, 4, Rgb([65535u16, 32768, 0]));
    let photo = decode(&encode(deep, ImageFormat::Png)).expect("a good file");
    assert_eq!(photo.get_pixel(1, 1).0, [255, 128, 0]);

    let gray = image::GrayImage::from_pixel(4, 4, Luma([77]));
    for format in [ImageFormat::Png, ImageFormat::Jpeg] {
        let photo = decode(&encode(gray.clone(), format)).expect("a good file");
        assert!(is_near(photo.get_pixel(1, 1), [77; 3]), "{format:?}");
    }

    let glass = image::GrayAlphaImage::from_pixel(4, 4, LumaA([0, 127]));
    let photo = decode(&encode(glass, ImageFormat::Png)).expect("a good file");
    assert_eq!(photo.get_pixel(1, 1).0, [128; 3]);
}

#[test]
fn transparent_pixels_show_the_white_page() {
    let clear = RgbaImage::from_pixel(4, 4, Rgba([255, 0, 0, 0]));
    for format in [ImageFormat::Png, ImageFormat::WebP, ImageFormat::Gif] {
        let photo = decode(&encode(clear.clone(), format)).expect("a good file");
        assert_eq!(photo.get_pixel(1, 1).0, [255; 3], "{format:?}");
    }
}

#[test]
fn the_first_frame_of_a_gif_is_taken() {
    let mut bytes = Vec::new();
    let mut encoder = GifEncoder::new(&mut bytes);
    for [r, g, b] in [RED, BLUE] {
        let frame = Frame::new(RgbaImage::from_pixel(16, 8, Rgba([r, g, b, 255])));
        encoder.encode_frame(frame).expect("a frame");
    }
    drop(encoder);
    assert_eq!(decode(&bytes).expect("a good file").get_pixel(3, 3).0, RED);
}

#[test]
fn the_first_frame_of_a_webp_is_taken() {
    let chunk = |name: &[u8], content: &[u8]| {
        let length = u32::try_from(content.len()).expect("a small chunk").to_le_bytes();
        [name, &length, content, &[0][..content.len() % 2]].concat()
    };
    // Offset, size less one, duration, flags; then the frame's own VP8L chunk.
    let frame = |color: [u8; 3]| {
        let still = encode(RgbImage::from_pixel(16, 8, Rgb(color)), ImageFormat::WebP);
        let header = [0, 0, 0, 0, 0, 0, 15, 0, 0, 7, 0, 0, 100, 0, 0, 0];
        chunk(b"ANMF", &[&header, &still[12..]].concat())
    };
    let canvas = chunk(b"VP8X", &[2, 0, 0, 0, 15, 0, 0, 7, 0, 0]);
    let animation = chunk(b"ANIM", &[255, 255, 255, 255, 0, 0]);
    let content = [b"WEBP".to_vec(), canvas, animation, frame(RED), frame(BLUE)].concat();
    let photo = decode(&chunk(b"RIFF", &content)).expect("a good file");
    assert_eq!(photo.dimensions(), (16, 8));
    assert!(is_near(photo.get_pixel(3, 3), RED));
}

#[test]
fn the_error_names_what_is_not_a_photo() {
    assert_eq!(decode(b""), Err(PhotoError::Empty));
    assert_eq!(decode(b"<svg xmlns='http://www.w3.org/2000/svg'/>"), Err(PhotoError::Svg));
    assert_eq!(decode(b"\xef\xbb\xbf<?xml version='1.0'?>\n<svg/>"), Err(PhotoError::Svg));
    let others: [(&[u8], &str); 4] = [
        (b"\0\0\0\x18ftypisom\0\0\0\0", "a video"),
        (b"%PDF-1.7\n\xb5\xb5", "PDF"),
        ("ein Text, kein Bild: \u{e4}".as_bytes(), "text"),
        (&[0, 1, 2, 3, 250], "unknown data"),
    ];
    for (bytes, found) in others {
        assert_eq!(decode(bytes), Err(PhotoError::NotAPhoto { found }));
    }
}

#[test]
fn a_format_that_is_not_supported_is_named() {
    let jpeg = encode(red_corner(), ImageFormat::Jpeg);
    let frame = jpeg.windows(2).position(|pair| pair == b"\xff\xc0").expect("a baseline frame");
    let with_frame = |code: u8, precision: u8| {
        let mut jpeg = jpeg.clone();
        jpeg[frame + 1] = code;
        jpeg[frame + 4] = precision;
        jpeg
    };
    let formats: [(&[u8], &str); 16] = [
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "HEIC"),
        (b"\0\0\0\x1cftypmif1\0\0\0\0mif1heicmiaf", "HEIC"),
        (b"\0\0\0\x18ftypavif\0\0\0\0mif1miaf", "AVIF"),
        (b"\0\0\0\x18ftypmif1\0\0\0\0mif1miaf", "HEIF"),
        (b"II*\0\x08\0\0\0", "TIFF"),
        (b"\xff\x0a\xfa\x1f", "JPEG XL"),
        (b"\0\0\0\x0cJXL \r\n\x87\n", "JPEG XL"),
        (b"\xff\x4f\xff\x51\0\x2f", "JPEG 2000"),
        (b"\0\0\0\x0cjP  \r\n\x87\n", "JPEG 2000"),
        (&with_frame(0xc0, 12), "12-bit JPEG"),
        (&with_frame(0xc2, 12), "12-bit JPEG"),
        (&with_frame(0xc3, 8), "lossless JPEG"),
        (&with_frame(0xc5, 8), "hierarchical JPEG"),
        (&with_frame(0xc9, 8), "arithmetic-coded JPEG"),
        (&with_frame(0xca, 8), "arithmetic-coded JPEG"),
        (&with_frame(0xf7, 8), "JPEG-LS"),
    ];
    for (bytes, format) in formats {
        let error = decode(bytes).expect_err("a photo of another format");
        assert_eq!(error, PhotoError::UnsupportedFormat { format });
        assert_eq!((error.reason(), error.format()), ("unsupported", Some(format)));
        let message = format!("{format} is not supported; JPEG, PNG, WebP, GIF and BMP are");
        assert_eq!(error.to_string(), message);
        assert!(is_for_browser(bytes), "a browser may read {format}");
    }
}

#[test]
fn browsers_get_the_files_they_agree_about() {
    for format in FORMATS {
        let bytes = encode(red_corner(), format);
        let is_alike = !matches!(format, ImageFormat::Gif | ImageFormat::Bmp);
        assert_eq!(is_for_browser(&bytes), is_alike, "{format:?}");
        assert!(!is_for_browser(&bytes[..bytes.len() - 3]), "{format:?} that is cut");
    }
    let long = encode(RgbImage::new(32_768, 1), ImageFormat::Png);
    assert!(!is_for_browser(&long), "a canvas may not have a side of 32,768 pixels");
    assert!(is_for_browser(&encode(RgbImage::new(32_767, 1), ImageFormat::Png)));
}

#[test]
fn a_header_that_states_too_many_pixels_is_refused() {
    let side = 20_000u16;
    let mut png = encode(red_corner(), ImageFormat::Png);
    png[16..24].copy_from_slice(&[0, 0, 78, 32, 0, 0, 78, 32]);
    // The CRC-32 of an 8-bit RGB header of 20,000 x 20,000, by zlib.
    png[29..33].copy_from_slice(&0x6c12_d16eu32.to_be_bytes());
    let mut jpeg = encode(red_corner(), ImageFormat::Jpeg);
    let frame = jpeg.windows(2).position(|pair| pair == b"\xff\xc0").expect("a baseline frame");
    jpeg[frame + 5..frame + 7].copy_from_slice(&side.to_be_bytes());
    jpeg[frame + 7..frame + 9].copy_from_slice(&side.to_be_bytes());
    let mut gif = encode(red_corner(), ImageFormat::Gif);
    gif[6..8].copy_from_slice(&side.to_le_bytes());
    gif[8..10].copy_from_slice(&side.to_le_bytes());
    let mut bmp = encode(red_corner(), ImageFormat::Bmp);
    bmp[18..22].copy_from_slice(&u32::from(side).to_le_bytes());
    bmp[22..26].copy_from_slice(&u32::from(side).to_le_bytes());
    for bytes in [png, jpeg, gif, bmp] {
        let error = decode(&bytes).expect_err("400 megapixels");
        let expected = PhotoError::TooLarge { width: 20_000, height: 20_000, limit: MAX_PIXELS };
        assert_eq!(error, expected, "{:?}", &bytes[..4]);
        assert_eq!(dimensions(&bytes), Some((20_000, 20_000)), "{:?}", &bytes[..4]);
    }
}

#[test]
fn the_head_of_a_file_states_its_dimensions() {
    for format in FORMATS {
        let bytes = encode(noise(300, 200), format);
        let head = &bytes[..bytes.len().min(2000)];
        assert_eq!(dimensions(head), Some((300, 200)), "{format:?}");
    }
}

#[test]
fn unreadable_bytes_have_no_dimensions() {
    for bytes in
        [b"".as_slice(), b"<svg/>", b"\0\0\0\x18ftypavif", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"]
    {
        assert_eq!(dimensions(bytes), None, "{bytes:?}");
    }
}

#[test]
fn a_short_file_that_states_many_pixels_is_refused() {
    let side = 9_999u16;
    let mut gif = encode(red_corner(), ImageFormat::Gif);
    gif[6..8].copy_from_slice(&side.to_le_bytes());
    gif[8..10].copy_from_slice(&side.to_le_bytes());
    let reason = format!("9999 x 9999 pixels cannot come from {} bytes", gif.len());
    assert_eq!(decode(&gif), Err(PhotoError::Corrupt { reason }));
}

#[test]
fn a_file_cut_short_is_truncated() {
    for format in FORMATS {
        let bytes = encode(noise(64, 64), format);
        let error = decode(&bytes[..bytes.len() / 2]).expect_err("half a photo");
        assert_eq!(error, PhotoError::Truncated, "{format:?}");
    }
}

#[test]
fn a_png_without_its_last_chunk_is_read() {
    let bytes = encode(noise(64, 64), ImageFormat::Png);
    for missing in [1, 4, 11, 12] {
        assert_eq!(decode(&bytes[..bytes.len() - missing]), Ok(noise(64, 64)), "{missing} bytes");
    }
    // A byte of the checksum of the picture's last chunk.
    assert_eq!(decode(&bytes[..bytes.len() - 13]), Err(PhotoError::Truncated));
}

#[test]
fn a_thumbnail_does_not_hide_that_a_jpeg_is_cut() {
    let mut whole = Vec::new();
    let mut encoder = JpegEncoder::new(&mut whole);
    encoder.set_exif_metadata(encode(red_corner(), ImageFormat::Jpeg)).expect("a small thumbnail");
    encoder.encode_image(&noise(64, 64)).expect("a good photo");
    decode(&whole).expect("the whole file");
    assert_eq!(decode(&whole[..whole.len() - 100]), Err(PhotoError::Truncated));
}

#[test]
fn a_jpeg_may_have_data_after_its_end() {
    let mut bytes = encode(red_corner(), ImageFormat::Jpeg);
    bytes.extend(b"a second picture, or a video");
    assert_eq!(decode(&bytes).expect("a good photo").dimensions(), (48, 32));
}

#[test]
fn rgba_pixels_are_laid_over_white() {
    let rgba = [255, 0, 0, 255, 0, 0, 0, 0, 0, 0, 0, 51, 10, 20, 30, 255];
    let photo = from_rgba(2, 2, &rgba).expect("four pixels");
    assert_eq!(photo.as_raw(), &[255, 0, 0, 255, 255, 255, 204, 204, 204, 10, 20, 30]);
}

#[test]
fn rgba_of_another_size_is_refused() {
    let error = PhotoError::WrongLength { expected: 16, found: 15 };
    assert_eq!(from_rgba(2, 2, &[0; 15]), Err(error));
    assert_eq!(from_rgba(0, 2, &[]), Err(PhotoError::Empty));
    let error = from_rgba(u32::MAX, u32::MAX, &[]).expect_err("far too many pixels");
    assert!(matches!(error, PhotoError::TooLarge { .. }));
}

#[test]
fn a_photo_of_the_right_size_is_left_alone() {
    assert_eq!(to_pixels(&noise(32, 32), 32), noise(32, 32).into_raw());
}

#[test]
fn any_shape_is_squashed_and_keeps_a_plain_color() {
    for (width, height) in [(1, 1), (3, 500), (500, 3), (31, 33), (64, 640), (641, 1283)] {
        let pixels = to_pixels(&RgbImage::from_pixel(width, height, Rgb([9, 99, 200])), 32);
        assert_eq!(pixels, [9, 99, 200].repeat(32 * 32), "{width} x {height}");
    }
}

/// The triangle filter of the image crate.
fn exact(photo: &RgbImage) -> Vec<u8> {
    image::imageops::resize(photo, 32, 32, FilterType::Triangle).into_raw()
}

#[test]
fn resizing_is_the_triangle_filter() {
    for (width, height) in [(1, 1), (1, 90), (31, 33), (32, 100), (63, 5), (127, 64), (300, 257)] {
        let noise = noise(width, height);
        let difference = largest_difference(&resize(&noise, 32), &exact(&noise));
        assert!(difference <= 1, "{width} x {height}: {difference}");
    }
}

#[test]
fn averages_are_rounded_to_the_nearest() {
    for (sum, count, mean) in [(0, 1, 0), (255, 1, 255), (5, 2, 3), (4, 3, 1), (5, 3, 2)] {
        assert_eq!(rounded_mean(sum, count), mean);
    }
    let largest = MAX_BOX + 1;
    assert_eq!(rounded_mean(255 * largest, largest as usize), 255);
    assert_eq!(rounded_mean(254 * largest + largest / 2 - 1, largest as usize), 254);
    assert_eq!(rounded_mean(254 * largest + largest / 2 + 1, largest as usize), 255);
}

#[test]
fn averaging_boxes_first_changes_little() {
    for (width, height) in [(128, 128), (300, 257), (511, 1000)] {
        let smooth = RgbImage::from_fn(width, height, |x, y| {
            let wave = |at: u32, length: u32, turns: u32| {
                let triangle = (510 * turns * at / length % 510).abs_diff(255);
                u8::try_from(triangle).expect("at most 255")
            };
            Rgb([wave(x, width, 1), wave(y, height, 2), wave(x + y, width + height, 2)])
        });
        let difference = largest_difference(&to_pixels(&smooth, 32), &exact(&smooth));
        assert!(difference <= 3, "smooth {width} x {height}: {difference}");
        let noise = noise(width, height);
        let difference = largest_difference(&to_pixels(&noise, 32), &exact(&noise));
        assert!(difference <= 16, "noise {width} x {height}: {difference}");
    }
}
