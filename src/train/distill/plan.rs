//! Which photos the lessons are about, and what is said of them.

use std::collections::HashMap;
use std::sync::Arc;

use super::lessons::{targets, Lessons, Shown};
use crate::config::Config;
use crate::train::batch::Sample;
use crate::train::commands::{read_tokenizer, Places, GOLD, WEAK};
use crate::train::data::{PhotoSet, Split};
use crate::train::dataset::{load, View};
use crate::train::metrics::words;
use crate::train::probe::targets::CaptionVectors;
use crate::train::teacher::Teacher;
use crate::weights::Weights;

type AnyError = Box<dyn std::error::Error>;

/// Views that the lessons are about; the mirrored one follows the one it mirrors.
const LESSON_VIEWS: [View; 4] =
    [View::Original, View::Mirrored, View::Jittered(3), View::Jittered(4)];

/// Every photo of every set with what the teacher of `places`, or Lite2, says about it, and the words of those
/// that people have written about; the variables of the heads are made in `weights`.
pub(crate) fn lessons(places: &Places, weights: &Weights) -> Result<Lessons, AnyError> {
    let config = Config::small();
    let (tokenizer, _) = read_tokenizer(&places.tokenizer)?;
    let stem = places.stem(&config)?;
    let teacher = places.teacher.clone().unwrap_or_default();
    let teacher = Teacher::load(&teacher, &places.data, config.stem.input_size)?;
    // One vector of words a photo that people have written about.
    let gold = places.samples(&stem, &GOLD, &[View::Original], &tokenizer)?;
    let told = |sample: &Sample| sample.captions.iter().map(|c| words(&c.text)).collect();
    let told: Vec<Vec<Vec<String>>> = gold.iter().map(|(_, sample)| told(sample)).collect();
    let vectors = CaptionVectors::new(&told);
    let means = told.iter().map(|captions| vectors.mean(captions).into());
    let by_photo = gold.iter().map(|(photo, _)| (photo.set, photo.name.as_str()));
    let means: HashMap<(PhotoSet, &str), Arc<[f32]>> = by_photo.zip(means).collect();
    let mut shown = Vec::new();
    for set in GOLD.into_iter().chain(WEAK) {
        let mut said = Vec::new();
        for view in LESSON_VIEWS {
            let split = (set, Split::Train);
            let photos = load(&places.data, &places.out, &stem, split, &[view], &tokenizer)?;
            let (photos, samples): (Vec<_>, Vec<_>) = photos.into_iter().unzip();
            // What was said about a photo holds for its mirrored view, too, mirrored.
            if view != View::Mirrored {
                let file = format!("{}-{}-{}.bin", set.file_stem(), teacher.name(), view.name());
                said = targets(&teacher, &places.data, &photos, view, &places.out.join(file))?;
            }
            let each = photos.iter().zip(samples).zip(&said);
            shown.extend(each.map(|((photo, sample), target)| Shown {
                view: sample.views[0].clone(),
                target: target.clone(),
                is_mirrored: view == View::Mirrored,
                words: means.get(&(set, photo.name.as_str())).cloned(),
            }));
        }
    }
    Ok(Lessons::new(weights, &config, shown, stem.output_scale())?)
}
