//! Linear probes: how well a linear map predicts the captions of a photo from a representation of
//! it, for the stem, the vision encoder and its teachers.
//!
//! A representation is one vector for each photo. Ridge regression ([`ridge`]) maps it to the words
//! of the captions and to their tf-idf vector ([`tfidf`](crate::train::metrics::tfidf)). The scores
//! on the dev set are the mean average precision of the words and the recall of the photo's own
//! captions among all captions of the set ([`metrics`]).

pub mod metrics;
pub mod ridge;
mod table;

use std::time::Instant;

use anyhow::Result;
use image::RgbImage;
use serde::Serialize;
use table::Table;

use crate::config::Config;
use crate::preprocess;
use crate::stem::{Stem, StemConfig};
use crate::train::data::cache::cached;
use crate::train::data::photo_set::{Photo, PhotoSet, Split};
use crate::train::data::sample::Sample;
use crate::train::data::samples::load;
use crate::train::data::view::View;
use crate::train::inputs::{read_tokenizer, Inputs};
use crate::train::model_source::EvaluatedModel;
use crate::train::model_source::ModelSource;
use crate::train::objective::features::features;
use crate::train::teacher::stem_cache;
use crate::train::teacher::{Teacher, TeacherSource};
use crate::train::text::words::words;

/// One vector for each photo.
type Vectors = Vec<Vec<f32>>;

/// The numbers of Lite0's blocks after which a stem may end, because the width changes there.
const STEM_BLOCKS: [usize; 5] = [5, 8, 11, 15, 16];
/// Runs of a stem, of which the fastest counts.
const TIMED: usize = 30;
/// Photos in a forward pass of the encoder.
const BATCH: usize = 32;

/// The result of `probe`.
#[derive(Debug, Clone, Serialize)]
pub struct Probes {
    /// Number of photos to which the maps were fitted.
    pub train_photos: usize,
    /// Number of photos on which they are scored.
    pub dev_photos: usize,
    /// Number of words over which `word_map` is the mean.
    pub words: usize,
    /// Number of captions among which those of a photo are searched.
    pub dev_captions: usize,
    /// The expected `word_map` of a constant vector, which is the mean frequency of the words.
    pub chance_word_map: f64,
    /// One row for each representation.
    pub representations: Vec<Probe>,
}

/// The scores of one representation.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Probe {
    /// Name of the stem, encoder or teacher.
    pub name: String,
    /// Width of its vector.
    pub width: usize,
    /// Time of a photo on one core, native, where it was measured.
    pub milliseconds: Option<f64>,
    /// Mean average precision of the words on dev, 0 to 1.
    pub word_map: f64,
    /// Share of dev photos with one of their own captions among the ten ranked highest, 0 to 1.
    pub caption_recall_at_10: f64,
    /// Penalties chosen for the words and for the captions.
    pub penalties: [f64; 2],
}

/// Photos with the words of their captions.
struct CaptionedSplit {
    photos: Vec<Photo>,
    samples: Vec<Sample>,
    captions: Vec<Vec<Vec<String>>>,
}

