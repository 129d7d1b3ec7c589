//! Which photos the lessons are about, and what is said of them.

use std::collections::HashMap;
use std::sync::Arc;

use tokenizers::Tokenizer;

use crate::config::Config;
use crate::stem::Stem;
use crate::train::data::photo_set::{PhotoSet, Role, Split, PHOTO_SETS};
use crate::train::data::sample::Sample;
use crate::train::data::samples::load;
use crate::train::data::view::View;
use crate::train::inputs::{read_tokenizer, Inputs};
use crate::train::objective::distill::caption_loss::{sentence_vectors, word_vectors};
use crate::train::objective::distill::teacher_loss::DistillDataset;
use crate::train::objective::distill::{targets, DistillSample, Target};
use crate::train::teacher::sentence_encoder::SentenceEncoder;
use crate::train::teacher::Teacher;
use crate::weights::Weights;

type AnyError = Box<dyn std::error::Error>;

/// Views that the lessons are about; the mirrored one follows the one it mirrors.
const LESSON_VIEWS: [View; 4] =
    [View::Original, View::Mirrored, View::Jittered(3), View::Jittered(4)];

/// Every photo of every set with what the teachers of `inputs`, or Lite2, say about it, the words of those that people
/// have written about, and, if there is a sentence encoder, what the captions of all mean; the variables of the heads
/// are made in `weights`.
pub(crate) fn lessons(inputs: &Inputs, weights: &Weights) -> Result<DistillDataset, AnyError> {
    let config = Config::small();
    let (tokenizer, _) = read_tokenizer(&inputs.tokenizer)?;
    let stem = inputs.stem(&config)?;
    let teachers = inputs.loaded_teachers(&config)?;
    let sentences = inputs.sentences.as_deref().map(SentenceEncoder::load).transpose()?;
    // Only what is said in whole sentences of their own has words that count.
    let gold = inputs.samples(&stem, Role::Captions, &[View::Original], &tokenizer)?;
    let samples: Vec<&Sample> = gold.iter().map(|(_, sample)| sample).collect();
    let by_photo = gold.iter().map(|(photo, _)| (photo.set.name, photo.name.as_str()));
    let words: HashMap<(&str, &str), Arc<[f32]>> = by_photo.zip(word_vectors(&samples)).collect();
    let mut shown = Vec::new();
    for set in PHOTO_SETS.iter().filter(|set| set.role != Role::Dev) {
        let mut said: Vec<Vec<Target>> = Vec::new();
        let mut meant = None;
        for view in LESSON_VIEWS {
            let split = (set, Split::Train);
            let photos = load(&inputs.data, &inputs.out, &stem, split, &[view], &tokenizer)?;
            let (photos, samples): (Vec<_>, Vec<_>) = photos.into_iter().unzip();
            // What was said about a photo holds for its mirrored view, too, mirrored.
            if view != View::Mirrored {
                said = vec![Vec::with_capacity(teachers.len()); photos.len()];
                for teacher in &teachers {
                    let file = [set.name, teacher.name(), &view.name()].join("-") + ".bin";
                    let file = inputs.out.join(file);
                    let targets = targets(teacher, &inputs.data, &photos, view, &file)?;
                    said.iter_mut().zip(targets).for_each(|(said, target)| said.push(target));
                }
            }
            if let (None, Some(encoder)) = (&meant, &sentences) {
                let set = set.name;
                meant = Some(sentence_vectors(encoder, &samples, &inputs.out, set)?);
            }
            let each = photos.iter().zip(samples).zip(&said);
            shown.extend(each.enumerate().map(|(number, ((photo, sample), targets))| {
                DistillSample {
                    view: sample.views[0].clone(),
                    targets: targets.clone(),
                    is_mirrored: view == View::Mirrored,
                    written: [
                        words.get(&(set.name, photo.name.as_str())).cloned(),
                        meant.as_ref().and_then(|meant| meant[number].clone()),
                    ],
                }
            }));
        }
    }
    let dataset = DistillDataset::new(weights, &config, shown, stem.output_scale())?;
    Ok(dataset.with_dev(dev_samples(inputs, &stem, &teachers, &tokenizer)?))
}

/// The dev photos of Flickr8k with what the teachers say about them.
fn dev_samples(
    inputs: &Inputs,
    stem: &Stem,
    teachers: &[Teacher],
    tokenizer: &Tokenizer,
) -> Result<Vec<DistillSample>, AnyError> {
    let set = PhotoSet::flickr8k();
    let (split, view) = ((set, Split::Dev), View::Original);
    let photos = load(&inputs.data, &inputs.out, stem, split, &[view], tokenizer)?;
    let (photos, samples): (Vec<_>, Vec<_>) = photos.into_iter().unzip();
    let mut outputs: Vec<Vec<Target>> = vec![Vec::new(); photos.len()];
    for teacher in teachers {
        let file = [set.name, "dev", teacher.name(), &view.name()].join("-") + ".bin";
        let targets = targets(teacher, &inputs.data, &photos, view, &inputs.out.join(file))?;
        outputs.iter_mut().zip(targets).for_each(|(outputs, target)| outputs.push(target));
    }
    let each = samples.into_iter().zip(outputs).map(|(sample, targets)| DistillSample {
        view: sample.views[0].clone(),
        targets,
        is_mirrored: false,
        written: [None, None],
    });
    Ok(each.collect())
}
