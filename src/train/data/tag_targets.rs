//! Targets of the image tags: for every training photo and crop the probability of each name of the
//! vocabulary, or that it is unknown.
//!
//! A name's probability comes from the detector's best box and from the classifiers' probabilities,
//! summed over its classes. The labels of a set and the captions of people replace it where they say
//! more. Of a name that no teacher knows, a label alone would teach that it is in every photo: in a
//! set that labels it, it counts as absent from the photos without that label.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::train::data::photo_set::{Labels, Photo, PhotoSet, Role, Split, Text};
use crate::train::data::seen::Seen;
use crate::train::text::tag_vocabulary::{Mention, TagVocabulary};

/// Weight of an absence that only the classifiers state: they name the main thing of a photo.
const CLASSIFIED_ABSENCE: f32 = 0.5;
/// Weight of an absence that follows from the missing label of a set with some of the labels.
const INCOMPLETE_ABSENCE: f32 = 0.5;
/// Weight of the absence of a thing about which nobody says anything. Most things are absent from
/// most photos: without this weight, a name that only the captions of one set mention is recognized
/// in any photo that looks unlike that set.
const ASSUMED_ABSENCE: f32 = 0.1;
/// Captions that must be silent about a thing before it counts as absent.
const MIN_CAPTIONS: usize = 4;
/// Captions that must name a thing before it counts as present.
const MIN_NAMED: usize = 2;
/// The smallest probability with which a teacher says that a thing is there.
const SEEN: f32 = 0.3;

/// The target of one name.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TagTarget {
    /// Probability that the thing is there.
    pub value: f32,
    /// Weight of its loss; 0 if the target is unknown.
    pub weight: f32,
}

/// The target of a thing that may be there or not.
pub const UNKNOWN: TagTarget = TagTarget { value: 0.0, weight: 0.0 };

const ASSUMED_ABSENT: TagTarget = TagTarget { value: 0.0, weight: ASSUMED_ABSENCE };

const PRESENT: TagTarget = TagTarget { value: 1.0, weight: 1.0 };

/// Makes the targets of one set's photos.
#[derive(Debug)]
pub struct TagTargets<'a> {
    vocabulary: &'a TagVocabulary,
    photos: HashMap<&'a str, &'a Photo>,
    /// The names that the labels of the set have.
    labelled: BTreeSet<usize>,
}

impl<'a> TagTargets<'a> {
    /// Takes the training photos among `photos`, which all belong to `set`. Dev and held-out photos
    /// have no targets, and so do all photos of a dev set.
    pub fn new(vocabulary: &'a TagVocabulary, set: &PhotoSet, photos: &'a [Photo]) -> Self {
        let trained = photos
            .iter()
            .filter(|photo| set.role != Role::Dev && photo.split == Split::Train)
            .map(|photo| (photo.name.as_str(), photo));
        let photos: HashMap<&str, &Photo> = trained.collect();
        let labels = photos.values().flat_map(|photo| labels(vocabulary, photo));
        Self { vocabulary, labelled: labels.collect(), photos }
    }

    /// The targets of the photo or crop that `seen` describes, one for each name of the vocabulary;
    /// `None` unless it is of a training photo.
    pub fn of(&self, seen: &Seen) -> Option<Vec<TagTarget>> {
        let photo = self.photos.get(seen.image.as_str())?;
        let mut targets = self.seen(seen);
        match seen.crop {
            None => self.refine(photo, &mut targets),
            Some(_) => self.doubt(photo, &mut targets),
        }
        Some(targets)
    }

    /// What the teachers say.
    fn seen(&self, seen: &Seen) -> Vec<TagTarget> {
        let names = self.vocabulary.names().iter();
        let absent = names.map(|name| match (&name.coco, name.imagenet.is_empty()) {
            (Some(_), _) => TagTarget { value: 0.0, weight: 1.0 },
            (None, false) => TagTarget { value: 0.0, weight: CLASSIFIED_ABSENCE },
            (None, true) => ASSUMED_ABSENT,
        });
        let mut targets: Vec<TagTarget> = absent.collect();
        let mut classified: BTreeMap<usize, f32> = BTreeMap::new();
        for &(class, probability) in &seen.imagenet {
            for &name in self.vocabulary.of_class(class) {
                *classified.entry(name).or_default() += probability;
            }
        }
        let detected = seen.coco.iter().filter_map(|(category, score, ..)| {
            self.vocabulary.of_coco(category).map(|name| (name, *score))
        });
        for (name, probability) in classified.into_iter().chain(detected) {
            let target = &mut targets[name];
            target.value = target.value.max(probability.min(1.0));
            if target.value >= SEEN {
                target.weight = 1.0;
            }
        }
        targets
    }

