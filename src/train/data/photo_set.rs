//! The photo sets that the trainer reads: a table with the content and the role of each set.
//!
//! A set is a tar of WebP photos and an index of the same name, one JSON object a line ([`Photo`]).

use serde::Deserialize;

/// The texts that come with the photos of a set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Text {
    /// Sentences that people wrote about each photo.
    Human,
    /// A title of a few words, written by one person.
    Title,
    /// Sentences made from the label.
    Template,
    /// The set has no texts.
    Nothing,
}

/// What the labels of a set say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Labels {
    /// One thing or action per photo; every other label of the set is absent from the photo.
    Complete,
    /// Some of the things in the photo; others may be present as well.
    Incomplete,
    /// The kind of place that the photo shows.
    Place,
    /// The set has no labels.
    Nothing,
}

/// What a set is used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The caption stages learn from its texts.
    Captions,
    /// The caption stages learn from its labels, and from sentences found for them.
    LabelCaptions,
    /// Only the vision encoder and the recognizer learn from it.
    Vision,
    /// Models are selected on it; nothing is trained on it.
    Dev,
}

/// Which labeled photos of a set are held out, to measure how often a caption names the label.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeldOut {
    /// No photo.
    Nothing,
    /// Every twentieth in the order of the index.
    EveryTwentieth,
    /// The last tenth in the order of the index.
    LastTenth,
}

/// A set of photos in the data folder.
#[derive(Debug, PartialEq)]
pub struct PhotoSet {
    /// The name that its `.jsonl` and `.tar` files share.
    pub name: &'static str,
    /// The texts of its photos.
    pub text: Text,
    /// The labels of its photos.
    pub labels: Labels,
    /// What it is used for.
    pub role: Role,
    /// Loss weights of a photo's captions: of the first two, and of the later ones.
    pub weights: [f32; 2],
    /// Which of its photos are held out from training.
    pub held_out: HeldOut,
}

const fn set(
    name: &'static str,
    (text, labels, role): (Text, Labels, Role),
    weights: [f32; 2],
    held_out: HeldOut,
) -> PhotoSet {
    PhotoSet { name, text, labels, role, weights, held_out }
}

/// Every set, those with human captions first.
pub static PHOTO_SETS: [PhotoSet; 15] = {
    use HeldOut::{EveryTwentieth, LastTenth};
    use Text::{Human, Template, Title};
    let captioned = (Human, Labels::Nothing, Role::Captions);
    let one_label = (Text::Nothing, Labels::Complete, Role::LabelCaptions);
    let some_labels = (Text::Nothing, Labels::Incomplete, Role::Vision);
    let whole = [1.0, 1.0];
    [
        set("flickr8k", captioned, whole, HeldOut::Nothing),
        set("coco_mini_train", captioned, whole, HeldOut::Nothing),
        set("coco_more", captioned, whole, HeldOut::Nothing),
        // The sentences of a photo form a paragraph: the later ones begin "There is a".
        set("ade_rooms", (Human, Labels::Place, Role::Captions), [1.0, 0.3], HeldOut::Nothing),
        set("food_titled", (Title, Labels::Incomplete, Role::Captions), [0.5; 2], HeldOut::Nothing),
        set("coco_dev", (Human, Labels::Nothing, Role::Dev), whole, HeldOut::Nothing),
        set("stanford40", (Template, Labels::Complete, Role::LabelCaptions), whole, EveryTwentieth),
        set("caltech101", one_label, whole, EveryTwentieth),
        set("in1k", one_label, whole, LastTenth),
        set("indet", one_label, whole, HeldOut::Nothing),
        set("grocery", one_label, whole, HeldOut::Nothing),
        set(
            "things",
            (Text::Nothing, Labels::Incomplete, Role::LabelCaptions),
            whole,
            HeldOut::Nothing,
        ),
        set("ade_scenes", some_labels, whole, HeldOut::Nothing),
        set("nyu_rooms", some_labels, whole, HeldOut::Nothing),
        set(
            "everyday_unlabelled",
            (Text::Nothing, Labels::Nothing, Role::Vision),
            whole,
            HeldOut::Nothing,
        ),
    ]
};

impl PhotoSet {
    /// The set of this name.
    ///
    /// # Panics
    ///
    /// If there is none.
    pub fn named(name: &str) -> &'static Self {
        let found = PHOTO_SETS.iter().find(|set| set.name == name);
        found.unwrap_or_else(|| panic!("no photo set is called {name:?}"))
    }

    /// Flickr8k, with five human captions per photo. Models are compared on its dev photos, and the
    /// stem is calibrated on its training photos.
    pub fn flickr8k() -> &'static Self {
        &PHOTO_SETS[0]
    }

    /// The sets with this role.
    pub fn of_role(role: Role) -> impl Iterator<Item = &'static Self> {
        PHOTO_SETS.iter().filter(move |set| set.role == role)
    }

    /// The sets with held-out labeled photos.
    pub fn held_out() -> impl Iterator<Item = &'static Self> {
        PHOTO_SETS.iter().filter(|set| set.held_out != HeldOut::Nothing)
    }

    /// The weight of the caption with this number among the captions of its photo.
    pub fn weight(&self, caption: usize) -> f32 {
        self.weights[usize::from(caption >= 2)]
    }

    /// Whether people wrote its texts.
    pub fn has_human_text(&self) -> bool {
        matches!(self.text, Text::Human | Text::Title)
    }
}

/// What a photo may be used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Split {
    /// Training.
    Train,
    /// Model selection; never trained on.
    Dev,
}

/// One line of an index. Captions are not normalized: a training target goes through
/// [`normalize_caption`](crate::train::text::normalize::normalize_caption) first.
#[derive(Debug, Clone, PartialEq)]
pub struct Photo {
    /// The set it belongs to.
    pub set: &'static PhotoSet,
    /// The member's name in the set's tar.
    pub name: String,
    /// What it may be used for.
    pub split: Split,
    /// Its captions, by people or from a template (see [`PhotoSet::text`]); may be empty.
    pub captions: Vec<String>,
    /// The class, if the set has one per photo.
    pub label: Option<String>,
    /// The things in the photo, if the set names several.
    pub labels: Vec<String>,
    /// The ImageNet name of the label, if people use another word.
    pub fine: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn set_names_are_unique_and_dev_is_never_trained_on() {
        for set in &PHOTO_SETS {
            assert!(std::ptr::eq(PhotoSet::named(set.name), set), "{}", set.name);
        }
        let trained = [Role::Captions, Role::LabelCaptions, Role::Vision].map(PhotoSet::of_role);
        assert!(trained.into_iter().flatten().all(|set| set.name != "coco_dev"));
        assert!(PhotoSet::held_out().all(|set| !set.has_human_text()));
    }

    #[test]
    fn later_sentences_about_a_room_count_less() {
        let rooms = PhotoSet::named("ade_rooms");
        assert_eq!([0, 1, 2, 3].map(|number| rooms.weight(number)), [1.0, 1.0, 0.3, 0.3]);
    }
}
