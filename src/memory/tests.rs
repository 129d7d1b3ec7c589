use image::{imageops, RgbImage};

use super::*;
use crate::preprocess;
use crate::random::Random;

pub(super) const WIDTH: usize = 32;

pub(super) fn unit(seed: u64) -> Vec<f32> {
    let mut random = Random::new(seed);
    let mut values: Vec<f32> = (0..WIDTH).map(|_| random.normal()).collect();
    let length = length(&values);
    values.iter_mut().for_each(|v| *v /= length);
    values
}

/// A unit vector whose cosine to `unit(seed)` is `cosine`.
fn near(seed: u64, cosine: f32) -> Vec<f32> {
    let (base, other) = (unit(seed), unit(seed + 1_000_000));
    let along = dot(&base, &other);
    let mut side: Vec<f32> = other.iter().zip(&base).map(|(o, b)| o - along * b).collect();
    let side_length = length(&side);
    side.iter_mut().for_each(|v| *v /= side_length);
    let sine = (1.0 - cosine * cosine).sqrt();
    base.iter().zip(&side).map(|(b, s)| cosine * b + sine * s).collect()
}

fn dot(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn cosine(a: &[f32], b: &[f32]) -> f32 {
    dot(a, b) / (length(a) * length(b))
}

pub(super) fn record(caption: &str, corrected: bool) -> SlotRecord {
    let tokens = caption.bytes().map(|b| 16 + u32::from(b)).take(MAX_CAPTION_TOKENS).collect();
    SlotRecord { caption: caption.into(), tokens, corrected, written_at: 7, thumbnail: vec![1, 2] }
}

pub(super) fn episode(seed: u64) -> Episode {
    Episode {
        key: unit(seed),
        signature: None,
        value: unit(seed + 500),
        record: record(&format!("photo {seed}"), false),
    }
}

pub(super) fn corrected(seed: u64, caption: &str) -> Episode {
    Episode { record: record(caption, true), ..episode(seed) }
}

fn parameters() -> ReadParameters {
    ReadParameters { sharpness: 50.0, null_logit: 10.0, null_value: vec![0.25; WIDTH] }
}

pub(super) fn filled(num_slots: usize) -> EpisodicMemory {
    let mut memory = EpisodicMemory::new(num_slots, WIDTH);
    for seed in 0..num_slots as u64 {
        memory.write(episode(seed)).unwrap();
    }
    memory
}

pub(super) fn captions(memory: &EpisodicMemory) -> Vec<&str> {
    memory.iter().map(|(_, record)| record.caption.as_str()).collect()
}

#[test]
fn an_empty_memory_returns_exactly_the_null_value() {
    let recall = EpisodicMemory::new(4, WIDTH).read(&unit(1), None, &parameters());
    assert_eq!(recall.context, parameters().null_value);
    assert_eq!((recall.weights.len(), recall.null_weight), (0, 1.0));
}

#[test]
fn distinct_episodes_up_to_the_number_of_slots_read_back() {
    let memory = filled(64);
    assert_eq!(memory.len(), 64);
    let sharp = ReadParameters { sharpness: 50.0, null_logit: 0.0, ..parameters() };
    for seed in 0..64 {
        let recall = memory.read(&unit(seed), None, &sharp);
        assert!(cosine(&recall.context, &unit(seed + 500)) > 0.99, "episode {seed}");
        assert_eq!(recall.weights[0].0 as u64, seed);
    }
}

#[test]
fn weights_of_a_reading_sum_to_one() {
    let memory = filled(2);
    let flat = ReadParameters { sharpness: 1.0, null_logit: 0.0, ..parameters() };
    let recall = memory.read(&unit(0), None, &flat);
    let listed: f32 = recall.weights.iter().map(|(_, weight)| weight).sum();
    assert!(recall.null_weight + listed <= 1.0 + 1e-6);
    assert!(recall.weights.len() <= MAX_RECALLED);
    assert!(recall.weights.windows(2).all(|pair| pair[0].1 >= pair[1].1), "best first");
}

#[test]
fn an_unrelated_query_recalls_nothing() {
    let memory = filled(512);
    let query = unit(999);
    let parameters_ = ReadParameters { sharpness: 16.0, null_logit: 14.0, ..parameters() };
    let recall = memory.read(&query, None, &parameters_);
    assert_eq!(recall.weights, vec![]);
    assert_eq!(
        recall.context,
        parameters().null_value,
        "however many unrelated episodes there are"
    );
}

#[test]
fn a_similar_episode_is_merged_at_the_papers_rate() {
    let mut memory = EpisodicMemory::new(4, WIDTH);
    let first = memory.write(episode(1)).unwrap();
    let (key, value) = (near(1, 0.97), unit(900));
    let again = Episode { key, value, record: record("again", false), ..episode(1) };
    let mixed: Vec<f32> = unit(501).iter().zip(unit(900)).map(|(a, b)| 0.8 * a + 0.2 * b).collect();
    assert_eq!(memory.write(again).unwrap(), first);
    assert_eq!(memory.len(), 1);
    let slot = memory.slots[first].as_ref().unwrap();
    let mut value = vec![0.0; WIDTH];
    slot.value.add_to(&mut value, 1.0);
    assert!(cosine(&value, &mixed) > 0.999);
    assert!(slot.key.cosine(&near(1, 0.97)) > 0.97, "the key moved towards the episode");
    assert_eq!(slot.record.caption, "again");
}

#[test]
fn an_episode_below_the_merging_cosine_takes_its_own_slot() {
    let mut memory = EpisodicMemory::new(4, WIDTH);
    memory.write(episode(1)).unwrap();
    memory.write(Episode { key: near(1, 0.73), ..episode(1) }).unwrap();
    assert_eq!(memory.len(), 2);
}

#[test]
fn a_correction_replaces_the_caption_and_drops_its_likes() {
    let mut memory = EpisodicMemory::new(4, WIDTH);
    let first = memory.write(episode(1)).unwrap();
    memory.write(Episode { key: near(1, 0.74), ..episode(1) }).unwrap();
    assert_eq!(memory.len(), 2);
    // Between the two, within the merging cosine of both.
    let middle: Vec<f32> = unit(1).iter().zip(near(1, 0.74)).map(|(a, b)| a + b).collect();
    let middle: Vec<f32> = middle.iter().map(|v| v / length(&middle)).collect();
    let index = memory.write(Episode { key: middle, ..corrected(1, "Rex") }).unwrap();
    assert!(index == first || index == 1);
    assert_eq!(captions(&memory), ["Rex"]);
}

#[test]
fn an_uncorrected_episode_never_changes_a_corrected_slot() {
    let mut memory = EpisodicMemory::new(4, WIDTH);
    let index = memory.write(corrected(1, "Rex on the beach")).unwrap();
    let before = memory.slots[index].clone().unwrap();
    assert_eq!(memory.write(episode(1)).unwrap(), index);
    let after = memory.slots[index].clone().unwrap();
    assert_eq!((after.key, after.value, after.record), (before.key, before.value, before.record));
}

#[test]
fn the_least_used_episode_is_evicted_first() {
    let mut memory = filled(3);
    for used in [0, 2] {
        let recall = memory.read(&unit(used), None, &parameters());
        memory.touch(&recall);
    }
    assert_eq!(memory.write(episode(50)).unwrap(), 1);
}

#[test]
fn the_oldest_of_equally_used_episodes_is_evicted() {
    let mut memory = filled(3);
    assert_eq!(memory.write(episode(50)).unwrap(), 0);
    assert_eq!(memory.write(episode(51)).unwrap(), 1);
}

#[test]
fn corrected_episodes_outlast_uncorrected_ones() {
    let mut memory = EpisodicMemory::new(3, WIDTH);
    memory.write(corrected(1, "Rex")).unwrap();
    for seed in 10..200 {
        memory.write(episode(seed)).unwrap();
    }
    assert_eq!(captions(&memory), ["Rex", "photo 198", "photo 199"]);
}

#[test]
fn among_corrected_episodes_the_least_recently_read_goes() {
    let mut memory = EpisodicMemory::new(3, WIDTH);
    for (seed, caption) in [(1, "a"), (2, "b"), (3, "c")] {
        memory.write(corrected(seed, caption)).unwrap();
    }
    memory.touch(&memory.read(&unit(1), None, &parameters()));
    assert_eq!([0, 1].map(|slot| memory.recalls(slot)), [1, 0]);
    memory.write(corrected(4, "d")).unwrap();
    assert_eq!(captions(&memory), ["a", "d", "c"]);
}

#[test]
fn an_idle_episode_is_forgotten_but_never_a_corrected_one() {
    let mut memory = EpisodicMemory::new(4, WIDTH);
    memory.write(episode(1)).unwrap();
    memory.write(corrected(2, "Rex")).unwrap();
    let slot = |memory: &EpisodicMemory, i: usize| memory.forget(memory.slots[i].as_ref().unwrap());
    assert!(slot(&memory, 0) > 0.99);
    memory.tick += 256;
    assert!((slot(&memory, 0) - 0.55).abs() < 0.01);
    memory.tick += 1_000_000;
    assert!((slot(&memory, 0) - FORGET_FLOOR).abs() < 1e-6);
    assert_eq!(slot(&memory, 1), 1.0);
}

#[test]
fn reading_without_touch_changes_nothing() {
    let memory = filled(4);
    let before = memory.clone();
    let _ = memory.read(&unit(2), None, &parameters());
    assert_eq!(memory, before);
}

#[test]
fn captions_a_slot_cannot_keep_are_refused() {
    let mut memory = EpisodicMemory::new(2, WIDTH);
    let with = |change: fn(&mut Episode)| {
        let mut changed = episode(1);
        change(&mut changed);
        changed
    };
    let refused = [
        (with(|e| e.record.caption = "  ".into()), MemoryError::EmptyCaption),
        (with(|e| e.record.tokens = vec![]), MemoryError::EmptyCaption),
        (
            with(|e| e.record.tokens = vec![20; 25]),
            MemoryError::TooManyTokens { found: 25, limit: 24 },
        ),
        (
            with(|e| e.record.thumbnail = vec![0; 32_769]),
            MemoryError::TooManyBytes { part: "thumbnail", found: 32_769, limit: 32_768 },
        ),
        (with(|e| e.key = vec![0.0; WIDTH]), MemoryError::NotFinite),
        (with(|e| e.value[3] = f32::NAN), MemoryError::NotFinite),
    ];
    for (episode, error) in refused {
        assert_eq!(memory.write(episode), Err(error));
    }
    assert_eq!(memory, EpisodicMemory::new(2, WIDTH));
}

#[test]
fn slots_are_deleted_one_by_one_or_all_at_once() {
    let mut memory = filled(4);
    memory.delete(2).unwrap();
    assert_eq!(captions(&memory), ["photo 0", "photo 1", "photo 3"]);
    assert_eq!(memory.delete(2), Err(MemoryError::NoSuchSlot { slot: 2 }));
    assert_eq!(memory.delete(4), Err(MemoryError::NoSuchSlot { slot: 4 }));
    memory.write(corrected(77, "Rex")).unwrap();
    assert_eq!(memory.stats(), MemoryStats { num_slots: 4, len: 4, corrected: 1 });
    memory.clear();
    assert_eq!(memory, EpisodicMemory::new(4, WIDTH));
}

/// A page of text, or rather of gray words, whose layout is the same for all seeds.
pub(super) fn page(seed: u64) -> RgbImage {
    let mut random = Random::new(seed);
    let mut page = RgbImage::from_pixel(400, 500, image::Rgb([255; 3]));
    for line in 0..26 {
        let mut x = 40;
        while x < 340 {
            let word = 8 + u32::try_from(random.below(50)).unwrap();
            for y in 40 + 16 * line..48 + 16 * line {
                for x in (x..(x + word).min(360)).filter(|x| x % 4 > 0) {
                    page.put_pixel(x, y, image::Rgb([40; 3]));
                }
            }
            x += word + 8;
        }
    }
    page
}

/// A bar chart, whose layout is the same for all seeds.
pub(super) fn chart(seed: u64) -> RgbImage {
    let mut random = Random::new(seed);
    let heights: Vec<u32> =
        (0..9).map(|_| 20 + u32::try_from(random.below(180)).unwrap()).collect();
    RgbImage::from_fn(400, 250, |x, y| {
        let (bar, is_bar) = ((x / 40).min(9), x % 40 > 8 && (40..400).contains(&x));
        let top = 230 - bar.checked_sub(1).map_or(0, |bar| heights[bar as usize]);
        image::Rgb(match () {
            () if y == 230 || x == 40 => [0; 3],
            () if is_bar && (top..230).contains(&y) => [60, 110, 180],
            () => [255; 3],
        })
    })
}

/// An episode of a picture whose key is that of many others.
fn drawn(picture: &RgbImage, key: Vec<f32>, caption: &str) -> Episode {
    let signature = Some(Signature::of(&preprocess::to_pixels(picture, 224), 224));
    Episode { key, signature, ..corrected(1, caption) }
}

#[test]
fn different_pages_with_one_key_keep_their_corrections() {
    let mut memory = EpisodicMemory::new(8, WIDTH);
    for seed in 0..8 {
        memory.write(drawn(&page(seed), unit(1), &format!("page {seed}"))).unwrap();
    }
    for seed in 0..8 {
        let copy = imageops::flip_horizontal(&page(seed));
        let Episode { key, signature, .. } = drawn(&copy, near(1, 0.97), "");
        let recall = memory.read(&key, signature.as_ref(), &parameters());
        let recalled = recall.weights.iter().map(|&(slot, _)| &memory.get(slot).unwrap().caption);
        assert_eq!(recalled.collect::<Vec<_>>(), [&format!("page {seed}")]);
    }
    let Episode { key, signature, .. } = drawn(&page(99), unit(1), "");
    let recall = memory.read(&key, signature.as_ref(), &parameters());
    assert_eq!(recall, Recall::nothing(&parameters()), "as for a stranger");
}

#[test]
fn an_uncorrected_page_never_changes_another_ones_slot() {
    let mut memory = EpisodicMemory::new(8, WIDTH);
    memory.write(drawn(&page(1), unit(1), "page 1")).unwrap();
    let plain = |seed| Episode { record: record("text", false), ..drawn(&page(seed), unit(1), "") };
    assert_eq!(memory.write(plain(2)).unwrap(), 1);
    assert_eq!(memory.write(plain(2)).unwrap(), 1, "its own slot");
    assert_eq!(memory.write(plain(1)).unwrap(), 0);
    memory.write(drawn(&page(2), unit(1), "page 2")).unwrap();
    assert_eq!(captions(&memory), ["page 1", "page 2"]);
}

#[test]
fn a_slot_without_a_signature_is_recalled_by_its_key() {
    let mut memory = EpisodicMemory::new(8, WIDTH);
    memory.write(corrected(1, "old")).unwrap();
    let Episode { key, signature, .. } = drawn(&page(1), unit(1), "");
    let recall = memory.read(&key, signature.as_ref(), &parameters());
    assert_eq!(recall.weights[0].0, 0);
    memory.sign(|_| Some(Signature::of(&preprocess::to_pixels(&page(2), 224), 224)));
    assert_eq!(memory.read(&key, signature.as_ref(), &parameters()).weights, vec![]);
}
