// @ts-check
/** What callers give as an image, as something a worker can be sent. Decoding is left to the worker. */
import { BitMarError } from '../errors.js';
import { fetchFile } from '../fetch-file.js';
import { isA } from '../is-a.js';

/**
 * @param {any} image
 * @param {AbortSignal} [signal] ends the download of a URL
 * @returns {Promise<{ photo: Blob | ImageBitmap | ImageData, transfer: Transferable[] }>}
 */
export async function toSendable(image, signal) {
  if (typeof image === 'string' || image instanceof URL) {
    return { photo: await fetched(image, signal), transfer: [] };
  }
  if (image instanceof Blob || isA(image, 'ImageData') || isA(image, 'ImageBitmap')) {
    return { photo: image, transfer: [] };
  }
  if (image instanceof ArrayBuffer || ArrayBuffer.isView(image)) {
    return { photo: new Blob([/** @type {any} */ (image)]), transfer: [] };
  }
  if (DRAWABLE.some((name) => isA(image, name))) {
    const bitmap = await snapshot(image);
    return { photo: bitmap, transfer: [bitmap] };
  }
  throw new TypeError(
    'expected a Blob, bytes, a URL, ImageData, ImageBitmap, VideoFrame, or an image, video or canvas element',
  );
}

/** What only the page can turn into pixels. */
const DRAWABLE = ['HTMLImageElement', 'HTMLCanvasElement', 'OffscreenCanvas', 'HTMLVideoElement', 'VideoFrame'];

/** @param {any} drawable */
async function snapshot(drawable) {
  try {
    await drawable.decode?.();
    return await createImageBitmap(drawable, { colorSpaceConversion: 'none' });
  } catch (/** @type {any} */ error) {
    throw new BitMarError('photo', `cannot read the photo: ${error.message}`, { cause: error });
  }
}

/** @param {string | URL} url @param {AbortSignal} [signal] */
async function fetched(url, signal) {
  try {
    const response = await fetchFile(url, { signal });
    if (!response.ok) throw new Error(`HTTP status ${response.status}`);
    return await response.blob();
  } catch (/** @type {any} */ error) {
    if (signal?.aborted) throw signal.reason;
    throw new BitMarError('network', `cannot download ${url}: ${error.message}`, { cause: error });
  }
}
