use super::*;
use crate::checkpoint::{sha256, ModelFile, Provenance};
use crate::config::Config;
use crate::generate::{BeamSearch, Length};
use crate::model::{BitMar, PlacedText};
use crate::stem::{Stem, StemConfig, StemError, StemTensor};
use crate::tokenizer::{hint_prompt, read_tokenizer, MEDIUM};
use crate::train::data::sample::{CaptionTokens, Sample};
use crate::train::eval::curves::{read_curves, Curve};
use crate::train::objective::ablation::Ablation;
use crate::train::objective::batch::BatchOptions;
use crate::train::objective::captioning::{Captioning, TrainedModel};
use crate::train::objective::distill::teacher_loss::tests::examples;
use crate::train::objective::distill::{DistillDataset, WithDistillation};
use crate::train::objective::self_critical::SelfCritical;
use crate::train::objective::text_only::Language;
use crate::train::teacher::TargetSizes;
use crate::train::text::encode::encode;
use crate::train::trainer::warm_start;
use crate::weights::Weights;

const TOKENIZER: &[u8] = include_bytes!("../../../../pkg/model/tokenizer.json");

fn config() -> Config {
    Config { vocab_size: 4096, ..Config::tiny() }
}

/// A photo of noise with a caption of these tokens, given twice: the memory takes one.
fn sample(seed: u64, tokens: Vec<u32>) -> Sample {
    let mut random = Random::new(seed);
    let len = config().num_patches() * config().stem.output_channels();
    let features: Vec<i8> =
        (0..len).map(|_| i8::try_from(random.below(255)).unwrap_or(i8::MAX)).collect();
    let start = Length::default().start_token();
    let caption = CaptionTokens { text: "a dog".into(), tokens, start, weight: 1.0 };
    Sample {
        views: vec![features.into()],
        mirrored: vec![false],
        captions: vec![caption.clone(), caption],
        weight: 1.0,
        label_words: vec![],
    }
}

fn options(steps: usize) -> RunOptions {
    RunOptions {
        steps,
        batch_size_per_worker: 3,
        workers: 2,
        learning_rate: 4e-3,
        dropout: 0.1,
        seed: 3,
        ablation: Ablation::Nothing,
    }
}

fn captioning(weights: &Weights, samples: Vec<Sample>) -> Captioning {
    let mut tokenizer = read_tokenizer(TOKENIZER).unwrap();
    tokenizer.set_encode_special_tokens(true);
    let texts: Vec<CaptionTokens> = samples.iter().map(|s| s.captions[0].clone()).collect();
    Captioning {
        trained: TrainedModel::new(weights, &config()).unwrap(),
        pools: vec![(samples, 1.0)],
        dev: Vec::new(),
        texts,
        stem_scale: 0.02,
        tokenizer,
        options: BatchOptions { hinted: 0.0, ..BatchOptions::default() },
        ablation: Ablation::Nothing,
    }
}

fn captions() -> Vec<Sample> {
    (0..4).map(|i| sample(u64::from(i), vec![100 + i, 200 + 7 * i, 300 + i, 400])).collect()
}

fn latents(variables: &Variables) -> Vec<Vec<f32>> {
    variables.values().map(|v| v.flatten_all().unwrap().to_vec1().unwrap()).collect()
}

#[test]
fn a_caption_is_rewarded_for_its_references_or_for_naming_a_label() {
    let weights = Weights::fresh(1);
    let mut gold = captions();
    gold[1..].iter_mut().flat_map(|s| &mut s.captions).for_each(|c| c.text = "a cat".into());
    let mut captioning = captioning(&weights, gold);
    let mut labeled = Sample { label_words: vec!["cat".into()], ..sample(9, vec![500]) };
    labeled.captions.iter_mut().for_each(|c| c.text = "two cats sleep".into());
    let labeled = vec![labeled, sample(10, vec![501])];
    captioning.pools = vec![(captioning.pools.remove(0).0, 0.8), (labeled, 0.2)];
    let [dog, cat, cats] =
        ["a dog", "the cat", "two cats sleep"].map(|text| encode(&captioning.tokenizer, text));
    let objective = SelfCritical::new(captioning, weights.variables());
    assert!(objective.reward((0, 0), &[], &dog) > objective.reward((0, 0), &[], &cats));
    // The label counts, and more if it is said as in a caption.
    let wanted = ["cat".to_owned()];
    let worth = [&dog, &cat, &cats].map(|tokens| objective.reward((1, 0), &wanted, tokens));
    assert_eq!(worth, [0.0, 1.0, 2.0]);
    let batch = objective.batch(&[(0, 0), (1, 0)].repeat(8), &mut Random::new(1));
    let context = StepContext { progress: 0.0, alignment_factor: 1.0 };
    let (_, measured) = objective.loss(&batch, context).unwrap();
    let kinds = ["reward", "named", "hinted"];
    assert!(kinds.iter().all(|kind| measured.contains_key(kind)), "{measured:?}");
}

