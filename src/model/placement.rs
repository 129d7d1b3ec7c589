//! Who sees whom, and where each row stands, when the rows of several photos and captions go
//! through the decoder together.

use std::ops::Range;

use super::PlacedText;
use crate::nn::Segment;

/// Keeps the books while rows are laid out: who sees whom, and where each row stands.
///
/// A recalled caption stands side by side with the caption to come: its token i + 1 is always one
/// position ahead of the row that is to repeat it, however long the prefix. A head finds it by
/// position alone.
pub(super) struct Placement {
    /// Which rows each run of rows attends to.
    pub(super) segments: Vec<Segment>,
    /// Rotary position of each row.
    pub(super) positions: Vec<u32>,
    /// Photo of each row.
    pub(super) photo_of_row: Vec<u32>,
    /// Sinks, fused rows, hint and patches of each photo.
    prefix: Vec<Vec<Range<usize>>>,
    /// Recalled captions of each photo.
    recalled: Vec<Vec<Range<usize>>>,
}

impl Placement {
    /// The books of `rows` rows that are not placed yet, of some photos.
    pub(super) fn new(photos: usize, rows: usize) -> Self {
        Self {
            segments: Vec::new(),
            positions: vec![0; rows],
            photo_of_row: vec![0; rows],
            prefix: vec![Vec::new(); photos],
            recalled: vec![Vec::new(); photos],
        }
    }

    /// Rows that all later ones of the photo see.
    pub(super) fn add_prefix(&mut self, photo: usize, rows: Range<usize>) {
        let keys = self.prefix[photo].clone();
        self.add(photo, rows.clone(), keys);
        self.prefix[photo].push(rows);
    }

    /// New rows of a caption that the memory returned; they see the prefix, not each other's
    /// captions.
    pub(super) fn append_recalled(&mut self, text: &PlacedText) {
        let rows = self.append(text, self.prefix[text.photo].clone());
        self.recalled[text.photo].push(rows);
    }

    /// New rows of a caption to come; they see the prefix and the recalled captions.
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

    /// Where the captions of a photo start.
    pub(super) fn first_of_captions(&self, photo: usize) -> usize {
        self.prefix.get(photo).map_or(0, |prefix| row_count(prefix))
    }

    /// Rows that see `keys` and each other up to themselves, the first one right behind the prefix
    /// so far.
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
    fn what_is_to_be_repeated_stands_one_position_ahead_however_long_the_prefix() {
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
        // A recalled caption sees the photo only; the caption sees both recalled ones of its photo.
        let keys: Vec<usize> = placement.segments.iter().map(|s| s.keys.len()).collect();
        assert_eq!(keys, [0, 0, 1, 1, 2, 2, 2, 4]);
    }
}
