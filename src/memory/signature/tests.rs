use image::{imageops, RgbImage};

use super::*;
use crate::memory::tests::{chart, page};
use crate::preprocess;
use crate::random::Random;

const SIZE: usize = 224;

fn signature(picture: &RgbImage) -> Signature {
    Signature::of(&preprocess::to_pixels(picture, SIZE), SIZE)
}

fn cropped(picture: &RgbImage, kept: f32, seed: u64) -> RgbImage {
    let mut random = Random::new(seed);
    let mut part = |side: u32| {
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "below side")]
        let kept = (side as f32 * kept) as u32;
        let start = u32::try_from(random.below((side - kept + 1) as usize)).unwrap();
        (start, kept)
    };
    let ((x, width), (y, height)) = (part(picture.width()), part(picture.height()));
    imageops::crop_imm(picture, x, y, width, height).to_image()
}

fn jpeg(picture: &RgbImage) -> RgbImage {
    let mut bytes = Vec::new();
    let encoder = image::codecs::jpeg::JpegEncoder::new_with_quality(&mut bytes, 40);
    picture.write_with_encoder(encoder).unwrap();
    preprocess::decode(&bytes).unwrap()
}

fn brightened(picture: &RgbImage, factor: f32) -> RgbImage {
    let mut picture = picture.clone();
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "`as` saturates")]
    picture.iter_mut().for_each(|value| *value = (f32::from(*value) * factor) as u8);
    picture
}

#[test]
fn copies_match_in_both_directions() {
    for picture in [page(1), page(2), chart(1), chart(2)] {
        let mirrored = imageops::flip_horizontal(&picture);
        let (width, height) = picture.dimensions();
        let small = |picture, by| {
            imageops::resize(picture, width / by, height / by, imageops::FilterType::Triangle)
        };
        let copies = [
            ("same", picture.clone()),
            ("90 % of the area", cropped(&picture, 0.9487, 5)),
            ("90 % of each side", cropped(&picture, 0.9, 6)),
            ("mirrored", mirrored.clone()),
            ("mirrored and cropped", cropped(&mirrored, 0.9487, 7)),
            ("JPEG", jpeg(&picture)),
            ("brighter", brightened(&picture, 1.2)),
            ("darker", brightened(&picture, 0.8)),
            ("a third", small(&picture, 3)),
            (
                "wider",
                imageops::resize(&picture, width * 2, height, imageops::FilterType::Triangle),
            ),
        ];
        let own = signature(&picture);
        for (name, copy) in copies {
            assert!(own.matches(&signature(&copy)), "{name}");
            assert!(signature(&copy).matches(&own), "{name}, the other way round");
        }
    }
}

#[test]
fn pages_and_charts_of_one_layout_do_not_match() {
    let pictures: Vec<Signature> =
        (0..12).flat_map(|seed| [page(seed), chart(seed)]).map(|p| signature(&p)).collect();
    for (i, one) in pictures.iter().enumerate() {
        for other in &pictures[i + 1..] {
            assert!(!one.matches(other) && !other.matches(one));
        }
    }
}

#[test]
fn only_the_slots_of_copies_are_found() {
    let pictures: Vec<Signature> = (0..40).map(|seed| signature(&page(seed))).collect();
    let copy = signature(&cropped(&page(33), 0.9487, 1));
    assert_eq!(Probe::new(&copy).matches(pictures.iter().enumerate()), [33]);
}

#[test]
fn plain_pictures_differ_by_color() {
    let plain = |color| signature(&RgbImage::from_pixel(40, 30, image::Rgb(color)));
    assert!(plain([200, 30, 30]).matches(&plain([220, 40, 35])));
    assert!(!plain([200, 30, 30]).matches(&plain([30, 30, 200])));
    assert!(!plain([200, 30, 30]).matches(&signature(&page(1))));
}

#[test]
fn a_signature_is_its_bytes() {
    let own = signature(&page(1));
    assert_eq!(Signature::from_bytes(own.bytes()), Some(own.clone()));
    assert_eq!(own.bytes().len(), SIGNATURE_BYTES);
    assert_eq!(Signature::from_bytes(&own.bytes()[1..]), None);
    assert_eq!(Signature::from_bytes(&[0; SIGNATURE_BYTES]), None);
}
