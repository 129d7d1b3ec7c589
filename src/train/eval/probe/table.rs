//! The targets of a probe, made from the captions of both splits, and the scores of a
//! representation that predicts them.

use nalgebra::DMatrix;

use super::metrics::{mean_average_precision, recall_at};
use super::ridge::Ridge;
use super::Probe;
use crate::train::metrics::tfidf::{CaptionVectors, ContentWords};

/// A caption of the photo must be among this many of the highest ranked.
const CHOICES: usize = 10;
/// Every sixth training photo is held out from the fit that chooses the penalty.
const VALIDATION_STRIDE: usize = 6;
/// The penalties to choose from; the inputs have variance 1.
const PENALTIES: [f64; 8] = [0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0];

/// The targets of the photos of both splits.
pub(super) struct Table {
    words: ContentWords,
    train: ProbeTargets,
    dev: ScoredPhotos,
    /// The photos of `train` that are not in `validation`.
    fitted: ProbeTargets,
    validation: ScoredPhotos,
}

/// The regression targets of some photos.
struct ProbeTargets {
    /// The indices of the photos in their split.
    photos: Vec<usize>,
    /// For each photo 1 for every content word in its captions, then their mean tf-idf vector:
    /// `[photos, words + terms]`.
    values: DMatrix<f64>,
}

/// Photos on which a fit is scored.
struct ScoredPhotos {
    targets: ProbeTargets,
    /// tf-idf vectors of all captions, `[captions, terms]`.
    captions: DMatrix<f64>,
    /// The row of the photo that each caption describes.
    owners: Vec<usize>,
}

impl ProbeTargets {
    fn new(
        photos: Vec<usize>,
        captions: &[Vec<Vec<String>>],
        words: &ContentWords,
        vectors: &CaptionVectors,
    ) -> Self {
        let mut values = DMatrix::zeros(photos.len(), words.count() + vectors.count());
        for (row, &photo) in photos.iter().enumerate() {
            for word in words.present(&captions[photo]) {
                values[(row, word)] = 1.0;
            }
            for caption in &captions[photo] {
                let share = (captions[photo].len() as f64).recip();
                for (term, value) in vectors.vector(caption).into_iter().enumerate() {
                    values[(row, words.count() + term)] += share * value;
                }
            }
        }
        Self { photos, values }
    }

    /// Selects the rows of these photos, `[photos, width]`, from the features of their split.
    fn inputs(&self, features: &[Vec<f32>]) -> DMatrix<f64> {
        let width = features.first().map_or(0, Vec::len);
        let values = self.photos.iter().flat_map(|&photo| &features[photo]);
        DMatrix::from_row_iterator(self.photos.len(), width, values.map(|&value| value.into()))
    }
}

impl ScoredPhotos {
    fn new(targets: ProbeTargets, captions: &[Vec<Vec<String>>], vectors: &CaptionVectors) -> Self {
        let rows = targets.photos.iter().map(|&photo| &captions[photo]).enumerate();
        let owned = || rows.clone().flat_map(|(row, photo)| photo.iter().map(move |c| (row, c)));
        let owners: Vec<usize> = owned().map(|(row, _)| row).collect();
        let values = owned().flat_map(|(_, caption)| vectors.vector(caption));
        let captions = DMatrix::from_row_iterator(owners.len(), vectors.count(), values);
        Self { targets, captions, owners }
    }

    /// The mean over content words of the share of photos whose captions have the word.
    fn frequency(&self) -> f64 {
        let words = self.targets.values.ncols() - self.captions.ncols();
        self.targets.values.columns(0, words).mean()
    }
}

impl Table {
    pub(super) fn new(train: &[Vec<Vec<String>>], dev: &[Vec<Vec<String>>]) -> Self {
        // The dev split decides neither the words nor their weights.
        let (words, vectors) = (ContentWords::new(train), CaptionVectors::new(train));
        let (validation, fitted): (Vec<usize>, Vec<usize>) =
            (0..train.len()).partition(|photo| photo.is_multiple_of(VALIDATION_STRIDE));
        let targets =
            |photos: Vec<usize>, of: &[_]| ProbeTargets::new(photos, of, &words, &vectors);
        let scored = |targets: ProbeTargets, of: &[_]| ScoredPhotos::new(targets, of, &vectors);
        Self {
            train: targets((0..train.len()).collect(), train),
            dev: scored(targets((0..dev.len()).collect(), dev), dev),
            fitted: targets(fitted, train),
            validation: scored(targets(validation, train), train),
            words,
        }
    }

    /// Number of content words.
    pub(super) fn words(&self) -> usize {
        self.words.count()
    }

    /// The mean over content words of the share of dev photos whose captions have the word.
    pub(super) fn chance(&self) -> f64 {
        self.dev.frequency()
    }

