//! Linear probes: how much of what people say about a photo can be read off a representation of it
//! by a linear map. One table for the student and its teachers.
//!
//! Each representation is one vector a photo. Ridge regression ([`ridge`]) maps it to the words of
//! the captions and to a tf-idf vector of them ([`tfidf`](crate::train::metrics::tfidf)). The dev
//! scores are the mean average precision of the words and the recall of the photo's own captions
//! among all dev captions ([`metrics`]).

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

/// One vector a photo.
type Vectors = Vec<Vec<f32>>;

/// Depths of Lite0 at which a stem may end: where the width changes.
const STEM_BLOCKS: [usize; 5] = [5, 8, 11, 15, 16];
/// Runs of a stem of which the quickest counts.
const TIMED: usize = 30;
/// Photos that the encoder sees at once.
const BATCH: usize = 32;

/// What `probe` prints.
#[derive(Debug, Clone, Serialize)]
pub struct Probes {
    /// Photos that the maps were fitted to.
    pub train_photos: usize,
    /// Photos that they are scored on.
    pub dev_photos: usize,
    /// Words that the first score is the mean over.
    pub words: usize,
    /// Captions that the second score chooses among.
    pub dev_captions: usize,
    /// What a constant vector gets in expectation: the words' mean frequency.
    pub chance_word_map: f64,
    /// One row for each representation.
    pub representations: Vec<Probe>,
}

/// How good one representation is.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Probe {
    /// Whose it is.
    pub name: String,
    /// Width of its vector.
    pub width: usize,
    /// What a photo takes natively on one core, where that was measured.
    pub milliseconds: Option<f64>,
    /// Mean average precision of the words on dev, 0 to 1.
    pub word_map: f64,
    /// Share of dev photos with an own caption among their ten best.
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

/// Prints the table of stems, of the encoders of `models`, of Lite0, Lite2, the teachers of
/// `inputs` and all of them side by side, on Flickr8k as JSON.
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
                let seen = stem.forward(&preprocess::to_pixels(image, config.input_size));
                pooled_stem(&seen, &stem)
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
        let pooled = |split: &CaptionedSplit| seen_by(&teacher, inputs, &split.photos);
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

/// Milliseconds that a stem takes for a photo on one core: the least of some.
fn milliseconds(stem: &Stem, size: usize) -> f64 {
    let photo = vec![127; 3 * size * size];
    let times = (0..TIMED).map(|_| {
        let start = Instant::now();
        std::hint::black_box(stem.forward(&photo));
        start.elapsed().as_secs_f64() * 1e3
    });
    times.fold(f64::INFINITY, f64::min)
}

/// The mean over the cells of a photo's stem features, `[channels]`.
fn pooled_stem(features: &[i8], stem: &Stem) -> Vec<f32> {
    let scale = stem.output_scale();
    let floats: Vec<f32> = features.iter().map(|&v| f32::from(v) * scale).collect();
    mean_row(&floats, stem.config().output_channels())
}

/// The CLS row of each photo beside the mean of its patch rows, both as the encoder's last norm
/// leaves them, `[2 * vision.hidden_size]`.
fn encoded(samples: &[Sample], evaluated: &EvaluatedModel) -> candle_core::Result<Vectors> {
    let (vision, config) = (evaluated.model.vision(), evaluated.model.config());
    let width = config.vision.hidden_size;
    let mut out = Vec::with_capacity(samples.len());
    for batch in samples.chunks(BATCH) {
        let views: Vec<_> = batch.iter().map(|sample| sample.views[0].clone()).collect();
        let channels = config.stem.output_channels();
        let seen = vision.forward(&features(&views, channels, evaluated.stem_scale)?)?;
        let cls = seen.pooled.flatten_all()?.to_vec1::<f32>()?;
        let patches = seen.patches.flatten_all()?.to_vec1::<f32>()?;
        let patches = patches.chunks_exact(width * config.num_patches());
        let pairs = cls.chunks_exact(width).zip(patches);
        out.extend(pairs.map(|(cls, patches)| [cls, &mean_row(patches, width)].concat()));
    }
    Ok(out)
}

/// The mean of rows `width` wide.
fn mean_row(rows: &[f32], width: usize) -> Vec<f32> {
    let mut sums = vec![0.0; width];
    for row in rows.chunks_exact(width) {
        sums.iter_mut().zip(row).for_each(|(sum, value)| *sum += value);
    }
    let count = (rows.len() / width) as f32;
    sums.into_iter().map(|sum| sum / count).collect()
}

/// What all photos of a split look like to the first teacher of `inputs`, or to the stem if there
/// is none.
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
            seen_by(&teacher, inputs, photos)
        }
    }
}

/// The pooled vector that `teacher` has of each of `photos`.
fn seen_by(teacher: &Teacher, inputs: &Inputs, photos: &[Photo]) -> Result<Vectors> {
    cached_embeddings(inputs, photos, teacher.name(), teacher.sizes().pooled, |image| {
        teacher.forward(&preprocess::to_pixels(image, teacher.size())).pooled
    })
}

/// A vector `width` wide of each photo, from the cache of this name or computed into it.
fn cached_embeddings(
    inputs: &Inputs,
    photos: &[Photo],
    name: &str,
    width: usize,
    describe: impl Fn(&RgbImage) -> Vec<f32> + Sync,
) -> Result<Vectors> {
    let Some(Photo { set, split, .. }) = photos.first() else { return Ok(Vec::new()) };
    let file = inputs.out.join(format!("{}-{split:?}-{name}-pooled.bin", set.name));
    let values = cached(&inputs.data, &file, photos, width, |_, image| describe(image))?;
    Ok(values.chunks_exact(width).map(<[f32]>::to_vec).collect())
}
