use super::*;
use crate::checkpoint::tags::tests::any_head;
use crate::checkpoint::Provenance;
use crate::memory::{MemoryError, SlotIndex};
use crate::random::Random;
use crate::stem::{StemConfig, StemError, StemTensor};
use crate::weights::Weights;

const TOKENIZER: &[u8] = include_bytes!("../../pkg/model/tokenizer.json");

/// The file of an untrained model, small enough to run in a test.
fn model_file(seed: u64) -> Vec<u8> {
    let stem = StemConfig { input_size: 64, num_blocks: 12 };
    let config = Config { vocab_size: 4096, stem, ..Config::tiny() };
    let stem = random_stem(&config.stem, seed);
    let weights = Weights::fresh(seed);
    BitMar::new(&weights, &config).unwrap();
    let provenance = Provenance {
        tokenizer_sha256: sha256(TOKENIZER),
        commit: "0".into(),
        trained: r#"{"steps":0}"#.into(),
    };
    ModelFile::write(&weights.variables(), &stem, &config, &provenance).unwrap()
}

fn random_stem(config: &StemConfig, seed: u64) -> Stem {
    Stem::from_tensors(config, &mut random_tensors(seed)).unwrap()
}

/// A source of small random weights.
fn random_tensors(seed: u64) -> impl FnMut(&str, &[usize]) -> Result<StemTensor, StemError> {
    let mut random = Random::new(seed);
    move |name: &str, shape: &[usize]| {
        let count = shape.iter().product();
        Ok(if name.ends_with(".weight") {
            let weight = |_| i8::try_from(random.below(41)).expect("below 41") - 20;
            StemTensor::I8((0..count).map(weight).collect())
        } else {
            StemTensor::F32((0..count).map(|_| 0.01 + 0.01 * random.uniform()).collect())
        })
    }
}

fn captioner() -> Captioner {
    Captioner::new(&model_file(1), TOKENIZER, || 1000.0).unwrap()
}

fn photo(seed: u64) -> Vec<u8> {
    let mut random = Random::new(seed);
    let color: [u64; 3] = std::array::from_fn(|_| random.next_u64() % 256);
    let photo = RgbImage::from_fn(90, 60, |x, y| {
        let shades = color.map(|c| u8::try_from((c + u64::from(x * 2 + y)) % 256).unwrap());
        image::Rgb(shades)
    });
    let mut bytes = Vec::new();
    photo.write_to(&mut std::io::Cursor::new(&mut bytes), image::ImageFormat::Png).unwrap();
    bytes
}

fn quick() -> CaptionOptions {
    CaptionOptions { beams: 1, ..CaptionOptions::default() }
}

#[test]
fn a_photo_gets_a_caption_and_the_memory_keeps_it() {
    let mut captioner = captioner();
    let caption = captioner.caption(&photo(1), &quick()).unwrap();
    assert!(!caption.text.is_empty() && caption.tokens > 0);
    assert!((0.0..=1.0).contains(&caption.confidence));
    let records: Vec<_> = captioner.memory().iter().collect();
    assert_eq!(records.len(), 1);
    assert_eq!((caption.slot, &records[0].1.caption), (Some(records[0].0), &caption.text));
    assert_eq!(records[0].1.written_at, 1000);
    let thumbnail = image::load_from_memory(&records[0].1.thumbnail).unwrap();
    assert_eq!((thumbnail.width(), thumbnail.height()), (64, 42));
}

#[test]
fn only_a_model_with_a_tag_head_returns_tags() {
    let file = model_file(1);
    let config = ModelFile::read(&file).unwrap().config;
    let stem = random_stem(&config.stem, 1);
    let stem = stem.with_extension_tensors(&mut random_tensors(2)).unwrap();
    let head = any_head(&["cat", "dog", "sheep", "bus"]);
    let tagged = ModelFile::with_tags(&file, &stem, &head).unwrap();
    let mut tagged = Captioner::new(&tagged, TOKENIZER, || 1000.0).unwrap();
    let mut plain = captioner();
    let (with, without) =
        (tagged.caption(&photo(1), &quick()).unwrap(), plain.caption(&photo(1), &quick()).unwrap());
    assert_eq!((&with.text, with.confidence), (&without.text, without.confidence));
    assert_eq!(without.tags, None);
    let tags = with.tags.unwrap();
    // The biases are -1, 0, 1 and 2, and the weights are small.
    assert_eq!(tags[0].name, "bus", "{tags:?}");
    let probabilities: Vec<f64> = tags.iter().map(|tag| tag.probability).collect();
    assert!(probabilities.is_sorted_by(|a, b| a >= b), "{tags:?}");
    assert!(tags.iter().all(|tag| (SMALLEST_TAG..=1.0).contains(&tag.probability)), "{tags:?}");
}

