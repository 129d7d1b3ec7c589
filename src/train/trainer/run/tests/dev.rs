//! Looks at dev.

use candle_core::Tensor;

use super::*;

/// Captions whose dev photos are looked at every second step.
struct Watched(Captioning);

impl Objective for Watched {
    type Batch = <Captioning as Objective>::Batch;

    const STEPS_PER_DEV: usize = 2;

    fn pools(&self) -> Vec<(usize, f32)> {
        self.0.pools()
    }

    fn batch(&self, examples: &[(usize, usize)], random: &mut Random) -> Self::Batch {
        self.0.batch(examples, random)
    }

    fn loss(
        &self,
        batch: &Self::Batch,
        context: StepContext,
    ) -> candle_core::Result<(Tensor, Measures)> {
        self.0.loss(batch, context)
    }

    fn dev(&self) -> candle_core::Result<Option<DevScore>> {
        self.0.dev()
    }
}

/// Captions in other words than those of the training photos: the more these are learned, the
/// worse.
fn watched(weights: &Weights) -> Watched {
    let dev = (0..30).map(|i| sample(u64::from(50 + i), vec![2000 + i, 2100 + i, 2200 + i]));
    Watched(Captioning { dev: dev.collect(), ..captioning(weights, captions()) })
}

fn folder(name: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("bitmar-{name}-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

#[test]
fn the_checkpoint_that_is_best_on_dev_is_kept() {
    let folder = folder("best");
    let file = folder.join("captions.safetensors");
    let weights = Weights::fresh(1);
    let objective = watched(&weights);
    let mut run = Run::new(weights.variables(), options(11)).unwrap();
    run.train(&objective, &file).unwrap();
    let log = std::fs::read_to_string(folder.join("captions.jsonl")).unwrap();
    let lines: Vec<serde_json::Value> =
        log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let steps: Vec<u64> = lines.iter().map(|line| line["step"].as_u64().unwrap()).collect();
    assert_eq!(steps, [2, 4, 6, 8, 10, 11]);
    let losses: Vec<f64> =
        lines.iter().map(|line| line["dev"]["caption"].as_f64().unwrap()).collect();
    let lowest = losses.iter().copied().fold(f64::INFINITY, f64::min);
    let best = losses.iter().position(|&loss| loss == lowest).unwrap();
    assert!(losses[5] > lowest, "{losses:?}");
    // The flag stands wherever all earlier losses are higher.
    for (number, line) in lines.iter().enumerate() {
        let is_best = losses[..number].iter().all(|&earlier| earlier > losses[number]);
        assert_eq!(line["is_best"].as_bool().unwrap_or(false), is_best, "{losses:?}");
    }
    let weights = Weights::fresh(9);
    let objective = watched(&weights);
    let kept = Run::resume(weights.variables(), &folder.join("captions-best.safetensors")).unwrap();
    assert_eq!(kept.step() as u64, steps[best]);
    let score = objective.dev().unwrap().unwrap();
    assert!((f64::from(score.measures["caption"]) - lowest).abs() < 1e-6, "{score:?} {losses:?}");
    let weights = Weights::fresh(9);
    let objective = watched(&weights);
    Run::resume(weights.variables(), &file).unwrap();
    let score = objective.dev().unwrap().unwrap();
    assert!((f64::from(score.measures["caption"]) - losses[5]).abs() < 1e-6, "{losses:?}");
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn looks_at_dev_change_no_step_and_a_resumed_run_keeps_the_same_best() {
    let folder = folder("dev-resume");
    let latents_and_state = |file: &Path| {
        let weights = Weights::fresh(9);
        TrainedModel::new(&weights, &config()).unwrap();
        let run = Run::resume(weights.variables(), file).unwrap();
        (latents(&run.variables), serde_json::to_value(&run.state).unwrap())
    };
    let weights = Weights::fresh(1);
    let objective = watched(&weights);
    let whole = folder.join("whole.safetensors");
    Run::new(weights.variables(), options(6)).unwrap().train(&objective, &whole).unwrap();

    let weights = Weights::fresh(1);
    let objective = watched(&weights);
    let parts = folder.join("parts.safetensors");
    let mut run = Run::new(weights.variables(), options(6)).unwrap();
    for step in 1..=3 {
        run.update(&objective).unwrap();
        if step == 2 {
            assert!(run.look_at_dev(&objective, &parts).unwrap().1);
        }
    }
    run.save(&parts).unwrap();
    let weights = Weights::fresh(9);
    let objective = watched(&weights);
    Run::resume(weights.variables(), &parts).unwrap().train(&objective, &parts).unwrap();
    assert_eq!(latents_and_state(&parts), latents_and_state(&whole));
    assert_eq!(latents_and_state(&best_file(&parts)), latents_and_state(&best_file(&whole)));

    let weights = Weights::fresh(1);
    let unwatched = captioning(&weights, captions());
    let blind = folder.join("blind.safetensors");
    Run::new(weights.variables(), options(6)).unwrap().train(&unwatched, &blind).unwrap();
    let (with_looks, without) = (latents_and_state(&whole), latents_and_state(&blind));
    assert_eq!(with_looks.0, without.0);
    // As checkpoints were written before there were looks at dev.
    assert!(without.1.get("best").is_none() && with_looks.1["best"]["step"].is_u64());
    assert!(!best_file(&blind).exists());
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn dev_photos_are_captioned_as_the_shipped_file_does() {
    let weights = Weights::fresh(1);
    let captioning = captioning(&weights, captions());
    let dev = vec![sample(70, vec![100]), sample(71, vec![101])];
    let objective =
        SelfCritical::new(Captioning { dev: dev.clone(), ..captioning }, weights.variables());
    let tokenizer = read_tokenizer(TOKENIZER).unwrap();
    let loaded = ModelFile::read(&shipped(&weights.variables())).unwrap();
    let texts = dev
        .iter()
        .map(|sample| tokenizer.decode(&greedy(&loaded.model, &sample.views[0]), true).unwrap());
    let texts: Vec<String> = texts.collect();
    assert!(texts.iter().all(|text| !text.is_empty()), "{texts:?}");
    assert_eq!(objective.dev_captions().unwrap(), texts);
    let score = objective.dev().unwrap().unwrap();
    assert_eq!(score.measures, Measures::from([("cider", score.quality)]));
    assert!((0.0..=10.0).contains(&score.quality), "{score:?}");
}
