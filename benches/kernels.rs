//! Speed of every kernel on every backend, beside the scalar reference of the same run.
//!
//! ```text
//! cargo bench --bench kernels [-- filter | --json | --smoke]
//! cargo bench --bench kernels --target wasm32-unknown-unknown     in node; see docs/kernels.md for Chromium
//! ```
//!
//! Each answer is compared with the reference first. Times are those of windows of about a millisecond:
//! the minimum says what the code can do, the median what it did on this machine at that hour. `--json`
//! prints the cases that `benches/competitors` compares with other engines, as it does. `--smoke` times a
//! single call of each: the answers are checked, the times mean little.

#![allow(clippy::unwrap_used, reason = "a test that cannot set itself up should fail")]
#![allow(clippy::cast_possible_truncation, reason = "random numbers are cut to size")]

#[cfg(not(target_arch = "wasm32"))]
use std::time::Instant;
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::{Criterion, Instant};

use bitmar::kernels::{available, DepthwiseFilter, Int8Matrix, Kernels, Requantize, TernaryMatrix};

/// Windows of each measurement.
const WINDOWS: usize = 100;
/// Milliseconds of a window: long against the clock, short against a time slice.
const WINDOW: f64 = 1.0;

#[cfg(not(target_arch = "wasm32"))]
fn main() {
    let has = |option: &str| std::env::args().any(|argument| argument == option);
    if has("--json") {
        return run_stacks();
    }
    let filter = std::env::args().skip(1).find(|argument| !argument.starts_with('-'));
    let measure = if has("--smoke") { measure_once } else { measure };
    run(&filter.unwrap_or_default(), measure, |line| println!("{line}"));
}

/// The stack of layers of `benches/competitors/contest.js`, on the backend in use.
#[cfg(not(target_arch = "wasm32"))]
fn run_stacks() {
    for (name, rows) in [("gemv_18m", 1), ("gemm64_18m", 64)] {
        let mut stack = stack_case(name, rows);
        let (mut expected, mut out) = (Output::default(), Output::default());
        (stack.run)(available()[0], &mut expected);
        let active = bitmar::kernels::active();
        let [min, median] = measure(&mut || (stack.run)(active, &mut out));
        assert!(out == expected, "{name}: {} differs from scalar", active.name);
        let line = serde_json::json!({ "case": name, "runtime": "native", "build": active.name,
            "median_ms": median, "min_ms": min, "gops": stack.operations as f64 / min / 1e6, "ratio": {} });
        println!("{line}");
    }
}

#[cfg(target_arch = "wasm32")]
fn main() {}

#[cfg(target_arch = "wasm32")]
#[wasm_bindgen_test::wasm_bindgen_bench]
fn kernels(_: &mut Criterion) {
    run("", measure, |line| wasm_bindgen_test::console_log!("{line}"));
}

/// A kernel with its operands.
struct Case {
    name: String,
    /// Additions and multiplications, or values where nothing is multiplied.
    operations: usize,
    run: Run,
}

type Run = Box<dyn FnMut(&Kernels, &mut Output)>;

#[derive(Clone, PartialEq, Default)]
struct Output {
    sums: Vec<i32>,
    bytes: Vec<i8>,
    floats: Vec<f32>,
}

/// Times a call: minimum and median milliseconds.
type Measure = fn(&mut dyn FnMut()) -> [f64; 2];

fn run(filter: &str, measure: Measure, print: impl Fn(&str)) {
    print("kernel                        backend       min us   median us   GOP/s   x scalar");
    for mut case in cases().into_iter().filter(|case| case.name.contains(filter)) {
        let mut reference = None;
        for kernels in available() {
            let mut out = Output::default();
            (case.run)(kernels, &mut out);
            let (expected, scalar) = reference.get_or_insert_with(|| (out.clone(), None));
            assert!(out == *expected, "{}: {} differs from scalar", case.name, kernels.name);
            let [min, median] = measure(&mut || (case.run)(kernels, &mut out));
            let ratio = *scalar.get_or_insert(min) / min;
            let speed = case.operations as f64 / min / 1e6;
            print(&format!(
                "{:<28}  {:<8}  {:>10.2}  {:>10.2}  {speed:>6.1}  {ratio:>9.1}",
                case.name,
                kernels.name,
                min * 1e3,
                median * 1e3
            ));
        }
    }
}

