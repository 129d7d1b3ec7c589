//! Words for people and their gender-neutral forms.

/// Words for people, each with its gender-neutral form.
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

/// The normalized `text` with gender-neutral words for people.
pub(crate) fn neutral(text: &str) -> String {
    let neutral_form =
        |word: &str| PEOPLE.iter().find(|(person, _)| *person == word).map(|(_, form)| *form);
    let words = text.split(' ').map(|word| {
        let person = word.trim_end_matches(',');
        neutral_form(person).map_or_else(|| word.to_owned(), |form| word.replacen(person, form, 1))
    });
    words.collect::<Vec<_>>().join(" ")
}
