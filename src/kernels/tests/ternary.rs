//! Packed weights, and the products of ternary matrices.

use super::*;
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

#[test]
fn a_packed_byte_holds_five_columns() {
    let mut weights = vec![0; 4 * 32];
    weights[32..37].copy_from_slice(&[1, -1, 0, 1, -1]);
    weights[63] = 1;
    let packed = TernaryMatrix::from_weights(4, 32, &weights).to_packed();
    assert_eq!(packed.len(), 4 * 7);
    // Base 3, the first column lowest: five zeros are 11111, two of them 11.
    assert_eq!(packed[..7], [121, 121, 121, 121, 121, 121, 4]);
    assert_eq!(packed[7..14], [2 + 9 + 2 * 27, 121, 121, 121, 121, 121, 1 + 2 * 3]);
    assert_eq!(TernaryMatrix::from_packed(4, 32, &packed).expect("packed").to_weights(), weights);
}

#[test]
fn packing_keeps_every_weight() {
    let mut random = Random(1);
    for (rows, cols) in [(4, 32), (12, 32), (20, 64), (64, 96), (68, 160)] {
        let weights = random.integers(rows * cols, -1, 1);
        let packed = TernaryMatrix::from_weights(rows, cols, &weights).to_packed();
        let matrix = TernaryMatrix::from_packed(rows, cols, &packed).expect("packed");
        assert_eq!((matrix.rows(), matrix.cols()), (rows, cols));
        assert_eq!(matrix.to_weights(), weights);
        assert_eq!(matrix.to_packed(), packed);
    }
}

#[test]
fn bad_packed_bytes_are_refused() {
    let packed = [121, 121, 121, 121, 121, 121, 4].repeat(8);
    let refused = |rows, cols, bytes: &[u8]| TernaryMatrix::from_packed(rows, cols, bytes).err();
    assert_eq!(refused(8, 32, &packed), None);
    for (at, byte, row, col) in [(36, 243, 5, 5), (36, 255, 5, 5), (41, 4 + 9, 5, 32)] {
        let mut packed = packed.clone();
        packed[at] = byte;
        assert_eq!(refused(8, 32, &packed), Some(PackError::InvalidCode { row, col }));
    }
    let wrong_length = PackError::WrongLength { expected: 56, found: 55 };
    assert_eq!(refused(8, 32, &packed[1..]), Some(wrong_length));
    for (rows, cols) in [(0, 32), (6, 32), (8, 0), (8, 33), (8, 65568), (usize::MAX - 3, 65536)] {
        assert_eq!(refused(rows, cols, &packed), Some(PackError::WrongShape { rows, cols }));
    }
}

#[test]
fn ternary_product_of_one_row() {
    let mut weights = vec![0; 4 * 32];
    weights[..3].copy_from_slice(&[1, -1, 1]);
    let mut values = vec![0; 32];
    values[..3].copy_from_slice(&[5, 7, 100]);
    let matrix = TernaryMatrix::from_weights(4, 32, &weights);
    let mut out = [0; 4];
    ternary_matmul(&matrix, &values, &mut out);
    assert_eq!(out, [98, 0, 0, 0]);
}

#[test]
fn ternary_products_equal_the_definition() {
    let mut random = Random(2);
    for rows in [4, 8, 12, 16, 20, 32, 36, 64] {
        for cols in [32, 64, 96, 256, 288, 544] {
            for tokens in [0, 1, 2, 3, 4, 5, 7, 9, 70] {
                let weights = random.integers(rows * cols, -1, 1);
                let values = random.integers(tokens * cols, -128, 127);
                assert_ternary_matmul(rows, cols, &weights, &values);
            }
        }
    }
}

#[test]
fn ternary_sums_survive_the_extremes() {
    for (rows, cols) in
        [(16, 32), (32, 128), (16, 256), (32, 512), (32, 1056), (48, 1056), (4, 65536)]
    {
        for weight in [-1, 0, 1] {
            for value in [-128, -127, 127] {
                for tokens in [1, 4] {
                    let values = vec![value; tokens * cols];
                    assert_ternary_matmul(rows, cols, &vec![weight; rows * cols], &values);
                    // Neighbouring rows at opposite ends.
                    let weights: Vec<i8> = (0..rows * cols)
                        .map(|i| if i / cols % 8 < 4 { weight } else { -weight })
                        .collect();
                    assert_ternary_matmul(rows, cols, &weights, &values);
                }
            }
        }
    }
}

/// Activations whose magnitudes add up to what `simd128` lets a run of steps add up, 2047: any more
/// would not fit, and 64 such runs are all that the upper bits of its accumulators hold.
#[test]
fn ternary_sums_survive_the_longest_runs() {
    const STEPS: [[i8; 4]; 5] = [[127; 4], [127; 4], [127; 4], [127; 4], [15, 0, 0, 0]];
    for cols in [32, 1280, 1312, 2624] {
        for sign in [-1, 1] {
            let values: Vec<i8> =
                STEPS.as_flattened().iter().cycle().take(cols).map(|value| sign * value).collect();
            for weight in [-1, 1] {
                assert_ternary_matmul(36, cols, &vec![weight; 36 * cols], &values);
            }
        }
    }
}
