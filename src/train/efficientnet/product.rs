//! The float matrix product under the pointwise convolutions.
//!
//! Plain loops over fixed-size arrays, which the compiler turns into whole vector registers; `pulp`
//! compiles them for the machine's instruction set. Products and sums are rounded separately and in a
//! fixed order, so every machine computes the same features.

use pulp::{Arch, Simd, WithSimd};

/// Output channels that a tile computes at once: two 256-bit registers.
const TILE_COLS: usize = 16;
/// Pixels that a tile computes at once: with two columns each, 12 of 16 registers hold sums.
const TILE_ROWS: usize = 6;
/// Pixels packed together; 60 rows of 1248 channels are 300 KB, which a second-level cache holds. A
/// whole 7 x 7 map is one block.
const BLOCK_ROWS: usize = 10 * TILE_ROWS;

/// Weights `[out, in]`, reordered to panels of 16 outputs, `[panels, in, 16]`.
#[derive(Debug)]
pub(super) struct Panels {
    outputs: usize,
    inputs: usize,
    values: Vec<f32>,
}

impl Panels {
    pub(super) fn new(outputs: usize, weights: &[f32]) -> Self {
        assert!(
            outputs > 0 && weights.len().is_multiple_of(outputs),
            "weights do not fill the rows"
        );
        let inputs = weights.len() / outputs;
        let mut values = vec![0.0; outputs.div_ceil(TILE_COLS) * inputs * TILE_COLS];
        for (output, row) in weights.chunks_exact(inputs).enumerate() {
            let start = output / TILE_COLS * inputs * TILE_COLS + output % TILE_COLS;
            for (input, &weight) in row.iter().enumerate() {
                values[start + input * TILE_COLS] = weight;
            }
        }
        Self { outputs, inputs, values }
    }
}

/// `out[p][o] = clamp(bias[o] + sum over i of weights[o][i] * pixels[p][i], low, high)`.
pub(super) fn product(
    weights: &Panels,
    bias: &[f32],
    (low, high): (f32, f32),
    pixels: &[f32],
    out: &mut [f32],
) {
    assert_eq!(bias.len(), weights.outputs, "one bias for each output");
    assert_eq!(pixels.len() * weights.outputs, out.len() * weights.inputs, "pixel counts differ");
    Arch::new().dispatch(Product { weights, bias, low, high, pixels, out });
}

struct Product<'a> {
    weights: &'a Panels,
    bias: &'a [f32],
    low: f32,
    high: f32,
    pixels: &'a [f32],
    out: &'a mut [f32],
}

impl WithSimd for Product<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let Self { weights, bias, low, high, pixels, out } = self;
        let mut packed = vec![0.0; BLOCK_ROWS * weights.inputs];
        let blocks = pixels.chunks(BLOCK_ROWS * weights.inputs);
        for (pixels, out) in blocks.zip(out.chunks_mut(BLOCK_ROWS * weights.outputs)) {
            let tiles = pixels.chunks(TILE_ROWS * weights.inputs);
            for (packed, pixels) in packed.chunks_exact_mut(TILE_ROWS * weights.inputs).zip(tiles) {
                pack(packed, pixels, weights.inputs);
            }
            for (index, panel) in
                weights.values.chunks_exact(weights.inputs * TILE_COLS).enumerate()
            {
                let first = index * TILE_COLS;
                let bias = &bias[first..bias.len().min(first + TILE_COLS)];
                let tiles = packed.chunks_exact(TILE_ROWS * weights.inputs);
                for (packed, out) in tiles.zip(out.chunks_mut(TILE_ROWS * weights.outputs)) {
                    let sums = tile(panel, packed);
                    for (sums, out) in sums.iter().zip(out.chunks_exact_mut(weights.outputs)) {
                        for ((out, sum), bias) in out[first..].iter_mut().zip(sums).zip(bias) {
                            *out = (sum + bias).max(low).min(high);
                        }
                    }
                }
            }
        }
    }
}

/// Transposes up to six pixels to `[inputs, 6]`. Missing pixels keep what was there: their sums are dropped.
#[inline(always)]
fn pack(packed: &mut [f32], pixels: &[f32], inputs: usize) {
    for (row, pixel) in pixels.chunks_exact(inputs).enumerate() {
        for (values, &value) in packed.chunks_exact_mut(TILE_ROWS).zip(pixel) {
            values[row] = value;
        }
    }
}

#[inline(always)]
fn tile(panel: &[f32], packed: &[f32]) -> [[f32; TILE_COLS]; TILE_ROWS] {
    let mut sums = [[0.0; TILE_COLS]; TILE_ROWS];
    for (weights, values) in panel.chunks_exact(TILE_COLS).zip(packed.chunks_exact(TILE_ROWS)) {
        for row in 0..TILE_ROWS {
            for col in 0..TILE_COLS {
                sums[row][col] += values[row] * weights[col];
            }
        }
    }
    sums
}