    /// Adds what the labels and captions of a whole photo say.
    fn refine(&self, photo: &Photo, targets: &mut [TagTarget]) {
        let absence = match photo.set.labels {
            Labels::Complete => Some(1.0),
            Labels::Incomplete => Some(INCOMPLETE_ABSENCE),
            Labels::Place | Labels::Nothing => None,
        };
        for (&name, weight) in self.labelled.iter().flat_map(|name| Some((name, absence?))) {
            if targets[name] == ASSUMED_ABSENT {
                targets[name] = TagTarget { value: 0.0, weight };
            }
        }
        let mentions = mentions(self.vocabulary, photo);
        let is_described = photo.set.text == Text::Human && photo.captions.len() >= MIN_CAPTIONS;
        for (name, target) in targets.iter_mut().enumerate() {
            let Mentions { certain, possible } = mentions.get(&name).copied().unwrap_or_default();
            let needed = if photo.set.text == Text::Title { 1 } else { MIN_NAMED };
            if certain >= needed {
                *target = PRESENT;
            } else if certain + possible > 0 && target.value < SEEN {
                *target = UNKNOWN;
            } else if certain + possible == 0 && is_described && target.value < SEEN {
                target.weight = 1.0;
            }
        }
        for name in labels(self.vocabulary, photo) {
            targets[name] = PRESENT;
        }
    }

    /// Forgets the absence of what the whole photo shows: a crop may show it or not.
    fn doubt(&self, photo: &Photo, targets: &mut [TagTarget]) {
        let mentioned = mentions(self.vocabulary, photo).into_keys();
        for name in mentioned.chain(labels(self.vocabulary, photo)) {
            if targets[name].value < SEEN {
                targets[name] = UNKNOWN;
            }
        }
    }
}

/// The names of a photo's labels.
fn labels(vocabulary: &TagVocabulary, photo: &Photo) -> Vec<usize> {
    let labels = photo.label.iter().chain(&photo.labels);
    labels.flat_map(|label| vocabulary.of_label(label)).collect()
}

/// In how many captions of a photo a name is mentioned.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Mentions {
    /// Captions that name it.
    pub certain: usize,
    /// Captions with a word that may mean it, and none that certainly does.
    pub possible: usize,
}

