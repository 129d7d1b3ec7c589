//! Speed of whole captions with the shipped model, natively: every stage, and the time per token of
//! a search with one beam.
//!
//! ```text
//! cargo bench --bench captions [-- --json [--photo FILE --memory FILE] | --smoke]
//! ```
//!
//! The photo is a JPEG of 1024 x 768 pixels made from `tests/photos/coffee.jpg`; `--photo` writes
//! it to a file for the runs in WebAssembly, `--memory` does so with a snapshot of a full memory.
//! `memory_512` is the time that such a memory adds to the caption of a photo that it recalls:
//! READ, the recalled caption's words in the prefix, WRITE. With `--json` every line is an object,
//! see docs/kernels.md. `--smoke` takes each measurement once: the captions are checked, but the
//! times mean little.

#![allow(clippy::unwrap_used, reason = "a benchmark that cannot set itself up should fail")]

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use bitmar::captioner::{Caption, CaptionOptions, Captioner};
use bitmar::checkpoint::ModelFile;
use bitmar::memory::{Episode, EpisodicMemory, Origin, Signature, SlotRecord, Snapshot};
use bitmar::random::Random;
use image::codecs::jpeg::JpegEncoder;
use image::imageops::{resize, FilterType};
use serde_json::json;

const MODEL: &[u8] = include_bytes!("../pkg/model/model.safetensors");
const TOKENIZER: &[u8] = include_bytes!("../pkg/model/tokenizer.json");
/// The correction of the photo.
const OWN_WORDS: &str = "Rex asleep beside a cup of coffee";
/// Number of captions per measurement.
const ROUNDS: usize = 25;

/// A stage's name and its milliseconds.
type Stage = (&'static str, fn(&Caption) -> f64);

const STAGES: [Stage; 7] = [
    ("decode", |caption| caption.ms.decode),
    ("stem", |caption| caption.ms.stem),
    ("blocks", |caption| caption.ms.vision - caption.ms.stem),
    ("fusion", |caption| caption.ms.fusion),
    ("memory", |caption| caption.ms.memory),
    ("prefill", |caption| caption.ms.prefill),
    ("tokens", |caption| caption.ms.text - caption.ms.fusion - caption.ms.prefill),
];

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let is_json = arguments.iter().any(|argument| argument == "--json");
    let rounds = if arguments.iter().any(|argument| argument == "--smoke") { 1 } else { ROUNDS };
    let photo = photo();
    if let Some(index) = arguments.iter().position(|argument| argument == "--photo") {
        std::fs::write(&arguments[index + 1], &photo).unwrap();
    }
    let print = |case: &str, mut times: Vec<f64>, parts: serde_json::Value| {
        times.sort_by(f64::total_cmp);
        let (median, min) = (rounded(times[times.len() / 2]), rounded(times[0]));
        if is_json {
            let build = bitmar::kernels::active().name;
            println!(
                "{}",
                json!({ "case": case, "runtime": "native", "build": build, "median_ms": median,
                    "min_ms": min, "gops": null, "ratio": {}, "parts_ms": parts })
            );
        } else {
            println!("{case:<13} median {median:>8.3} ms   min {min:>8.3} ms   {parts}");
        }
    };
    let mut started = Vec::new();
    let mut captioner = None;
    for _ in 0..rounds.min(5) {
        let start = Instant::now();
        captioner = Some(Captioner::new(MODEL, TOKENIZER, now).unwrap());
        started.push(milliseconds_since(start));
    }
    print("startup", started, json!({}));
    let mut captioner = captioner.unwrap();
    let options = |beams| CaptionOptions { beams, remember: false, ..CaptionOptions::default() };
    let captions = captions(&mut captioner, &photo, &options(3), rounds);
    let parts: serde_json::Map<_, _> = STAGES
        .iter()
        .map(|(name, stage)| ((*name).into(), json!(rounded(median(captions.iter().map(stage))))))
        .collect();
    print("caption", captions.iter().map(|caption| caption.ms.total).collect(), parts.into());
    print("vision", captions.iter().map(|caption| caption.ms.vision).collect(), json!({}));
    let tokens = (0..rounds).flat_map(|_| token_times(&captioner, &photo, &options(1)));
    print("decode_token", tokens.collect(), json!({}));

    let memory = full_memory(&captioner);
    if let Some(index) = arguments.iter().position(|argument| argument == "--memory") {
        std::fs::write(&arguments[index + 1], &memory).unwrap();
    }
    captioner.import_memory(&memory).unwrap();
    captioner.teach(&photo, OWN_WORDS).unwrap();
    let recalled = self::captions(&mut captioner, &photo, &options(3), rounds);
    assert_eq!(recalled[0].text, OWN_WORDS, "the memory was not read");
    let prefill = median(captions.iter().map(|caption| caption.ms.prefill));
    let times = recalled.iter().map(|caption| caption.ms.memory + caption.ms.prefill - prefill);
    let parts = json!({ "memory": rounded(median(recalled.iter().map(|c| c.ms.memory))) });
    print("memory_512", times.collect(), parts);
}

