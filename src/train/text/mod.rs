//! Caption text: words, normalization, tokens, label words, and the hints and names used in
//! training.

pub mod encode;
pub(crate) mod ethnicity;
pub mod hints;
pub mod label_words;
pub mod names;
pub mod normalize;
pub mod people;
pub(crate) mod stop_words;
pub mod words;
