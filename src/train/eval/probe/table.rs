//! What people say about the photos of both splits, and how well a representation tells it.

use nalgebra::DMatrix;

use super::metrics::{mean_average_precision, recall_at};
use super::ridge::Ridge;
use super::Probe;
use crate::train::metrics::tfidf::{CaptionVectors, ContentWords};

/// Captions that a photo may choose.
const CHOICES: usize = 10;
/// Every sixth training photo chooses the penalty and is not fitted meanwhile.
const VALIDATION_STRIDE: usize = 6;
/// Penalties to choose from, beside inputs of variance 1.
const PENALTIES: [f64; 8] = [0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0];

/// What there is to tell of the photos of both splits.
pub(super) struct Table {
    words: ContentWords,
    train: Told,
    dev: Judged,
    /// `train` without the photos of `validation`.
    fitted: Told,
    validation: Judged,
}

/// What people say about some photos.
struct Told {
    /// The photos' numbers in their split.
    photos: Vec<usize>,
    /// Words present, then the mean tf-idf vector of the captions, `[photos, words + terms]`.
    targets: DMatrix<f64>,
}

/// Photos to score a fit on.
struct Judged {
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

impl Judged {
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
    pub(super) fn new(train: &[Vec<Vec<String>>], dev: &[Vec<Vec<String>>]) -> Self {
        // Words and their weights come from the training split alone.
        let (words, vectors) = (ContentWords::new(train), CaptionVectors::new(train));
        let (validation, fitted): (Vec<usize>, Vec<usize>) =
            (0..train.len()).partition(|photo| photo.is_multiple_of(VALIDATION_STRIDE));
        let told = |photos: Vec<usize>, of: &[_]| Told::new(photos, of, &words, &vectors);
        let scored = |told: Told, of: &[_]| Judged::new(told, of, &vectors);
        Self {
            train: told((0..train.len()).collect(), train),
            dev: scored(told((0..dev.len()).collect(), dev), dev),
            fitted: told(fitted, train),
            validation: scored(told(validation, train), train),
            words,
        }
    }

    /// Words that are looked for.
    pub(super) fn words(&self) -> usize {
        self.words.count()
    }

    /// Mean share of dev photos that a word is said of.
    pub(super) fn chance(&self) -> f64 {
        self.dev.frequency()
    }

    /// Fits and scores one representation, a vector for each photo of both splits.
    pub(super) fn probe(&self, name: &str, train: &[Vec<f32>], dev: &[Vec<f32>]) -> Probe {
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
            milliseconds: None,
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
        scored: &Judged,
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
    use super::super::Vectors;
    use super::*;
    use crate::random::Random;
    use crate::train::text::words::words;

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
        assert!((table.chance() - 1.0 / 3.0).abs() < 1e-9);
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
        assert_eq!(table.chance(), 0.0);
    }
}
