//! Square pictures of one number a pixel, and how to move one over another.

use std::ops::Range;

use super::linear::solved;

/// Largest and least scale of one side.
const MAX_SCALE: f32 = 1.18;
const MIN_SCALE: f32 = 0.85;
/// Parts of a side that crops keep, to start from: 90 % of the area, and 90 % of each side.
const CROPS: [f32; 2] = [0.9487, 0.9];
/// Least mean square of a normalized picture that is not flat.
const MIN_ENERGY: f32 = 0.004;
/// Largest step of a refinement in pixels, and the step below which it has converged.
const MAX_STEP: f32 = 1.5;
const CONVERGED: f32 = 0.05;

/// `[side, side]`, row by row.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Picture {
    side: usize,
    pixels: Vec<f32>,
}

/// A picture moved over another. Only the pixels in `columns` and `rows` lie on the picture that
/// was moved.
#[derive(Debug, Clone)]
pub(super) struct Moved {
    picture: Picture,
    columns: Range<usize>,
    rows: Range<usize>,
}

/// A direction in which pixels change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Slope {
    Across,
    Down,
}

/// Where the pixels of one side come from: `scale * x + shift`, in parts of the side.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Axis {
    scale: f32,
    shift: f32,
}

/// Where a moved picture's pixels come from.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Alignment {
    x: Axis,
    y: Axis,
}

impl Picture {
    pub(super) fn new(side: usize, pixels: Vec<f32>) -> Self {
        assert_eq!(pixels.len(), side * side, "a square picture");
        Self { side, pixels }
    }

    /// A plane of `size * size` numbers, resized with a triangle filter two pixels of the result
    /// wide, which leaves no finer pattern that a shift would change.
    pub(super) fn reduced(plane: &[f32], size: usize, side: usize) -> Self {
        let ratio = size as f32 / side as f32;
        let taps: Vec<Vec<(usize, f32)>> = (0..side)
            .map(|index| {
                let center = (index as f32 + 0.5) * ratio;
                let weight = |at: usize| 1.0 - (at as f32 + 0.5 - center).abs() / ratio.max(1.0);
                let all = (0..size).map(|at| (at, weight(at)));
                let taps: Vec<(usize, f32)> = all.filter(|(_, weight)| *weight > 0.0).collect();
                let sum: f32 = taps.iter().map(|(_, weight)| weight).sum();
                taps.into_iter().map(|(at, weight)| (at, weight / sum)).collect()
            })
            .collect();
        let mut columns = Vec::with_capacity(side * size);
        for row in plane.chunks_exact(size) {
            columns.extend(taps.iter().map(|t| t.iter().map(|&(at, w)| row[at] * w).sum::<f32>()));
        }
        let mut pixels = vec![0.0; side * side];
        for (taps, out) in taps.iter().zip(pixels.chunks_exact_mut(side)) {
            for &(at, weight) in taps {
                let row = &columns[at * side..][..side];
                out.iter_mut().zip(row).for_each(|(sum, value)| *sum += weight * value);
            }
        }
        Self { side, pixels }
    }

