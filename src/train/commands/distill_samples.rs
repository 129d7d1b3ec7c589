//! The distillation dataset: every training photo of every set in four views, with the outputs of
//! the teachers and vectors of its captions.

use std::collections::HashMap;
use std::sync::Arc;

use anyhow::Result;

use crate::config::Config;
use crate::train::data::photo_set::{PhotoSet, Role, Split, PHOTO_SETS};
use crate::train::data::sample::Sample;
use crate::train::data::samples::load;
use crate::train::data::view::View;
use crate::train::inputs::{read_tokenizer, Inputs};
use crate::train::objective::distill::caption_loss::{sentence_vectors, word_vectors};
use crate::train::objective::distill::teacher_loss::DistillDataset;
use crate::train::objective::distill::{targets, DistillSample, Target};
use crate::train::teacher::sentence_encoder::SentenceEncoder;
use crate::weights::Weights;

/// Views of each photo. The mirrored view follows the original, whose teacher outputs it reuses.
const VIEWS: [View; 4] = [View::Original, View::Mirrored, View::Jittered(3), View::Jittered(4)];

/// Builds the dataset. The teachers are those of `inputs`, or Lite2. Photos with human captions
/// have a tf-idf vector of their words; if there is a sentence encoder, photos with any captions
/// have a sentence embedding. Creates the variables of the heads in `weights`.
pub(crate) fn distill_dataset(inputs: &Inputs, weights: &Weights) -> Result<DistillDataset> {
    let config = Config::small();
    let (tokenizer, _) = read_tokenizer(&inputs.tokenizer)?;
    let stem = inputs.stem(&config)?;
    let teachers = inputs.loaded_teachers(&config)?;
    let sentences = inputs.sentences.as_deref().map(SentenceEncoder::load).transpose()?;
    // Templates and labels repeat the same few words, so only human captions have word vectors.
    let gold = inputs.samples(&stem, Role::Captions, &[View::Original], &tokenizer)?;
    let samples: Vec<&Sample> = gold.iter().map(|(_, sample)| sample).collect();
    let by_photo = gold.iter().map(|(photo, _)| (photo.set.name, photo.name.as_str()));
    let words: HashMap<(&str, &str), Arc<[f32]>> = by_photo.zip(word_vectors(&samples)).collect();
    let mut distill_samples = Vec::new();
    for set in PHOTO_SETS.iter().filter(|set| set.role != Role::Dev) {
        let mut outputs: Vec<Vec<Target>> = Vec::new();
        let mut embeddings = None;
        for view in VIEWS {
            let split = (set, Split::Train);
            let photos = load(&inputs.data, &inputs.out, &stem, split, &[view], &tokenizer)?;
            let (photos, samples): (Vec<_>, Vec<_>) = photos.into_iter().unzip();
            // The mirrored view has the original's outputs; the loss mirrors their maps.
            if view != View::Mirrored {
                outputs = vec![Vec::with_capacity(teachers.len()); photos.len()];
                for teacher in &teachers {
                    let file = [set.name, teacher.name(), &view.name()].join("-") + ".bin";
                    let file = inputs.out.join(file);
                    let targets = targets(teacher, &inputs.data, &photos, view, &file)?;
                    outputs.iter_mut().zip(targets).for_each(|(all, target)| all.push(target));
                }
            }
            if let (None, Some(encoder)) = (&embeddings, &sentences) {
                let set = set.name;
                embeddings = Some(sentence_vectors(encoder, &samples, &inputs.out, set)?);
            }
            let each = photos.iter().zip(samples).zip(&outputs);
            distill_samples.extend(each.enumerate().map(|(number, ((photo, sample), targets))| {
                DistillSample {
                    view: sample.views[0].clone(),
                    targets: targets.clone(),
                    is_mirrored: view == View::Mirrored,
                    caption_vectors: [
                        words.get(&(set.name, photo.name.as_str())).cloned(),
                        embeddings.as_ref().and_then(|all| all[number].clone()),
                    ],
                }
            }));
        }
    }
    Ok(DistillDataset::new(weights, &config, distill_samples, stem.output_scale())?)
}

/// What the teachers of `inputs`, or Lite2, say about 300 dev photos of Flickr8k.
pub(crate) fn dev_samples(inputs: &Inputs) -> Result<Vec<DistillSample>> {
    let config = Config::small();
    let (tokenizer, _) = read_tokenizer(&inputs.tokenizer)?;
    let samples = inputs.flickr8k_dev(&inputs.stem(&config)?, &tokenizer)?;
    let (photos, samples): (Vec<_>, Vec<_>) = samples.into_iter().unzip();
    let mut said: Vec<Vec<Target>> = vec![Vec::new(); photos.len()];
    for teacher in inputs.loaded_teachers(&config)? {
        let set = PhotoSet::flickr8k().name;
        let file = [set, "dev", teacher.name(), &View::Original.name()].join("-") + ".bin";
        let file = inputs.out.join(file);
        let targets = targets(&teacher, &inputs.data, &photos, View::Original, &file)?;
        said.iter_mut().zip(targets).for_each(|(said, target)| said.push(target));
    }
    let each = samples.into_iter().zip(said);
    let each = each.map(|(sample, targets)| DistillSample {
        view: sample.views[0].clone(),
        targets,
        is_mirrored: false,
        caption_vectors: Default::default(),
    });
    Ok(each.collect())
}
