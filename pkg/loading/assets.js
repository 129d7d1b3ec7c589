// @ts-check
/** Gets the wasm module, the model and the tokenizer from storage or the network. */
import { BitMarError } from '../errors.js';
import { isA } from '../is-a.js';
import { checkCompiles, supportedBuild } from '../wasm-features.js';
// Imported statically and for both builds, which build.sh checks: Vite 6 and 7 refuse a worker with
// dynamic imports.
import * as glue from '../wasm/simd128/bitmar.js';
import { store, stored } from './cache.js';
import { Progress, download } from './download.js';

/** @typedef {import('./files.js').SourceFiles & { cache?: boolean }} Sources */

/**
 * @param {Sources} sources
 * @param {(event: any) => void} report called with `{ phase: 'download', loaded, total }`
 * @param {AbortSignal} signal
 * @returns {Promise<{ glue: any, wasm: any, model: any, tokenizer: any }>} `glue` is the JavaScript
 *   side of the wasm module, to be started with `wasm`
 */
export async function loadAssets({ wasm, model, tokenizer, cache = true }, report, signal) {
  if (!supportedBuild()) {
    throw new BitMarError('unsupported', 'this browser has no WebAssembly SIMD');
  }
  if (!isA(wasm.source, 'WebAssembly.Module')) checkCompiles();
  const progress = new Progress(report);

  /** @param {import('./files.js').SourceFile} file @param {boolean} [isKept] in Cache storage */
  const get = async ({ source, ...expected }, isKept) => {
    if (typeof source !== 'string') return source;
    progress.expect(expected.bytes ?? 0);
    if (!isKept || !expected.sha256) return download(source, progress, expected, signal);
    const held = await stored(source, expected);
    if (held) progress.add(held.length);
    const bytes = held ?? (await download(source, progress, expected, signal));
    if (!held) store(source, bytes, expected);
    return bytes;
  };
  // The browser caches the wasm file itself, along with its compiled code.
  const [module, ...rest] = await Promise.all([get(wasm), get(model, cache), get(tokenizer, cache)]);
  return { glue, wasm: module, model: rest[0], tokenizer: rest[1] };
}
