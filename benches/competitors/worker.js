// @ts-check
/** The package's engine with the build that is asked for, rather than the one the browser runs best. */
import { Engine } from '../../pkg/engine/engine.js';
import { PersistentMemory } from '../../pkg/storage/persistent-memory.js';
import * as glue from '../../pkg/wasm/simd128/bitmar.js'; // for both builds

/** @type {import('../../pkg/engine/engine.js').JobControl} */
const CONTROL = { onProgress: () => {}, isCancelled: async () => false };

/** @type {Engine} */
let engine;
/** @type {any} */
let captioner;

self.onmessage = async ({ data: { wasm, model, tokenizer, photo, beams, memory, words } }) => {
  if (!photo) {
    await glue.default({ module_or_path: wasm });
    captioner = new glue.Captioner(model, tokenizer);
    engine = new Engine(glue, captioner, new PersistentMemory(captioner, () => {}));
    self.postMessage('ready');
    return;
  }
  if (memory) {
    captioner.importMemory(memory);
    captioner.teach(captioner.begin(new Uint8Array(await photo.arrayBuffer()), {}), words);
    self.postMessage('remembered');
    return;
  }
  const options = { beams, remember: false };
  const { text, tokens, timings } = await engine.caption(photo, options, CONTROL);
  self.postMessage({ text, tokens, ms: timings });
};
