//! Writes the vocabulary of the image tags from the frequencies of nouns in captions.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;

use anyhow::Result;
use serde::Deserialize;

use crate::train::data::archive::{load_caption_text, load_index, CAPTION_TEXTS};
use crate::train::data::photo_set::{Role, Split, PHOTO_SETS};
use crate::train::files;
use crate::train::text::tag_vocabulary::{Mention, TagName, TagNamesFile, TagVocabulary};

/// Version of the list that this program writes.
const VERSION: u32 = 1;

/// A name of the list to start from, `tags/names.json` in the data folder.
#[derive(Deserialize)]
struct Start {
    name: String,
    coco: Option<usize>,
    imagenet: Vec<usize>,
    nouns: Vec<String>,
}

/// What people decided about the names: `tag_edits.json`.
#[derive(Deserialize)]
struct Edits {
    /// Names that are no things, or people by what they do.
    dropped: BTreeSet<String>,
    /// Names that become part of another one.
    merged: BTreeMap<String, String>,
    /// Names that get another form.
    renamed: BTreeMap<String, String>,
    /// Words that captions often use in another sense.
    ambiguous: BTreeSet<String>,
    /// Nouns that are certain for a name.
    nouns: BTreeMap<String, Vec<String>>,
    /// Further names with their nouns, chosen among the most frequent words of captions.
    added: BTreeMap<String, Vec<String>>,
    labels: BTreeMap<String, Vec<String>>,
}

/// The detector's categories that have another name than in the list, by COCO's numbers.
const CATEGORIES: [(usize, &str); 6] = [
    (2, "bicycle"),
    (37, "sports ball"),
    (64, "potted plant"),
    (67, "dining table"),
    (77, "cell phone"),
    (89, "hair drier"),
];

/// Writes the `count` most frequent names, and those of COCO whatever their frequency, to `file`.
///
/// # Errors
///
/// If a caption file or `tags/names.json` cannot be read, or `file` cannot be written.
pub fn tag_names(data: &Path, file: &Path, count: usize) -> Result<()> {
    let start: Vec<Start> = serde_json::from_slice(&std::fs::read(data.join("tags/names.json"))?)?;
    let edits: Edits = serde_json::from_str(include_str!("../text/tag_edits.json"))?;
    let names = edited(start, &edits);
    let all = TagNamesFile { version: VERSION, names, labels: edits.labels };
    let counts = frequencies(data, &TagVocabulary::new(all.clone()))?;
    let mut names: Vec<(usize, TagName)> = counts.into_iter().zip(all.names).collect();
    names.sort_by(|(a, x), (b, y)| b.cmp(a).then_with(|| x.name.cmp(&y.name)));
    let kept: Vec<TagName> = names
        .iter()
        .enumerate()
        .filter(|(place, (_, name))| *place < count || name.coco.is_some())
        .map(|(_, (_, name))| name.clone())
        .collect();
    let left_out: Vec<&str> = names
        .iter()
        .filter(|(_, name)| !kept.contains(name))
        .map(|(_, name)| name.name.as_str())
        .collect();
    eprintln!("{} names; left out as too rare: {}", kept.len(), left_out.join(", "));
    let text = lines(&TagNamesFile { names: kept, ..all })?;
    files::write(file, text.as_bytes())?;
    Ok(())
}

