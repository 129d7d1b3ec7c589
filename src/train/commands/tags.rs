//! Trains the tag head on cached features, calibrates it, and measures it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::{bail, Context, Result};
use candle_core::{DType, Tensor};
use serde::Serialize;
use serde_json::json;

use crate::checkpoint::ModelFile;
use crate::kernels::quantize_row;
use crate::tag_head::{Tag, TagHead, TagLayer};
use crate::train::data::archive::load_index;
use crate::train::data::photo_set::{Photo, PhotoSet, Role, Split, PHOTO_SETS};
use crate::train::data::pooled::{load_pooled, Pooled, Region};
use crate::train::data::seen::{load_seen, Seen};
use crate::train::data::tag_targets::{mentions, TagTarget, TagTargets, UNKNOWN};
use crate::train::eval::tag_calibration::{Calibration, Observations};
use crate::train::files;
use crate::train::objective::tagging::{Focus, TagLayers, TagPool, Tagging};
use crate::train::teacher::stem_cache::extended_stem;
use crate::train::text::tag_vocabulary::{TagVocabulary, PEOPLE};
use crate::train::trainer::{Run, RunOptions};
use crate::weights::Weights;

/// Share of the draws that are crops, if there are any.
const CROP_SHARE: f32 = 0.5;
/// Weight in the calibration of a photo of an everyday dev set, relative to one of Flickr8k, whose
/// dev photos are ten times as many and show few kinds of things.
const EVERYDAY_WEIGHT: f64 = 3.0;
/// Probability of the least probable tag that is listed.
const SMALLEST_LISTED: f64 = 0.05;

/// Where the trainer of the tag head reads, and what it is to try.
#[derive(Debug, Clone)]
pub struct TagInputs {
    /// Data folder: indexes, and what teachers see in whole photos.
    pub data: PathBuf,
    /// Folder of the pooled features that `bitmar-train features` computed.
    pub features: PathBuf,
    /// Folder of what teachers see in crops.
    pub crops: Option<PathBuf>,
    /// Rounds of crops to learn from.
    pub rounds: usize,
    /// How much easy targets count.
    pub focus: Focus,
    /// Factor of the sum of the squared weights in the loss.
    pub ridge: f64,
}

/// Trains a head, calibrates it on dev photos and writes it to `head`; the run's checkpoint and log
/// are next to it.
///
/// # Errors
///
/// If a file cannot be read or written.
pub fn train_tags(inputs: &TagInputs, options: RunOptions, head: &Path) -> Result<()> {
    let vocabulary = TagVocabulary::standard();
    let mut pools = vec![pool(inputs, "plain", 1.0)?];
    for round in 1..=inputs.rounds {
        let share = CROP_SHARE / (1.0 - CROP_SHARE) / inputs.rounds as f32;
        pools.push(pool(inputs, &format!("crops-{round}"), share)?);
    }
    let described = described_dev(&inputs.data, &inputs.features)?;
    let names = vocabulary.names().len();
    let weights = Weights::fresh(options.seed);
    let layers = TagLayers::new(&weights, &pools[0].features, names)?;
    let dev = dev_pool(&described)?;
    let TagInputs { focus, ridge, .. } = *inputs;
    let tagging = Tagging { layers, pools, dev, names, focus, ridge };
    let mut run = Run::new(weights.variables(), options)?;
    run.train(&tagging, &head.with_extension("run.safetensors"))?;
    let layer = quantized(&tagging.layers.folded()?)?;
    let names = vocabulary.names().iter().map(|name| name.name.clone()).collect();
    let mut trained = TagHead::new(names, layer);
    let calibration = Calibration::fit(&observations(&trained, &described)?);
    eprintln!("slope of the calibration: {:.3}", calibration.slope);
    trained.calibrate(calibration.slope, &calibration.offsets);
    files::write(head, &trained.to_file())?;
    Ok(())
}

