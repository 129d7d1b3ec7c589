// @ts-check
/**
 * The model and the tokenizer in the Cache API, under the hash of their content: another load needs no
 * network, whatever their address. Where a service worker keeps them, its copy is used and ours goes.
 * Storage may be denied or full; then they are downloaded every time.
 */
import manifest from '../wasm/manifest.js';
import { isExpected } from './integrity.js';

/** @typedef {import('./integrity.js').Expected} Expected */

const NAME = 'bitmar files';

/** Only http addresses can be keys; nothing is ever asked of this one. @param {Expected} expected */
const key = ({ sha256 }) => `https://bitmar.invalid/${sha256}`;

/** @returns {Promise<Cache | undefined>} */
const opened = async () => globalThis.caches?.open(NAME);

/** @param {string} url */
const elsewhere = async (url) => globalThis.caches?.match(url, { ignoreVary: true });

/** The file, if it is stored undamaged. @param {string} url @param {Expected} expected */
export async function stored(url, expected) {
  try {
    const cache = await opened();
    const others = await elsewhere(url);
    for (const response of [others, await cache?.match(key(expected))]) {
      const bytes = response && new Uint8Array(await response.arrayBuffer());
      if (!bytes || !(await isExpected(bytes, expected))) continue;
      if (response === others) await cache?.delete(key(expected));
      return bytes;
    }
    await cache?.delete(key(expected));
  } catch {
    // Denied: as good as not stored.
  }
}

/** Stores a file that was downloaded. @param {string} url @param {Uint8Array<ArrayBuffer>} bytes @param {Expected} expected */
export async function store(url, bytes, expected) {
  try {
    if (await elsewhere(url)) return;
    const cache = await opened();
    await cache?.put(key(expected), new Response(bytes));
    const current = [manifest.model, manifest.tokenizer].map(key);
    for (const request of (await cache?.keys()) ?? []) {
      if (!current.includes(request.url)) await cache?.delete(request);
    }
  } catch {
    // Denied or full: the file is used all the same.
  }
}

/** @param {string} url @param {Expected} expected */
export async function isStored(url, expected) {
  try {
    return Boolean((await (await opened())?.match(key(expected))) ?? (await elsewhere(url)));
  } catch {
    return false;
  }
}

/** Removes what was stored here; whether there was anything. */
export async function clearStored() {
  return (await globalThis.caches?.delete(NAME)) ?? false;
}
