//! Words for people, and the neutral word for each.

/// Words for people, each with the word to use when the gender is unknown.
pub(crate) const PEOPLE: [(&str, &str); 20] = [
    ("man", "person"),
    ("woman", "person"),
    ("boy", "child"),
    ("girl", "child"),
    ("guy", "person"),
    ("lady", "person"),
    ("male", "person"),
    ("female", "person"),
    ("person", "person"),
    ("child", "child"),
    ("men", "people"),
    ("women", "people"),
    ("boys", "children"),
    ("girls", "children"),
    ("guys", "people"),
    ("ladies", "people"),
    ("people", "people"),
    ("children", "children"),
    ("his", "their"),
    ("her", "their"),
];

/// `text` with neutral words for people.
pub(crate) fn neutral(text: &str) -> String {
    let known = |word: &str| PEOPLE.iter().find(|(name, _)| *name == word).map(|(_, plain)| *plain);
    let words = text.split(' ').map(|word| {
        let name = word.trim_end_matches(',');
        known(name).map_or_else(|| word.to_owned(), |plain| word.replacen(name, plain, 1))
    });
    words.collect::<Vec<_>>().join(" ")
}
