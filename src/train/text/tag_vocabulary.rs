//! The names that image tags may have, and where they are found: in captions, in the labels of photo
//! sets, and among the classes of the networks that the tags are learned from.
//!
//! `tag_names.json` is written by `bitmar-train tag-names` from the frequencies of nouns in captions
//! and from the hand-written `tag_edits.json`.

use std::collections::{BTreeMap, HashMap};
use std::sync::LazyLock;

use serde::{Deserialize, Serialize};

use crate::train::text::words::words;

/// Number of words of the longest noun.
const MAX_WORDS: usize = 3;

/// The names of people.
pub const PEOPLE: [&str; 4] = ["person", "people", "child", "baby"];

/// A name and what stands for it elsewhere.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TagName {
    /// The name as people say it, in the singular where they would.
    pub name: String,
    /// Its category of COCO, as the detector of the tag files calls it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub coco: Option<String>,
    /// Its classes of ImageNet, 0 to 999.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub imagenet: Vec<usize>,
    /// Nouns that always mean this thing, in addition to the name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub nouns: Vec<String>,
    /// Words that may mean this thing or another one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub related: Vec<String>,
}

/// The contents of `tag_names.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TagNamesFile {
    /// Version of the list; models with different versions have different tags.
    pub version: u32,
    /// The names, most frequent first.
    pub names: Vec<TagName>,
    /// Labels of photo sets whose names do not follow from their words.
    pub labels: BTreeMap<String, Vec<String>>,
}

/// How sure it is that a caption mentions a thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mention {
    /// A word of the caption may mean it.
    Possible,
    /// The caption names it.
    Certain,
}

/// The names with their indexes.
#[derive(Debug)]
pub struct TagVocabulary {
    names: Vec<TagName>,
    labels: BTreeMap<String, Vec<String>>,
    by_name: HashMap<String, usize>,
    by_coco: HashMap<String, usize>,
    by_class: HashMap<usize, Vec<usize>>,
    by_noun: HashMap<String, Vec<(usize, Mention)>>,
}

static NAMES: LazyLock<TagVocabulary> = LazyLock::new(|| {
    let file = serde_json::from_str(include_str!("tag_names.json"));
    TagVocabulary::new(file.expect("tag_names.json has been written by bitmar-train"))
});

impl TagVocabulary {
    /// The vocabulary of `tag_names.json`.
    pub fn standard() -> &'static Self {
        &NAMES
    }

    /// Indexes the names of `file`.
    pub fn new(file: TagNamesFile) -> Self {
        let TagNamesFile { names, labels, .. } = file;
        let by_name = names.iter().enumerate().map(|(i, name)| (name.name.clone(), i)).collect();
        let (mut by_coco, mut by_class) = (HashMap::new(), HashMap::<usize, Vec<usize>>::new());
        let mut by_noun = HashMap::<String, Vec<(usize, Mention)>>::new();
        for (index, name) in names.iter().enumerate() {
            by_coco.extend(name.coco.iter().map(|coco| (coco.clone(), index)));
            for &class in &name.imagenet {
                by_class.entry(class).or_default().push(index);
            }
            let own = if name.related.contains(&name.name) { None } else { Some(&name.name) };
            let certain = own.into_iter().chain(&name.nouns).map(|noun| (noun, Mention::Certain));
            let possible = name.related.iter().map(|noun| (noun, Mention::Possible));
            for (noun, mention) in certain.chain(possible) {
                for form in forms(noun) {
                    let entry = by_noun.entry(form).or_default();
                    if entry.iter().all(|&(other, _)| other != index) {
                        entry.push((index, mention));
                    }
                }
            }
        }
        Self { names, labels, by_name, by_coco, by_class, by_noun }
    }

    /// The names in their order, which is that of a head's outputs.
    pub fn names(&self) -> &[TagName] {
        &self.names
    }

    /// The index of a name.
    pub fn index(&self, name: &str) -> Option<usize> {
        self.by_name.get(name).copied()
    }

    /// The name of a category of COCO.
    pub fn of_coco(&self, category: &str) -> Option<usize> {
        self.by_coco.get(category).copied()
    }

    /// The names of a class of ImageNet.
    pub fn of_class(&self, class: usize) -> &[usize] {
        self.by_class.get(&class).map_or(&[], Vec::as_slice)
    }

    /// The names that a caption mentions, each once with its surest mention. The words of a longer
    /// noun mention its parts only possibly: "hot dog" is no certain dog.
    pub fn mentions(&self, caption: &str) -> BTreeMap<usize, Mention> {
        let words = words(caption);
        let mut found = BTreeMap::new();
        let mut is_part = vec![false; words.len()];
        for len in (1..=MAX_WORDS.min(words.len())).rev() {
            for start in 0..=words.len() - len {
                let range = start..start + len;
                let Some(names) = self.by_noun.get(&words[range.clone()].join(" ")) else {
                    continue;
                };
                let covered = is_part[range.clone()].iter().any(|&part| part);
                for &(name, mention) in names {
                    let mention = if covered { Mention::Possible } else { mention };
                    let entry = found.entry(name).or_insert(mention);
                    *entry = mention.max(*entry);
                }
                is_part[range].iter_mut().for_each(|part| *part |= len > 1);
            }
        }
        found
    }

    /// The names of a label: those listed for it, those that it mentions as a whole, or those of
    /// its head, the last word before a preposition ("electric guitar", "bottle of soap").
    pub fn of_label(&self, label: &str) -> Vec<usize> {
        if let Some(names) = self.labels.get(label) {
            return names.iter().filter_map(|name| self.index(name)).collect();
        }
        let label = label.replace('_', " ").to_lowercase();
        let head = [" of ", " on ", " in ", " with ", " ("]
            .iter()
            .fold(label.as_str(), |head, end| head.split(end).next().unwrap_or(head));
        let words: Vec<&str> = head.split(' ').collect();
        for start in 0..words.len() {
            let noun = words[start..].join(" ");
            let names = self.by_noun.get(&noun).map_or(&[][..], Vec::as_slice);
            let certain = names.iter().filter(|(name, mention)| {
                let name = self.names[*name].name.as_str();
                // A record player is no person.
                let is_other = start > 0 && PEOPLE.contains(&name);
                !is_other && (*mention == Mention::Certain || name == noun)
            });
            let certain: Vec<usize> = certain.map(|&(name, _)| name).collect();
            if !certain.is_empty() {
                return certain;
            }
        }
        Vec::new()
    }
}

