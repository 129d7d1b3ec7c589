//! The distribution of a layer's activations, and the int8 range with the least squared error.

/// Number of bins; a bin is far narrower than an int8 step.
const BINS: usize = 4096;
/// Candidate limits, in 1/64 of the largest activation.
const CANDIDATES: std::ops::RangeInclusive<usize> = 8..=64;

/// A histogram of absolute values from 0 to `width * BINS`; its width doubles when a value lies
/// beyond.
#[derive(Debug)]
pub(super) struct ActivationRange {
    width: f32,
    counts: Vec<u64>,
    largest: f32,
}

impl Default for ActivationRange {
    fn default() -> Self {
        // It starts with the range of ReLU6, 0 to 6.
        Self { width: 6.0 / BINS as f32, counts: vec![0; BINS], largest: 0.0 }
    }
}

impl ActivationRange {
    pub(super) fn add(&mut self, values: &[f32]) {
        let largest = values.iter().fold(0f32, |largest, value| largest.max(value.abs()));
        assert!(largest.is_finite(), "activations are finite");
        self.largest = self.largest.max(largest);
        while self.largest > self.width * BINS as f32 {
            self.double();
        }
        for value in values {
            self.counts[bin(value.abs() / self.width)] += 1;
        }
    }

    /// The limit, at most the largest activation, with the least squared error of rounding to 127
    /// steps and clipping larger values.
    pub(super) fn best_limit(&self) -> f32 {
        let limits = CANDIDATES.map(|part| self.largest * part as f32 / *CANDIDATES.end() as f32);
        let best = limits.min_by(|a, b| self.squared_error(*a).total_cmp(&self.squared_error(*b)));
        // Any range fits a layer that is always 0; this one is not empty.
        best.expect("there are candidates").max(1e-6)
    }

    fn squared_error(&self, limit: f32) -> f64 {
        let step = f64::from(limit) / 127.0;
        let errors = self.counts.iter().enumerate().map(|(bin, &count)| {
            let beyond = (bin as f64 + 0.5) * f64::from(self.width) - f64::from(limit);
            let error = if beyond > 0.0 { beyond * beyond } else { step * step / 12.0 };
            // Zeros are exact at every scale; after ReLU6 they are most of the values.
            if bin == 0 {
                0.0
            } else {
                error * count as f64
            }
        });
        errors.sum()
    }

    fn double(&mut self) {
        self.width *= 2.0;
        for bin in 0..BINS {
            let pair = self.counts.get(2 * bin..2 * bin + 2);
            self.counts[bin] = pair.map_or(0, |pair| pair.iter().sum());
        }
    }
}

#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "`as` saturates and `min` bounds the bin"
)]
fn bin(position: f32) -> usize {
    (position as usize).min(BINS - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uniform_values_keep_their_whole_range() {
        let mut range = ActivationRange::default();
        let values: Vec<f32> = (0..6000).map(|index| index as f32 / 1000.0 - 3.0).collect();
        range.add(&values);
        assert_eq!(range.best_limit(), 3.0);
    }

    #[test]
    fn a_rare_outlier_is_clipped() {
        let mut range = ActivationRange::default();
        let values: Vec<f32> = (0..1_000_000).map(|index| (index % 1000) as f32 / 1000.0).collect();
        range.add(&values);
        range.add(&[4.0]);
        assert!(range.best_limit() < 2.0, "{}", range.best_limit());
    }

    #[test]
    fn the_histogram_grows_without_losing_values() {
        let mut range = ActivationRange::default();
        range.add(&[1.0, 5.9, 0.0]);
        range.add(&[-700.0]);
        assert_eq!(range.counts.iter().sum::<u64>(), 4);
        assert!(range.width * BINS as f32 >= 700.0);
        assert_eq!(range.best_limit(), 700.0);
    }

    #[test]
    fn a_layer_of_zeros_has_a_range() {
        let mut range = ActivationRange::default();
        range.add(&[0.0; 16]);
        assert!(range.best_limit() > 0.0);
    }
}