/// What people's captions of a photo mention; nothing if they come from a template.
pub fn mentions(vocabulary: &TagVocabulary, photo: &Photo) -> BTreeMap<usize, Mentions> {
    let mut found: BTreeMap<usize, Mentions> = BTreeMap::new();
    for caption in photo.captions.iter().filter(|_| photo.set.has_human_text()) {
        for (name, mention) in vocabulary.mentions(caption) {
            let mentions = found.entry(name).or_default();
            match mention {
                Mention::Certain => mentions.certain += 1,
                Mention::Possible => mentions.possible += 1,
            }
        }
    }
    found
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on should panic")]
mod tests {
    use super::*;
    use crate::train::data::archive::load_index;
    use crate::train::data::archive::tests::Folder;

    fn photo(set: &str, name: &str) -> Photo {
        Photo {
            set: PhotoSet::named(set),
            name: name.into(),
            split: Split::Train,
            captions: Vec::new(),
            label: None,
            labels: Vec::new(),
            fine: None,
        }
    }

    fn seen(image: &str) -> Seen {
        Seen { image: image.into(), crop: None, imagenet: Vec::new(), coco: Vec::new() }
    }

    fn target(targets: &[TagTarget], name: &str) -> TagTarget {
        targets[TagVocabulary::standard().index(name).unwrap()]
    }

    fn targets_of(photos: &[Photo], seen: &Seen) -> Vec<TagTarget> {
        TagTargets::new(TagVocabulary::standard(), photos[0].set, photos).of(seen).unwrap()
    }

    #[test]
    fn dev_and_held_out_photos_and_their_crops_are_never_targets() {
        let folder = Folder::new("tag-targets");
        let line = |number: usize, split: &str| {
            format!(r#"{{"image": "{number}", "split": "{split}", "label": "cup"}}"#)
        };
        let train: Vec<String> = (0..40).map(|number| line(number, "train")).collect();
        let dev: Vec<String> = (0..40).map(|number| line(number, "dev")).collect();
        for (set, lines, held_out) in [
            ("caltech101", &train, vec![19, 39]),
            ("stanford40", &train, vec![19, 39]),
            ("in1k", &train, vec![36, 37, 38, 39]),
            ("indet", &train, vec![]),
            ("flickr8k", &dev, (0..40).collect()),
            // A dev set is not trained on, whatever its index says.
            ("coco_dev", &train, (0..40).collect()),
        ] {
            folder.write(&format!("{set}.jsonl"), lines.join("\n").as_bytes());
            let set = PhotoSet::named(set);
            let photos = load_index(&folder.0, set).unwrap();
            let targets = TagTargets::new(TagVocabulary::standard(), set, &photos);
            for crop in [None, Some([0, 0, 8, 8])] {
                let without: Vec<usize> = (0..40)
                    .filter(|n| targets.of(&Seen { crop, ..seen(&n.to_string()) }).is_none())
                    .collect();
                assert_eq!(without, held_out, "{}", set.name);
            }
        }
    }

    #[test]
    fn teachers_are_merged_by_name() {
        let photos = [photo("everyday_unlabelled", "a")];
        let detected = |category: &str, score| (category.to_owned(), score, 0.0, 0.0, 1.0, 1.0);
        let seen = Seen {
            imagenet: vec![(151, 0.25), (152, 0.25), (409, 0.1)],
            coco: vec![
                detected("dog", 0.4),
                detected("cell phone", 0.3),
                detected("cell phone", 0.9),
            ],
            ..seen("a")
        };
        let targets = targets_of(&photos, &seen);
        assert_eq!(target(&targets, "dog"), TagTarget { value: 0.5, weight: 1.0 });
        assert_eq!(target(&targets, "phone"), TagTarget { value: 0.9, weight: 1.0 });
        assert_eq!(target(&targets, "cat"), TagTarget { value: 0.0, weight: 1.0 });
        let lion = TagTarget { value: 0.0, weight: CLASSIFIED_ABSENCE };
        assert_eq!(target(&targets, "lion"), lion);
        assert_eq!(target(&targets, "sky"), ASSUMED_ABSENT);
    }

    #[test]
    fn two_captions_make_a_thing_present_one_makes_it_unknown_none_absent() {
        let captions = ["A dog on grass .", "a puppy on the grass", "A pet by a tree", "a dog"];
        let captions = captions.map(String::from).to_vec();
        let photos = [Photo { captions, ..photo("flickr8k", "a") }];
        let targets = targets_of(&photos, &seen("a"));
        assert_eq!(target(&targets, "dog"), PRESENT);
        assert_eq!(target(&targets, "grass"), PRESENT);
        assert_eq!(target(&targets, "tree"), UNKNOWN);
        assert_eq!(target(&targets, "sky"), TagTarget { value: 0.0, weight: 1.0 });
        // A crop may show the grass or not.
        let crop = Seen { crop: Some([0, 0, 9, 9]), ..seen("a") };
        let targets = targets_of(&photos, &crop);
        assert_eq!(target(&targets, "grass"), UNKNOWN);
        assert_eq!(target(&targets, "dog"), UNKNOWN);
        assert_eq!(target(&targets, "cat"), TagTarget { value: 0.0, weight: 1.0 });
    }

    #[test]
    fn a_name_that_only_labels_know_is_absent_from_the_other_photos_of_its_set() {
        let hand = Photo { label: Some("hands".into()), ..photo("things", "hand") };
        let cup = Photo { label: Some("cup".into()), ..photo("things", "cup") };
        let photos = [hand, cup];
        let hand = targets_of(&photos, &seen("hand"));
        let cup = targets_of(&photos, &seen("cup"));
        assert_eq!(target(&hand, "hand"), PRESENT);
        let absent = TagTarget { value: 0.0, weight: INCOMPLETE_ABSENCE };
        assert_eq!(target(&cup, "hand"), absent);
        assert_eq!(target(&cup, "cup"), PRESENT);
        assert_eq!(target(&hand, "sky"), ASSUMED_ABSENT);
    }
}
