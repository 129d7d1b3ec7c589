//! Where the model looked while it wrote a caption.

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
    /// The caption's words in their order.
    pub words: Vec<AttendedWord>,
}

/// A word and where the model looked for it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AttendedWord {
    /// Where the word starts in the text, in UTF-16 code units, which JavaScript counts in.
    pub start: usize,
    /// Where it ends.
    pub end: usize,
    /// Share of each cell, row by row; they sum to 1.
    pub map: Vec<f32>,
}

/// What it takes to look again.
pub(super) struct Observer {
    pub(super) photo: FusedPhoto,
    /// The decoder as it was behind the prefix.
    pub(super) state: DecoderState,
    pub(super) start_token: u32,
}

impl Captioner {
    /// Runs the finished text once more and watches, if that was asked for.
    pub(super) fn attention(
        &self,
        generation: &mut Generation,
        text: &str,
    ) -> Result<Option<Attention>, Error> {
        let Some(observer) = &mut generation.observer else { return Ok(None) };
        let tokens = &generation.search.best().tokens;
        // A map shows what led to a token, so each is that of the token before.
        let read: Vec<u32> =
            std::iter::once(observer.start_token).chain(tokens.iter().copied()).collect();
        let read = &read[..tokens.len()];
        let maps = self.model.attention(&observer.photo, &mut observer.state, read)?;
        let mut words = words(text);
        for (place, map) in maps.iter().enumerate() {
            let so_far = self.decoded(&tokens[..=place])?;
            let word = so_far.split_whitespace().count().saturating_sub(1);
            // The user's own words may be spaced otherwise than their tokens: the last word takes
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
        // A word is a part of the text: the bytes before it are those up to where it lies.
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
    fn words_lie_where_javascript_finds_them() {
        let found: Vec<_> = words("A 🐕 \u{e9}t\u{e9}").iter().map(|w| (w.start, w.end)).collect();
        assert_eq!(found, [(0, 1), (2, 4), (5, 8)]);
    }
}
