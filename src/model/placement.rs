//! Attention segments and positions of the decoder's rows when several photos and captions go
//! through it together.

use std::ops::Range;

use super::PlacedText;
use crate::nn::Segment;

/// Collects segments and positions while rows are laid out.
///
/// A recalled caption runs parallel to the caption to be generated: its token i + 1 is always one
/// position ahead of the row that would repeat it, whatever the length of the prefix. A head can
/// find it by position alone.
pub(super) struct Placement {
    /// The rows that each run of rows attends to.
    pub(super) segments: Vec<Segment>,
    /// Rotary position of each row.
    pub(super) positions: Vec<u32>,
    /// Photo of each row.
    pub(super) photo_of_row: Vec<u32>,
    /// The prefix of each photo: sinks, fused rows, prompt and patches.
    prefix: Vec<Vec<Range<usize>>>,
    /// Recalled captions of each photo.
    recalled: Vec<Vec<Range<usize>>>,
}

impl Placement {
    /// A layout of `photos` photos whose first `rows` rows are not placed yet.
    pub(super) fn new(photos: usize, rows: usize) -> Self {
        Self {
            segments: Vec::new(),
            positions: vec![0; rows],
            photo_of_row: vec![0; rows],
            prefix: vec![Vec::new(); photos],
            recalled: vec![Vec::new(); photos],
        }
    }

    /// Places prefix rows, which all later rows of the photo see.
    pub(super) fn add_prefix(&mut self, photo: usize, rows: Range<usize>) {
        let keys = self.prefix[photo].clone();
        self.add(photo, rows.clone(), keys);
        self.prefix[photo].push(rows);
    }

    /// Appends a recalled caption, which sees the prefix but no other recalled caption.
    pub(super) fn append_recalled(&mut self, text: &PlacedText) {
        let rows = self.append(text, self.prefix[text.photo].clone());
        self.recalled[text.photo].push(rows);
    }

    /// Appends a caption to be generated, which sees the prefix and the recalled captions.
    pub(super) fn append_caption(&mut self, text: &PlacedText) {
        let keys = [self.prefix[text.photo].as_slice(), &self.recalled[text.photo]].concat();
        self.append(text, keys);
    }

    fn append(&mut self, text: &PlacedText, keys: Vec<Range<usize>>) -> Range<usize> {
        let start = self.positions.len();
        let end = start + text.tokens.len();
        self.positions.resize(end, 0);
        self.photo_of_row.resize(end, 0);
        self.add(text.photo, start..end, keys);
        start..end
    }

    /// Position of the first token of a photo's captions.
    pub(super) fn first_of_captions(&self, photo: usize) -> usize {
        self.prefix.get(photo).map_or(0, |prefix| row_count(prefix))
    }

    /// Places rows that see `keys` and, causally, each other; the first one stands directly after
    /// the prefix so far.
    fn add(&mut self, photo: usize, rows: Range<usize>, keys: Vec<Range<usize>>) {
        let first = self.first_of_captions(photo);
        for (offset, row) in rows.clone().enumerate() {
            self.positions[row] = u32::try_from(first + offset).expect("a prefix is short");
            self.photo_of_row[row] = u32::try_from(photo).expect("a batch is small");
        }
        self.segments.push(Segment { queries: rows, keys, causal: true });
    }
}

fn row_count(ranges: &[Range<usize>]) -> usize {
    ranges.iter().map(ExactSizeIterator::len).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recalled_caption_is_one_position_ahead_whatever_the_length_of_the_prefix() {
        // Photo 0 has a prefix of 3 rows, photo 1 one of 2 and 5.
        let mut placement = Placement::new(2, 10);
        placement.add_prefix(0, 0..3);
        placement.add_prefix(1, 3..5);
        placement.add_prefix(1, 5..10);
        let text = |photo| PlacedText { photo, tokens: vec![0; 4] };
        [0, 1, 1].iter().for_each(|&photo| placement.append_recalled(&text(photo)));
        [0, 1].iter().for_each(|&photo| placement.append_caption(&text(photo)));
        assert_eq!(placement.positions[..10], [0, 1, 2, 0, 1, 2, 3, 4, 5, 6]);
        let (recalled, captions) = placement.positions[10..].split_at(12);
        assert_eq!(recalled, [3, 4, 5, 6, 7, 8, 9, 10, 7, 8, 9, 10]);
        assert_eq!(captions, [3, 4, 5, 6, 7, 8, 9, 10]);
        assert_eq!([0, 1].map(|photo| placement.first_of_captions(photo)), [3, 7]);
        assert_eq!(placement.photo_of_row[10..], [[0; 4], [1; 4], [1; 4], [0; 4], [1; 4]].concat());
        // A recalled caption sees the photo only; a caption sees both recalled ones of its photo.
        let keys: Vec<usize> = placement.segments.iter().map(|s| s.keys.len()).collect();
        assert_eq!(keys, [0, 0, 1, 1, 2, 2, 2, 4]);
    }
}
