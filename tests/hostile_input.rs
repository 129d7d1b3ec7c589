//! Arbitrary and damaged bytes never cause a panic: every reader returns a `Result`.

#![cfg(not(target_arch = "wasm32"))]
#![allow(clippy::unwrap_used, reason = "a test that cannot set itself up should fail")]

use bitmar::captioner::Captioner;
use bitmar::checkpoint::{sha256, ModelFile, Provenance};
use bitmar::config::Config;
use bitmar::memory::{Episode, EpisodicMemory, Origin, SlotRecord, Snapshot};
use bitmar::model::BitMar;
use bitmar::random::Random;
use bitmar::stem::{Stem, StemConfig, StemError, StemTensor};
use bitmar::weights::Weights;
use proptest::prelude::*;
use std::sync::LazyLock;

const TOKENIZER: &[u8] = include_bytes!("../pkg/model/tokenizer.json");
const ORIGIN: Origin<'_> = Origin { model_sha256: "model", keys_sha256: "keys" };
/// Number of files with one damaged byte each, spread over the valid file.
const DAMAGES: usize = 300;

static MODEL: LazyLock<Vec<u8>> = LazyLock::new(|| model_file(&sha256(TOKENIZER)));
static SNAPSHOT: LazyLock<Vec<u8>> = LazyLock::new(snapshot);

fn config() -> Config {
    let stem = StemConfig { input_size: 64, num_blocks: 12 };
    Config { vocab_size: 4096, stem, ..Config::tiny() }
}

/// The file of an untrained model.
fn model_file(tokenizer_sha256: &str) -> Vec<u8> {
    let config = config();
    let mut get = |name: &str, shape: &[usize]| {
        let count = shape.iter().product();
        let is_weight = name.ends_with(".weight");
        let tensor = if is_weight {
            StemTensor::I8(vec![3; count])
        } else {
            StemTensor::F32(vec![0.02; count])
        };
        Ok::<_, StemError>(tensor)
    };
    let stem = Stem::from_tensors(&config.stem, &mut get).unwrap();
    let weights = Weights::fresh(1);
    BitMar::new(&weights, &config).unwrap();
    let provenance = Provenance {
        tokenizer_sha256: tokenizer_sha256.into(),
        commit: "0".into(),
        trained: "{}".into(),
    };
    ModelFile::write(&weights.variables(), &stem, &config, &provenance).unwrap()
}

fn snapshot() -> Vec<u8> {
    let memory = config().memory;
    let mut full = EpisodicMemory::new(memory.num_slots, memory.width);
    for slot in 0..4 {
        let mut key = vec![0.0; memory.width];
        key[slot] = 1.0;
        let record = SlotRecord {
            caption: format!("photo {slot}"),
            tokens: vec![20, 21],
            corrected: slot == 2,
            written_at: 5,
            thumbnail: vec![1; 20],
        };
        full.write(Episode { key, signature: None, value: vec![0.5; memory.width], record })
            .unwrap();
    }
    Snapshot::write(&full, ORIGIN)
}

fn header_length(file: &[u8]) -> usize {
    8 + usize::try_from(u64::from_le_bytes(file[..8].try_into().unwrap())).unwrap()
}

/// Offsets to damage: spread over the header, which matters most, and over the data.
fn offsets(file: &[u8]) -> impl Iterator<Item = usize> {
    let header = header_length(file);
    let (in_header, in_data) = (header / DAMAGES + 1, (file.len() - header) / DAMAGES + 1);
    (0..header).step_by(in_header).chain((header..file.len()).step_by(in_data))
}

#[test]
fn the_undamaged_files_are_read() {
    Captioner::new(&MODEL, TOKENIZER, || 0.0).unwrap();
    Snapshot::read(&SNAPSHOT, ORIGIN, &config()).unwrap();
}

#[test]
fn a_truncated_model_is_refused() {
    for length in offsets(&MODEL) {
        assert!(ModelFile::read(&MODEL[..length]).is_err(), "{length} bytes");
    }
}

