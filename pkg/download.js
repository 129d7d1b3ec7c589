// @ts-check
/** Downloads with progress in bytes, a few tries, and a check of what arrived. */
import { BitMarError } from './errors.js';

/** Tries per file; a connection that breaks twice in a row is gone. */
const TRIES = 3;

/** Milliseconds before the second try; twice that before the third. */
const PAUSE = 300;

/**
 * @typedef {{ bytes?: number, sha256?: string }} Expected
 * What a file should be, as the build recorded it. Without it the server's Content-Length is used.
 */

/** Adds up the bytes of several downloads. */
export class Progress {
  #loaded = 0;
  #total = 0;
  #report;

  /** @param {(event: { phase: 'download', loaded: number, total: number }) => void} report */
  constructor(report) {
    this.#report = report;
  }

  /** @param {number} bytes to expect on top of those announced so far */
  expect(bytes) {
    this.#total += bytes;
  }

  /** @param {number} bytes that arrived; negative to take them back */
  add(bytes) {
    this.#loaded += bytes;
    this.#report({ phase: 'download', loaded: this.#loaded, total: Math.max(this.#total, this.#loaded) });
  }
}

/**
 * Downloads a whole file.
 * @param {string} url
 * @param {Progress} progress
 * @param {Expected} expected
 */
export async function download(url, progress, expected) {
  for (let attempt = 1; ; attempt++) {
    let arrived = 0;
    const count = (/** @type {number} */ bytes) => (progress.add(bytes), (arrived += bytes));
    try {
      // What arrived damaged may lie damaged in the HTTP cache.
      const response = await fetch(url, { cache: attempt === 1 ? 'default' : 'reload' });
      if (!response.ok || !response.body) throw new Error(`HTTP status ${response.status}`);
      if (!expected.bytes && attempt === 1) progress.expect(contentLength(response));
      const body = response.body.pipeThrough(counter(count));
      const bytes = new Uint8Array(await new Response(body).arrayBuffer());
      await verify(bytes, expected);
      return bytes;
    } catch (/** @type {any} */ error) {
      progress.add(-arrived);
      if (attempt === TRIES) {
        throw new BitMarError('network', `cannot download ${url}: ${error.message}`, { cause: error });
      }
      await new Promise((resolve) => setTimeout(resolve, PAUSE * attempt));
    }
  }
}

/** @param {Response} response */
function contentLength({ headers }) {
  // With a Content-Encoding the length is of the packed bytes, which are not the ones we count.
  return headers.has('Content-Encoding') ? 0 : Number(headers.get('Content-Length') ?? 0);
}

/** @param {(bytes: number) => void} count @returns {TransformStream<Uint8Array<ArrayBuffer>, Uint8Array<ArrayBuffer>>} */
const counter = (count) =>
  new TransformStream({
    transform(chunk, controller) {
      count(chunk.byteLength);
      controller.enqueue(chunk);
    },
  });

/** @param {Uint8Array<ArrayBuffer>} bytes @param {Expected} expected */
async function verify(bytes, expected) {
  // Outside a secure context there is no digest; the model's own checks remain.
  if (!expected.sha256 || !globalThis.crypto?.subtle) return;
  const digest = new Uint8Array(await crypto.subtle.digest('SHA-256', bytes));
  const found = Array.from(digest, (byte) => byte.toString(16).padStart(2, '0')).join('');
  if (found !== expected.sha256) throw new Error('not the file this version was built with');
}