/// The pictures of a view of all sets that have targets.
fn pool(inputs: &TagInputs, view: &str, share: f32) -> Result<TagPool> {
    let vocabulary = TagVocabulary::standard();
    let (mut features, mut targets): (Vec<Tensor>, Vec<TagTarget>) = Default::default();
    for set in PHOTO_SETS.iter().filter(|set| set.role != Role::Dev) {
        let seen_file = match (view.strip_prefix("crops-"), &inputs.crops) {
            (None, _) => inputs.data.join("tags").join(format!("{}.jsonl", set.name)),
            (Some(round), Some(crops)) => crops.join(format!("{}-{round}.jsonl", set.name)),
            (Some(_), None) => bail!("no folder of crops is given"),
        };
        if view != "plain" && !seen_file.exists() {
            continue;
        }
        let photos = load_index(&inputs.data, set)?;
        let maker = TagTargets::new(vocabulary, set, &photos);
        let seen = load_seen(&seen_file)?;
        let seen: BTreeMap<(&str, Option<[u32; 4]>), &Seen> =
            seen.iter().map(|seen| ((seen.image.as_str(), seen.crop), seen)).collect();
        let Pooled { regions, features: all } = load_pooled(&inputs.features, set.name, view)?;
        let mut rows = Vec::new();
        for (row, Region { image, crop }) in regions.iter().enumerate() {
            let found = seen.get(&(image.as_str(), *crop)).and_then(|seen| maker.of(seen));
            if let Some(found) = found {
                rows.push(u32::try_from(row)?);
                targets.extend(found);
            }
        }
        eprintln!("{} {view}: {} of {} regions", set.name, rows.len(), regions.len());
        if !rows.is_empty() {
            let rows = Tensor::from_vec(rows.clone(), rows.len(), all.device())?;
            features.push(all.index_select(&rows, 0)?);
        }
    }
    Ok(TagPool { features: Tensor::cat(&features, 0)?, targets, share })
}

/// A dev photo with captions, and its features.
struct Described {
    photo: Photo,
    features: Vec<f32>,
}

/// The photos that heads are compared and calibrated on: Flickr8k's dev photos and the odd lines
/// of the dev sets. The even lines are left for the report.
fn described_dev(data: &Path, features: &Path) -> Result<Vec<Described>> {
    let mut described = Vec::new();
    for set in std::iter::once(PhotoSet::flickr8k()).chain(PhotoSet::of_role(Role::Dev)) {
        let photos = load_index(data, set)?;
        let mut by_name = features_by_name(features, set)?;
        // Lines are counted from one: the odd ones have even indexes.
        let step = if set.role == Role::Dev { 2 } else { 1 };
        for photo in photos.into_iter().step_by(step) {
            if photo.split == Split::Dev && !photo.captions.is_empty() {
                let found = by_name.remove(&photo.name);
                let features = found.with_context(|| format!("no features of {}", photo.name))?;
                described.push(Described { photo, features });
            }
        }
    }
    Ok(described)
}

fn features_by_name(folder: &Path, set: &PhotoSet) -> Result<BTreeMap<String, Vec<f32>>> {
    let Pooled { regions, features } = load_pooled(folder, set.name, "plain")?;
    let rows = features.to_dtype(DType::F32)?.to_vec2::<f32>()?;
    Ok(regions.into_iter().map(|region| region.image).zip(rows).collect())
}

/// Dev photos with what at least one person mentions as their targets.
fn dev_pool(described: &[Described]) -> Result<TagPool> {
    let rows: Vec<Tensor> = described
        .iter()
        .map(|photo| Tensor::new(&photo.features[..], &candle_core::Device::Cpu))
        .collect::<candle_core::Result<_>>()?;
    let targets = described.iter().flat_map(|photo| is_mentioned(&photo.photo));
    let targets = targets.map(|is| match is {
        Some(is) => TagTarget { value: f32::from(u8::from(is)), weight: 1.0 },
        None => UNKNOWN,
    });
    Ok(TagPool { features: Tensor::stack(&rows, 0)?, targets: targets.collect(), share: 0.0 })
}

/// Of each name, whether at least one person mentions it; `None` if only ambiguous words may.
fn is_mentioned(photo: &Photo) -> Vec<Option<bool>> {
    let vocabulary = TagVocabulary::standard();
    let mentions = mentions(vocabulary, photo);
    let names = 0..vocabulary.names().len();
    let is_mentioned = names.map(|name| match mentions.get(&name) {
        Some(mentions) => (mentions.certain > 0).then_some(true),
        None => Some(false),
    });
    is_mentioned.collect()
}

fn observations(head: &TagHead, described: &[Described]) -> Result<Observations> {
    let mut observed = Observations { names: head.names().len(), ..Observations::default() };
    for Described { photo, features } in described {
        observed.log_odds.extend(head.log_odds(features));
        observed.is_mentioned.extend(is_mentioned(photo));
        let is_everyday = photo.set.role == Role::Dev;
        observed.weights.push(if is_everyday { EVERYDAY_WEIGHT } else { 1.0 });
    }
    Ok(observed)
}

