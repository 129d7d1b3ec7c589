//! Linear probes: how much of what people say about a photo can be read off a representation of it by a linear
//! map. One table for the student and its teachers.
//!
//! Each representation is one vector a photo. Ridge regression ([`ridge`]) maps it to the words of the
//! captions and to a tf-idf vector of them ([`targets`]); scored on the dev split are the mean average
//! precision of the words and the recall of the photo's own captions among all dev captions ([`metrics`]).

pub mod metrics;
pub mod ridge;
pub mod targets;

use std::path::Path;

use nalgebra::DMatrix;
use serde::Serialize;

use crate::checkpoint::{LoadedModel, ModelFile};
use crate::preprocess;
use crate::train::batch::Sample;
use crate::train::captions::features;
use crate::train::commands::{read_tokenizer, Places};
use crate::train::data::{Photo, PhotoSet, Split};
use crate::train::dataset::{cached, load, View};
use crate::train::metrics::words;
use crate::train::teacher::{Teacher, TeacherSource};
use metrics::{mean_average_precision, recall_at};
use ridge::Ridge;
use targets::{CaptionVectors, ContentWords};

type AnyError = Box<dyn std::error::Error>;
/// One vector a photo.
type Vectors = Vec<Vec<f32>>;

/// Captions that a photo may choose.
const CHOICES: usize = 10;
/// Every sixth training photo chooses the penalty and is not fitted meanwhile.
const VALIDATION_STRIDE: usize = 6;
/// Penalties to choose from, beside inputs of variance 1.
const PENALTIES: [f64; 8] = [0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0];
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

/// Prints the table of the model file's stem and encoder, of Lite0, Lite2 and, if it is another one,
/// `teacher`, on Flickr8k as JSON.
pub fn probe(places: &Places, model: &Path, teacher: &TeacherSource) -> Result<(), AnyError> {
    std::fs::create_dir_all(&places.out)?;
    let (tokenizer, sha) = read_tokenizer(&places.tokenizer)?;
    let loaded = ModelFile::read(&std::fs::read(model)?)?;
    loaded.check_tokenizer(&sha)?;
    let read = |split: Split| -> Result<CaptionedSplit, AnyError> {
        let set = (PhotoSet::Flickr8k, split);
        let views = [View::Original];
        let photos = load(&places.data, &places.out, &loaded.stem, set, &views, &tokenizer)?;
        let (photos, samples): (Vec<Photo>, Vec<Sample>) = photos.into_iter().unzip();
        let captions = samples.iter().map(|s| s.captions.iter().map(|c| words(&c.text)).collect());
        Ok(CaptionedSplit { captions: captions.collect(), photos, samples })
    };
    let (train, dev) = (read(Split::Train)?, read(Split::Dev)?);
    let table = Table::new(&train.captions, &dev.captions);
    let mut rows = Vec::new();
    let mut add = |name: &str, of: &dyn Fn(&CaptionedSplit) -> Result<Vectors, AnyError>| {
        let probe = table.probe(name, &of(&train)?, &of(&dev)?);
        eprintln!("{}", serde_json::to_string(&probe)?);
        rows.push(probe);
        Ok::<(), AnyError>(())
    };
    add("stem", &|split| Ok(split.samples.iter().map(|s| pooled_stem(s, &loaded)).collect()))?;
    add("encoder", &|split| Ok(encoded(&split.samples, &loaded)?))?;
    let mut teachers = vec![TeacherSource::Lite0, TeacherSource::Lite2];
    teachers.extend((!teachers.contains(teacher)).then(|| teacher.clone()));
    for source in teachers {
        let teacher = Teacher::load(&source, &places.data, loaded.config.stem.input_size)?;
        add(teacher.name(), &|split| said(&teacher, places, &split.photos))?;
    }
    let probes = Probes {
        train_photos: train.photos.len(),
        dev_photos: dev.photos.len(),
        words: table.words.count(),
        dev_captions: dev.captions.iter().map(Vec::len).sum(),
        chance_word_map: table.dev.frequency(),
        representations: rows,
    };
    println!("{}", serde_json::to_string_pretty(&probes)?);
    Ok(())
}

/// The mean over the cells of a photo's stem features, `[channels]`.
fn pooled_stem(sample: &Sample, loaded: &LoadedModel) -> Vec<f32> {
    let view = &sample.views[0];
    let floats: Vec<f32> =
        view.iter().map(|&v| f32::from(v) * loaded.stem.output_scale()).collect();
    mean_row(&floats, loaded.config.stem.output_channels())
}

