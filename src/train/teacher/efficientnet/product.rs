//! The float matrix product of the pointwise convolutions.
//!
//! `pulp` dispatches to the widest instruction set of the machine. Products and sums are rounded
//! separately and in a fixed order, so every machine computes the same features.

use pulp::{Arch, Simd, WithSimd};

/// Output channels of a tile: two 256-bit registers.
const TILE_COLS: usize = 16;
/// Pixels of a tile. With two registers each, 12 of the 16 registers hold sums.
const TILE_ROWS: usize = 6;
/// Pixels that are packed together. 60 rows of 1248 channels take 300 KB, which fits the
/// second-level cache; a 7 x 7 map is one block.
const BLOCK_ROWS: usize = 10 * TILE_ROWS;

/// Weights `[out, in]` reordered to panels of 16 outputs, `[panels, in, 16]`, padded with zeros.
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
            "the weights do not fill {outputs} rows"
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
    assert_eq!(bias.len(), weights.outputs, "expected one bias for each output");
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
    fn with_simd<S: Simd>(self, simd: S) {
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
                    let sums = tile(simd, panel, packed);
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

/// Transposes up to six pixels to `[inputs, 6]`. Columns of missing pixels keep their old values,
/// and their sums are dropped.
#[inline(always)]
fn pack(packed: &mut [f32], pixels: &[f32], inputs: usize) {
    for (row, pixel) in pixels.chunks_exact(inputs).enumerate() {
        for (values, &value) in packed.chunks_exact_mut(TILE_ROWS).zip(pixel) {
            values[row] = value;
        }
    }
}

/// Multiplies six pixels with a panel, with explicit vector registers: the compiler's own
/// vectorization for AVX-512 gathers the pixels' values lane by lane and runs at a sixth of the
/// speed.
#[inline(always)]
fn tile<S: Simd>(simd: S, panel: &[f32], packed: &[f32]) -> [[f32; TILE_COLS]; TILE_ROWS] {
    let mut out = [[0.0; TILE_COLS]; TILE_ROWS];
    match S::F32_LANES {
        16 => sums::<S, 1>(simd, panel, packed, &mut out),
        8 => sums::<S, 2>(simd, panel, packed, &mut out),
        4 => sums::<S, 4>(simd, panel, packed, &mut out),
        _ => sums::<S, TILE_COLS>(simd, panel, packed, &mut out),
    }
    out
}

/// [`tile`] with the columns of a panel in `REGISTERS` registers.
#[inline(always)]
fn sums<S: Simd, const REGISTERS: usize>(
    simd: S,
    panel: &[f32],
    packed: &[f32],
    out: &mut [[f32; TILE_COLS]; TILE_ROWS],
) {
    let mut sums = [[simd.splat_f32s(0.0); REGISTERS]; TILE_ROWS];
    let steps = S::as_simd_f32s(panel).0.chunks_exact(REGISTERS);
    for (weights, values) in steps.zip(packed.chunks_exact(TILE_ROWS)) {
        for (sums, &value) in sums.iter_mut().zip(values) {
            let value = simd.splat_f32s(value);
            for (sum, &weights) in sums.iter_mut().zip(weights) {
                *sum = simd.add_f32s(*sum, simd.mul_f32s(value, weights));
            }
        }
    }
    for (out, sums) in out.iter_mut().zip(sums) {
        S::as_mut_simd_f32s(out).0.copy_from_slice(&sums);
    }
}