/// Minimum and median milliseconds of a call.
fn measure(call: &mut dyn FnMut()) -> [f64; 2] {
    let mut calls = 1;
    let mut window = |calls: usize| {
        let start = Instant::now();
        for _ in 0..calls {
            call();
        }
        start.elapsed().as_secs_f64() * 1e3
    };
    while window(calls) < WINDOW {
        calls *= 2;
    }
    // Slow cases get fewer windows, so that no line takes more than a few seconds.
    let count = (WINDOWS as f64 * WINDOW / window(calls)).clamp(5.0, WINDOWS as f64) as usize;
    let mut times: Vec<f64> = (0..count).map(|_| window(calls) / calls as f64).collect();
    times.sort_by(f64::total_cmp);
    [times[0], times[count / 2]]
}

/// The milliseconds of a single call, twice.
#[cfg(not(target_arch = "wasm32"))]
fn measure_once(call: &mut dyn FnMut()) -> [f64; 2] {
    let start = Instant::now();
    call();
    [start.elapsed().as_secs_f64() * 1e3; 2]
}

/// The shapes of the decoder (1 token), the encoders, and EfficientNet-Lite0 at 224 pixels.
fn cases() -> Vec<Case> {
    let ternary = [
        (256, 256, 1),
        (384, 384, 1),
        (1024, 4096, 1),
        (192, 768, 16),
        (192, 768, 256),
        (384, 1536, 64),
    ];
    let pointwise = [
        (16, 32, 12544),
        (96, 16, 12544),
        (24, 96, 3136),
        (240, 40, 784),
        (112, 672, 196),
        (320, 1152, 49),
    ];
    let depthwise =
        [(32, 3, 1, 112), (96, 3, 2, 112), (240, 5, 1, 28), (672, 5, 1, 14), (1152, 3, 1, 7)];
    let mut cases = vec![];
    cases.extend(ternary.map(|(rows, cols, tokens)| ternary_case(rows, cols, tokens)));
    cases.push(int8_case(384, 384, 64));
    cases.extend(pointwise.map(|(rows, cols, pixels)| pointwise_case(rows, cols, pixels)));
    cases.extend(
        depthwise
            .map(|(channels, size, stride, side)| depthwise_case(channels, size, stride, side)),
    );
    cases.extend([256, 1536].map(quantize_case));
    cases
}

fn ternary_case(rows: usize, cols: usize, tokens: usize) -> Case {
    let mut random = Random(1);
    let matrix = TernaryMatrix::from_weights(rows, cols, &random.integers(rows * cols, 1));
    let values = random.integers(tokens * cols, 127);
    Case {
        name: format!("ternary {rows} x {cols} x {tokens}"),
        operations: 2 * rows * cols * tokens,
        run: Box::new(move |kernels, out| {
            out.sums.resize(rows * tokens, 0);
            (kernels.ternary_matmul)(&matrix, &values, &mut out.sums);
        }),
    }
}