/// Its weights rounded to codes would write other captions than those it is to learn from.
#[test]
fn the_float_twin_is_rewarded_for_what_it_writes_itself() {
    let write = |ablation| {
        let weights = Weights::fresh_float(1);
        let captioning = Captioning { ablation, ..captioning(&weights, captions()) };
        let objective = SelfCritical::new(captioning, weights.variables());
        let batch = objective.batch(&[(0, 0), (0, 1)], &mut Random::new(1));
        objective.write(&batch).unwrap()
    };
    let own = write(Ablation::Ternary);
    assert_eq!(own, write(Ablation::Ternary));
    assert_ne!(own, write(Ablation::Nothing));
}

#[test]
fn lessons_are_learned_beside_captions() {
    let weights = Weights::fresh(1);
    let (cells, config) = (config().num_patches(), config());
    let sizes = TargetSizes { pooled: 64, classes: 10, cells, channels: 16 };
    let dataset =
        DistillDataset::new(&weights, &config, examples(&config, &[sizes], 20, 4), 0.02).unwrap();
    let objective = WithDistillation { objective: captioning(&weights, captions()), dataset };
    let mut run = Run::new(weights.variables(), options(40)).unwrap();
    let means = |run: &mut Run| {
        let steps: Vec<Measures> = (0..5).map(|_| run.update(&objective).unwrap().0).collect();
        ["caption", "pooled", "grid", "classes"]
            .map(|name| steps.iter().map(|measures| measures[name]).sum::<f32>() / 5.0)
    };
    let before = means(&mut run);
    (0..30).for_each(|_| drop(run.update(&objective).unwrap()));
    let after = means(&mut run);
    assert!(
        before.iter().zip(after).all(|(before, after)| after < 0.9 * before),
        "{before:?} {after:?}"
    );
}

