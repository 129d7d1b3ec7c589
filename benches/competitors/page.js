// @ts-check
/** The benchmarks in a page: `run(build, photo, memory, report)` is called from chromium.js. */
import * as ort from './node_modules/onnxruntime-web/dist/ort.wasm.min.mjs';
import { captions } from './captions.js';
import { contest } from './contest.js';

/** @param {string} path */
const bytes = async (path) => new Uint8Array(await (await fetch(path)).arrayBuffer());

/** @param {Worker} worker @param {object} message */
const asked = (worker, message) =>
  new Promise((resolve, reject) => {
    worker.onmessage = ({ data }) => resolve(data);
    worker.onerror = ({ message }) => reject(new Error(message));
    worker.postMessage(message);
  });

/** @param {string} build @param {string} photoPath @param {string} memoryPath @param {(line: object) => void} report */
export async function run(build, photoPath, memoryPath, report) {
  const where = { runtime: 'chromium', build };
  ort.env.wasm.wasmPaths = new URL('./node_modules/onnxruntime-web/dist/', import.meta.url).href;
  const competitors = await import(`../../target/bench/wasm/${build}/competitors.js`);
  await competitors.default();
  await contest(competitors, ort, where, report);

  const packaged = new URL('../../pkg/', import.meta.url);
  const [wasm, model, tokenizer] = await Promise.all(
    [`wasm/${build}/bitmar_bg.wasm`, 'model/model.safetensors', 'model/tokenizer.json'].map((path) => bytes(new URL(path, packaged).href)),
  );
  const photo = new Blob([await bytes(photoPath)], { type: 'image/jpeg' });
  /** @type {Worker | undefined} */
  let worker;
  await captions(async () => {
    worker?.terminate();
    const started = (worker = new Worker(new URL('./worker.js', import.meta.url), { type: 'module' }));
    await asked(started, { build, wasm, model, tokenizer });
    return {
      caption: (beams) => asked(started, { photo, beams }),
      remember: async (words) => asked(started, { photo, words, memory: await bytes(memoryPath) }),
    };
  }, where, report);
}
