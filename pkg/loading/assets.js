// @ts-check
/** Finds and downloads the wasm build that suits this browser, the model and the tokenizer. */
import { BitMarError } from '../errors.js';
import { supportedBuild } from '../wasm-features.js';
import manifest from '../wasm/manifest.js';
import { store, stored } from './cache.js';
import { Progress, download } from './download.js';

/**
 * @typedef {string | Uint8Array<ArrayBuffer> | WebAssembly.Module} Source a URL or the content
 * @typedef {{ wasm?: Source, model?: Source, tokenizer?: Source, baseUrl?: string,
 *   cache?: boolean }} Sources
 */

// Each path is a literal, so that bundlers find the files and rewrite their URLs.
const BUILDS = {
  relaxed: {
    glue: () => import('../wasm/relaxed/bitmar.js'),
    url: () => new URL('../wasm/relaxed/bitmar_bg.wasm', import.meta.url).href,
  },
  simd128: {
    glue: () => import('../wasm/simd128/bitmar.js'),
    url: () => new URL('../wasm/simd128/bitmar_bg.wasm', import.meta.url).href,
  },
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
  const progress = new Progress(report);

  /**
   * @param {'wasm' | 'model' | 'tokenizer'} name
   * @param {string} path
   * @param {() => string} url
   * @param {any} expected
   */
  const get = async (name, path, url, expected) => {
    const source = own[name] ?? (baseUrl ? new URL(path, baseUrl).href : url());
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
  const { glue, url } = BUILDS[build];
  const [module, wasm, model, tokenizer] = await Promise.all([
    glue(),
    get('wasm', `wasm/${build}/bitmar_bg.wasm`, url, manifest.wasm[build]),
    get('model', 'model/model.safetensors', MODEL, manifest.model),
    get('tokenizer', 'model/tokenizer.json', TOKENIZER, manifest.tokenizer),
  ]);
  return { glue: module, wasm, model, tokenizer };
}