/// 8 layers `[3072, 768]` of `rows` activations each, quantized for every layer; the sum of their
/// outputs.
#[cfg(not(target_arch = "wasm32"))]
fn stack_case(name: &str, rows: usize) -> Case {
    const OUTPUTS: usize = 3072;
    const INPUTS: usize = 768;
    const LAYERS: usize = 8;
    let mut random = Random(6);
    let mut layer =
        || TernaryMatrix::from_weights(OUTPUTS, INPUTS, &random.integers(OUTPUTS * INPUTS, 1));
    let layers: [TernaryMatrix; LAYERS] = std::array::from_fn(|_| layer());
    let x: Vec<f32> = random.integers(rows * INPUTS, 127).into_iter().map(f32::from).collect();
    Case {
        name: name.into(),
        operations: 2 * LAYERS * OUTPUTS * INPUTS * rows,
        run: Box::new(move |kernels, out| {
            out.bytes.resize(x.len(), 0);
            out.sums.resize(rows * OUTPUTS, 0);
            out.floats.clear();
            out.floats.resize(rows * OUTPUTS, 0.0);
            for layer in &layers {
                let quantized = x.chunks_exact(INPUTS).zip(out.bytes.chunks_exact_mut(INPUTS));
                let scales: Vec<f32> =
                    quantized.map(|(x, values)| (kernels.quantize_row)(x, values)).collect();
                (kernels.ternary_matmul)(layer, &out.bytes, &mut out.sums);
                let rows = out.floats.chunks_exact_mut(OUTPUTS).zip(out.sums.chunks_exact(OUTPUTS));
                for ((floats, sums), scale) in rows.zip(scales) {
                    for (float, &sum) in floats.iter_mut().zip(sums) {
                        *float += sum as f32 * scale;
                    }
                }
            }
        }),
    }
}

fn int8_case(rows: usize, cols: usize, tokens: usize) -> Case {
    let mut random = Random(2);
    let matrix = Int8Matrix::from_weights(rows, cols, &random.integers(rows * cols, 127));
    let values = random.integers(tokens * cols, 127);
    Case {
        name: format!("int8 {rows} x {cols} x {tokens}"),
        operations: 2 * rows * cols * tokens,
        run: Box::new(move |kernels, out| {
            out.sums.resize(rows * tokens, 0);
            (kernels.int8_matmul)(&matrix, &values, &mut out.sums);
        }),
    }
}

fn pointwise_case(rows: usize, cols: usize, pixels: usize) -> Case {
    let mut random = Random(3);
    let matrix = Int8Matrix::from_weights(rows, cols, &random.integers(rows * cols, 127));
    let values = random.integers(pixels * cols, 127);
    let requantize = relu6(rows);
    Case {
        name: format!("pointwise {rows} x {cols} x {pixels}"),
        operations: 2 * rows * cols * pixels,
        run: Box::new(move |kernels, out| {
            out.bytes.resize(rows * pixels, 0);
            (kernels.pointwise)(&matrix, &values, &requantize, &mut out.bytes);
        }),
    }
}

fn depthwise_case(channels: usize, size: usize, stride: usize, side: usize) -> Case {
    let mut random = Random(4);
    let taps = size * size;
    let filter =
        DepthwiseFilter::new(channels, size, stride, &random.integers(taps * channels, 127));
    let input = random.integers(side * side * channels, 127);
    let requantize = relu6(channels);
    let out_len = filter.output_size(side).pow(2) * channels;
    Case {
        name: format!("depthwise {channels}, {size}/{stride}, {side} px"),
        operations: 2 * taps * out_len,
        run: Box::new(move |kernels, out| {
            out.bytes.resize(out_len, 0);
            (kernels.depthwise)(&filter, &input, side, side, &requantize, &mut out.bytes);
        }),
    }
}

fn quantize_case(count: usize) -> Case {
    let values: Vec<f32> =
        Random(5).integers(count, 127).iter().map(|&x| f32::from(x) / 50.0).collect();
    Case {
        name: format!("quantize_row {count}"),
        operations: count,
        run: Box::new(move |kernels, out| {
            out.bytes.resize(count, 0);
            (kernels.quantize_row)(&values, &mut out.bytes);
        }),
    }
}

fn relu6(channels: usize) -> Requantize {
    let multiplier = (0..channels).map(|c| 1e-4 + c as f32 * 1e-7).collect();
    Requantize { multiplier, bias: vec![3.0; channels], low: 0, high: 127 }
}

/// Xorshift.
struct Random(u64);

impl Random {
    /// Numbers in `-limit..=limit`.
    fn integers(&mut self, count: usize, limit: i8) -> Vec<i8> {
        let span = 2 * i64::from(limit) + 1;
        let next = |_| {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            ((self.0 >> 33) as i64 % span - i64::from(limit)) as i8
        };
        (0..count).map(next).collect()
    }
}
