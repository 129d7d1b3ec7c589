//! A small system of linear equations.

/// The solution of a positive definite system, by elimination.
pub(super) fn solved(mut matrix: [[f32; 4]; 4], mut right: [f32; 4]) -> [f32; 4] {
    for pivot in 0..4 {
        let pivot_row = matrix[pivot];
        for row in (0..4).filter(|&row| row != pivot) {
            let factor = matrix[row][pivot] / pivot_row[pivot];
            for (value, above) in matrix[row].iter_mut().zip(pivot_row) {
                *value -= factor * above;
            }
            right[row] -= factor * right[pivot];
        }
    }
    std::array::from_fn(|i| right[i] / matrix[i][i])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_solution_satisfies_the_system() {
        let matrix = [
            [4.0, 1.0, 0.0, 0.5],
            [1.0, 3.0, 0.5, 0.0],
            [0.0, 0.5, 2.0, 0.25],
            [0.5, 0.0, 0.25, 1.0],
        ];
        let right = [1.0, -2.0, 3.0, 0.5];
        let solution = solved(matrix, right);
        for (row, expected) in matrix.iter().zip(right) {
            let sum: f32 = row.iter().zip(solution).map(|(value, x)| value * x).sum();
            assert!((sum - expected).abs() < 1e-5, "{sum} {expected}");
        }
    }
}