/// A noun and its plurals.
fn forms(noun: &str) -> Vec<String> {
    let mut forms = vec![noun.to_owned(), format!("{noun}s"), format!("{noun}es")];
    if let Some(stem) = noun.strip_suffix('y') {
        forms.push(format!("{stem}ies"));
    }
    if let Some(stem) = noun.strip_suffix('f') {
        forms.push(format!("{stem}ves"));
    }
    forms
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mentioned(caption: &str) -> Vec<(&'static str, Mention)> {
        let vocabulary = TagVocabulary::standard();
        let found = vocabulary.mentions(caption).into_iter();
        let mut found: Vec<_> =
            found.map(|(i, mention)| (vocabulary.names()[i].name.as_str(), mention)).collect();
        found.sort_unstable();
        found
    }

    #[test]
    fn the_list_has_about_600_distinct_names_and_no_man_or_woman() {
        let vocabulary = TagVocabulary::standard();
        let count = vocabulary.names().len();
        assert_eq!(vocabulary.by_name.len(), count, "a name occurs twice");
        assert!((560..=640).contains(&count), "{count}");
        for word in ["person", "people", "child", "baby", "cat", "phone", "sky"] {
            assert!(vocabulary.index(word).is_some(), "{word}");
        }
        for word in ["man", "woman", "boy", "girl", "picture", "sit", "look", "front"] {
            assert!(vocabulary.index(word).is_none(), "{word}");
        }
        assert_eq!(vocabulary.by_coco.len(), 80);
        assert!(vocabulary.by_class.keys().all(|&class| class < 1000));
    }

    #[test]
    fn captions_mention_plurals_and_longer_nouns_first() {
        use Mention::{Certain, Possible};
        assert_eq!(mentioned("Two kittens ."), [("cat", Certain)]);
        let hot_dog = [("dog", Possible), ("hot dog", Certain), ("wolf", Possible)];
        assert_eq!(mentioned("a hot dog"), hot_dog);
        let orange = mentioned("an orange bus");
        assert_eq!(orange, [("bus", Certain), ("orange", Possible)]);
        assert!(mentioned("a man").contains(&("person", Certain)));
    }

    #[test]
    fn labels_have_names() {
        let vocabulary = TagVocabulary::standard();
        for (label, expected) in [
            ("electric guitar", &["guitar"][..]),
            ("red panda", &[]),
            ("apples", &["apple"]),
            ("bottle of hand wash liquid", &["bottle"]),
            ("riding_a_horse", &["horse", "person"]),
            ("golf ball", &["ball"]),
            ("cell phone", &["phone"]),
            ("television", &["tv"]),
            ("record player", &[]),
            ("yin yang", &[]),
        ] {
            let names: Vec<&str> = vocabulary
                .of_label(label)
                .into_iter()
                .map(|index| vocabulary.names()[index].name.as_str())
                .collect();
            assert_eq!(names, expected, "{label}");
        }
    }
}
