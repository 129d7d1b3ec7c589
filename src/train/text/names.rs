//! Puts made-up names into captions, so that the decoder learns to copy words it never saw with a
//! photo.

use crate::random::Random;

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
const SYLLABLES: [&str; 24] = [
    "ba", "ko", "ri", "mel", "tas", "vin", "zu", "lo", "den", "shi", "mar", "pe", "qua", "fi",
    "nor", "gal", "wu", "ter", "jas", "ny", "ol", "bra", "ske", "dro",
];
const NOUNS: [&str; 16] = [
    "dog", "man", "woman", "boy", "girl", "child", "person", "puppy", "cat", "lady", "guy", "kid",
    "baby", "toddler", "horse", "bird",
];

/// A caption with a name in it.
pub struct Introduced<'a> {
    /// The caption.
    pub caption: String,
    /// The name.
    pub name: String,
    /// What is called so: a dog, a man, ..
    pub noun: &'a str,
}

/// `caption` with its first "a .. dog" (or man, girl, ..) replaced by a name; without one,
/// unchanged.
pub fn personalize(caption: &str, random: &mut Random) -> String {
    introduce(caption, random).map_or_else(|| caption.to_owned(), |introduced| introduced.caption)
}

/// `caption` with its first "a .. dog" (or man, girl, ..) replaced by a name; `None` without one.
pub fn introduce<'a>(caption: &'a str, random: &mut Random) -> Option<Introduced<'a>> {
    let words: Vec<&str> = caption.split_whitespace().collect();
    let noun = words.iter().position(|word| NOUNS.contains(&word.trim_end_matches(',')))?;
    let article =
        words[..noun].iter().rposition(|word| matches!(*word, "a" | "the" | "an" | "one"));
    let start = article.filter(|&start| noun - start <= 4).unwrap_or(noun);
    let name = if random.uniform() < 0.5 {
        NAMES[random.below(NAMES.len())].to_owned()
    } else {
        invented(random)
    };
    let caption = [&words[..start], &[name.as_str()], &words[noun + 1..]].concat().join(" ");
    Some(Introduced { caption, name, noun: words[noun].trim_end_matches(',') })
}

fn invented(random: &mut Random) -> String {
    let count = 2 + random.below(2);
    let name: String = (0..count).map(|_| SYLLABLES[random.below(SYLLABLES.len())]).collect();
    let (first, rest) = name.split_at(1);
    first.to_uppercase() + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_takes_the_place_of_the_noun_phrase() {
        let text = personalize("a small brown dog runs through the snow", &mut Random::new(1));
        assert!(text.ends_with(" runs through the snow") && !text.contains("dog"), "{text}");
        assert!(text.starts_with(char::is_uppercase), "{text}");
    }

    #[test]
    fn a_caption_without_a_nameable_noun_is_kept() {
        assert_eq!(personalize("snow on the hills", &mut Random::new(1)), "snow on the hills");
    }
}
