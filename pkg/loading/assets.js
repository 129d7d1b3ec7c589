// @ts-check
/** Finds and downloads the wasm build that suits this browser, the model and the tokenizer. */
import { BitMarError } from '../errors.js';
import { isA } from '../is-a.js';
import { checkCompiles, supportedBuild } from '../wasm-features.js';
import manifest from '../wasm/manifest.js';
// Imported statically and for both builds, which build.sh checks: Vite 6 and 7 refuse a worker with
// dynamic imports.
import * as glue from '../wasm/simd128/bitmar.js';
import { store, stored } from './cache.js';
import { Progress, download } from './download.js';

/**
 * @typedef {string | Uint8Array<ArrayBuffer> | WebAssembly.Module} Source a URL or the content
 * @typedef {{ wasm?: Source, model?: Source, tokenizer?: Source, baseUrl?: string,
 *   cache?: boolean }} Sources
 */

// Each path is a literal, so that bundlers find the files and rewrite their URLs.
const BUILDS = {
  relaxed: () => new URL('../wasm/relaxed/bitmar_bg.wasm', import.meta.url).href,
  simd128: () => new URL('../wasm/simd128/bitmar_bg.wasm', import.meta.url).href,
};
const MODEL = () => new URL('../model/model.safetensors', import.meta.url).href;
const TOKENIZER = () => new URL('../model/tokenizer.json', import.meta.url).href;

/**
 * @param {Sources} sources
 * @param {(event: any) => void} report called with `{ phase: 'download', loaded, total }`
 * @param {AbortSignal} signal
 * @returns {Promise<{ glue: any, wasm: any, model: any, tokenizer: any }>} `glue` is the JavaScript
 *   side of the wasm module, to be started with `wasm`
 */
export async function loadAssets({ baseUrl, cache = true, ...own }, report, signal) {
  const build = supportedBuild();
  if (!build) throw new BitMarError('unsupported', 'this browser has no WebAssembly SIMD');
  if (!isA(own.wasm, 'WebAssembly.Module')) checkCompiles();
  const progress = new Progress(report);

  /**
   * @param {'wasm' | 'model' | 'tokenizer'} name
   * @param {string} path
   * @param {() => string} url
   * @param {any} expected
   */
  const get = async (name, path, url, expected) => {
    const source = own[name] ?? (baseUrl ? within(baseUrl, path) : url());
    if (typeof source !== 'string') return source;
    // The build recorded neither size nor hash of a caller's own file.
    const known = own[name] ? {} : expected;
    progress.expect(known.bytes ?? 0);
    // The browser caches the wasm file itself, along with its compiled code.
    if (name === 'wasm' || !cache || !known.sha256) {
      return download(source, progress, known, signal);
    }
    const held = await stored(source, known);
    if (held) progress.add(held.length);
    const bytes = held ?? (await download(source, progress, known, signal));
    if (!held) store(source, bytes, known);
    return bytes;
  };
  const [wasm, model, tokenizer] = await Promise.all([
    get('wasm', `wasm/${build}/bitmar_bg.wasm`, BUILDS[build], manifest.wasm[build]),
    get('model', 'model/model.safetensors', MODEL, manifest.model),
    get('tokenizer', 'model/tokenizer.json', TOKENIZER, manifest.tokenizer),
  ]);
  return { glue, wasm, model, tokenizer };
}

/** The address of a file in a folder. @param {string} folder @param {string} path */
const within = (folder, path) => new URL(path, folder.replace(/\/?$/, '/')).href;
