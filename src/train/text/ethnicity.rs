//! Removes guesses about people's ethnicity from training captions: a photo does not show it, and
//! a model that never sees such words does not generate them.

use crate::train::text::people::PEOPLE;

/// Words for ethnicity or skin color.
const ETHNICITIES: [&str; 25] = [
    "african",
    "african-american",
    "american",
    "arab",
    "arabic",
    "asian",
    "caucasian",
    "chinese",
    "dark-skinned",
    "ethnic",
    "european",
    "hispanic",
    "indian",
    "japanese",
    "korean",
    "latin",
    "latina",
    "latino",
    "light-skinned",
    "mexican",
    "muslim",
    "oriental",
    "russian",
    "skinned",
    "thai",
];
/// Words for people that are not in [`PEOPLE`].
const OTHER_PEOPLE: [&str; 27] = [
    "adult",
    "adults",
    "babies",
    "baby",
    "couple",
    "dancer",
    "dancers",
    "family",
    "females",
    "gentleman",
    "gentlemen",
    "individual",
    "individuals",
    "infant",
    "kid",
    "kids",
    "males",
    "student",
    "students",
    "teen",
    "teenager",
    "teenagers",
    "teens",
    "toddler",
    "worker",
    "workers",
    "youth",
];
/// Maximum distance in words to the person: "asian man", "asian elderly woman".
const MAX_DISTANCE: usize = 2;

/// The normalized caption `text` without words for ethnicity in front of people.
pub(crate) fn without_ethnicity(text: &str) -> String {
    let words: Vec<&str> = text.split(' ').collect();
    let mut kept: Vec<String> = Vec::with_capacity(words.len());
    let mut follows_ethnicity = false;
    for (index, &word) in words.iter().enumerate() {
        if is_ethnicity(&words[index..]) {
            follows_ethnicity = true;
            continue;
        }
        if follows_ethnicity {
            if let Some(article) = kept.last_mut().filter(|w| matches!(w.as_str(), "a" | "an")) {
                *article = article_of(word).into();
            }
        }
        follows_ethnicity = false;
        kept.push(word.to_owned());
    }
    kept.join(" ")
}

/// Whether the first of `words` denotes the ethnicity of a person named after it.
fn is_ethnicity(words: &[&str]) -> bool {
    let is_skin_color = matches!(words, ["dark" | "light" | "black" | "white", "skinned", ..]);
    if !is_skin_color && !ETHNICITIES.contains(&words[0]) {
        return false;
    }
    let following = words[1..].iter().filter(|word| !ETHNICITIES.contains(word)).take(MAX_DISTANCE);
    following.map(|word| word.trim_end_matches(',')).any(is_person)
}

fn is_person(word: &str) -> bool {
    OTHER_PEOPLE.contains(&word) || PEOPLE.iter().any(|(name, _)| *name == word)
}

fn article_of(word: &str) -> &'static str {
    if word.starts_with(['a', 'e', 'i', 'o', 'u']) {
        "an"
    } else {
        "a"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ethnicity_of_people_is_removed() {
        for (text, expected) in [
            ("an asian man and two asian women", "a man and two women"),
            ("a young african american little girl", "a young little girl"),
            ("a african-american elderly man", "an elderly man"),
            ("an asian, a dog", "an asian, a dog"),
            ("a dark skinned boy, running", "a boy, running"),
            ("the hispanic people", "the people"),
        ] {
            assert_eq!(without_ethnicity(text), expected);
        }
    }

    #[test]
    fn words_for_things_stay() {
        for text in [
            "a plate of asian food",
            "an american football player",
            "a man in a chinese restaurant",
            "an american flag behind a tall tree and a man",
            "a dark dog",
        ] {
            assert_eq!(without_ethnicity(text), text);
        }
    }
}
