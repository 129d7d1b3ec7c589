use super::*;
use crate::memory::{Episode, Signature, SlotRecord};
use crate::random::Random;

const ORIGIN: Origin<'_> = Origin { model_sha256: "abc", keys_sha256: "keys" };

fn config() -> Config {
    Config { memory: MemoryConfig { num_slots: 8, width: 32 }, ..Config::tiny() }
}

fn memory() -> EpisodicMemory {
    let mut random = Random::new(5);
    let mut memory = EpisodicMemory::new(8, 32);
    for i in 0..5u8 {
        let row: Vec<f32> = (0..32).map(|_| random.normal()).collect();
        let length = row.iter().map(|v| v * v).sum::<f32>().sqrt();
        let record = SlotRecord {
            caption: format!("photo {i} of \"Rex\" ☂"),
            tokens: vec![20 + u32::from(i), 21],
            corrected: i == 3,
            written_at: 1_700_000_000_000 + u64::from(i),
            thumbnail: vec![i; 10 * usize::from(i)],
        };
        let key = row.iter().map(|v| v / length).collect();
        memory.write(Episode { key, signature: None, value: row, record }).unwrap();
    }
    memory.delete(1).unwrap();
    memory.slots[3].as_mut().unwrap().recalls = 7;
    memory
}

/// [`memory`] with the longest possible caption, and with signatures in all slots but one.
fn signed_memory() -> EpisodicMemory {
    let mut memory = memory();
    memory.slots[2].as_mut().unwrap().record.caption = "\u{1f98a}".repeat(500);
    memory.sign(|record| {
        let shade = u8::try_from(record.written_at % 10).unwrap();
        let pixels: Vec<u8> = (0..3 * 32 * 32).map(|i| (i / 7 % 200) as u8 + shade).collect();
        (!record.corrected).then(|| Signature::of(&pixels, 32))
    });
    memory
}

#[test]
fn reading_gives_the_memory_that_was_written() {
    let bytes = Snapshot::write(&signed_memory(), ORIGIN);
    assert_eq!(Snapshot::read(&bytes, ORIGIN, &config()).unwrap(), signed_memory());
}

#[test]
fn reading_and_writing_gives_the_same_bytes() {
    for memory in [memory(), signed_memory(), EpisodicMemory::new(8, 32)] {
        let bytes = Snapshot::write(&memory, ORIGIN);
        let again = Snapshot::write(&Snapshot::read(&bytes, ORIGIN, &config()).unwrap(), ORIGIN);
        assert_eq!(bytes, again);
    }
}

#[test]
fn another_models_snapshot_is_refused_but_its_records_can_be_read() {
    let bytes = Snapshot::write(&memory(), ORIGIN);
    let other = Origin { model_sha256: "def", ..ORIGIN };
    let error = Snapshot::read(&bytes, other, &config()).unwrap_err();
    assert!(matches!(error, SnapshotError::OtherModel { .. }), "{error}");
    let foreign = Snapshot::read_foreign(&bytes).unwrap();
    let records: Vec<_> = (0..foreign.len()).map(|place| foreign.record(place)).collect();
    assert!(records.into_iter().eq(memory().iter().map(|(_, record)| record)));
}

#[test]
fn version_1_is_read_with_no_recalls_counted() {
    let bytes = include_bytes!("../../../tests/fixtures/memory-v1.safetensors");
    let mut expected = memory();
    expected.slots.iter_mut().flatten().for_each(|slot| slot.recalls = 0);
    assert_eq!(Snapshot::read(bytes, ORIGIN, &config()).unwrap(), expected);
}

#[test]
fn version_2_is_read() {
    let bytes = include_bytes!("../../../tests/fixtures/memory-v2.safetensors");
    assert_eq!(Snapshot::read(bytes, ORIGIN, &config()).unwrap(), memory());
}

#[test]
fn version_4_is_written_as_ever() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/memory-v4.safetensors");
    let written = Snapshot::write(&signed_memory(), ORIGIN);
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(path, &written).unwrap();
        panic!("written: {path}");
    }
    let bytes = include_bytes!("../../../tests/fixtures/memory-v4.safetensors");
    assert!(written == *bytes, "specified in docs/model-format.md");
    assert_eq!(Snapshot::read(bytes, ORIGIN, &config()).unwrap(), signed_memory());
}

#[test]
fn version_3_is_read() {
    let bytes = include_bytes!("../../../tests/fixtures/memory-v3-keys.safetensors");
    assert_eq!(Snapshot::read(bytes, ORIGIN, &config()).unwrap(), memory());
    let keys = |bytes: &[u8]| Snapshot::read_foreign(bytes).unwrap().keys_sha256;
    assert_eq!(keys(bytes).as_deref(), Some("keys"));
    let other = Origin { keys_sha256: "other", ..ORIGIN };
    let error = Snapshot::read(bytes, other, &config()).unwrap_err();
    assert!(matches!(error, SnapshotError::Damaged), "{error}");
    // Only shipped models wrote version 3 without `keys_sha256`.
    let before = include_bytes!("../../../tests/fixtures/memory-v3.safetensors");
    assert_eq!(Snapshot::read(before, ORIGIN, &config()).unwrap(), memory());
    assert_eq!(keys(before).as_deref(), Some(SHIPPED_KEYS_SHA256));
    let first = include_bytes!("../../../tests/fixtures/memory-v2.safetensors");
    assert_eq!(keys(first), None);
}

#[test]
fn a_memory_of_another_size_is_refused() {
    let bytes = Snapshot::write(&EpisodicMemory::new(9, 32), ORIGIN);
    let error = Snapshot::read(&bytes, ORIGIN, &config()).unwrap_err();
    assert!(matches!(error, SnapshotError::WrongSize { num_slots: 9, .. }), "{error}");
}

#[test]
fn tokens_beyond_the_vocabulary_are_refused() {
    let bytes = Snapshot::write(&memory(), ORIGIN);
    let small = Config { vocab_size: 21, ..config() };
    let error = Snapshot::read(&bytes, ORIGIN, &small).unwrap_err();
    assert!(matches!(error, SnapshotError::InvalidNumber { name: "tokens", .. }), "{error}");
}

#[test]
fn every_truncation_is_refused() {
    let bytes = Snapshot::write(&memory(), ORIGIN);
    for length in 0..bytes.len() {
        assert!(Snapshot::read(&bytes[..length], ORIGIN, &config()).is_err(), "{length} bytes");
    }
}

#[test]
fn every_flipped_bit_is_refused() {
    // One slot, because the others' bytes are as many again.
    let mut memory = signed_memory();
    for slot in [0, 3, 4] {
        memory.delete(slot).unwrap();
    }
    let bytes = Snapshot::write(&memory, ORIGIN);
    for bit in 0..8 * bytes.len() {
        let mut damaged = bytes.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        assert!(Snapshot::read(&damaged, ORIGIN, &config()).is_err(), "bit {bit}");
    }
}
