//! The words of labels: a label as an everyday phrase, and the words that a caption must contain to
//! name it.

use crate::train::text::stop_words::LABEL_STOP_WORDS;
use crate::train::text::words::words;

/// Everyday names for labels of Caltech-101. Its cougars and wild cats are its only cats: a model
/// that learns "cougar" calls every cat one, and no photo would get sentences about cats. People do
/// not write about "a face", and "watches" is mostly a verb.
const EVERYDAY: [(&str, &str); 7] = [
    ("face", "person looking at the camera"),
    ("watch", "wrist watch"),
    ("cougar", "cat"),
    ("wild cat", "cat"),
    ("motorbike", "motorcycle"),
    ("cellphone", "cell phone"),
    ("water lilly", "water lily"),
];

/// The label as a phrase, with an article if it is singular. A label of Caltech-101 for a part
/// ("cougar face") becomes that of the whole.
pub(crate) fn label_phrase(label: &str) -> String {
    let label = label.replace('_', " ");
    let mut name = label.as_str();
    for part in [" side", " face", " head", " body"] {
        name = name.strip_suffix(part).unwrap_or(name);
    }
    name = EVERYDAY.iter().find(|(label, _)| *label == name).map_or(name, |(_, everyday)| everyday);
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

/// Whether the last word of a label is a plural: "carrots", but not "bus", "iris" or "dress".
fn is_plural(name: &str) -> bool {
    name.ends_with('s') && !["ss", "us", "is"].iter().any(|ending| name.ends_with(ending))
}

/// The words of a label's `template` that name its thing or action, in the singular.
pub fn label_words(template: &str) -> Vec<String> {
    let words = words(template).into_iter().filter(|word| is_label_word(word));
    words.map(|word| singular(&word).to_owned()).collect()
}

/// Whether `word` of a template names its thing or action.
pub(crate) fn is_label_word(word: &str) -> bool {
    !LABEL_STOP_WORDS.contains(&word)
}

/// The share of the words of a label ([`label_words`]) that are among the `words` of a caption,
/// plurals aside, 0 to 1; 0 for a label without words.
pub fn share_named(label: &[String], words: &[String]) -> f32 {
    let is_named = |&label_word: &&String| words.iter().any(|word| singular(word) == label_word);
    label.iter().filter(is_named).count() as f32 / label.len().max(1) as f32
}

/// Whether a label's `template` names a person's action ("a person riding a horse").
pub(crate) fn names_action(template: &str) -> bool {
    words(template).iter().any(|word| word == "person")
}

/// `word` without its plural "s".
pub(crate) fn singular(word: &str) -> &str {
    match word.strip_suffix('s') {
        Some(singular) if singular.len() > 2 && !singular.ends_with('s') => singular,
        _ => word,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phrases_have_everyday_names_and_articles() {
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
