// @ts-check
/**
 * Where the package's files are. The page's side says so: a worker that runs from a Blob, or that a
 * bundler wrote, does not know where it came from.
 */
import { isNode } from '../fetch-file.js';
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

const MODEL = () => new URL('../model/model.safetensors', import.meta.url).href;

/** In a variable, so that no tool rewrites the URL below. */
const HOME = '../';

/**
 * The address of one of the package's files. In Node it is a file, also where a tool writes the
 * address that its server would have, as vitest does for linked packages.
 * @param {() => string} url
 * @param {string} path
 */
function own(url, path) {
  const isFile = !isNode || url().startsWith('file:') || !import.meta.url.startsWith('file:');
  return isFile ? url() : within(new URL(HOME, import.meta.url).href, path);
}

/** The address of the model. */
export const modelUrl = () => own(MODEL, 'model/model.safetensors');

/**
 * @param {{ wasm?: Source, model?: Source, tokenizer?: Source, baseUrl?: string }} sources the
 *   caller's; `baseUrl` is the folder of the others, with or without a last slash
 * @returns {SourceFiles} a caller's own file has neither size nor hash
 */
export function locate({ baseUrl, ...given }) {
  const build = supportedBuild() ?? 'simd128';
  /**
   * @param {'wasm' | 'model' | 'tokenizer'} name
   * @param {string} path
   * @param {() => string} url
   * @param {import('./integrity.js').Expected} expected
   */
  const file = (name, path, url, expected) => {
    const source = given[name];
    if (source) return { source };
    return { source: baseUrl ? within(baseUrl, path) : own(url, path), ...expected };
  };
  return {
    wasm: file('wasm', `wasm/${build}/bitmar_bg.wasm`, BUILDS[build], manifest.wasm[build]),
    model: file('model', 'model/model.safetensors', MODEL, manifest.model),
    tokenizer: file('tokenizer', 'model/tokenizer.json', TOKENIZER, manifest.tokenizer),
  };
}

/** @param {string} folder @param {string} path */
const within = (folder, path) => new URL(path, folder.replace(/\/?$/, '/')).href;
