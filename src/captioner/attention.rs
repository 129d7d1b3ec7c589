//! Attention maps: where the model looked for each word of a caption.

use serde::Serialize;

use super::{Captioner, Generation};
use crate::decoder::DecoderState;
use crate::error::Error;
use crate::model::FusedPhoto;

/// The decoder's attention to the cells of a photo, word by word.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Attention {
    /// Cells in a row of the photo.
    pub width: usize,
    /// Rows of cells.
    pub height: usize,
    /// The words of the caption, in order.
    pub words: Vec<AttendedWord>,
}

/// A word and where the model looked for it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AttendedWord {
    /// Where the word starts in the text, in UTF-16 code units, which JavaScript counts in.
    pub start: usize,
    /// End of the word, exclusive, in the same units.
    pub end: usize,
    /// Attention given to each cell, row by row; the shares sum to 1.
    pub map: Vec<f32>,
}

/// State that a generation keeps to compute its attention maps.
pub(super) struct Observer {
    pub(super) photo: FusedPhoto,
    /// The decoder's state after the prefix.
    pub(super) state: DecoderState,
    pub(super) start_token: u32,
}

impl Captioner {
    /// Runs the finished text once more and records its attention, if the options asked for it.
    pub(super) fn attention(
        &self,
        generation: &mut Generation,
        text: &str,
    ) -> Result<Option<Attention>, Error> {
        let Some(observer) = &mut generation.observer else { return Ok(None) };
        let tokens = &generation.search.best().tokens;
        // A token is chosen when the one before it is read, so the inputs are shifted by one.
        let inputs: Vec<u32> =
            std::iter::once(observer.start_token).chain(tokens.iter().copied()).collect();
        let inputs = &inputs[..tokens.len()];
        let maps = self.model.attention(&observer.photo, &mut observer.state, inputs)?;
        let mut words = words(text);
        for (index, map) in maps.iter().enumerate() {
            let prefix = self.decoded(&tokens[..=index])?;
            let word = prefix.split_whitespace().count().saturating_sub(1);
            // A correction may be spaced differently from its decoded tokens: the last word takes
            // the rest.
            let word = word.min(words.len().saturating_sub(1));
            if let Some(word) = words.get_mut(word) {
                add(&mut word.map, map);
            }
        }
        words.iter_mut().for_each(|word| normalize(&mut word.map));
        words.retain(|word| !word.map.is_empty());
        let side = self.config.stem.output_grid();
        Ok(Some(Attention { width: side, height: side, words }))
    }
}

/// The words of a text, without their maps.
fn words(text: &str) -> Vec<AttendedWord> {
    let length = |text: &str| text.encode_utf16().count();
    let mut words = Vec::new();
    for word in text.split_whitespace() {
        // A word is a slice of the text, so its address gives its byte offset.
        let before = &text[..word.as_ptr().addr() - text.as_ptr().addr()];
        let start = length(before);
        words.push(AttendedWord { start, end: start + length(word), map: Vec::new() });
    }
    words
}

fn add(sums: &mut Vec<f32>, values: &[f32]) {
    sums.resize(values.len(), 0.0);
    sums.iter_mut().zip(values).for_each(|(sum, value)| *sum += value);
}

fn normalize(map: &mut [f32]) {
    let sum = map.iter().sum::<f32>().max(f32::MIN_POSITIVE);
    map.iter_mut().for_each(|share| *share /= sum);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_located_in_utf16_code_units() {
        let words = words("A 🐕 \u{e9}t\u{e9}");
        let ranges: Vec<_> = words.iter().map(|word| (word.start, word.end)).collect();
        assert_eq!(ranges, [(0, 1), (2, 4), (5, 8)]);
    }
}