    pub(super) fn pixels(&self) -> impl Iterator<Item = f32> + '_ {
        self.pixels.iter().copied()
    }

    /// Whether hardly a pixel of a normalized picture stands out.
    pub(super) fn is_flat(&self) -> bool {
        self.pixels.iter().map(|v| v * v).sum::<f32>() < MIN_ENERGY * self.pixels.len() as f32
    }

    /// At half the size.
    pub(super) fn halved(&self) -> Self {
        let side = self.side / 2;
        let mut pixels = Vec::with_capacity(side * side);
        for pair in self.pixels.chunks_exact(2 * self.side) {
            let (above, below) = pair.split_at(self.side);
            let squares = above.chunks_exact(2).zip(below.chunks_exact(2));
            pixels.extend(squares.map(|(a, b)| (a[0] + a[1] + b[0] + b[1]) / 4.0));
        }
        Self { side, pixels }
    }

    /// Each pixel less the mean of its window, in units of the window's deviation. A deviation far
    /// below `flat` gives numbers near 0.
    pub(super) fn normalized(&self, radius: usize, flat: f32) -> Self {
        let means = self.window_means(radius);
        let pairs = self.pixels.iter().zip(&means.pixels);
        let difference = Self { side: self.side, pixels: pairs.map(|(v, m)| v - m).collect() };
        let squares = difference.pixels.iter().map(|v| v * v).collect();
        let variances = Self { side: self.side, pixels: squares }.window_means(radius);
        let pairs = difference.pixels.iter().zip(&variances.pixels);
        let pixels = pairs.map(|(v, variance)| v / (variance + flat * flat).sqrt()).collect();
        Self { side: self.side, pixels }
    }

    /// The means of the windows around each pixel, which end at the picture's edge.
    fn window_means(&self, radius: usize) -> Self {
        self.row_means(radius).transposed().row_means(radius).transposed()
    }

    fn row_means(&self, radius: usize) -> Self {
        let mut pixels = Vec::with_capacity(self.pixels.len());
        for row in self.pixels.chunks_exact(self.side) {
            pixels.extend((0..self.side).map(|x| {
                let window = &row[x.saturating_sub(radius)..(x + radius + 1).min(self.side)];
                window.iter().sum::<f32>() / window.len() as f32
            }));
        }
        Self { side: self.side, pixels }
    }

    fn transposed(&self) -> Self {
        let side = self.side;
        let pixels = (0..side * side).map(|i| self.pixels[i % side * side + i / side]).collect();
        Self { side, pixels }
    }

    pub(super) fn mirrored(&self) -> Self {
        let rows = self.pixels.chunks_exact(self.side);
        let pixels = rows.flat_map(|row| row.iter().rev().copied()).collect();
        Self { side: self.side, pixels }
    }

    /// Half the difference between the two neighbors of each pixel.
    pub(super) fn slopes(&self, slope: Slope) -> Self {
        let pixels = &self.pixels;
        let step = match slope {
            Slope::Across => 1,
            Slope::Down => self.side,
        };
        let inner = step..pixels.len() - step;
        let difference = |i: usize| (pixels[i + step] - pixels[i - step]) / 2.0;
        let of = |i: usize| if inner.contains(&i) { difference(i) } else { 0.0 };
        Self { side: self.side, pixels: (0..pixels.len()).map(of).collect() }
    }

    /// Slightly softened.
    pub(super) fn softened(&self) -> Self {
        self.softened_rows().transposed().softened_rows().transposed()
    }

    fn softened_rows(&self) -> Self {
        let mut pixels = self.pixels.clone();
        for (out, row) in
            pixels.chunks_exact_mut(self.side).zip(self.pixels.chunks_exact(self.side))
        {
            for (out, of) in out[1..].iter_mut().zip(row.windows(3)) {
                *out = 0.15 * of[0] + 0.7 * of[1] + 0.15 * of[2];
            }
        }
        Self { side: self.side, pixels }
    }

    /// The picture moved, by linear interpolation.
    pub(super) fn moved(&self, alignment: &Alignment) -> Moved {
        let side = self.side;
        let (x, columns) = alignment.x.taps(side);
        let (y, rows) = alignment.y.taps(side);
        let mut across = Vec::with_capacity(side * side);
        for row in self.pixels.chunks_exact(side) {
            across.extend(x.iter().map(|&(at, part)| row[at] + part * (row[at + 1] - row[at])));
        }
        let mut pixels = Vec::with_capacity(side * side);
        for (at, part) in y {
            let (above, below) = (&across[at * side..][..side], &across[(at + 1) * side..][..side]);
            pixels.extend(above.iter().zip(below).map(|(a, b)| a + part * (b - a)));
        }
        Moved { picture: Self { side, pixels }, columns, rows }
    }
}

impl Moved {
    /// The pixels, 0 outside the picture that was moved.
    pub(super) fn zero_outside(self) -> Vec<f32> {
        let Self { picture: Picture { side, mut pixels }, columns, rows } = self;
        for (i, pixel) in pixels.iter_mut().enumerate() {
            if !columns.contains(&(i % side)) || !rows.contains(&(i / side)) {
                *pixel = 0.0;
            }
        }
        pixels
    }

    pub(super) fn slopes(&self, slope: Slope) -> Self {
        Self { picture: self.picture.slopes(slope), ..self.clone() }
    }

    pub(super) fn softened(&self) -> Self {
        Self { picture: self.picture.softened(), ..self.clone() }
    }

    /// The pixels together with those of `other` in the same places.
    pub(super) fn pairs<'a>(&'a self, other: &'a Picture) -> impl Iterator<Item = (f32, f32)> + 'a {
        self.pairs_within(other, self.columns.clone(), self.rows.clone())
    }

    fn pairs_within<'a>(
        &'a self,
        other: &'a Picture,
        columns: Range<usize>,
        rows: Range<usize>,
    ) -> impl Iterator<Item = (f32, f32)> + 'a {
        let side = self.picture.side;
        rows.flat_map(move |y| {
            let places = y * side + columns.start..y * side + columns.end;
            let own = self.picture.pixels[places.clone()].iter().copied();
            own.zip(other.pixels[places].iter().copied())
        })
    }

    fn correlation(&self, other: &Picture) -> f32 {
        let mut sums = [0.0, 1e-3, 1e-3];
        for (a, b) in self.pairs(other) {
            sums[0] += a * b;
            sums[1] += a * a;
            sums[2] += b * b;
        }
        sums[0] / (sums[1] * sums[2]).sqrt()
    }

    /// `2 ab / (aa + bb)` of each block of `size * size` pixels, every `stride` pixels, that lies
    /// on both pictures for the most part and is not flat in both.
    pub(super) fn block_correlations(
        &self,
        other: &Picture,
        size: usize,
        stride: usize,
        min_energy: f32,
    ) -> Vec<f32> {
        let side = self.picture.side;
        let within = |start: usize, range: &Range<usize>| {
            start.max(range.start)..(start + size).min(range.end).max(start.max(range.start))
        };
        let mut correlations = Vec::new();
        for y in (0..=side - size).step_by(stride) {
            for x in (0..=side - size).step_by(stride) {
                let (columns, rows) = (within(x, &self.columns), within(y, &self.rows));
                let count = columns.len() * rows.len();
                if 4 * count < 3 * size * size {
                    continue;
                }
                let mut sums = [0.0; 3];
                for (a, b) in self.pairs_within(other, columns, rows) {
                    sums[0] += a * b;
                    sums[1] += a * a;
                    sums[2] += b * b;
                }
                if f32::max(sums[1], sums[2]) >= min_energy * count as f32 {
                    correlations.push(2.0 * sums[0] / (sums[1] + sums[2]));
                }
            }
        }
        correlations
    }
}

