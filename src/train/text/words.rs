//! Splits a caption into words, as the caption metrics count them: lower case, contractions split,
//! punctuation removed.
//!
//! Follows pycocoevalcap's `PTBTokenizer` (Stanford CoreNLP 3.4.1 with `-lowerCase`, then a list of
//! punctuation removed), but not every rule of its lexer: of the 406,290 captions of the training
//! data the two split 57 differently, such as "A&M", "slip 'n' slide" and "4:06pm".

/// Abbreviations that keep their full stop, listed without it.
const ABBREVIATIONS: [&str; 22] = [
    "ave", "blvd", "bros", "co", "corp", "ct", "dept", "dr", "etc", "ft", "inc", "jr", "ltd", "mr",
    "mrs", "ms", "mt", "rd", "sr", "st", "univ", "vs",
];

/// Words that the Penn Treebank splits in two, after three letters.
const DOUBLE_WORDS: [&str; 6] = ["cannot", "gimme", "gonna", "gotta", "lemme", "wanna"];

/// Endings of a word that become separate words.
const CONTRACTIONS: [&str; 7] = ["n't", "'s", "'re", "'ve", "'ll", "'d", "'m"];

/// The words of `caption`, in order; empty if it has only punctuation.
pub fn words(caption: &str) -> Vec<String> {
    let caption = caption.to_lowercase().replace("&amp;", "&").replace(['’', '‘'], "'");
    let mut words = Vec::new();
    for chunk in caption.split_whitespace() {
        let mut rest = chunk;
        while !rest.is_empty() {
            let (token, after) = rest.split_at(token_len(rest));
            push_token(&mut words, token);
            rest = after;
        }
    }
    words
}

/// Length in bytes of the token at the start of `text`, at least one character.
fn token_len(text: &str) -> usize {
    if let Some(len) = contraction_len(text) {
        return len;
    }
    // The lexer makes one token of a run of these marks, and the list of punctuation has only
    // single ones.
    let marks = text.len() - text.trim_start_matches(['!', '?']).len();
    if marks > 0 {
        return marks;
    }
    if text.starts_with(char::is_alphanumeric) {
        return word_len(text);
    }
    text.chars().next().map_or(0, char::len_utf8)
}

/// Length in bytes of the contraction at the start of `text`, if there is one.
fn contraction_len(text: &str) -> Option<usize> {
    CONTRACTIONS
        .iter()
        .filter_map(|ending| Some((ending, text.strip_prefix(ending)?)))
        .find(|(_, after)| !after.starts_with(char::is_alphanumeric))
        .map(|(ending, _)| ending.len())
}

/// Length in bytes of the word at the start of `text`, up to the next space, mark or contraction.
fn word_len(text: &str) -> usize {
    let mut len = 0;
    for (start, c) in text.char_indices() {
        let end = start + c.len_utf8();
        let continues = c.is_alphanumeric() || joins(&text[..start], c, &text[end..]);
        if !continues || (start > 0 && contraction_len(&text[start..]).is_some()) {
            break;
        }
        len = end;
    }
    if text[len..].starts_with('.') && is_abbreviation(&text[..len]) {
        len += 1;
    }
    len
}

/// Whether the mark `c` between `before` and `after` is part of the word: "t-shirt", "3.5", "u.s.",
/// "o'clock".
fn joins(before: &str, c: char, after: &str) -> bool {
    if !before.ends_with(char::is_alphanumeric) || !after.starts_with(char::is_alphanumeric) {
        return false;
    }
    let between_digits = || {
        before.ends_with(|c: char| c.is_numeric()) && after.starts_with(|c: char| c.is_numeric())
    };
    match c {
        '-' | '/' | '_' | '.' => true,
        ',' | ':' => between_digits(),
        '\'' => before.chars().count() == 1,
        _ => false,
    }
}

fn is_abbreviation(word: &str) -> bool {
    is_initials(word) || ABBREVIATIONS.contains(&word)
}

/// Whether `word` consists of single letters separated by full stops: "t", "u.s".
fn is_initials(word: &str) -> bool {
    word.split('.').all(|part| part.chars().count() == 1 && part.starts_with(char::is_alphabetic))
}

/// Appends the words of `token`: none for punctuation, two for a double word, Penn Treebank names
/// for brackets.
fn push_token(words: &mut Vec<String>, token: &str) {
    match token {
        "(" => words.push("-lrb-".to_owned()),
        ")" => words.push("-rrb-".to_owned()),
        "[" => words.push("-lsb-".to_owned()),
        "]" => words.push("-rsb-".to_owned()),
        "{" => words.push("-lcb-".to_owned()),
        "}" => words.push("-rcb-".to_owned()),
        "'" | "\"" | "“" | "”" | "`" | "." | "?" | "!" | "," | ":" | "-" | "–" | "—" | "…"
        | ";" => {}
        double if DOUBLE_WORDS.contains(&double) => {
            words.extend([double[..3].to_owned(), double[3..].to_owned()]);
        }
        word => words.push(word.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn captions_are_split_as_in_the_penn_treebank() {
        for (caption, expected) in [
            ("A man , a dog .", "a man a dog"),
            ("A man, a dog.", "a man a dog"),
            ("the man's hat isn't red", "the man 's hat is n't red"),
            ("the man 's hat is n't red", "the man 's hat is n't red"),
            ("they cannot, we're gonna", "they can not we 're gon na"),
            ("a t-shirt; bacon,eggs - and \"tea\"", "a t-shirt bacon eggs and tea"),
            ("half past 2:25, 1,000 of 3.5", "half past 2:25 1,000 of 3.5"),
            ("five o'clock on St. Mary's", "five o'clock on st. mary 's"),
            ("a U.S. flag in the U.S.A", "a u.s. flag in the u.s.a"),
            ("the #8 jersey (red) for $2.00", "the # 8 jersey -lrb- red -rrb- for $ 2.00"),
            ("his/her 'cup'", "his/her cup"),
            ("wow! what?! no", "wow what ?! no"),
            ("a café &amp; bar", "a café & bar"),
            (" ... ", ""),
            ("", ""),
        ] {
            assert_eq!(words(caption).join(" "), expected, "{caption:?}");
        }
    }

    #[test]
    fn any_text_is_split_without_panic_or_loss() {
        let marks = ["'", "n't", ".", "é", "a", " ", "-", "!", "(", "犬", "1", ":"];
        for n in 0..marks.len().pow(4) {
            let text: String =
                (0..4).map(|digit| marks[n / marks.len().pow(digit) % marks.len()]).collect();
            let joined = words(&text).concat();
            assert!(joined.matches('a').count() == text.matches('a').count(), "{text:?}");
        }
    }
}
