// @ts-check
/**
 * Where the package's files are. The page's side says so: a worker that runs from a Blob, or that a
 * bundler wrote, does not know where it came from.
 */
import { supportedBuild } from '../wasm-features.js';
import manifest from '../wasm/manifest.js';

/**
 * @typedef {string | Uint8Array<ArrayBuffer> | WebAssembly.Module} Source an absolute URL or the
 *   content
 * @typedef {{ source: Source } & import('./integrity.js').Expected} SourceFile
 * @typedef {{ wasm: SourceFile, model: SourceFile, tokenizer: SourceFile }} SourceFiles
 */

// Each path is a literal, so that bundlers find the files and rewrite their URLs.
const BUILDS = {
  relaxed: () => new URL('../wasm/relaxed/bitmar_bg.wasm', import.meta.url).href,
  simd128: () => new URL('../wasm/simd128/bitmar_bg.wasm', import.meta.url).href,
};
const TOKENIZER = () => new URL('../model/tokenizer.json', import.meta.url).href;

/** The address of the model. */
export const modelUrl = () => new URL('../model/model.safetensors', import.meta.url).href;

/**
 * @param {{ wasm?: Source, model?: Source, tokenizer?: Source, baseUrl?: string }} sources the
 *   caller's; `baseUrl` is the folder of the others, with or without a last slash
 * @returns {SourceFiles} a caller's own file has neither size nor hash
 */
export function locate({ baseUrl, ...own }) {
  const build = supportedBuild() ?? 'simd128';
  /**
   * @param {'wasm' | 'model' | 'tokenizer'} name
   * @param {string} path
   * @param {() => string} url
   * @param {import('./integrity.js').Expected} expected
   */
  const file = (name, path, url, expected) => {
    const source = own[name];
    if (source) return { source };
    return { source: baseUrl ? within(baseUrl, path) : url(), ...expected };
  };
  return {
    wasm: file('wasm', `wasm/${build}/bitmar_bg.wasm`, BUILDS[build], manifest.wasm[build]),
    model: file('model', 'model/model.safetensors', modelUrl, manifest.model),
    tokenizer: file('tokenizer', 'model/tokenizer.json', TOKENIZER, manifest.tokenizer),
  };
}

/** @param {string} folder @param {string} path */
const within = (folder, path) => new URL(path, folder.replace(/\/?$/, '/')).href;
