//! Inserts names into captions, so that the decoder learns to copy words from its prompt that it
//! never saw with a photo.

use crate::random::Random;

/// Real names, inserted half of the time; the others are invented.
const NAMES: [&str; 40] = [
    "Rex",
    "Mia",
    "Bella",
    "Max",
    "Luna",
    "Anna",
    "Tom",
    "Oma",
    "Uncle Joe",
    "Grandpa",
    "Lena",
    "Buddy",
    "Charlie",
    "Emil",
    "Sofia",
    "Noah",
    "Rosie",
    "Milo",
    "Zoe",
    "Hannah",
    "Ali",
    "Yuki",
    "Priya",
    "Diego",
    "Fatima",
    "Ivan",
    "Chen",
    "Kofi",
    "Ingrid",
    "Pablo",
    "Nala",
    "Simba",
    "Aunt May",
    "Dad",
    "Mum",
    "Leo",
    "Oscar",
    "Ruby",
    "Theo",
    "Finn",
];
/// Syllables of invented names.
const SYLLABLES: [&str; 24] = [
    "ba", "ko", "ri", "mel", "tas", "vin", "zu", "lo", "den", "shi", "mar", "pe", "qua", "fi",
    "nor", "gal", "wu", "ter", "jas", "ny", "ol", "bra", "ske", "dro",
];
/// Nouns that a name can replace: people and pets.
const NOUNS: [&str; 16] = [
    "dog", "man", "woman", "boy", "girl", "child", "person", "puppy", "cat", "lady", "guy", "kid",
    "baby", "toddler", "horse", "bird",
];

/// A caption with a name inserted.
pub struct NamedCaption<'a> {
    /// The caption.
    pub caption: String,
    /// The name.
    pub name: String,
    /// The noun that the name replaces: "dog", "man".
    pub noun: &'a str,
}

/// `caption` with the noun phrase of its first dog, man, girl, etc. replaced by a name; unchanged
/// if it has none.
pub fn personalize(caption: &str, random: &mut Random) -> String {
    insert_name(caption, random).map_or_else(|| caption.to_owned(), |named| named.caption)
}

/// Replaces the first dog, man, girl, etc. of `caption` by a name, together with its article, if
/// that is at most four words before it, and the words between. `None` if the caption has none.
pub fn insert_name<'a>(caption: &'a str, random: &mut Random) -> Option<NamedCaption<'a>> {
    let words: Vec<&str> = caption.split_whitespace().collect();
    let noun = words.iter().position(|word| NOUNS.contains(&word.trim_end_matches(',')))?;
    let article =
        words[..noun].iter().rposition(|word| matches!(*word, "a" | "the" | "an" | "one"));
    let start = article.filter(|&start| noun - start <= 4).unwrap_or(noun);
    let name = if random.uniform() < 0.5 {
        NAMES[random.below(NAMES.len())].to_owned()
    } else {
        invented_name(random)
    };
    let caption = [&words[..start], &[name.as_str()], &words[noun + 1..]].concat().join(" ");
    Some(NamedCaption { caption, name, noun: words[noun].trim_end_matches(',') })
}

/// A name of two or three random syllables.
fn invented_name(random: &mut Random) -> String {
    let count = 2 + random.below(2);
    let name: String = (0..count).map(|_| SYLLABLES[random.below(SYLLABLES.len())]).collect();
    let (first, rest) = name.split_at(1);
    first.to_uppercase() + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_replaces_the_noun_phrase() {
        let text = personalize("a small brown dog runs through the snow", &mut Random::new(1));
        assert!(text.ends_with(" runs through the snow") && !text.contains("dog"), "{text}");
        assert!(text.starts_with(char::is_uppercase), "{text}");
    }

    #[test]
    fn a_caption_without_person_or_pet_stays() {
        assert_eq!(personalize("snow on the hills", &mut Random::new(1)), "snow on the hills");
    }
}