#[test]
fn a_model_with_a_flipped_bit_is_read_or_refused() {
    let mut random = Random::new(1);
    let mut file = MODEL.clone();
    for offset in offsets(&MODEL) {
        let bit = 1 << random.below(8);
        file[offset] ^= bit;
        let _ = ModelFile::read(&file);
        file[offset] ^= bit;
    }
}

#[test]
fn a_damaged_model_that_is_read_can_caption() {
    // A flipped bit in the data makes the model wrong, but not unusable.
    let mut file = MODEL.clone();
    let mut random = Random::new(2);
    let header = header_length(&MODEL);
    let png = {
        let photo = image::RgbImage::from_pixel(8, 8, image::Rgb([200, 10, 10]));
        let mut bytes = Vec::new();
        photo.write_to(&mut std::io::Cursor::new(&mut bytes), image::ImageFormat::Png).unwrap();
        bytes
    };
    let mut captions = 0;
    for _ in 0..40 {
        let offset = header + random.below(file.len() - header);
        let bit = 1 << random.below(8);
        file[offset] ^= bit;
        if let Ok(mut captioner) = Captioner::new(&file, TOKENIZER, || 0.0) {
            let _ = captioner.caption(&png, &Default::default());
            captions += 1;
        }
        file[offset] ^= bit;
    }
    assert!(captions > 0, "some damage goes unnoticed");
}

#[test]
fn a_damaged_tokenizer_is_refused() {
    for offset in (0..TOKENIZER.len()).step_by(TOKENIZER.len() / 30) {
        let mut json = TOKENIZER.to_vec();
        json[offset] ^= 1;
        assert_eq!(Captioner::new(&MODEL, &json, || 0.0).err().unwrap().code(), "tokenizer");
        let cut = Captioner::new(&MODEL, &TOKENIZER[..offset], || 0.0);
        assert_eq!(cut.err().unwrap().code(), "tokenizer");
    }
}

#[test]
fn a_tokenizer_that_a_model_vouches_for_is_still_checked() {
    for json in [&b"{}"[..], b"", b"\xff\xfe", br#"{"version":"1.0","model":{"type":"BPE"}}"#] {
        let model = model_file(&sha256(json));
        let error = Captioner::new(&model, json, || 0.0).err().unwrap();
        assert_eq!(error.code(), "tokenizer");
    }
}

#[test]
fn a_damaged_snapshot_is_refused() {
    for offset in 0..SNAPSHOT.len() {
        let mut damaged = SNAPSHOT.clone();
        damaged[offset] ^= 1 << (offset % 8);
        assert!(Snapshot::read(&damaged, ORIGIN, &config()).is_err(), "byte {offset}");
        // Damage to the model's hash makes the snapshot another model's.
        let _ = Snapshot::read_foreign(&damaged);
        assert!(Snapshot::read(&SNAPSHOT[..offset], ORIGIN, &config()).is_err(), "{offset} bytes");
    }
}

proptest! {
    #[test]
    fn arbitrary_bytes_are_no_model_and_no_snapshot(
        bytes in prop::collection::vec(any::<u8>(), 0..400),
    ) {
        prop_assert!(ModelFile::read(&bytes).is_err());
        prop_assert!(ModelFile::latents(&bytes).is_err());
        prop_assert!(Snapshot::read(&bytes, ORIGIN, &config()).is_err());
        prop_assert!(Snapshot::read_foreign(&bytes).is_err());
    }

    #[test]
    fn arbitrary_headers_are_no_model_and_no_snapshot(
        json in ".{0,200}",
        data in prop::collection::vec(any::<u8>(), 0..64),
    ) {
        let mut file = (json.len() as u64).to_le_bytes().to_vec();
        file.extend(json.bytes());
        file.extend(data);
        prop_assert!(ModelFile::read(&file).is_err());
        prop_assert!(Snapshot::read(&file, ORIGIN, &config()).is_err());
    }
}