impl Alignment {
    /// Those to start from: none, and every combination of crops of the two sides, where the first
    /// picture or the second is the crop.
    pub(super) fn starts() -> Vec<Self> {
        let whole = Axis { scale: 1.0, shift: 0.0 };
        let (mut outer, mut inner) = (vec![whole], vec![whole]);
        for kept in CROPS {
            for shift in [0.0, (1.0 - kept) / 2.0, 1.0 - kept] {
                outer.push(Axis { scale: kept, shift });
                inner.push(Axis { scale: 1.0 / kept, shift: -shift / kept });
            }
        }
        let all = |axes: Vec<Axis>| -> Vec<Self> {
            axes.iter().flat_map(|&x| axes.iter().map(move |&y| Self { x, y })).collect()
        };
        let mut starts = all(outer);
        starts.extend(all(inner).into_iter().skip(1));
        starts
    }

    /// Improves the alignment of `own` with `other` by at most `steps` Gauss-Newton steps on the
    /// sum of squared differences; returns the correlation.
    pub(super) fn refine(&mut self, own: &Picture, other: &Picture, steps: usize) -> f32 {
        let pixel = 1.0 / own.side as f32;
        let mut moved = own.moved(self);
        let (mut alignment, mut best) = (*self, moved.correlation(other));
        for _ in 0..steps {
            let step = moved.gauss_newton_step(other);
            let limited = |axis: Axis, scale: f32, shift: f32| {
                let part = |step: f32| step.clamp(-MAX_STEP, MAX_STEP) * pixel * axis.scale;
                Axis {
                    scale: (axis.scale + part(scale)).clamp(MIN_SCALE, MAX_SCALE),
                    shift: axis.shift + part(shift),
                }
            };
            alignment = Self {
                x: limited(alignment.x, step[0], step[1]),
                y: limited(alignment.y, step[2], step[3]),
            };
            moved = own.moved(&alignment);
            let correlation = moved.correlation(other);
            if correlation > best {
                (best, *self) = (correlation, alignment);
            }
            if step.iter().all(|step| step.abs() < CONVERGED) {
                break;
            }
        }
        best
    }
}

impl Moved {
    /// The change of scale and shift of x and y, in pixels of the whole side, that best explains
    /// the difference to `other` in the first order.
    fn gauss_newton_step(&self, other: &Picture) -> [f32; 4] {
        let Picture { side, pixels } = &self.picture;
        let (mut normal, mut right) = ([[0.0f32; 4]; 4], [0.0f32; 4]);
        let part = |at: usize| (at as f32 + 0.5) / *side as f32;
        for y in self.rows.start + 1..self.rows.end.saturating_sub(1) {
            for x in self.columns.start + 1..self.columns.end.saturating_sub(1) {
                let i = y * side + x;
                let across = (pixels[i + 1] - pixels[i - 1]) / 2.0;
                let down = (pixels[i + side] - pixels[i - side]) / 2.0;
                let slopes = [across * part(x), across, down * part(y), down];
                let difference = other.pixels[i] - pixels[i];
                for (row, slope) in slopes.into_iter().enumerate() {
                    right[row] += slope * difference;
                    for column in row..4 {
                        normal[row][column] += slope * slopes[column];
                    }
                }
            }
        }
        let upper = normal;
        for (row, values) in normal.iter_mut().enumerate() {
            // Damped, so that a flat picture has a solution, too.
            values[row] = 1.001 * values[row] + 1e-3;
            for (value, of_column) in values[..row].iter_mut().zip(&upper) {
                *value = of_column[row];
            }
        }
        solved(normal, right)
    }
}

impl Axis {
    /// For each pixel the first of the two pixels that it comes from and the second one's share,
    /// and the pixels that come from inside the picture.
    fn taps(&self, side: usize) -> (Vec<(usize, f32)>, Range<usize>) {
        let length = side as f32;
        let (mut inside, mut taps) = (0..0, Vec::with_capacity(side));
        for index in 0..side {
            let at = self.scale * (index as f32 + 0.5) + self.shift * length - 0.5;
            if at > -0.5 && at < length - 0.5 {
                inside = if inside.is_empty() { index..index + 1 } else { inside.start..index + 1 };
            }
            let at = at.clamp(0.0, length - 1.0);
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to side")]
            let first = (at as usize).min(side - 2);
            taps.push((first, at - first as f32));
        }
        (taps, inside)
    }
}