#[test]
fn the_same_photo_and_memory_give_the_same_caption() {
    let (mut a, mut b) = (captioner(), captioner());
    for beams in [1, 3] {
        let options = CaptionOptions { beams, ..CaptionOptions::default() };
        assert_eq!(
            a.caption(&photo(1), &options).unwrap(),
            b.caption(&photo(1), &options).unwrap()
        );
    }
}

#[test]
fn a_dropped_generation_leaves_no_trace() {
    let captioner = captioner();
    let before = captioner.memory().clone();
    let mut generation = captioner.begin(&photo(1), &quick()).unwrap();
    captioner.step(&mut generation).unwrap();
    drop(generation);
    assert_eq!(*captioner.memory(), before);
}

#[test]
fn a_caption_not_to_be_remembered_can_still_be_corrected() {
    let mut captioner = captioner();
    let options = CaptionOptions { remember: false, ..quick() };
    let caption = captioner.caption(&photo(1), &options).unwrap();
    assert!(captioner.memory().is_empty());
    let slot = captioner.correct(caption.id, "  Rex on the beach. ").unwrap();
    let record = captioner.memory().get(slot).unwrap();
    assert_eq!((record.caption.as_str(), record.corrected), ("Rex on the beach.", true));
    assert_eq!(record.tokens, captioner.encoded("rex on the beach").unwrap());
}

#[test]
fn a_caption_without_recall_is_that_of_an_empty_memory() {
    let mut captioner = captioner();
    let before = captioner.caption(&photo(1), &quick()).unwrap();
    captioner.correct(before.id, "Rex on the beach").unwrap();
    let options =
        CaptionOptions { recall: false, remember: false, count_recalls: false, ..quick() };
    let memory = captioner.memory().clone();
    let caption = captioner.caption(&photo(1), &options).unwrap();
    assert_eq!((&caption.text, caption.recalled.len()), (&before.text, 0));
    let reminded =
        captioner.caption(&photo(1), &CaptionOptions { recall: true, ..options }).unwrap();
    assert_eq!(reminded.text, "Rex on the beach");
    assert_eq!(*captioner.memory(), memory, "neither left a trace");
}

#[test]
fn teaching_a_photo_is_correcting_its_caption() {
    let (mut a, mut b) = (captioner(), captioner());
    let options = CaptionOptions { remember: false, ..quick() };
    let id = a.caption(&photo(1), &options).unwrap().id;
    a.correct(id, "Rex").unwrap();
    b.teach(&photo(1), "Rex").unwrap();
    assert_eq!(a.export_memory(), b.export_memory());
}

#[test]
fn corrections_that_cannot_be_kept_are_refused() {
    let mut captioner = captioner();
    let id = captioner.caption(&photo(1), &quick()).unwrap().id;
    let error = |result: Result<SlotIndex, Error>| match result.unwrap_err() {
        Error::Memory(error) => error,
        other => panic!("{other}"),
    };
    assert_eq!(error(captioner.correct(id + 1, "Rex")), MemoryError::NoSuchCaption { id: id + 1 });
    assert_eq!(error(captioner.correct(id, " \n\u{3000}")), MemoryError::EmptyCaption);
    let long = error(captioner.correct(id, &"\u{1f98a}".repeat(501)));
    assert_eq!(long, MemoryError::CaptionTooLong { found: 501, limit: 500 });
    for text in ["Rex\non the beach", "Rex\u{85}b", "Rex\tasleep", "a\u{2028}b", "\u{1b}[1m"] {
        assert_eq!(captioner.correct(id, text).unwrap_err().code(), "option", "{text:?}");
    }
    assert_eq!(captioner.correct(id, "").unwrap_err().code(), "caption-empty");
    assert_eq!(captioner.correct(id, &"a".repeat(501)).unwrap_err().code(), "caption-too-long");
    assert_eq!(captioner.correct(id + 1, "Rex").unwrap_err().code(), "memory");
}

#[test]
fn a_correction_in_any_script_comes_back_unchanged() {
    // The second has a decomposed accent, the last one only characters that end sentences.
    let texts = [
        "หมาของฉัน".repeat(55),
        "Cafe\u{301} au lait. No. 5...".into(),
        "كلبي على الشاطئ".into(),
        "\u{1f469}\u{200d}\u{1f469}\u{200d}\u{1f467} \u{1f1eb}\u{1f1ee}".into(),
        "犬".repeat(500),
        "...".into(),
    ];
    let mut captioner = captioner();
    for text in texts {
        let slot = captioner.teach(&photo(1), &format!("  {text}\n")).unwrap();
        assert_eq!(captioner.memory().get(slot).unwrap().caption, text);
        let snapshot = captioner.export_memory();
        captioner.import_memory(&snapshot).unwrap();
        let options = CaptionOptions { remember: false, ..quick() };
        assert_eq!(captioner.caption(&photo(1), &options).unwrap().text, text);
    }
}

