// @ts-check
/**
 * Keeps the model and the tokenizer in Cache storage, keyed by the hash of their content, so that
 * their URLs may change. A copy of a service worker's replaces ours. If storage is denied or full,
 * every load downloads them.
 */
import manifest from '../wasm/manifest.js';
import { isExpected } from './integrity.js';

/** @typedef {import('./integrity.js').Expected} Expected */

const NAME = 'bitmar files';

/** Cache keys must be http(s) URLs; this one is never requested. @param {Expected} expected */
const key = ({ sha256 }) => `https://bitmar.invalid/${sha256}`;

/** @returns {Promise<Cache | undefined>} */
const openCache = async () => globalThis.caches?.open(NAME);

/** A response in any cache of the origin, such as a service worker's. @param {string} url */
const matchAnywhere = async (url) => globalThis.caches?.match(url, { ignoreVary: true });

/** Returns the file if an intact copy is stored. @param {string} url @param {Expected} expected */
export async function stored(url, expected) {
  try {
    const cache = await openCache();
    const other = await matchAnywhere(url);
    for (const response of [other, await cache?.match(key(expected))]) {
      const bytes = response && new Uint8Array(await response.arrayBuffer());
      if (!bytes || !(await isExpected(bytes, expected))) continue;
      if (response === other) await cache?.delete(key(expected));
      return bytes;
    }
    await cache?.delete(key(expected));
  } catch {
    // Storage is denied: treat the file as not stored.
  }
}

/**
 * Stores a downloaded file and deletes those of other versions.
 * @param {string} url
 * @param {Uint8Array<ArrayBuffer>} bytes
 * @param {Expected} expected
 */
export async function store(url, bytes, expected) {
  try {
    if (await matchAnywhere(url)) return;
    const cache = await openCache();
    await cache?.put(key(expected), new Response(bytes));
    const current = [manifest.model, manifest.tokenizer].map(key);
    for (const request of (await cache?.keys()) ?? []) {
      if (!current.includes(request.url)) await cache?.delete(request);
    }
  } catch {
    // Storage is denied or full: the downloaded file is used anyway.
  }
}

/** @param {string} url @param {Expected} expected */
export async function isStored(url, expected) {
  try {
    const own = await (await openCache())?.match(key(expected));
    return Boolean(own ?? (await matchAnywhere(url)));
  } catch {
    return false;
  }
}

/** Deletes the files stored here; returns whether there were any. */
export async function clearStored() {
  try {
    return (await globalThis.caches?.delete(NAME)) ?? false;
  } catch {
    return false; // Storage is denied: nothing is stored.
  }
}
