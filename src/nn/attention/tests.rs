use candle_core::{Device, Tensor, Var};

use super::*;

const HEADS: Heads = Heads { queries: 4, keys: 2, dim: DIM };

/// `[rows, heads * DIM]`, numbers between -2 and 2.
fn numbers(rows: usize, heads: usize, seed: f32) -> Vec<f32> {
    (0..rows * heads * DIM).map(|i| 2.0 * ((i as f32 + 1.0) * seed).sin()).collect()
}

/// The sum of what attention gives, each number times its own factor.
fn loss(inputs: [&Tensor; 3], op: AttendOp) -> Tensor {
    let [q, k, v] = inputs;
    let out = apply3(q, k, v, op).expect("rows of heads");
    let factors =
        Tensor::from_vec(numbers(q.dims()[0], HEADS.queries, 0.71), q.shape(), &Device::Cpu);
    (out * factors.expect("as many")).and_then(|x| x.sum_all()).expect("same shapes")
}

/// Within what rounding to bfloat16 does to sums whose terms cancel.
#[test]
fn the_gradient_is_that_of_differences() {
    const ROWS: usize = 44;
    // A text behind 34 rows that it sees in parts, rows that see some of these, rows that see two
    // others.
    let segments = || {
        vec![
            Segment { queries: 0..6, keys: vec![8..12, 14..44], causal: true },
            Segment { queries: 6..14, keys: vec![0..3, 20..21], causal: false },
            Segment { queries: 14..17, keys: vec![7..8, 3..4], causal: false },
        ]
    };
    let positions: Vec<u32> = (0..44).map(|row| row * 3 % 29).collect();
    for layout in
        [AttentionLayout::new(segments()), AttentionLayout::with_positions(segments(), positions)]
    {
        let op = || AttendOp::new(layout.clone(), HEADS);
        let widths = [HEADS.queries, HEADS.keys, HEADS.keys];
        let values = [0, 1, 2].map(|i| numbers(ROWS, widths[i], [0.37, 0.53, 0.19][i]));
        let tensor = |i: usize, values: Vec<f32>| {
            Tensor::from_vec(values, (ROWS, widths[i] * DIM), &Device::Cpu).expect("as many")
        };
        let variables: Vec<Var> = (0..3)
            .map(|i| Var::from_tensor(&tensor(i, values[i].clone())).expect("numbers"))
            .collect();
        let inputs = [&variables[0], &variables[1], &variables[2]].map(|v| v.as_tensor());
        let gradients = loss(inputs, op()).backward().expect("a sum");
        for (i, variable) in variables.iter().enumerate() {
            let gradient = gradients.get(variable).expect("it matters").flatten_all();
            let gradient = gradient.and_then(|g| g.to_vec1::<f32>()).expect("numbers");
            let largest = gradient.iter().fold(0f32, |largest, g| largest.max(g.abs()));
            assert!(largest > 0.1, "input {i}: {largest}");
            for (at, found) in gradient.iter().enumerate().step_by(7) {
                let [above, below] = [0.03, -0.03].map(|step| {
                    let mut moved = values[i].clone();
                    moved[at] += step;
                    let moved = tensor(i, moved);
                    let mut inputs = inputs;
                    inputs[i] = &moved;
                    loss(inputs, op()).to_scalar::<f32>().expect("a number")
                });
                let expected = (above - below) / 0.06;
                assert!((found - expected).abs() < 0.02 * largest, "{i} {at}: {found} {expected}");
            }
        }
    }
}