/// The names of `start` after the edits.
fn edited(start: Vec<Start>, edits: &Edits) -> Vec<TagName> {
    // A noun that is a name of its own, or of several names, does not say which one is meant.
    let mut uses: HashMap<String, usize> = HashMap::new();
    for entry in &start {
        entry.nouns.iter().for_each(|noun| *uses.entry(noun.clone()).or_default() += 1);
    }
    let own: BTreeSet<&str> = start.iter().map(|entry| entry.name.as_str()).collect();
    let mut names: BTreeMap<String, TagName> = BTreeMap::new();
    for Start { name, coco, imagenet, nouns } in &start {
        if edits.dropped.contains(name) {
            continue;
        }
        let target = edits.merged.get(name).or_else(|| edits.renamed.get(name)).unwrap_or(name);
        let entry = names.entry(target.clone()).or_insert_with(|| empty(target));
        if let Some(number) = coco {
            let other = CATEGORIES.iter().find(|(category, _)| category == number);
            entry.coco = Some(other.map_or(name.as_str(), |(_, category)| category).to_owned());
        }
        entry.imagenet.extend(imagenet);
        for noun in nouns.iter().chain(Some(name)).filter(|noun| *noun != target) {
            let is_shared = noun != name && (own.contains(noun.as_str()) || uses[noun] > 1);
            let list = if is_shared || edits.ambiguous.contains(noun) {
                &mut entry.related
            } else {
                &mut entry.nouns
            };
            list.push(noun.clone());
        }
    }
    for (name, nouns) in edits.added.iter().chain(&edits.nouns) {
        let entry = names.entry(name.clone()).or_insert_with(|| empty(name));
        entry.nouns.extend(nouns.iter().filter(|noun| *noun != name).cloned());
    }
    for (name, entry) in &mut names {
        if edits.ambiguous.contains(name) {
            entry.related.push(name.clone());
        }
        entry.nouns.sort();
        entry.nouns.dedup();
        entry.related.sort();
        entry.related.dedup();
        entry.related.retain(|noun| !entry.nouns.contains(noun));
        entry.imagenet.sort_unstable();
    }
    names.into_values().collect()
}

fn empty(name: &str) -> TagName {
    let name = name.to_owned();
    TagName { name, coco: None, imagenet: Vec::new(), nouns: Vec::new(), related: Vec::new() }
}

/// In how many captions that are trained on each name is mentioned for certain. A labelled photo
/// counts as much as the captions of one that people described.
fn frequencies(data: &Path, vocabulary: &TagVocabulary) -> Result<Vec<usize>> {
    /// Captions of a photo that people described.
    const CAPTIONS: usize = 5;
    let counts_len = vocabulary.names().len();
    let mut counts = vec![0; counts_len];
    let mut count = |caption: &str| {
        let mentions = vocabulary.mentions(caption).into_iter();
        let certain = mentions.filter(|(_, mention)| *mention == Mention::Certain);
        certain.for_each(|(name, _)| counts[name] += 1);
    };
    for file in CAPTION_TEXTS {
        load_caption_text(data, file)?.iter().for_each(|caption| count(caption));
    }
    let mut labelled = vec![0; counts_len];
    for set in PHOTO_SETS.iter().filter(|set| set.role != Role::Dev) {
        for photo in load_index(data, set)?.iter().filter(|photo| photo.split == Split::Train) {
            if set.has_human_text() {
                photo.captions.iter().for_each(|caption| count(caption));
            }
            for label in photo.label.iter().chain(&photo.labels) {
                vocabulary.of_label(label).into_iter().for_each(|name| labelled[name] += 1);
            }
        }
    }
    Ok(counts.iter().zip(&labelled).map(|(count, photos)| count + CAPTIONS * photos).collect())
}

/// JSON with one name a line, so that a change of the list can be read.
fn lines(file: &TagNamesFile) -> Result<String, serde_json::Error> {
    let name = |name: &TagName| serde_json::to_string(name).map(|text| format!("  {text}"));
    let names = file.names.iter().map(name).collect::<Result<Vec<_>, _>>()?.join(",\n");
    let label = |(label, names): (&String, &Vec<String>)| {
        Ok(format!("  {}: {}", serde_json::to_string(label)?, serde_json::to_string(names)?))
    };
    let labels = file.labels.iter().map(label);
    let labels = labels.collect::<Result<Vec<_>, serde_json::Error>>()?.join(",\n");
    let version = file.version;
    Ok(format!(
        "{{\n \"version\": {version},\n \"names\": [\n{names}\n ],\n \"labels\": {{\n{labels}\n }}\n}}\n"
    ))
}
