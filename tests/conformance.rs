//! Properties of every BitMar, trained or not, checked on a tiny model with random weights,
//! full-precision and packed.

#![cfg(not(target_arch = "wasm32"))]

use bitmar::config::Config;
use bitmar::memory::RecalledCaption;
use bitmar::model::{BitMar, PlacedText};
use bitmar::random::Random;
use bitmar::weights::{VariableKind, Variables, Weights};
use candle_core::{Device, Tensor};

fn tiny() -> (BitMar, Variables) {
    let weights = Weights::fresh(5);
    let model = BitMar::new(&weights, &Config::tiny()).expect("the tiny size is valid");
    (model, weights.variables())
}

/// Opens the gates through which the memory conditions the decoder: fresh ones are 0.
fn open_gates(variables: &Variables) {
    for gate in variables.values().filter(|v| v.kind == VariableKind::Gate) {
        gate.set(&Tensor::full(0.7f32, 1, &Device::Cpu).expect("one number")).expect("same shape");
    }
}

fn photo(seed: u64) -> Vec<f32> {
    let config = Config::tiny();
    let mut random = Random::new(seed);
    (0..config.num_patches() * config.stem.output_channels()).map(|_| random.normal()).collect()
}

fn context(seed: u64) -> Vec<f32> {
    let mut random = Random::new(seed);
    (0..Config::tiny().memory.width).map(|_| random.normal()).collect()
}

/// Logits after every token of `tokens`, computed for the whole sequence at once.
fn whole(
    model: &BitMar,
    photo: &[f32],
    recalled: &[u32],
    tokens: &[u32],
    context: &[f32],
) -> Vec<Vec<f32>> {
    let table = model.table().expect("a table");
    let photos = model.encode_photo(photo).expect("a photo");
    let fused = model.fuse_photos(&table, &photos, &[Vec::new()]).expect("one photo");
    let recalled: Vec<PlacedText> = (!recalled.is_empty())
        .then(|| PlacedText { photo: 0, tokens: [&[5], recalled].concat() })
        .into_iter()
        .collect();
    let caption = [PlacedText { photo: 0, tokens: tokens.to_vec() }];
    let context = Tensor::from_slice(context, (1, context.len()), &Device::Cpu).expect("one row");
    let logits = model.decode_captions(&table, &fused, &recalled, &caption, &context);
    logits.expect("a caption").to_vec2().expect("logits are a matrix")
}

/// The same, computed token by token with the cache.
fn stepwise(
    model: &BitMar,
    photo: &[f32],
    recalled: &[u32],
    tokens: &[u32],
    context: &[f32],
) -> Vec<Vec<f32>> {
    let fused = model.fuse(&model.encode_photo(photo).expect("a photo"), &[]).expect("one photo");
    let recalled: Vec<RecalledCaption> = (!recalled.is_empty())
        .then(|| RecalledCaption { tokens: recalled.to_vec(), corrected: false })
        .into_iter()
        .collect();
    let mut states = [model.prefill(&fused, &recalled, context).expect("a prefix")];
    tokens
        .iter()
        .map(|&token| model.step(&mut states, &[token]).expect("a step").remove(0))
        .collect()
}

fn largest_difference(a: &[Vec<f32>], b: &[Vec<f32>]) -> f32 {
    let pairs = a.iter().flatten().zip(b.iter().flatten());
    pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

const TOKENS: [u32; 9] = [3, 100, 17, 250, 33, 99, 18, 64, 200];

#[test]
fn a_later_token_changes_no_earlier_logit() {
    let (model, _) = tiny();
    let (photo, context) = (photo(1), context(2));
    let before = whole(&model, &photo, &[], &TOKENS, &context);
    let mut changed = TOKENS;
    changed[6] = 301;
    let after = whole(&model, &photo, &[], &changed, &context);
    assert_eq!(before[..6], after[..6]);
    assert_ne!(before[6], after[6]);
}

#[test]
fn decoding_with_a_cache_equals_the_whole_sequence() {
    let (model, variables) = tiny();
    open_gates(&variables);
    for recalled in [&[][..], &[40, 41, 42]] {
        let (photo, context) = (photo(3), context(4));
        let whole = whole(&model, &photo, recalled, &TOKENS, &context);
        let steps = stepwise(&model, &photo, recalled, &TOKENS, &context);
        // int8 rounding of activations turns a last-bit difference into at most a few quantization
        // steps.
        let difference = largest_difference(&whole, &steps);
        assert!(difference < 1e-3, "{difference}");
    }
}

#[test]
fn a_closed_gate_ignores_the_memory_and_an_open_one_does_not() {
    let (model, variables) = tiny();
    let photo = photo(6);
    let with = |seed| whole(&model, &photo, &[], &TOKENS, &context(seed));
    assert_eq!(with(1), with(2));
    open_gates(&variables);
    assert_ne!(with(1), with(2));
}

#[test]
fn another_photo_and_a_recalled_caption_change_the_logits() {
    let (model, _) = tiny();
    let context = context(7);
    let plain = whole(&model, &photo(8), &[], &TOKENS, &context);
    assert_ne!(plain, whole(&model, &photo(9), &[], &TOKENS, &context));
    assert_ne!(plain, whole(&model, &photo(8), &[50, 51], &TOKENS, &context));
}

#[test]
fn photos_of_a_batch_do_not_see_each_other() {
    let (model, _) = tiny();
    let table = model.table().expect("a table");
    let together = [photo(1), photo(2)].concat();
    let rows = Config::tiny().num_patches() * 2;
    let shape = (rows, Config::tiny().stem.output_channels());
    let features = Tensor::from_vec(together, shape, &Device::Cpu).expect("two photos");
    let photos = model.vision().forward(&features).expect("two photos");
    let hint = vec![7, 60, 61];
    let fused = model.fuse_photos(&table, &photos, &[Vec::new(), hint]).expect("two photos");
    let alone = model.fuse(&model.encode_photo(&photo(1)).expect("a photo"), &[]).expect("a photo");
    let query = fused.episodes.to_vec2::<f32>().expect("a matrix");
    assert!(largest_difference(&query[..1], &[alone.episode]) < 1e-4);
    let hinted = model.fuse(&model.encode_photo(&photo(2)).expect("a photo"), &[60, 61]);
    assert!(largest_difference(&query[1..], &[hinted.expect("a photo").episode]) < 1e-4);
}

#[test]
fn ten_thousand_tokens_need_constant_memory() {
    let config = Config { window: 8, decoder_layers: 1, ..Config::tiny() };
    let model = BitMar::new(&Weights::fresh(5), &config).expect("a valid size");
    let fused = model.fuse(&model.encode_photo(&photo(1)).expect("a photo"), &[]).expect("a photo");
    let mut states = [model.prefill(&fused, &[], &context(1)).expect("a prefix")];
    let held = config.num_sinks + config.num_queries + config.num_patches() + 1 + config.window;
    for i in 0..10_000u32 {
        let logits = model.step(&mut states, &[16 + i % 200]).expect("a step");
        assert!(states[0].cache_len() <= held);
        assert!(logits[0].iter().all(|logit| logit.is_finite()), "token {i}");
    }
}