/// The snapshot of a full memory of made-up episodes.
fn full_memory(captioner: &Captioner) -> Vec<u8> {
    let (info, mut random) = (captioner.info(), Random::new(1));
    let (slots, width) = (info.config.memory.num_slots, info.config.memory.width);
    let mut memory = EpisodicMemory::new(slots, width);
    let noise: Vec<u8> = (0..3 * 64 * 64).map(|_| random.next_u64().to_le_bytes()[0]).collect();
    let signature = Signature::of(&noise, 64);
    for number in 0..slots {
        let row: Vec<f32> = (0..width).map(|_| random.normal()).collect();
        let length = row.iter().map(|x| x * x).sum::<f32>().sqrt();
        let record = SlotRecord {
            caption: format!("a man is riding a bicycle along the road number {number}"),
            tokens: (100..112).collect(),
            // Two are uncorrected, so that later writes can evict them.
            corrected: number > 1,
            written_at: 0,
            thumbnail: Vec::new(),
        };
        let key = row.iter().map(|x| x / length).collect();
        let signature = Some(signature.clone());
        memory.write(Episode { key, signature, value: row, record }).unwrap();
    }
    assert_eq!(memory.stats().len, slots, "two episodes were merged");
    let keys_sha256 = ModelFile::read(MODEL).unwrap().keys_sha256().unwrap();
    Snapshot::write(&memory, Origin { model_sha256: &info.sha256, keys_sha256: &keys_sha256 })
}

/// A JPEG of 1024 x 768 pixels, as a camera might produce it.
fn photo() -> Vec<u8> {
    let photo = image::load_from_memory(include_bytes!("../tests/photos/coffee.jpg")).unwrap();
    let mut jpeg = Vec::new();
    let encoder = JpegEncoder::new_with_quality(&mut jpeg, 90);
    let large = resize(&photo.into_rgb8(), 1024, 768, FilterType::CatmullRom);
    large.write_with_encoder(encoder).unwrap();
    jpeg
}

/// Captions the photo once to warm up and then `rounds` times; all captions must be equal.
fn captions(
    captioner: &mut Captioner,
    photo: &[u8],
    options: &CaptionOptions,
    rounds: usize,
) -> Vec<Caption> {
    let first = captioner.caption(photo, options).unwrap();
    assert!(first.tokens > 3, "no caption: {first:?}");
    let mut again = || {
        let caption = captioner.caption(photo, options).unwrap();
        assert_eq!(caption.text, first.text, "the same photo got another caption");
        caption
    };
    (0..rounds).map(|_| again()).collect()
}

/// The milliseconds of every step of a caption.
fn token_times(captioner: &Captioner, photo: &[u8], options: &CaptionOptions) -> Vec<f64> {
    let mut generation = captioner.begin(photo, options).unwrap();
    let mut times = Vec::new();
    loop {
        let start = Instant::now();
        let has_more = captioner.step(&mut generation).unwrap();
        times.push(milliseconds_since(start));
        if !has_more {
            return times;
        }
    }
}

fn median(times: impl Iterator<Item = f64>) -> f64 {
    let mut times: Vec<f64> = times.collect();
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

fn milliseconds_since(start: Instant) -> f64 {
    start.elapsed().as_secs_f64() * 1e3
}

/// Rounds to microseconds.
fn rounded(milliseconds: f64) -> f64 {
    (milliseconds * 1e3).round() / 1e3
}

fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64() * 1e3
}
