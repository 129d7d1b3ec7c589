//! Captions as text: their normal form, the hints and names that training puts into them.

pub(crate) mod ethnicity;
pub mod hints;
pub mod names;
pub mod normalize;
