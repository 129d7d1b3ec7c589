// @ts-check
/** Downloads files, with progress in bytes, retries that resume, and a check of the result. */
import { BitMarError } from '../errors.js';
import { fetchFile } from '../fetch-file.js';
import { isExpected } from './integrity.js';

/** @typedef {import('./integrity.js').Expected} Expected */

/** Attempts per file; a connection that breaks this often is not going to recover. */
const ATTEMPTS = 4;

/** Milliseconds before the second attempt; twice that before the third, and so on. */
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

  /** @param {number} bytes to add to the total */
  expect(bytes) {
    this.#total += bytes;
  }

  /** @param {number} bytes that have arrived; negative if they were discarded */
  add(bytes) {
    this.#loaded += bytes;
    const total = Math.max(this.#total, this.#loaded);
    this.#report({ phase: 'download', loaded: this.#loaded, total });
  }
}

/** The part of a file that has arrived. */
class Part {
  #progress;
  /** @type {Uint8Array<ArrayBuffer>[]} */ #chunks = [];
  length = 0;
  /** The strong ETag it arrived with; null if there was none. @type {string | null} */ tag = null;
  canResume = false;

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

  discard() {
    if (this.length === 0) return;
    this.#progress.add(-this.length);
    this.#chunks = [];
    this.length = 0;
  }

  joined() {
    const bytes = new Uint8Array(this.length);
    let at = 0;
    for (const chunk of this.#chunks) {
      bytes.set(chunk, at);
      at += chunk.length;
    }
    return bytes;
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
      const bytes = part.joined();
      if (await isExpected(bytes, expected)) return bytes;
      part.canResume = false;
      throw new Error('this is not the file that this version was built with');
    } catch (/** @type {any} */ error) {
      if (!part.canResume || attempt === ATTEMPTS) part.discard();
      signal.throwIfAborted();
      if (attempt === ATTEMPTS) {
        const message = `cannot download ${url}: ${error.message}`;
        throw new BitMarError('network', message, { cause: error });
      }
      await new Promise((resolve) => setTimeout(resolve, PAUSE * attempt));
    }
  }
}

/**
 * Requests the bytes that are missing.
 * @param {string} url
 * @param {Part} part
 * @param {number} attempt
 * @param {AbortSignal} signal
 */
async function request(url, part, attempt, signal) {
  if (part.length === 0) {
    // If the file arrived damaged, the HTTP cache may hold the damaged copy.
    return fetchFile(url, { cache: attempt === 1 ? 'default' : 'reload', signal });
  }
  const headers = { Range: `bytes=${part.length}-`, ...(part.tag && { 'If-Range': part.tag }) };
  return fetchFile(url, { headers, cache: 'no-store', signal });
}

/** @param {Response} response @param {Part} part @param {Expected} expected */
async function receive({ ok, status, headers, body }, part, expected) {
  const range = headers.get('Content-Range') ?? rangeStart(part);
  const isRest = status === 206 && range.startsWith(rangeStart(part));
  // A server error may be temporary; any other answer means the file has to start over.
  if (!isRest && status < 500) part.discard();
  if (!ok || !body || (status === 206 && !isRest)) throw new Error(`HTTP status ${status}`);
  const tag = headers.get('ETag');
  part.tag = tag?.startsWith('"') ? tag : null;
  // If the file changes in between, either the server refuses the range because of the tag, or the
  // hash will not match. Ranges of an encoded body count other bytes than those that arrive here.
  part.canResume = !headers.has('Content-Encoding') && Boolean(part.tag ?? expected.sha256);
  const reader = body.getReader();
  for (let next = await reader.read(); !next.done; next = await reader.read()) part.add(next.value);
}

/** The beginning of a Content-Range that continues what has arrived. @param {Part} part */
const rangeStart = ({ length }) => `bytes ${length}-`;

/** @param {Response} response */
function contentLength({ headers }) {
  // With a Content-Encoding, the length is that of the encoded body; progress counts decoded bytes.
  return headers.has('Content-Encoding') ? 0 : Number(headers.get('Content-Length') ?? 0);
}