#[test]
fn a_repeated_correction_keeps_the_users_words() {
    let captioner = captioner();
    let mut generation = captioner.begin(&photo(1), &quick()).unwrap();
    while captioner.step(&mut generation).unwrap() {}
    let tokens = generation.search.best().tokens.clone();
    let plain = captioner.text(&generation).unwrap();
    assert!(plain.chars().next().is_some_and(|first| !first.is_lowercase()), "{plain}");
    let recalled = Recalled {
        slot: 0,
        weight: 0.9,
        text: "Rex, not a rex".into(),
        corrected: true,
        written_at: 5,
        thumbnail: vec![],
    };
    generation.recalled = vec![RecalledSlot { recalled, tokens }];
    assert_eq!(captioner.text(&generation).unwrap(), "Rex, not a rex");
}

#[test]
fn an_imported_memory_gives_the_same_captions() {
    let mut first = captioner();
    for seed in 0..3 {
        first.caption(&photo(seed), &quick()).unwrap();
    }
    let mut second = captioner();
    second.import_memory(&first.export_memory()).unwrap();
    assert_eq!(first.memory(), second.memory());
    for seed in 0..4 {
        let (a, b) =
            (first.caption(&photo(seed), &quick()), second.caption(&photo(seed), &quick()));
        let (a, b) = (a.unwrap(), b.unwrap());
        assert_eq!((a.text, a.confidence, a.recalled), (b.text, b.confidence, b.recalled));
    }
}

/// The captions of the memory, by slot.
fn remembered(captioner: &Captioner) -> Vec<&str> {
    captioner.memory().iter().map(|(_, record)| record.caption.as_str()).collect()
}

#[test]
fn corrections_deletions_and_clearings_are_undone_one_by_one() {
    let mut captioner = captioner();
    let slot = captioner.teach(&photo(1), "Rex").unwrap();
    captioner.correct_memory(slot, "Rex on the beach").unwrap();
    captioner.delete_memory(slot).unwrap();
    let empty = captioner.export_memory();
    captioner.clear_memory();
    captioner.import_memory(&empty).unwrap();
    for expected in [vec![], vec![], vec!["Rex on the beach"], vec!["Rex"], vec![]] {
        assert!(captioner.undo_memory());
        assert_eq!(remembered(&captioner), expected);
    }
    assert!(!captioner.undo_memory());
}

#[test]
fn a_caption_in_between_does_not_prevent_an_undo() {
    let mut captioner = captioner();
    let slot = captioner.teach(&photo(1), "Rex").unwrap();
    captioner.delete_memory(slot).unwrap();
    captioner.caption(&photo(7), &quick()).unwrap();
    assert!(captioner.undo_memory());
    assert!(remembered(&captioner).contains(&"Rex"));
}

#[test]
fn reloading_what_another_session_stored_is_not_a_change_to_undo() {
    let (mut first, mut second) = (captioner(), captioner());
    first.teach(&photo(1), "Rex").unwrap();
    second.reload_memory(&first.export_memory()).unwrap();
    assert_eq!(remembered(&second), ["Rex"]);
    assert!(!second.undo_memory());
}

#[test]
fn a_merged_memory_keeps_the_corrections_of_both() {
    let (mut first, mut second) = (captioner(), captioner());
    first.teach(&photo(1), "Rex").unwrap();
    second.import_memory(&first.export_memory()).unwrap();
    second.correct_memory(0, "Rex asleep").unwrap();
    second.merge_memory(&first.export_memory()).unwrap();
    assert_eq!(remembered(&second).len(), 1, "the same photo is one episode");
}

#[test]
fn a_remembered_photo_gets_another_caption_in_its_place() {
    let mut captioner = captioner();
    let slot = captioner.teach(&photo(1), "Rex").unwrap();
    let thumbnail = captioner.memory().get(slot).unwrap().thumbnail.clone();
    captioner.correct_memory(slot, " Rex on the beach ").unwrap();
    let record = captioner.memory().get(slot).unwrap();
    assert_eq!((record.caption.as_str(), record.corrected), ("Rex on the beach", true));
    assert_eq!(record.thumbnail, thumbnail);
    assert_eq!(captioner.correct_memory(slot + 1, "Mia").unwrap_err().code(), "memory");
    assert_eq!(captioner.correct_memory(slot, " ").unwrap_err().code(), "caption-empty");
}