/// Scores the stems, the encoders of `models`, Lite0, Lite2 and the teachers of `inputs`, and the
/// concatenation of all teachers, on Flickr8k, and prints the table as JSON.
///
/// # Errors
///
/// If photos, models or teachers cannot be read, or a cache cannot be written.
pub fn probe(inputs: &Inputs, models: &[ModelSource<'_>]) -> Result<()> {
    inputs.create_out()?;
    let (tokenizer, sha) = read_tokenizer(&inputs.tokenizer)?;
    let config = Config::small();
    let stem = inputs.stem(&config)?;
    let read = |split: Split| -> Result<CaptionedSplit> {
        let set = (PhotoSet::flickr8k(), split);
        let photos = load(&inputs.data, &inputs.out, &stem, set, &[View::Original], &tokenizer)?;
        let (photos, samples): (Vec<Photo>, Vec<Sample>) = photos.into_iter().unzip();
        let captions = samples.iter().map(|s| s.captions.iter().map(|c| words(&c.text)).collect());
        Ok(CaptionedSplit { captions: captions.collect(), photos, samples })
    };
    let (train, dev) = (read(Split::Train)?, read(Split::Dev)?);
    let table = Table::new(&train.captions, &dev.captions);
    let mut rows = Vec::new();
    let mut add = |name: &str, milliseconds: Option<f64>, train: &[Vec<f32>], dev: &[Vec<f32>]| {
        let probe = Probe { milliseconds, ..table.probe(name, train, dev) };
        eprintln!("{}", serde_json::to_string(&probe)?);
        rows.push(probe);
        anyhow::Ok(())
    };
    for num_blocks in STEM_BLOCKS {
        let config = StemConfig { num_blocks, ..config.stem };
        let stem = stem_cache::stem(&inputs.data, &inputs.out, &config)?;
        let name = format!("stem{num_blocks}");
        let pooled = |split: &CaptionedSplit| {
            cached_embeddings(inputs, &split.photos, &name, config.output_channels(), |image| {
                let features = stem.forward(&preprocess::to_pixels(image, config.input_size));
                pooled_stem(&features, &stem)
            })
        };
        let milliseconds = milliseconds(&stem, config.input_size);
        add(&name, Some(milliseconds), &pooled(&train)?, &pooled(&dev)?)?;
    }
    for source in models {
        let (evaluated, _) = source.load(inputs, &sha)?;
        let [train, dev] = [&train, &dev].map(|split| encoded(&split.samples, &evaluated));
        add(&format!("encoder of {}", source.name()), None, &train?, &dev?)?;
    }
    let mut teachers = vec![TeacherSource::Lite0, TeacherSource::Lite2];
    let named = inputs.teachers.iter().filter(|teacher| !teachers.contains(teacher));
    let named: Vec<TeacherSource> = named.cloned().collect();
    teachers.extend(named);
    let mut all = [vec![Vec::new(); train.photos.len()], vec![Vec::new(); dev.photos.len()]];
    for source in teachers {
        let teacher = Teacher::load(&source, &inputs.data, config.stem.input_size)?;
        let pooled = |split: &CaptionedSplit| pooled_by(&teacher, inputs, &split.photos);
        let of_splits = [pooled(&train)?, pooled(&dev)?];
        add(teacher.name(), None, &of_splits[0], &of_splits[1])?;
        for (all, one) in all.iter_mut().zip(of_splits) {
            all.iter_mut().zip(one).for_each(|(all, one)| all.extend(one));
        }
    }
    add("teachers side by side", None, &all[0], &all[1])?;
    let probes = Probes {
        train_photos: train.photos.len(),
        dev_photos: dev.photos.len(),
        words: table.words(),
        dev_captions: dev.captions.iter().map(Vec::len).sum(),
        chance_word_map: table.chance(),
        representations: rows,
    };
    println!("{}", serde_json::to_string_pretty(&probes)?);
    Ok(())
}

/// The time of a stem for a photo on one core in milliseconds, the lowest of [`TIMED`] runs.
fn milliseconds(stem: &Stem, size: usize) -> f64 {
    let photo = vec![127; 3 * size * size];
    let times = (0..TIMED).map(|_| {
        let start = Instant::now();
        std::hint::black_box(stem.forward(&photo));
        start.elapsed().as_secs_f64() * 1e3
    });
    times.fold(f64::INFINITY, f64::min)
}

/// The mean over the cells of a photo's stem features `[cells * channels]`: `[channels]`.
fn pooled_stem(features: &[i8], stem: &Stem) -> Vec<f32> {
    let scale = stem.output_scale();
    let floats: Vec<f32> = features.iter().map(|&v| f32::from(v) * scale).collect();
    mean_row(&floats, stem.config().output_channels())
}

/// The CLS row of each photo followed by the mean of its patch rows, both after the last norm of
/// the encoder, `[2 * vision.hidden_size]`.
fn encoded(samples: &[Sample], evaluated: &EvaluatedModel) -> candle_core::Result<Vectors> {
    let (vision, config) = (evaluated.model.vision(), evaluated.model.config());
    let width = config.vision.hidden_size;
    let mut out = Vec::with_capacity(samples.len());
    for batch in samples.chunks(BATCH) {
        let views: Vec<_> = batch.iter().map(|sample| sample.views[0].clone()).collect();
        let channels = config.stem.output_channels();
        let encoded = vision.forward(&features(&views, channels, evaluated.stem_scale)?)?;
        let cls = encoded.pooled.flatten_all()?.to_vec1::<f32>()?;
        let patches = encoded.patches.flatten_all()?.to_vec1::<f32>()?;
        let patches = patches.chunks_exact(width * config.num_patches());
        let pairs = cls.chunks_exact(width).zip(patches);
        out.extend(pairs.map(|(cls, patches)| [cls, &mean_row(patches, width)].concat()));
    }
    Ok(out)
}

/// The mean of rows of `width` numbers.
fn mean_row(rows: &[f32], width: usize) -> Vec<f32> {
    let mut sums = vec![0.0; width];
    for row in rows.chunks_exact(width) {
        sums.iter_mut().zip(row).for_each(|(sum, value)| *sum += value);
    }
    let count = (rows.len() / width) as f32;
    sums.into_iter().map(|sum| sum / count).collect()
}

/// The embeddings of all photos of a split by the first teacher of `inputs`, or by the stem if
/// there is no teacher.
pub(crate) fn embeddings(
    inputs: &Inputs,
    stem: &Stem,
    photos: &[Photo],
    samples: &[Sample],
) -> Result<Vectors> {
    match inputs.teachers.first() {
        None => Ok(samples.iter().map(|sample| pooled_stem(&sample.views[0], stem)).collect()),
        Some(source) => {
            let teacher = Teacher::load(source, &inputs.data, stem.config().input_size)?;
            pooled_by(&teacher, inputs, photos)
        }
    }
}

/// The pooled output of `teacher` for each of `photos`.
fn pooled_by(teacher: &Teacher, inputs: &Inputs, photos: &[Photo]) -> Result<Vectors> {
    cached_embeddings(inputs, photos, teacher.name(), teacher.sizes().pooled, |image| {
        teacher.forward(&preprocess::to_pixels(image, teacher.size())).pooled
    })
}

/// The vector of `width` numbers that `embed` gives for each photo, read from the cache of this
/// name or computed and written to it.
fn cached_embeddings(
    inputs: &Inputs,
    photos: &[Photo],
    name: &str,
    width: usize,
    embed: impl Fn(&RgbImage) -> Vec<f32> + Sync,
) -> Result<Vectors> {
    let Some(Photo { set, split, .. }) = photos.first() else { return Ok(Vec::new()) };
    let file = inputs.out.join(format!("{}-{split:?}-{name}-pooled.bin", set.name));
    let values = cached(&inputs.data, &file, photos, width, |_, image| embed(image))?;
    Ok(values.chunks_exact(width).map(<[f32]>::to_vec).collect())
}