/// The CLS row of each photo beside the mean of its patch rows, both as the encoder's last norm leaves them,
/// `[2 * vision.hidden_size]`.
fn encoded(samples: &[Sample], loaded: &LoadedModel) -> candle_core::Result<Vectors> {
    let (vision, config) = (loaded.model.vision(), &loaded.config);
    let width = config.vision.hidden_size;
    let mut out = Vec::with_capacity(samples.len());
    for batch in samples.chunks(BATCH) {
        let views: Vec<_> = batch.iter().map(|sample| sample.views[0].clone()).collect();
        let channels = config.stem.output_channels();
        let seen = vision.forward(&features(&views, channels, loaded.stem.output_scale())?)?;
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

/// The pooled vector of each photo by `teacher`, from a cache or computed into it.
fn said(teacher: &Teacher, places: &Places, photos: &[Photo]) -> Result<Vectors, AnyError> {
    let Some(Photo { set, split, .. }) = photos.first() else { return Ok(Vec::new()) };
    let name = format!("{}-{split:?}-{}-pooled.bin", set.file_stem(), teacher.name());
    let (size, len) = (teacher.size(), 4 * teacher.sizes().pooled);
    let bytes = cached(&places.data, &places.out.join(name), photos, len, |_, image| {
        let seen = teacher.forward(&preprocess::to_pixels(image, size));
        let bytes = seen.pooled.into_iter().flat_map(f32::to_le_bytes);
        bytes.map(|byte| i8::from_le_bytes([byte])).collect()
    })?;
    let float = |b: &[i8]| f32::from_le_bytes([b[0], b[1], b[2], b[3]].map(|b| b.to_le_bytes()[0]));
    let vectors = bytes.chunks_exact(len);
    Ok(vectors.map(|vector| vector.chunks_exact(4).map(float).collect()).collect())
}

/// What there is to tell of the photos of both splits.
struct Table {
    words: ContentWords,
    train: Told,
    dev: Scored,
    /// `train` without the photos of `validation`.
    fitted: Told,
    validation: Scored,
}

/// What people say about some photos.
struct Told {
    /// The photos' numbers in their split.
    photos: Vec<usize>,
    /// Words present, then the mean tf-idf vector of the captions, `[photos, words + terms]`.
    targets: DMatrix<f64>,
}

/// Photos to score a fit on.
struct Scored {
    told: Told,
    /// tf-idf vectors of all captions, `[captions, terms]`.
    captions: DMatrix<f64>,
    /// The photo, by its row, that each caption belongs to.
    owners: Vec<usize>,
}

impl Told {
    fn new(
        photos: Vec<usize>,
        captions: &[Vec<Vec<String>>],
        words: &ContentWords,
        vectors: &CaptionVectors,
    ) -> Self {
        let mut targets = DMatrix::zeros(photos.len(), words.count() + vectors.count());
        for (row, &photo) in photos.iter().enumerate() {
            for word in words.present(&captions[photo]) {
                targets[(row, word)] = 1.0;
            }
            for caption in &captions[photo] {
                let share = (captions[photo].len() as f64).recip();
                for (term, value) in vectors.vector(caption).into_iter().enumerate() {
                    targets[(row, words.count() + term)] += share * value;
                }
            }
        }
        Self { photos, targets }
    }

    /// The vectors of these photos, `[photos, width]`, out of those of their split.
    fn inputs(&self, features: &[Vec<f32>]) -> DMatrix<f64> {
        let width = features.first().map_or(0, Vec::len);
        let values = self.photos.iter().flat_map(|&photo| &features[photo]);
        DMatrix::from_row_iterator(self.photos.len(), width, values.map(|&value| value.into()))
    }
}

impl Scored {
    fn new(told: Told, captions: &[Vec<Vec<String>>], vectors: &CaptionVectors) -> Self {
        let rows = told.photos.iter().map(|&photo| &captions[photo]).enumerate();
        let owned = || rows.clone().flat_map(|(row, photo)| photo.iter().map(move |c| (row, c)));
        let owners: Vec<usize> = owned().map(|(row, _)| row).collect();
        let values = owned().flat_map(|(_, caption)| vectors.vector(caption));
        let captions = DMatrix::from_row_iterator(owners.len(), vectors.count(), values);
        Self { told, captions, owners }
    }

    /// Mean share of photos that a word is said of.
    fn frequency(&self) -> f64 {
        let words = self.told.targets.ncols() - self.captions.ncols();
        self.told.targets.columns(0, words).mean()
    }
}

impl Table {
    fn new(train: &[Vec<Vec<String>>], dev: &[Vec<Vec<String>>]) -> Self {
        // Words and their weights come from the training split alone.
        let (words, vectors) = (ContentWords::new(train), CaptionVectors::new(train));
        let (validation, fitted): (Vec<usize>, Vec<usize>) =
            (0..train.len()).partition(|photo| photo.is_multiple_of(VALIDATION_STRIDE));
        let told = |photos: Vec<usize>, of: &[_]| Told::new(photos, of, &words, &vectors);
        let scored = |told: Told, of: &[_]| Scored::new(told, of, &vectors);
        Self {
            train: told((0..train.len()).collect(), train),
            dev: scored(told((0..dev.len()).collect(), dev), dev),
            fitted: told(fitted, train),
            validation: scored(told(validation, train), train),
            words,
        }
    }

    /// Fits and scores one representation, a vector for each photo of both splits.
    fn probe(&self, name: &str, train: &[Vec<f32>], dev: &[Vec<f32>]) -> Probe {
        let fitted = Ridge::new(&self.fitted.inputs(train), &self.fitted.targets);
        let inputs = self.validation.told.inputs(train);
        let scores: Vec<[f64; 2]> = PENALTIES
            .iter()
            .map(|&penalty| self.scores(&fitted, penalty, &inputs, &self.validation))
            .collect();
        let penalties = [0, 1].map(|score| {
            let best =
                (0..PENALTIES.len()).max_by(|&a, &b| scores[a][score].total_cmp(&scores[b][score]));
            PENALTIES[best.expect("there are penalties")]
        });
        let ridge = Ridge::new(&self.train.inputs(train), &self.train.targets);
        let inputs = self.dev.told.inputs(dev);
        let [words, captions] =
            penalties.map(|penalty| self.scores(&ridge, penalty, &inputs, &self.dev));
        let width = train.first().map_or(0, Vec::len);
        Probe {
            name: name.into(),
            width,
            word_map: words[0],
            caption_recall_at_10: captions[1],
            penalties,
        }
    }

    /// Word mAP and caption recall of a fit.
    fn scores(
        &self,
        ridge: &Ridge,
        penalty: f64,
        inputs: &DMatrix<f64>,
        scored: &Scored,
    ) -> [f64; 2] {
        let predicted = ridge.fit(penalty).predict(inputs);
        let (words, terms) = (self.words.count(), scored.captions.ncols());
        let present = scored.told.targets.columns(0, words).map(|value| value > 0.0);
        let map = mean_average_precision(&predicted.columns(0, words).into_owned(), &present);
        // Both sides centred on the mean training photo: what is said of every photo chooses none.
        let mean = ridge.target_means().columns(words, terms).into_owned();
        let centred = |rows: &DMatrix<f64>| {
            let mut rows = rows.clone();
            rows.row_iter_mut().for_each(|mut row| row -= &mean);
            rows
        };
        let mut captions = centred(&scored.captions);
        captions.row_iter_mut().for_each(|mut row| row /= row.norm().max(f64::MIN_POSITIVE));
        let predicted = centred(&predicted.columns(words, terms).into_owned());
        [map, recall_at(CHOICES, &(predicted * captions.transpose()), &scored.owners)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    /// Photos of three kinds with captions that say which.
    struct Made {
        captions: Vec<Vec<Vec<String>>>,
        /// Vectors that show the kind.
        telling: Vectors,
        /// Vectors that do not.
        silent: Vectors,
    }

    fn photos(count: usize, seed: u64) -> Made {
        let mut random = Random::new(seed);
        let kinds = ["dog runs", "cat sleeps", "car stops"];
        let caption = |photo| vec![words(&format!("the {}", kinds[photo % 3]))];
        let telling = |photo| (0..3).map(|i| if i == photo % 3 { 3.0 } else { 0.0 }).collect();
        Made {
            captions: (0..count).map(caption).collect(),
            telling: (0..count).map(telling).collect(),
            silent: (0..count).map(|_| (0..3).map(|_| random.normal()).collect()).collect(),
        }
    }

    #[test]
    fn a_representation_that_tells_the_words_scores_above_one_that_does_not() {
        let (train, dev) = (photos(120, 1), photos(60, 2));
        let table = Table::new(&train.captions, &dev.captions);
        let good = table.probe("telling", &train.telling, &dev.telling);
        let bad = table.probe("silent", &train.silent, &dev.silent);
        assert!((good.word_map - 1.0).abs() < 1e-9 && good.width == 3, "{good:?}");
        assert!(bad.word_map < 0.6, "{bad:?}");
        assert!((table.dev.frequency() - 1.0 / 3.0).abs() < 1e-9);
    }

    #[test]
    fn dev_photos_choose_neither_words_nor_penalties() {
        let (train, dev) = (photos(120, 1), photos(60, 2));
        let pairs = train.telling.iter().zip(&train.silent);
        let noisy: Vectors = pairs.map(|(t, s)| [&t[..], s].concat()).collect();
        let shuffled: Vec<_> = dev.captions.iter().rev().cloned().collect();
        let probe = |dev: &[_]| Table::new(&train.captions, dev).probe("", &noisy, &noisy[..60]);
        assert_eq!(probe(&dev.captions).penalties, probe(&shuffled).penalties);
        let unseen = vec![vec![words("a zebra swims")]; 2];
        let table = Table::new(&train.captions, &unseen);
        assert_eq!(table.dev.frequency(), 0.0);
    }
}
