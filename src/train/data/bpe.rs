//! Trains the byte-level BPE [tokenizer](crate::tokenizer).

use std::path::Path;

use tokenizers::models::bpe::{BpeTrainerBuilder, BPE};
use tokenizers::models::TrainerWrapper;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::{AddedToken, Tokenizer};

use crate::tokenizer::CONTROL_TOKENS;
use crate::train::data::archive::{load_caption_text, load_index, DataError, CAPTION_TEXTS};
use crate::train::data::photo_set::{PhotoSet, Split};
use crate::train::text::normalize::normalize_caption;

/// How often each caption of a training photo is repeated, because the tokenizer should fit the
/// captions that the model generates.
const PHOTO_CAPTION_WEIGHT: usize = 6;

/// One text in this many also keeps its original case, so that capitals get tokens too.
const CASED_EVERY: usize = 20;

/// Vocabulary size of the shipped model; a multiple of 4, like every output dimension.
pub const VOCAB_SIZE: usize = 4096;

/// The training texts of the shipped tokenizer, from the data folder `dir`: human captions, with
/// those of training photos repeated. No caption of a dev photo is among them.
pub fn training_texts(dir: &Path) -> Result<Vec<String>, DataError> {
    let mut captions = Vec::new();
    for set in ["flickr8k", "coco_mini_train"].map(PhotoSet::named) {
        let photos = load_index(dir, set)?;
        let train = photos.into_iter().filter(|photo| photo.split == Split::Train);
        captions.extend(train.flat_map(|photo| photo.captions));
    }
    let photo_captions: Vec<String> = captions.iter().map(|text| normalize_caption(text)).collect();
    let num_photo_captions = captions.len();
    for file in CAPTION_TEXTS {
        captions.extend(load_caption_text(dir, file)?);
    }
    let mut texts = Vec::new();
    for _ in 0..PHOTO_CAPTION_WEIGHT {
        texts.extend_from_slice(&photo_captions);
    }
    texts.extend(captions[num_photo_captions..].iter().map(|text| normalize_caption(text)));
    texts.extend(captions.into_iter().step_by(CASED_EVERY));
    Ok(texts)
}

