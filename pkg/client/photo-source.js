// @ts-check
/** Turns a caller's photo into something that can be posted to a worker, which decodes it. */
import { BitMarError } from '../errors.js';
import { fetchFile } from '../fetch-file.js';
import { isA } from '../is-a.js';

/**
 * @param {any} photo
 * @param {AbortSignal} [signal] ends the download of a URL
 * @returns {Promise<{ sendable: Blob | ImageBitmap | ImageData, transfer: Transferable[] }>}
 */
export async function toSendable(photo, signal) {
  if (typeof photo === 'string' || photo instanceof URL) {
    return { sendable: await download(photo, signal), transfer: [] };
  }
  if (photo instanceof Blob || isA(photo, 'ImageData') || isA(photo, 'ImageBitmap')) {
    return { sendable: photo, transfer: [] };
  }
  if (photo instanceof ArrayBuffer || ArrayBuffer.isView(photo)) {
    return { sendable: new Blob([/** @type {any} */ (photo)]), transfer: [] };
  }
  if (DRAWABLE.some((name) => isA(photo, name))) {
    const bitmap = await toBitmap(photo);
    return { sendable: bitmap, transfer: [bitmap] };
  }
  throw new TypeError(
    'expected a Blob, bytes, a URL, ImageData, ImageBitmap, VideoFrame, or an image, video or ' +
      'canvas element',
  );
}

/** The classes whose pixels only this thread can read. */
const DRAWABLE = [
  'HTMLImageElement', 'HTMLCanvasElement', 'OffscreenCanvas', 'HTMLVideoElement', 'VideoFrame',
];

/** @param {any} drawable */
async function toBitmap(drawable) {
  try {
    await drawable.decode?.();
    return await createImageBitmap(drawable, { colorSpaceConversion: 'none' });
  } catch (/** @type {any} */ error) {
    throw new BitMarError('photo', `cannot read the photo: ${error.message}`, { cause: error });
  }
}

/** @param {string | URL} url @param {AbortSignal} [signal] */
async function download(url, signal) {
  try {
    const response = await fetchFile(url, { signal });
    if (!response.ok) throw new Error(`HTTP status ${response.status}`);
    return await response.blob();
  } catch (/** @type {any} */ error) {
    if (signal?.aborted) throw signal.reason;
    throw new BitMarError('network', `cannot download ${url}: ${error.message}`, { cause: error });
  }
}
