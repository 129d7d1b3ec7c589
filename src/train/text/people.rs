//! The words for people, and what a person is called of whom nothing is known.

/// Whom a sentence about people is about, and who that is if it is not known whether a man or a woman.
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

/// `text` about people of whom nothing is known.
pub(crate) fn neutral(text: &str) -> String {
    let known = |word: &str| PEOPLE.iter().find(|(name, _)| *name == word).map(|(_, plain)| *plain);
    let words = text.split(' ').map(|word| {
        let name = word.trim_end_matches(',');
        known(name).map_or_else(|| word.to_owned(), |plain| word.replacen(name, plain, 1))
    });
    words.collect::<Vec<_>>().join(" ")
}
