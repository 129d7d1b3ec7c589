//! Calibrates the tag head on photos that it has not learned from: one slope and offset for all
//! names (Platt 1999), and an offset of its own for each name, which tells how often people mention
//! what is there. Few photos show a rare name: its own offset stays near 0 unless many disagree.

/// Variance of the names' offsets, in squared log-odds.
const OFFSET_VARIANCE: f64 = 1.0;

/// Rounds of fitting what the names share, then what each has of its own.
const ROUNDS: usize = 4;

/// Log-odds of names on photos, and whether people mention them.
#[derive(Debug, Default)]
pub struct Observations {
    /// Number of names.
    pub names: usize,
    /// `[photos * names]`.
    pub log_odds: Vec<f32>,
    /// `[photos * names]`; `None` if that is unclear.
    pub is_mentioned: Vec<Option<bool>>,
    /// Weight of each photo.
    pub weights: Vec<f64>,
}

/// Slope and offsets, one for each name, of calibrated log-odds.
#[derive(Debug, Clone, PartialEq)]
pub struct Calibration {
    /// Factor of the log-odds.
    pub slope: f32,
    /// What is added for each name.
    pub offsets: Vec<f32>,
}

impl Calibration {
    /// Fits the calibration by Newton's method.
    ///
    /// # Panics
    ///
    /// If the lengths do not match.
    pub fn fit(observed: &Observations) -> Self {
        assert_eq!(observed.log_odds.len(), observed.weights.len() * observed.names);
        assert_eq!(observed.log_odds.len(), observed.is_mentioned.len());
        let (mut slope, mut common, mut own) = (1.0, 0.0, vec![0.0; observed.names]);
        for _ in 0..ROUNDS {
            (slope, common) = platt(observed, (slope, common), &own);
            for (name, own) in own.iter_mut().enumerate() {
                *own = own_offset(observed, name, slope, common);
            }
        }
        let offsets = own.into_iter().map(|own| {
            #[allow(clippy::cast_possible_truncation, reason = "f32 is the head's precision")]
            {
                (common + own) as f32
            }
        });
        #[allow(clippy::cast_possible_truncation, reason = "f32 is the head's precision")]
        Self { offsets: offsets.collect(), slope: slope as f32 }
    }
}

fn probability(log_odds: f64) -> f64 {
    1.0 / (1.0 + (-log_odds).exp())
}

impl Observations {
    /// Log-odds, whether it is mentioned, and weight of each photo for a name, where that is clear.
    fn of_name(&self, name: usize) -> impl Iterator<Item = (f64, f64, f64)> + '_ {
        let photos = self.weights.iter().enumerate();
        photos.filter_map(move |(photo, &weight)| {
            let at = photo * self.names + name;
            let is_mentioned = f64::from(u8::from(self.is_mentioned[at]?));
            Some((f64::from(self.log_odds[at]), is_mentioned, weight))
        })
    }
}

/// The slope and the offset that all names share, given what each has of its own.
fn platt(observed: &Observations, (mut slope, mut offset): (f64, f64), own: &[f64]) -> (f64, f64) {
    for _ in 0..10 {
        // Gradient and Hessian; a small ridge keeps the Hessian invertible.
        let (mut g, mut h) = ([0.0; 2], [1e-3, 0.0, 1e-3]);
        let names = own.iter().enumerate();
        let all = names.flat_map(|(name, own)| observed.of_name(name).map(move |of| (of, own)));
        for ((x, y, weight), own) in all {
            let p = probability(slope * x + offset + own);
            let (error, curvature) = (weight * (p - y), weight * p * (1.0 - p));
            g[0] += error * x;
            g[1] += error;
            h[0] += curvature * x * x;
            h[1] += curvature * x;
            h[2] += curvature;
        }
        let determinant = h[0] * h[2] - h[1] * h[1];
        slope -= ((h[2] * g[0] - h[1] * g[1]) / determinant).clamp(-1.0, 1.0);
        offset -= ((h[0] * g[1] - h[1] * g[0]) / determinant).clamp(-1.0, 1.0);
    }
    (slope, offset)
}

/// What a name adds to the common offset: the mode of its posterior.
fn own_offset(observed: &Observations, name: usize, slope: f64, common: f64) -> f64 {
    let mut own = 0.0;
    for _ in 0..30 {
        let (mut gradient, mut curvature) = (own / OFFSET_VARIANCE, 1.0 / OFFSET_VARIANCE);
        for (x, y, weight) in observed.of_name(name) {
            let p = probability(slope * x + common + own);
            gradient += weight * (p - y);
            curvature += weight * p * (1.0 - p);
        }
        own -= (gradient / curvature).clamp(-1.0, 1.0);
    }
    own
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    #[test]
    fn the_slope_and_the_offsets_of_the_data_are_found() {
        let (slope, offsets) = (0.6, [-1.0, 0.5, 0.0]);
        let mut random = Random::new(1);
        let mut observed = Observations { names: 3, ..Observations::default() };
        for _ in 0..4000 {
            observed.weights.push(1.0);
            for offset in offsets {
                let x = 2.0 * random.normal();
                let p = probability(slope * f64::from(x) + offset);
                observed.log_odds.push(x);
                observed.is_mentioned.push(Some(f64::from(random.uniform()) < p));
            }
        }
        let found = Calibration::fit(&observed);
        assert!((f64::from(found.slope) - slope).abs() < 0.05, "{found:?}");
        for (found, expected) in found.offsets.iter().zip(offsets) {
            assert!((f64::from(*found) - expected).abs() < 0.15, "{found} {expected}");
        }
    }

    #[test]
    fn a_name_that_no_photo_shows_keeps_nearly_the_common_offset() {
        let mut observed = Observations { names: 2, ..Observations::default() };
        for photo in 0..200 {
            let is_there = photo % 2 == 0;
            observed.weights.push(1.0);
            observed.log_odds.extend([if is_there { 2.0 } else { -2.0 }, -9.0]);
            observed.is_mentioned.extend([Some(is_there && photo % 20 != 0), Some(false)]);
        }
        let found = Calibration::fit(&observed);
        assert!((found.offsets[0] - found.offsets[1]).abs() < 0.7, "{found:?}");
    }
}