    /// Fits and scores one representation, given the vector of each photo of both splits.
    pub(super) fn probe(&self, name: &str, train: &[Vec<f32>], dev: &[Vec<f32>]) -> Probe {
        let fitted = Ridge::new(&self.fitted.inputs(train), &self.fitted.values);
        let inputs = self.validation.targets.inputs(train);
        let scores: Vec<[f64; 2]> = PENALTIES
            .iter()
            .map(|&penalty| self.scores(&fitted, penalty, &inputs, &self.validation))
            .collect();
        let penalties = [0, 1].map(|score| {
            let best =
                (0..PENALTIES.len()).max_by(|&a, &b| scores[a][score].total_cmp(&scores[b][score]));
            PENALTIES[best.expect("there are penalties")]
        });
        let ridge = Ridge::new(&self.train.inputs(train), &self.train.values);
        let inputs = self.dev.targets.inputs(dev);
        let [words, captions] =
            penalties.map(|penalty| self.scores(&ridge, penalty, &inputs, &self.dev));
        let width = train.first().map_or(0, Vec::len);
        Probe {
            name: name.into(),
            width,
            milliseconds: None,
            word_map: words[0],
            caption_recall_at_10: captions[1],
            penalties,
        }
    }

    /// The mean average precision of the words and the recall of captions of a fit.
    fn scores(
        &self,
        ridge: &Ridge,
        penalty: f64,
        inputs: &DMatrix<f64>,
        scored: &ScoredPhotos,
    ) -> [f64; 2] {
        let predicted = ridge.fit(penalty).predict(inputs);
        let (words, terms) = (self.words.count(), scored.captions.ncols());
        let present = scored.targets.values.columns(0, words).map(|value| value > 0.0);
        let map = mean_average_precision(&predicted.columns(0, words).into_owned(), &present);
        // Both sides are centered on the mean of the training photos, because words that occur with
        // every photo distinguish none.
        let mean = ridge.target_means().columns(words, terms).into_owned();
        let centered = |rows: &DMatrix<f64>| {
            let mut rows = rows.clone();
            rows.row_iter_mut().for_each(|mut row| row -= &mean);
            rows
        };
        let mut captions = centered(&scored.captions);
        captions.row_iter_mut().for_each(|mut row| row /= row.norm().max(f64::MIN_POSITIVE));
        let predicted = centered(&predicted.columns(words, terms).into_owned());
        [map, recall_at(CHOICES, &(predicted * captions.transpose()), &scored.owners)]
    }
}

#[cfg(test)]
mod tests {
    use super::super::Vectors;
    use super::*;
    use crate::random::Random;
    use crate::train::text::words::words;

    /// Photos of three kinds, which the captions name.
    struct Made {
        captions: Vec<Vec<Vec<String>>>,
        /// Vectors from which the kind can be read.
        informative: Vectors,
        /// Vectors of random numbers.
        random: Vectors,
    }

    fn photos(count: usize, seed: u64) -> Made {
        let mut source = Random::new(seed);
        let kinds = ["dog runs", "cat sleeps", "car stops"];
        let caption = |photo| vec![words(&format!("the {}", kinds[photo % 3]))];
        let informative = |photo| (0..3).map(|i| if i == photo % 3 { 3.0 } else { 0.0 }).collect();
        Made {
            captions: (0..count).map(caption).collect(),
            informative: (0..count).map(informative).collect(),
            random: (0..count).map(|_| (0..3).map(|_| source.normal()).collect()).collect(),
        }
    }

    #[test]
    fn a_representation_of_the_words_scores_above_a_random_one() {
        let (train, dev) = (photos(120, 1), photos(60, 2));
        let table = Table::new(&train.captions, &dev.captions);
        let good = table.probe("informative", &train.informative, &dev.informative);
        let bad = table.probe("random", &train.random, &dev.random);
        assert!((good.word_map - 1.0).abs() < 1e-9 && good.width == 3, "{good:?}");
        assert!(bad.word_map < 0.6, "{bad:?}");
        assert!((table.chance() - 1.0 / 3.0).abs() < 1e-9);
    }

    #[test]
    fn dev_photos_choose_neither_words_nor_penalties() {
        let (train, dev) = (photos(120, 1), photos(60, 2));
        let pairs = train.informative.iter().zip(&train.random);
        let noisy: Vectors = pairs.map(|(t, s)| [&t[..], s].concat()).collect();
        let shuffled: Vec<_> = dev.captions.iter().rev().cloned().collect();
        let probe = |dev: &[_]| Table::new(&train.captions, dev).probe("", &noisy, &noisy[..60]);
        assert_eq!(probe(&dev.captions).penalties, probe(&shuffled).penalties);
        let unseen = vec![vec![words("a zebra swims")]; 2];
        let table = Table::new(&train.captions, &unseen);
        assert_eq!(table.chance(), 0.0);
    }
}
