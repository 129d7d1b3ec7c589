// @ts-check
/** Downloads with progress in bytes, a few tries that go on where the last broke off, and a check of what arrived. */
import { BitMarError } from '../errors.js';
import { fetchFile } from '../fetch-file.js';
import { isExpected } from './integrity.js';

/** @typedef {import('./integrity.js').Expected} Expected */

/** Tries per file; a connection that breaks so often is gone. */
const TRIES = 4;

/** Milliseconds before the second try; twice that before the third, and so on. */
const PAUSE = 300;

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

/** What has arrived of a file. */
class Part {
  #progress;
  /** @type {Uint8Array<ArrayBuffer>[]} */ #chunks = [];
  length = 0;
  /** The strong ETag under which it arrived; null if there was none. @type {string | null} */ tag = null;
  canGoOn = false;

  /** @param {Progress} progress */
  constructor(progress) {
    this.#progress = progress;
  }

  /** @param {Uint8Array<ArrayBuffer>} chunk */
  add(chunk) {
    this.#chunks.push(chunk);
    this.length += chunk.length;
    this.#progress.add(chunk.length);
  }

  drop() {
    if (this.length === 0) return;
    this.#progress.add(-this.length);
    this.#chunks = [];
    this.length = 0;
  }

  async joined() {
    return new Uint8Array(await new Blob(this.#chunks).arrayBuffer());
  }
}

/**
 * Downloads a whole file.
 * @param {string} url
 * @param {Progress} progress
 * @param {Expected} expected
 * @param {AbortSignal} signal
 */
export async function download(url, progress, expected, signal) {
  const part = new Part(progress);
  for (let attempt = 1; ; attempt++) {
    try {
      const response = await request(url, part, attempt, signal);
      if (!expected.bytes && attempt === 1) progress.expect(contentLength(response));
      await receive(response, part, expected);
      const bytes = await part.joined();
      if (await isExpected(bytes, expected)) return bytes;
      part.canGoOn = false;
      throw new Error('not the file this version was built with');
    } catch (/** @type {any} */ error) {
      if (!part.canGoOn || attempt === TRIES) part.drop();
      signal.throwIfAborted();
      if (attempt === TRIES) {
        throw new BitMarError('network', `cannot download ${url}: ${error.message}`, { cause: error });
      }
      await new Promise((resolve) => setTimeout(resolve, PAUSE * attempt));
    }
  }
}

/** Asks for what is missing. @param {string} url @param {Part} part @param {number} attempt @param {AbortSignal} signal */
async function request(url, part, attempt, signal) {
  if (part.length === 0) {
    // What arrived damaged may lie damaged in the HTTP cache.
    return fetchFile(url, { cache: attempt === 1 ? 'default' : 'reload', signal });
  }
  const headers = { Range: `bytes=${part.length}-`, ...(part.tag && { 'If-Range': part.tag }) };
  return fetchFile(url, { headers, cache: 'no-store', signal });
}

/** @param {Response} response @param {Part} part @param {Expected} expected */
async function receive({ ok, status, headers, body }, part, expected) {
  const isRest = status === 206 && (headers.get('Content-Range') ?? goesOnAt(part)).startsWith(goesOnAt(part));
  // The server's trouble may pass; any other answer begins the file anew, or is none.
  if (!isRest && status < 500) part.drop();
  if (!ok || !body || (status === 206 && !isRest)) throw new Error(`HTTP status ${status}`);
  const tag = headers.get('ETag');
  part.tag = tag?.startsWith('"') ? tag : null;
  // Another version's rest is refused by the server for the tag, or found by the hash. A packed file's ranges
  // are not of the bytes that arrive here.
  part.canGoOn = !headers.has('Content-Encoding') && Boolean(part.tag ?? expected.sha256);
  const reader = body.getReader();
  for (let next = await reader.read(); !next.done; next = await reader.read()) part.add(next.value);
}

/** How a Content-Range begins that fits what has arrived. @param {Part} part */
const goesOnAt = ({ length }) => `bytes ${length}-`;

/** @param {Response} response */
function contentLength({ headers }) {
  // With a Content-Encoding the length is of the packed bytes, which are not the ones we count.
  return headers.has('Content-Encoding') ? 0 : Number(headers.get('Content-Length') ?? 0);
}
