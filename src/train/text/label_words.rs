//! What a label is about: its plain name with an article, and the words that a caption must have to
//! name it.

use crate::train::metrics::words;

/// Everyday names of things that Caltech-101 names otherwise. Its cougars and wild cats are its
/// only cats: a model that learns "cougar" calls every cat one, and no photo would get sentences
/// about cats. People do not write about "a face", and "watches" is mostly a verb.
const EVERYDAY: [(&str, &str); 7] = [
    ("face", "person looking at the camera"),
    ("watch", "wrist watch"),
    ("cougar", "cat"),
    ("wild cat", "cat"),
    ("motorbike", "motorcycle"),
    ("cellphone", "cell phone"),
    ("water lilly", "water lily"),
];

/// The label as a phrase: with its article if it is singular. A part in Caltech-101 ("cougar face")
/// stands for the whole.
pub(crate) fn label_phrase(label: &str) -> String {
    let label = label.replace('_', " ");
    let mut name = label.as_str();
    for part in [" side", " face", " head", " body"] {
        name = name.strip_suffix(part).unwrap_or(name);
    }
    name = EVERYDAY.iter().find(|(theirs, _)| *theirs == name).map_or(name, |(_, ours)| ours);
    match name {
        "scissors" => name.into(),
        "airplanes" | "motorbikes" | "faces" | "leopards" => label_phrase(&name[..name.len() - 1]),
        _ if is_plural(name) => name.into(),
        _ if name.starts_with(['a', 'e', 'i', 'o', 'u'])
            && !(name.starts_with("eu") || name.starts_with("ew")) =>
        {
            format!("an {name}")
        }
        _ => format!("a {name}"),
    }
}

/// Whether the last word of a label is several things: "carrots", and not "bus", "iris" or "dress".
fn is_plural(name: &str) -> bool {
    name.ends_with('s') && !["ss", "us", "is"].iter().any(|ending| name.ends_with(ending))
}

/// Words of a template that do not name its thing or action.
const SMALL: [&str; 12] =
    ["a", "an", "the", "of", "on", "in", "with", "for", "to", "person", "photo", "through"];

/// The words of a label's `template` that name its thing or action, in the singular.
pub fn label_words(template: &str) -> Vec<String> {
    let words = words(template).into_iter().filter(|word| is_label_word(word));
    words.map(|word| singular(&word).to_owned()).collect()
}

pub(crate) fn is_label_word(word: &str) -> bool {
    !SMALL.contains(&word)
}

/// The share of the words of a label ([`label_words`]) that are among the `words` of a caption.
pub fn share_named(subject: &[String], words: &[String]) -> f32 {
    let is_said = |&wanted: &&String| words.iter().any(|word| singular(word) == wanted);
    subject.iter().filter(is_said).count() as f32 / subject.len().max(1) as f32
}

/// Whether a label's `template` names an action.
pub(crate) fn is_of_person(template: &str) -> bool {
    words(template).iter().any(|word| word == "person")
}

/// A word without its plural ending.
pub(crate) fn singular(word: &str) -> &str {
    match word.strip_suffix('s') {
        Some(stem) if stem.len() > 2 && !stem.ends_with('s') => stem,
        _ => word,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn things_have_their_articles() {
        for (label, expected) in [
            ("pizza", "a pizza"),
            ("electric_guitar", "an electric guitar"),
            ("euphonium", "a euphonium"),
            ("airplanes", "an airplane"),
            ("cougar_face", "a cat"),
            ("motorbikes", "a motorcycle"),
            ("car_side", "a car"),
            ("scissors", "scissors"),
            ("bell peppers", "bell peppers"),
            ("school bus", "a school bus"),
            ("compass", "a compass"),
            ("faces", "a person looking at the camera"),
        ] {
            assert_eq!(label_phrase(label), expected);
        }
    }

    #[test]
    fn share_named_counts_the_label_words_in_a_caption() {
        let named = |template, caption| share_named(&label_words(template), &words(caption));
        assert_eq!(named("an electric guitar", "two electric guitars on a wall"), 1.0);
        assert_eq!(named("an electric guitar", "a man with a guitar"), 0.5);
        assert_eq!(named("a person riding a horse", "a man rides a cow"), 0.0);
        assert_eq!(named("a person", "a person"), 0.0, "nothing to name");
    }
}
