//! Properties that hold for every input.

#![cfg(not(target_arch = "wasm32"))]
#![allow(clippy::unwrap_used, reason = "a test that cannot set itself up should fail")]

use std::convert::Infallible;

use bitmar::config::{Config, MemoryConfig};
use bitmar::control_tokens::FIRST_TEXT_TOKEN;
use bitmar::generate::{BeamSearch, MAX_TOKENS};
use bitmar::kernels::TernaryMatrix;
use bitmar::memory::{Episode, EpisodicMemory, Origin, ReadParameters, SlotRecord, Snapshot};
use bitmar::random::Random;
use proptest::prelude::*;

const ORIGIN: Origin<'_> = Origin { model_sha256: "model", keys_sha256: "keys" };
const NUM_SLOTS: usize = 8;
const WIDTH: usize = 32;

#[derive(Debug, Clone)]
enum Call {
    Write { seed: u64, corrected: bool },
    Touch { seed: u64 },
    Delete { slot: usize },
}

fn call() -> impl Strategy<Value = Call> {
    prop_oneof![
        6 => (0..24u64, prop::bool::weighted(0.2))
            .prop_map(|(seed, corrected)| Call::Write { seed, corrected }),
        3 => (0..24u64).prop_map(|seed| Call::Touch { seed }),
        1 => (0..NUM_SLOTS + 2).prop_map(|slot| Call::Delete { slot }),
    ]
}

fn unit(seed: u64) -> Vec<f32> {
    let mut random = Random::new(seed);
    let values: Vec<f32> = (0..WIDTH).map(|_| random.normal()).collect();
    let length = values.iter().map(|v| v * v).sum::<f32>().sqrt();
    values.into_iter().map(|v| v / length).collect()
}

fn episode(seed: u64, corrected: bool) -> Episode {
    let record = SlotRecord {
        caption: format!("{seed} {corrected}"),
        tokens: vec![20],
        corrected,
        written_at: seed,
        thumbnail: vec![7; usize::try_from(seed).unwrap()],
    };
    Episode { key: unit(seed), signature: None, value: unit(seed + 100), record }
}

fn parameters(sharpness: f32) -> ReadParameters {
    ReadParameters { sharpness, null_logit: 0.5 * sharpness, null_value: vec![0.1; WIDTH] }
}

fn after(calls: &[Call]) -> EpisodicMemory {
    let mut memory = EpisodicMemory::new(NUM_SLOTS, WIDTH);
    for call in calls {
        match *call {
            Call::Write { seed, corrected } => {
                let slot = memory.write(episode(seed, corrected)).unwrap();
                assert!(slot < NUM_SLOTS);
            }
            Call::Touch { seed } => {
                let recall = memory.read(&unit(seed), None, &parameters(30.0));
                memory.touch(&recall);
            }
            Call::Delete { slot } => {
                let _ = memory.delete(slot);
            }
        }
    }
    memory
}

proptest! {
    #[test]
    fn the_latest_episode_is_found_in_its_slot(
        calls in prop::collection::vec(call(), 0..60),
        seed in 0..24u64,
    ) {
        let mut memory = after(&calls);
        let slot = memory.write(episode(seed, true)).unwrap();
        prop_assert_eq!(memory.get(slot).unwrap(), &episode(seed, true).record);
        let recall = memory.read(&unit(seed), None, &parameters(50.0));
        prop_assert_eq!(recall.weights[0].0, slot);
    }

    #[test]
    fn a_memory_never_outgrows_its_slots(calls in prop::collection::vec(call(), 0..120)) {
        let memory = after(&calls);
        prop_assert!(memory.len() <= NUM_SLOTS && memory.num_slots() == NUM_SLOTS);
    }

    #[test]
    fn a_reading_is_a_mixture(
        calls in prop::collection::vec(call(), 0..60),
        seed in 0..99u64,
        sharpness in 1.0..50.0f32,
    ) {
        let recall = after(&calls).read(&unit(seed), None, &parameters(sharpness));
        let listed: f32 = recall.weights.iter().map(|(_, weight)| weight).sum();
        prop_assert!((0.0..=1.0).contains(&recall.null_weight));
        prop_assert!(recall.null_weight + listed <= 1.0 + 1e-5);
        prop_assert!(recall.context.iter().all(|v| v.abs() <= 1.1));
    }

    #[test]
    fn only_a_correction_changes_a_corrected_caption(
        calls in prop::collection::vec(call(), 0..60),
        seeds in prop::collection::vec(0..24u64, 0..40),
    ) {
        let mut memory = after(&calls);
        let corrected = |memory: &EpisodicMemory| {
            let all = memory.iter().filter(|(_, record)| record.corrected);
            all.map(|(_, record)| record.caption.clone()).collect::<Vec<_>>()
        };
        let before = corrected(&memory);
        // A memory full of corrections has to evict one.
        prop_assume!(before.len() < NUM_SLOTS);
        for seed in seeds {
            memory.write(episode(seed, false)).unwrap();
        }
        prop_assert_eq!(corrected(&memory), before);
    }

    #[test]
    fn a_snapshot_round_trip_is_exact(calls in prop::collection::vec(call(), 0..60)) {
        let memory = after(&calls);
        let memory_config = MemoryConfig { num_slots: NUM_SLOTS, width: WIDTH };
        let config = Config { memory: memory_config, ..Config::tiny() };
        let bytes = Snapshot::write(&memory, ORIGIN);
        let again = Snapshot::read(&bytes, ORIGIN, &config).unwrap();
        prop_assert_eq!(&again, &memory);
        prop_assert_eq!(Snapshot::write(&again, ORIGIN), bytes);
    }

    #[test]
    fn packing_ternary_weights_loses_nothing(quarter in 1..6usize, blocks in 1..4usize, seed: u64) {
        let (rows, cols) = (4 * quarter, 32 * blocks);
        let mut random = Random::new(seed);
        let weight = |_| i8::try_from(random.below(3)).unwrap() - 1;
        let weights: Vec<i8> = (0..rows * cols).map(weight).collect();
        let packed = TernaryMatrix::from_weights(rows, cols, &weights).to_packed();
        prop_assert_eq!(packed.len(), rows * cols.div_ceil(5));
        let again = TernaryMatrix::from_packed(rows, cols, &packed).unwrap();
        prop_assert_eq!(again.to_weights(), weights);
    }

    #[test]
    fn a_search_ends_with_text_and_no_trigram_twice(
        seed: u64,
        num_beams in 1..=8usize,
        end in -2.0..3.0f32,
    ) {
        let mut search = BeamSearch::new(Random::new(seed), 3, num_beams);
        let mut steps = 0;
        let mut advance = |states: &mut [Random], _: &[u32]| {
            let rows = states.iter_mut().map(|random| {
                let mut row: Vec<f32> = (0..24).map(|_| 2.0 * random.normal()).collect();
                row[1] += end;
                row
            });
            Ok::<_, Infallible>(rows.collect())
        };
        while search.step(&mut advance).unwrap() {
            steps += 1;
        }
        let best = search.best();
        prop_assert!(steps < MAX_TOKENS && (1..=MAX_TOKENS).contains(&best.tokens.len()));
        prop_assert!(best.tokens.iter().all(|&token| token >= FIRST_TEXT_TOKEN));
        prop_assert!((0.0..=1.0).contains(&best.confidence()));
        for (first, trigram) in best.tokens.windows(3).enumerate() {
            prop_assert!(!best.tokens[first + 1..].windows(3).any(|other| other == trigram));
        }
    }
}
