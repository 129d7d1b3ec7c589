//! Takes out of training captions where somebody guessed people to come from: a photo does not show it, and what
//! is not learned is not said.

use crate::train::text::people::PEOPLE;

/// Words that say where people come from, or what they look like for it.
const ORIGINS: [&str; 25] = [
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
/// Whom they are said of, beside those of [`PEOPLE`].
const OTHERS: [&str; 27] = [
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
/// How far behind the words of origin they may stand: "asian man", "asian elderly woman".
const REACH: usize = 2;

/// `text`, a normalised caption, without words of origin in front of people.
pub(crate) fn without_origin(text: &str) -> String {
    let words: Vec<&str> = text.split(' ').collect();
    let mut kept: Vec<String> = Vec::with_capacity(words.len());
    let mut is_behind_origin = false;
    for (place, &word) in words.iter().enumerate() {
        if is_origin(&words[place..]) {
            is_behind_origin = true;
            continue;
        }
        if is_behind_origin {
            if let Some(article) = kept.last_mut().filter(|w| matches!(w.as_str(), "a" | "an")) {
                *article = article_of(word).into();
            }
        }
        is_behind_origin = false;
        kept.push(word.to_owned());
    }
    kept.join(" ")
}

/// Whether `words` start with one that says where the people behind it come from.
fn is_origin(words: &[&str]) -> bool {
    let is_colour_of_skin = matches!(words, ["dark" | "light" | "black" | "white", "skinned", ..]);
    if !is_colour_of_skin && !ORIGINS.contains(&words[0]) {
        return false;
    }
    let behind = words[1..].iter().filter(|word| !ORIGINS.contains(word)).take(REACH);
    behind.map(|word| word.trim_end_matches(',')).any(is_person)
}

fn is_person(word: &str) -> bool {
    OTHERS.contains(&word) || PEOPLE.iter().any(|(name, _)| *name == word)
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
    fn where_people_come_from_is_left_out() {
        for (text, expected) in [
            ("an asian man and two asian women", "a man and two women"),
            ("a young african american little girl", "a young little girl"),
            ("a african-american elderly man", "an elderly man"),
            ("an asian, a dog", "an asian, a dog"),
            ("a dark skinned boy, running", "a boy, running"),
            ("the hispanic people", "the people"),
        ] {
            assert_eq!(without_origin(text), expected);
        }
    }

    #[test]
    fn things_come_from_where_they_come_from() {
        for text in [
            "a plate of asian food",
            "an american football player",
            "a man in a chinese restaurant",
            "an american flag behind a tall tree and a man",
            "a dark dog",
        ] {
            assert_eq!(without_origin(text), text);
        }
    }
}