/// Trains a tokenizer of at most `vocab_size` tokens on `texts`; a repeated text counts each time.
/// The vocabulary is smaller if the texts have too few pairs to merge. The result is deterministic.
///
/// # Panics
/// When `vocab_size` leaves no room for the special tokens and the 256 bytes.
pub fn train_tokenizer<I, S>(texts: I, vocab_size: usize) -> tokenizers::Result<Tokenizer>
where
    I: Iterator<Item = S> + Send,
    S: AsRef<str> + Send,
{
    let smallest = CONTROL_TOKENS.len() + 256;
    assert!(vocab_size >= smallest, "a vocabulary of {vocab_size} is below {smallest}");
    let trainer = BpeTrainerBuilder::new()
        .vocab_size(vocab_size)
        .show_progress(false)
        .initial_alphabet(ByteLevel::alphabet().into_iter().collect())
        .special_tokens(CONTROL_TOKENS.map(|token| AddedToken::from(token, true)).into())
        .build();
    let byte_level = ByteLevel::new(true, true, true);
    let mut tokenizer = Tokenizer::new(BPE::default());
    tokenizer.with_pre_tokenizer(Some(byte_level)).with_decoder(Some(byte_level));
    tokenizer.train(&mut TrainerWrapper::from(trainer), texts)?;
    tokenizer.set_encode_special_tokens(true);
    Ok(tokenizer)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on should panic")]
mod tests {
    use super::*;
    use crate::generate::Length;
    use crate::tokenizer::{self, read_tokenizer};

    const TEXTS: [&str; 4] = [
        "a dog runs on the beach",
        "a man, a dog and a child",
        "the man's hat, the child's dog",
        "A dog on the beach",
    ];

    fn trained(vocab_size: usize) -> Tokenizer {
        train_tokenizer(TEXTS.iter(), vocab_size).unwrap()
    }

    fn ids(tokenizer: &Tokenizer, text: &str) -> Vec<u32> {
        tokenizer.encode(text, false).unwrap().get_ids().to_vec()
    }

    fn decoded(tokenizer: &Tokenizer, text: &str) -> String {
        tokenizer.decode(&ids(tokenizer, text), false).unwrap()
    }

    #[test]
    fn special_tokens_have_the_first_ids() {
        let tokenizer = trained(300);
        for (id, token) in (0..).zip(CONTROL_TOKENS) {
            assert_eq!(tokenizer.token_to_id(token), Some(id));
        }
        for (id, token) in [
            (tokenizer::EOS, "<eos>"),
            (Length::Short.start_token(), "<short>"),
            (Length::Medium.start_token(), "<medium>"),
            (Length::Long.start_token(), "<long>"),
            (tokenizer::RECALLED, "<recalled>"),
            (tokenizer::CORRECTED, "<corrected>"),
            (tokenizer::HINT, "<hint>"),
        ] {
            assert_eq!(tokenizer.id_to_token(id).as_deref(), Some(token));
        }
    }

    #[test]
    fn vocabulary_never_exceeds_its_size() {
        assert_eq!(trained(272).get_vocab_size(true), 272);
        assert_eq!(trained(290).get_vocab_size(true), 290);
        assert!(trained(4096).get_vocab_size(true) < 400, "four texts have few pairs");
    }

    #[test]
    fn word_has_one_token_at_the_start_and_inside() {
        let tokenizer = trained(4096);
        let inside = ids(&tokenizer, "a dog");
        assert_eq!(ids(&tokenizer, "dog"), inside[1..]);
        assert_eq!(inside.len(), 2);
    }

    #[test]
    fn decoding_gives_the_text_back_behind_one_space() {
        let tokenizer = trained(4096);
        for text in [
            "a dog runs on the beach",
            "Rex, 9 years!  two  spaces ",
            "<eos> is text, <short> too",
            "naïve café ☕ 犬 🐕‍🦺",
            "tab\tnew line\r\n\u{0}\u{a0}end",
            "isn't a man's 's",
        ] {
            assert_eq!(decoded(&tokenizer, text), format!(" {text}"));
        }
        assert_eq!(decoded(&tokenizer, " already spaced"), " already spaced");
    }

    #[test]
    fn every_character_survives() {
        let tokenizer = trained(300);
        // One from each block of 97 scalar values: every length in UTF-8, every class of the
        // splitter.
        let text: String = (1..0x11_0000).step_by(97).filter_map(char::from_u32).collect();
        assert_eq!(decoded(&tokenizer, &text), format!(" {text}"));
    }

    #[test]
    fn user_text_never_becomes_a_special_token() {
        let tokenizer = trained(4096);
        for token in CONTROL_TOKENS {
            assert!(
                ids(&tokenizer, token).iter().all(|&id| id >= tokenizer::FIRST_TEXT_TOKEN),
                "{token}"
            );
        }
    }

    #[test]
    fn file_is_the_same_each_time_and_reads_back() {
        let json = trained(320).to_string(false).unwrap();
        assert_eq!(json, trained(320).to_string(false).unwrap());
        let read = read_tokenizer(json.as_bytes()).unwrap();
        for text in TEXTS.into_iter().chain(["<eos>", " <pad> "]) {
            assert_eq!(ids(&read, text), ids(&trained(320), text));
        }
    }

    #[test]
    fn file_with_other_special_tokens_is_refused() {
        let json = trained(300).to_string(false).unwrap();
        assert!(read_tokenizer(json.replace("<hint>", "<tip>").as_bytes()).is_err());
        assert!(read_tokenizer(&json.as_bytes()[..json.len() / 2]).is_err());
        assert!(read_tokenizer(b"").is_err());
    }
}
