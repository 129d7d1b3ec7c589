// @ts-check
/**
 * Turns a caller's photo into something that can be posted to a worker, which decodes it: first
 * `fetchPhoto`, which may wait for a network or a drive, then `toSendable`, which does not.
 */
import { BitMarError } from '../errors.js';
import { fetchFile } from '../fetch-file.js';
import { isA } from '../is-a.js';
import { absolute } from './address.js';

/** @typedef {{ signal: AbortSignal, onBytes: () => void }} FetchControl */

/** How many bytes of a file are read at once. */
const PART = 1 << 20;

/** The classes of files and of what can be drawn. */
const CLASSES = [
  'Blob', 'File', 'ArrayBuffer', 'SharedArrayBuffer', 'ImageData', 'ImageBitmap', 'VideoFrame',
  'HTMLImageElement', 'HTMLVideoElement', 'HTMLCanvasElement', 'OffscreenCanvas',
];

/** Whether this can be a photo, which does not mean that it can be read. @param {any} value */
export function isPhoto(value) {
  if (typeof value === 'string' || isA(value, 'URL')) return absolute(value) !== null;
  return (ArrayBuffer.isView(value) || isA(value, ...CLASSES)) && !isGone(value);
}

/** Where a photo has to come from; null if it is in memory. @param {any} photo */
export function placeOf(photo) {
  if (typeof photo === 'string' || isA(photo, 'URL', 'HTMLImageElement')) return 'network';
  return isA(photo, 'Blob', 'File') ? 'file' : null;
}

/**
 * Gets a photo of the network or of a file. It may stay pending after an abort.
 * @param {any} photo
 * @param {FetchControl} control
 * @returns {Promise<Blob | HTMLImageElement>} what `toSendable` takes
 */
export async function fetchPhoto(photo, control) {
  if (typeof photo === 'string' || isA(photo, 'URL')) return download(photo, control);
  try {
    if (isA(photo, 'HTMLImageElement')) return await loaded(photo);
    return await readFile(photo, control);
  } catch (error) {
    throw unreadable(error);
  }
}

/** What cannot be read any more: its owner closed it or gave its buffer away. @param {any} photo */
export function isGone(photo) {
  const data = isA(photo, 'ImageData') ? photo.data : photo;
  const buffer = ArrayBuffer.isView(data) ? data.buffer : data;
  if (isA(photo, 'ImageBitmap')) return photo.width === 0;
  if (isA(buffer, 'ArrayBuffer')) return isDetached(/** @type {any} */ (buffer));
  return false;
}

/**
 * @param {any} photo one in memory, or what `fetchPhoto` returned
 * @returns {Promise<{ sendable: Blob | ImageBitmap | ImageData, transfer: Transferable[] }>}
 */
export async function toSendable(photo) {
  try {
    if (isGone(photo)) throw new Error('it was closed or transferred');
    if (isA(photo, 'Blob', 'ImageData')) return { sendable: photo, transfer: [] };
    const bytes = isA(photo, 'ArrayBuffer', 'SharedArrayBuffer') ? new Uint8Array(photo) : photo;
    if (ArrayBuffer.isView(bytes)) return { sendable: new Blob([copyOf(bytes)]), transfer: [] };
    const bitmap = await createImageBitmap(photo, { colorSpaceConversion: 'none' });
    return { sendable: bitmap, transfer: [bitmap] };
  } catch (error) {
    throw unreadable(error);
  }
}

/** @param {any} error */
export const unreadable = (error) =>
  new BitMarError('photo', `cannot read the photo: ${error?.message ?? error}`, { cause: error });

/** A Blob does not take shared memory. @param {ArrayBufferView} view */
const copyOf = ({ buffer, byteOffset, byteLength }) =>
  new Uint8Array(new Uint8Array(buffer, byteOffset, byteLength));

/** @param {ArrayBuffer} buffer */
function isDetached(buffer) {
  try {
    return !new Uint8Array(buffer);
  } catch {
    return true;
  }
}

/** @param {string | URL} url @param {FetchControl} control */
async function download(url, control) {
  try {
    const response = await fetchFile(url, { signal: control.signal });
    control.onBytes();
    if (!response.ok) throw new Error(`HTTP status ${response.status}`);
    return await receive(response, control);
  } catch (/** @type {any} */ error) {
    throw new BitMarError('network', `cannot download ${url}: ${error.message}`, { cause: error });
  }
}

/** @param {Response} response @param {FetchControl} control */
async function receive({ headers, body }, { signal, onBytes }) {
  const reader = (body ?? new Blob().stream()).getReader();
  signal.addEventListener('abort', () => reader.cancel().catch(() => {}), { once: true });
  const chunks = [];
  for (let next = await reader.read(); !next.done; next = await reader.read()) {
    chunks.push(next.value);
    onBytes();
  }
  return new Blob(chunks, { type: headers.get('Content-Type') ?? '' });
}

/** @param {Blob} file @param {FetchControl} control */
async function readFile(file, { signal, onBytes }) {
  const parts = [];
  // Not by its stream, whose errors do not say whether the file has changed.
  for (let at = 0; at < file.size && !signal.aborted; at += PART) {
    parts.push(await file.slice(at, at + PART).arrayBuffer());
    onBytes();
  }
  return new Blob(parts, { type: file.type });
}

/** @param {HTMLImageElement} image */
async function loaded(image) {
  const isLazy = image.loading === 'lazy';
  // The browser loads a lazy image when it comes into view, which may be never.
  if (isLazy) image.loading = 'eager';
  try {
    await image.decode();
  } finally {
    if (isLazy) image.loading = 'lazy';
  }
  return image;
}