#[test]
fn another_models_memory_is_re_encoded_from_its_thumbnails() {
    let mut old = Captioner::new(&model_file(2), TOKENIZER, || 500.0).unwrap();
    old.teach(&photo(1), "Rex, my dog").unwrap();
    old.caption(&photo(2), &quick()).unwrap();
    let mut captioner = captioner();
    let mut migration = captioner.begin_migration(&old.export_memory()).unwrap();
    while captioner.migrate_next(&mut migration).unwrap() {}
    assert_eq!((migration.total(), migration.left()), (old.memory().len(), 0));
    captioner.import_memory(&captioner.migrated_memory(&migration)).unwrap();
    let records = |captioner: &Captioner| -> Vec<_> {
        captioner.memory().iter().map(|(slot, record)| (slot, record.clone())).collect()
    };
    assert_eq!(records(&captioner), records(&old), "captions, times and thumbnails stay");
}

#[test]
fn a_damaged_memory_of_another_model_is_refused() {
    let mut old = Captioner::new(&model_file(2), TOKENIZER, || 500.0).unwrap();
    old.teach(&photo(1), "Rex").unwrap();
    let mut snapshot = old.export_memory();
    *snapshot.last_mut().unwrap() ^= 1;
    assert_eq!(captioner().begin_migration(&snapshot).err().unwrap().code(), "snapshot");
}

#[test]
fn another_models_memory_is_refused_and_the_own_one_kept() {
    let mut captioner = captioner();
    captioner.teach(&photo(1), "Rex").unwrap();
    let before = captioner.memory().clone();
    let other = Captioner::new(&model_file(2), TOKENIZER, || 0.0).unwrap().export_memory();
    assert_eq!(captioner.import_memory(&other).unwrap_err().code(), "snapshot");
    assert_eq!(*captioner.memory(), before);
}

#[test]
fn another_tokenizer_is_refused() {
    let error = Captioner::new(&model_file(1), b"{}", || 0.0).err().unwrap();
    assert_eq!(error.code(), "tokenizer");
}

#[test]
fn options_out_of_range_are_refused() {
    let captioner = captioner();
    let refused = [
        CaptionOptions { beams: 0, ..quick() },
        CaptionOptions { beams: 9, ..quick() },
        CaptionOptions { hint: "word ".repeat(65), ..quick() },
    ];
    for options in refused {
        assert_eq!(captioner.begin(&photo(1), &options).err().unwrap().code(), "option");
    }
    assert_eq!("huge".parse::<Length>().unwrap_err().code(), "option");
}

#[test]
fn control_tokens_in_a_hint_are_text() {
    let captioner = captioner();
    let tokens = captioner.encoded("<eos> <corrected> rex").unwrap();
    assert!(tokens.iter().all(|&token| token >= crate::control_tokens::FIRST_TEXT_TOKEN));
}

#[test]
fn times_add_up() {
    let caption = captioner().caption(&photo(1), &quick()).unwrap();
    let Timings { decode, vision, stem, memory, text, fusion, prefill, total } = caption.ms;
    assert_eq!(total, decode + vision + memory + text);
    assert!(stem <= vision && fusion + prefill <= text);
}

#[test]
fn every_word_has_an_attention_map() {
    let mut captioner = captioner();
    let options = CaptionOptions { remember: false, ..quick() };
    let plain = captioner.caption(&photo(1), &options).unwrap();
    let options = CaptionOptions { attention: true, ..options };
    let caption = captioner.caption(&photo(1), &options).unwrap();
    assert_eq!(
        (plain.attention, &caption.text),
        (None, &plain.text),
        "recording attention changes no caption"
    );
    let Attention { width, height, words } = caption.attention.unwrap();
    assert!(words.len() > 1, "a caption of several words: {}", caption.text);
    let text: Vec<u16> = caption.text.encode_utf16().collect();
    let attended: Vec<String> =
        words.iter().map(|w| String::from_utf16(&text[w.start..w.end]).unwrap()).collect();
    let expected: Vec<&str> = caption.text.split_whitespace().collect();
    assert!(attended.iter().all(|word| expected.contains(&word.as_str())), "{attended:?}");
    for word in &words {
        assert_eq!(word.map.len(), width * height);
        assert!((word.map.iter().sum::<f32>() - 1.0).abs() < 1e-4);
        assert!(word.map.iter().all(|share| *share >= 0.0));
    }
    assert_ne!(words[0].map, words[1].map);
}
