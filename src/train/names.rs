//! Puts made-up names into captions, so that the decoder learns to copy words it never saw with a photo.

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

/// `caption` with its first "a .. dog" (or man, girl, ..) replaced by a name; without one, unchanged.
pub fn personalize(caption: &str, random: &mut Random) -> String {
    let words: Vec<&str> = caption.split_whitespace().collect();
    let noun = words.iter().position(|word| NOUNS.contains(&word.trim_end_matches(',')));
    let Some(noun) = noun else { return caption.to_owned() };
    let article =
        words[..noun].iter().rposition(|word| matches!(*word, "a" | "the" | "an" | "one"));
    let start = article.filter(|&start| noun - start <= 4).unwrap_or(noun);
    let name = if random.uniform() < 0.5 {
        NAMES[random.below(NAMES.len())].to_owned()
    } else {
        invented(random)
    };
    let (before, after) = (&words[..start], &words[noun + 1..]);
    before
        .iter()
        .copied()
        .chain([name.as_str()])
        .chain(after.iter().copied())
        .collect::<Vec<_>>()
        .join(" ")
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