#[test]
fn a_resumed_run_takes_the_steps_it_would_have_taken() {
    let folder = std::env::temp_dir().join(format!("bitmar-resume-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let file = folder.join("run.safetensors");
    let weights = Weights::fresh(1);
    let objective = captioning(&weights, captions());
    let mut run = Run::new(weights.variables(), options(6)).unwrap();
    for _ in 0..3 {
        run.update(&objective).unwrap();
    }
    run.save(&file).unwrap();
    for _ in 0..3 {
        run.update(&objective).unwrap();
    }
    let uninterrupted = latents(&weights.variables());

    let weights = Weights::fresh(9);
    let objective = captioning(&weights, captions());
    let mut run = Run::resume(weights.variables(), &file).unwrap();
    assert_eq!(run.step(), 3);
    run.train(&objective, &file).unwrap();
    assert_eq!(run.step(), 6);
    assert_eq!(latents(&weights.variables()), uninterrupted);
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn the_best_checkpoint_is_kept_when_the_dev_loss_rises() {
    let folder = std::env::temp_dir().join(format!("bitmar-best-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let file = folder.join("run.safetensors");
    let weights = Weights::fresh(1);
    let objective = Captioning { dev: captions(), ..captioning(&weights, captions()) };
    let mut run = Run::new(weights.variables(), options(6)).unwrap();
    run.update(&objective).unwrap();
    run.score_dev(&objective, &file).unwrap();
    let best = run.state.best_dev.unwrap();
    let kept = std::fs::read(best_checkpoint(&file)).unwrap();
    // Other weights of the same model, which are worse.
    for variable in run.variables.values() {
        variable.set(&(variable.as_tensor() * -3.0).unwrap()).unwrap();
    }
    assert!(objective.dev().unwrap().unwrap().value() > best);
    run.score_dev(&objective, &file).unwrap();
    assert_eq!(run.state.best_dev, Some(best));
    assert_eq!(std::fs::read(best_checkpoint(&file)).unwrap(), kept);
    let resumed = Run::resume(run.variables, &best_checkpoint(&file)).unwrap();
    assert_eq!((resumed.step(), resumed.state.best_dev), (1, Some(best)));
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn reports_are_appended_as_json_lines_that_can_be_drawn() {
    let folder = std::env::temp_dir().join(format!("bitmar-log-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let weights = Weights::fresh(1);
    let objective = Captioning { dev: captions(), ..captioning(&weights, captions()) };
    let mut run = Run::new(weights.variables(), options(26)).unwrap();
    run.train(&objective, &folder.join("captions.safetensors")).unwrap();
    let log = std::fs::read_to_string(folder.join("captions.jsonl")).unwrap();
    let last: serde_json::Value = serde_json::from_str(log.lines().last().unwrap()).unwrap();
    assert_eq!((&last["steps"], &last["is_best"]), (&26.into(), &true.into()));
    let curves = read_curves(&log, &["caption", "dev_loss", "norm"].map(String::from)).unwrap();
    let steps = |(_, points): &Curve| points.iter().map(|point| point.0).collect::<Vec<f64>>();
    let steps: Vec<Vec<f64>> = curves.iter().map(steps).collect();
    assert_eq!(steps, [vec![25.0, 26.0], vec![26.0], vec![25.0, 26.0]]);
    let best = f64::from(run.state.best_dev.unwrap());
    assert!((curves[1].1[0].1 - best).abs() < 1e-6, "{curves:?} {best}");
    // The measures were learned from, so that they fall.
    assert!(curves[0].1[1].1 < curves[0].1[0].1, "{curves:?}");
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn scores_on_the_dev_set_change_no_step() {
    let folder = std::env::temp_dir().join(format!("bitmar-dev-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let file = folder.join("run.safetensors");
    let weights = Weights::fresh(1);
    let objective = captioning(&weights, captions());
    let mut run = Run::new(weights.variables(), options(4)).unwrap();
    (0..4).for_each(|_| drop(run.update(&objective).unwrap()));
    let without_dev = latents(&weights.variables());

    let weights = Weights::fresh(1);
    let objective = Captioning { dev: captions(), ..captioning(&weights, captions()) };
    let mut run = Run::new(weights.variables(), options(4)).unwrap();
    for _ in 0..2 {
        run.update(&objective).unwrap();
        run.score_dev(&objective, &file).unwrap();
    }
    run.save(&file).unwrap();
    let best = run.state.best_dev;
    let weights = Weights::fresh(9);
    let objective = Captioning { dev: captions(), ..captioning(&weights, captions()) };
    let mut run = Run::resume(weights.variables(), &file).unwrap();
    assert_eq!(run.state.best_dev, best);
    run.train(&objective, &file).unwrap();
    assert_eq!(latents(&weights.variables()), without_dev);
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn a_damaged_checkpoint_is_refused() {
    let folder = std::env::temp_dir().join(format!("bitmar-damaged-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let file = folder.join("run.safetensors");
    std::fs::write(&file, [7; 100]).unwrap();
    assert!(Run::resume(Weights::fresh(1).variables(), &file).is_err());
    std::fs::remove_dir_all(&folder).unwrap();
}

/// The stem plays no part: the samples are features.
fn any_stem(config: &StemConfig) -> Stem {
    let mut get = |name: &str, shape: &[usize]| {
        let count = shape.iter().product();
        Ok::<_, StemError>(if name.ends_with(".weight") {
            StemTensor::I8(vec![1; count])
        } else {
            StemTensor::F32(vec![0.02; count])
        })
    };
    Stem::from_tensors(config, &mut get).unwrap()
}

fn shipped(variables: &Variables) -> Vec<u8> {
    let provenance = Provenance {
        tokenizer_sha256: sha256(TOKENIZER),
        commit: "0".into(),
        trained: "{}".into(),
    };
    let variables = variables.iter().filter(|(name, _)| !name.starts_with("train."));
    let variables = variables.map(|(name, var)| (name.clone(), var.clone())).collect();
    ModelFile::write(&variables, &any_stem(&config().stem), &config(), &provenance).unwrap()
}

fn greedy(model: &BitMar, features: &[i8]) -> Vec<u32> {
    let floats: Vec<f32> = features.iter().map(|&v| f32::from(v) * 0.02).collect();
    let fused = model.fuse(&model.encode_photo(&floats).unwrap(), &[]).unwrap();
    let context = model.read_parameters().unwrap().null_value;
    let state = model.prefill(&fused, &[], &context).unwrap();
    let mut search = BeamSearch::new(state, Length::default().start_token(), 1);
    while search.step(|states, tokens| model.step(states, tokens)).unwrap() {}
    search.best().tokens.clone()
}

/// The smoke test of the whole line: train, write the shipped file, read it, caption.
#[test]
fn the_shipped_file_of_a_trained_model_says_what_it_was_taught() {
    let weights = Weights::fresh(1);
    let samples = captions();
    let objective = captioning(&weights, samples.clone());
    let mut run = Run::new(weights.variables(), options(150)).unwrap();
    let (first, _) = run.update(&objective).unwrap();
    let mut last = first.clone();
    for _ in 1..150 {
        (last, _) = run.update(&objective).unwrap();
    }
    assert!(last["caption"] < 0.5 * first["caption"], "{first:?} {last:?}");
    let loaded = ModelFile::read(&shipped(&weights.variables())).unwrap();
    for sample in samples {
        assert_eq!(greedy(&loaded.model, &sample.views[0]), sample.captions[0].tokens);
    }
}

#[test]
fn a_run_started_from_a_shipped_file_has_the_same_model() {
    let weights = Weights::fresh(1);
    TrainedModel::new(&weights, &config()).unwrap();
    let latents = |file: &[u8]| -> BTreeMap<String, Vec<f32>> {
        let latents = ModelFile::latents(file).unwrap().into_iter();
        latents.map(|(name, (_, values))| (name, values)).collect()
    };
    let of_file = latents(&shipped(&weights.variables()));
    let again = Weights::fresh(2);
    TrainedModel::new(&again, &config()).unwrap();
    assert_eq!(warm_start(&again.variables(), &of_file).unwrap(), of_file.len());
    // Scales are means of many equal numbers, and means round.
    for (name, values) in latents(&shipped(&again.variables())) {
        let pairs = values.iter().zip(&of_file[&name]);
        let largest = pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(largest < 1e-5, "{name} differs by {largest}");
    }
}

/// Conformance 2: nothing of a token leaks into its own prediction, else uniformly random captions
/// that were never seen would be predicted better than by chance.
#[test]
fn random_captions_are_not_predicted_better_than_by_chance() {
    const TOKENS: usize = 64;
    let mut random = Random::new(4);
    let mut draw = |seed: u64| {
        let tokens = (0..8).map(|_| 1000 + u32::try_from(random.below(TOKENS)).unwrap());
        sample(seed, tokens.collect())
    };
    let weights = Weights::fresh(1);
    let objective = captioning(&weights, (0..200).map(&mut draw).collect());
    let mut run = Run::new(weights.variables(), options(120)).unwrap();
    for _ in 0..120 {
        run.update(&objective).unwrap();
    }
    let mut held_out = captioning(&Weights::fresh(2), (900..960).map(&mut draw).collect());
    held_out.trained = objective.trained;
    held_out.options.empty_memory = 1.0;
    held_out.options.texts = 0;
    let examples: Vec<(usize, usize)> = (0..60).map(|i| (0, i)).collect();
    let batch = held_out.batch(&examples, &mut random);
    let context = StepContext { progress: 1.0, alignment_factor: 1.0 };
    let (_, measures) = held_out.loss(&batch, context).unwrap();
    // Eight random tokens and a certain end; the smoothed loss lies above the plain one.
    let chance = (TOKENS as f32).ln() * 8.0 / 9.0;
    assert!(measures["caption"] > chance - 0.02, "{measures:?}, chance {chance}");
}

#[test]
fn texts_learn_to_take_up_a_hint() {
    let weights = Weights::fresh(1);
    let Captioning { trained, texts, tokenizer, .. } = captioning(&weights, captions());
    let texts = texts.into_iter().zip(["a dog runs", "two cats sleep", "the boat sails"]);
    let texts = texts.map(|(caption, text)| {
        let tokens = encode(&tokenizer, text);
        CaptionTokens { text: text.into(), tokens, ..caption }
    });
    let objective = Language {
        trained,
        texts: texts.collect(),
        dev: Vec::new(),
        tokenizer,
        copied: 0.3,
        hinted: 0.5,
    };
    let batch = objective.batch(&[(0, 0), (0, 1), (0, 2)].repeat(6), &mut Random::new(1));
    let context = StepContext { progress: 0.0, alignment_factor: 1.0 };
    let (_, measured) = objective.loss(&batch, context).unwrap();
    let kinds = ["text", "hinted", "repeat"];
    assert!(kinds.iter().all(|kind| measured.contains_key(kind)), "{measured:?}");
    // A hint changes the caption.
    let model = &objective.trained.model;
    let table = model.table().unwrap();
    let text = [PlacedText { photo: 0, tokens: vec![MEDIUM, 300, 301] }];
    let logits = [vec![], vec![hint_prompt(&[400])], vec![hint_prompt(&[500])]].map(|hints| {
        let logits = model.decode_texts(&table, &hints, &[], &text).unwrap();
        logits.flatten_all().unwrap().to_vec1::<f32>().unwrap()
    });
    assert!(logits[0] != logits[1] && logits[1] != logits[2]);
}
