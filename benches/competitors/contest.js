// @ts-check
/** One stack of linear layers, computed by each contender in turn, every answer checked. Runs in node and in browsers. */
import { floatModel, int8Model } from './onnx.js';
import { median, rounded } from './times.js';

/** 18.9 million weights. */
const SIZES = { outputs: 3072, inputs: 768, layers: 8 };
const CASES = [
  { name: 'gemv_18m', rows: 1 },
  { name: 'gemm64_18m', rows: 64 },
];

/** Rounds in which every contender has its turn, so that all meet the same machine. */
const ROUNDS = 25;
/** Milliseconds of a turn: long against the clock. */
const TURN = 4;

/**
 * How far a contender may be from the exact answer, as a share of its length. The activations are integers up to 127,
 * so f32 and bitmar have no excuse; ONNX Runtime rounds them to 255 steps, candle the weights to 4 bits and -1 to -7/8.
 */
const TOLERANCE = { ours: 0, candle_q4_0: 0.15, candle_f32: 0, ort_int8: 0.01, ort_fp32: 0 };

/** @typedef {(x: Float32Array) => Float32Array | Promise<Float32Array>} Contender */

/**
 * @param {any} wasm the started module of `src/lib.rs`
 * @param {any} ort onnxruntime-web
 * @param {{ runtime: string, build: string }} where
 * @param {(line: object) => void} report
 */
export async function contest(wasm, ort, where, report) {
  ort.env.wasm.numThreads = 1;
  const random = xorshift(1);
  const weights = Int8Array.from({ length: SIZES.layers * SIZES.outputs * SIZES.inputs }, () => (random() % 3) - 1);
  const stack = { ...SIZES, weights };
  for (const { name, rows } of CASES) {
    const x = Float32Array.from({ length: rows * SIZES.inputs }, () => (random() % 255) - 127);
    // Every row has a largest value of 127, so that its quantization is exact.
    for (let row = 0; row < rows; row++) x[row * SIZES.inputs] = 127;
    const contenders = await entered(stack, rows, wasm, ort);
    const expected = reference(stack, x);
    for (const [who, run] of Object.entries(contenders)) check(`${name} ${who}`, await run(x), expected, /** @type {any} */ (TOLERANCE)[who]);
    report({ case: name, ...where, ...compared(await timed(contenders, x), 2 * rows * weights.length) });
  }
}

/** @param {import('./onnx.js').Stack} stack @param {number} rows @param {any} wasm @param {any} ort @returns {Promise<Record<string, Contender>>} */
async function entered(stack, rows, wasm, ort) {
  const { outputs, inputs, weights } = stack;
  const ours = new wasm.Ternary(outputs, inputs, weights);
  const session = async (/** @type {Uint8Array} */ model) => {
    const session = await ort.InferenceSession.create(model, { executionProviders: ['wasm'], graphOptimizationLevel: 'all' });
    return async (/** @type {Float32Array} */ x) => (await session.run({ x: new ort.Tensor('float32', x, [rows, inputs]) })).y.data;
  };
  const candle = (/** @type {boolean} */ quantized) => {
    const layers = new wasm.Candle(outputs, inputs, weights, quantized);
    return (/** @type {Float32Array} */ x) => layers.run(x);
  };
  return {
    ours: (x) => ours.run(x),
    candle_q4_0: candle(true),
    candle_f32: candle(false),
    ort_int8: await session(int8Model(stack, rows)),
    ort_fp32: await session(floatModel(stack, rows)),
  };
}

/** `x (sum of W_l)^T` in plain loops. @param {import('./onnx.js').Stack} stack @param {Float32Array} x */
function reference({ outputs, inputs, weights }, x) {
  const summed = new Float64Array(outputs * inputs);
  weights.forEach((weight, index) => (summed[index % summed.length] += weight));
  const rows = x.length / inputs;
  const answer = new Float64Array(rows * outputs);
  for (let row = 0; row < rows; row++) {
    for (let output = 0; output < outputs; output++) {
      let sum = 0;
      for (let input = 0; input < inputs; input++) sum += x[row * inputs + input] * summed[output * inputs + input];
      answer[row * outputs + output] = sum;
    }
  }
  return answer;
}

/** @param {string} who @param {Float32Array} found @param {Float64Array} expected @param {number} tolerance */
function check(who, found, expected, tolerance) {
  if (found.length !== expected.length) throw new Error(`${who}: ${found.length} numbers, expected ${expected.length}`);
  let error = 0;
  let length = 0;
  expected.forEach((value, index) => {
    error += (found[index] - value) ** 2;
    length += value ** 2;
  });
  const share = Math.sqrt(error / length);
  if (!(share <= tolerance)) throw new Error(`${who}: off by ${share} of the answer, allowed ${tolerance}`);
}

/** Milliseconds of a call, for each contender. @param {Record<string, Contender>} contenders @param {Float32Array} x */
async function timed(contenders, x) {
  /** @type {Record<string, number>} */
  const calls = {};
  /** @type {Record<string, number[]>} */
  const times = {};
  for (const [who, run] of Object.entries(contenders)) {
    times[who] = [];
    // Until it is fast: engines compile well what has run a while.
    for (calls[who] = 1; (await turn(run, x, calls[who])) < TURN; calls[who] *= 2);
    for (let warm = 0; warm < 5; warm++) await turn(run, x, calls[who]);
    for (calls[who] = 1; (await turn(run, x, calls[who])) < TURN; calls[who] *= 2);
  }
  for (let round = 0; round < ROUNDS; round++) {
    for (const [who, run] of Object.entries(contenders)) times[who].push((await turn(run, x, calls[who])) / calls[who]);
  }
  return times;
}

/** @param {Contender} run @param {Float32Array} x @param {number} calls */
async function turn(run, x, calls) {
  const start = performance.now();
  for (let call = 0; call < calls; call++) await run(x);
  return performance.now() - start;
}

/** @param {Record<string, number[]>} times @param {number} operations */
function compared({ ours, ...theirs }, operations) {
  const ratio = Object.entries(theirs).map(([who, times]) => [who, rounded(median(ours) / median(times), 4)]);
  return {
    median_ms: rounded(median(ours), 3),
    min_ms: rounded(Math.min(...ours), 3),
    gops: rounded(operations / Math.min(...ours) / 1e6, 1),
    ratio: Object.fromEntries(ratio),
  };
}

/** Repeatable random numbers. @param {number} state */
function xorshift(state) {
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return state >>> 0;
  };
}