/// The head in int8, each row with its own scale.
fn quantized((weight, bias): &(Tensor, Tensor)) -> candle_core::Result<TagLayer> {
    let rows = weight.to_vec2::<f32>()?;
    let mut codes = vec![0; weight.elem_count()];
    let scales = rows
        .iter()
        .zip(codes.chunks_exact_mut(weight.dim(1)?))
        .map(|(row, codes)| quantize_row(row, codes));
    let weight_scale = scales.collect();
    Ok(TagLayer { weight_scale, weight: codes, bias: bias.to_vec1::<f32>()? })
}

/// Writes the model file `model` with the tag head of the file `head`, and with the stem extension
/// whose features it reads, to `tagged`.
///
/// # Errors
///
/// If a file cannot be read or written.
pub fn add_tags(data: &Path, out: &Path, model: &Path, head: &Path, tagged: &Path) -> Result<()> {
    let (model, head) = (std::fs::read(model)?, read_head(head)?);
    let stem = extended_stem(data, out, ModelFile::read(&model)?.stem)?;
    files::write(tagged, &ModelFile::with_tags(&model, &stem, &head)?)?;
    Ok(())
}

fn read_head(file: &Path) -> Result<TagHead> {
    Ok(TagHead::from_file(&files::read(file)?)?)
}

/// A line of the list of tags.
#[derive(Serialize)]
struct Line<'a> {
    photo: &'a str,
    tags: Vec<Tag>,
}

/// Prints the tags of the dev photos of `set`, one JSON object a line, in the order of the index.
///
/// # Errors
///
/// If a file cannot be read.
pub fn list_tags(data: &Path, features: &Path, head: &Path, set: &str) -> Result<()> {
    let set = PHOTO_SETS.iter().find(|known| known.name == set).context("no such photo set")?;
    let head = read_head(head)?;
    let by_name = features_by_name(features, set)?;
    for photo in load_index(data, set)?.iter().filter(|photo| photo.split == Split::Dev) {
        let features = by_name.get(&photo.name).context("a photo has no features")?;
        let tags = head.tags(features, SMALLEST_LISTED);
        println!("{}", serde_json::to_string(&Line { photo: &photo.name, tags })?);
    }
    Ok(())
}

/// Prints for each set of held-out labelled photos how many of those whose label has a name other
/// than a person get it as their most probable tag, or with probability 0.3 or 0.5.
///
/// # Errors
///
/// If a file cannot be read.
pub fn eval_tags(data: &Path, features: &Path, head: &Path) -> Result<()> {
    const THRESHOLDS: [f64; 2] = [0.3, 0.5];
    let vocabulary = TagVocabulary::standard();
    let head = read_head(head)?;
    let people: BTreeSet<usize> = PEOPLE.iter().filter_map(|name| vocabulary.index(name)).collect();
    for set in PhotoSet::held_out() {
        let by_name = features_by_name(features, set)?;
        let photos = load_index(data, set)?;
        let held_out: Vec<&Photo> = photos.iter().filter(|p| p.split == Split::Dev).collect();
        let (mut named, mut best, mut with_name) = ([0; THRESHOLDS.len()], 0, 0);
        for photo in &held_out {
            let label = photo.label.iter().flat_map(|label| vocabulary.of_label(label));
            let wanted: BTreeSet<usize> = label.filter(|name| !people.contains(name)).collect();
            if wanted.is_empty() {
                continue;
            }
            with_name += 1;
            let features = by_name.get(&photo.name).context("a photo has no features")?;
            let tags = head.tags(features, 0.0);
            let is_wanted =
                |tag: &&Tag| vocabulary.index(&tag.name).is_some_and(|name| wanted.contains(&name));
            let is_person =
                |tag: &&Tag| vocabulary.index(&tag.name).is_some_and(|name| people.contains(&name));
            let first = tags.iter().find(|tag| !is_person(tag));
            best += usize::from(first.as_ref().is_some_and(is_wanted));
            let probability = tags.iter().find(is_wanted).map_or(0.0, |tag| tag.probability);
            for (named, threshold) in named.iter_mut().zip(THRESHOLDS) {
                *named += usize::from(probability >= threshold);
            }
        }
        let share = |count: usize| (1e3 * count as f64 / f64::from(with_name)).round() / 1e3;
        let line = json!({
            "set": set.name,
            "held_out": held_out.len(),
            "with_name": with_name,
            "best": share(best),
            "from_0.3": share(named[0]),
            "from_0.5": share(named[1]),
        });
        println!("{line}");
    }
    Ok(())
}
