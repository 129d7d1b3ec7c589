// @ts-check
/** The benchmarks in node, simd128 only: node 20 computes relaxed instructions wrongly. `node node.js PHOTO MEMORY` */
import { readFile } from 'node:fs/promises';
import ort from 'onnxruntime-web';
import { captions } from './captions.js';
import { contest } from './contest.js';

const file = (/** @type {string} */ path) => readFile(new URL(path, import.meta.url));
const where = { runtime: 'node', build: 'simd128' };
const report = (/** @type {object} */ line) => console.log(JSON.stringify(line));

const competitors = await import('../../target/bench/wasm/simd128/competitors.js');
await competitors.default({ module_or_path: await file('../../target/bench/wasm/simd128/competitors_bg.wasm') });
await contest(competitors, ort, where, report);

const [wasm, model, tokenizer] = await Promise.all(
  ['wasm/simd128/bitmar_bg.wasm', 'model/model.safetensors', 'model/tokenizer.json'].map((path) => file(`../../pkg/${path}`)),
);
const [photo, memory] = await Promise.all([readFile(process.argv[2]), readFile(process.argv[3])]);

let starts = 0;

async function start() {
  // Another address is another module, with a memory of its own.
  const glue = await import(`../../pkg/wasm/simd128/bitmar.js?${starts++}`);
  await glue.default({ module_or_path: wasm });
  const captioner = new glue.Captioner(model, tokenizer);
  const caption = async (/** @type {number} */ beams) => {
    const generation = captioner.begin(photo, { beams, remember: false });
    while (generation.step());
    return captioner.finish(generation);
  };
  const remember = async (/** @type {string} */ words) => {
    captioner.importMemory(memory);
    captioner.teach(captioner.begin(photo, {}), words);
  };
  return { caption, remember };
}

await captions(start, where, report);
