//! Captions as text: their normal form, the hints and names that training puts into them.

pub mod encode;
pub(crate) mod ethnicity;
pub mod hints;
pub mod label_words;
pub mod names;
pub mod normalize;
pub mod people;
