// @ts-check
/**
 * Decodes a photo with the browser's decoder, at full size, so that every kind of source goes
 * through the model's own resizing. The wasm module gets the files that the browser cannot decode,
 * and those that browsers decode differently.
 */
import { BitMarError } from '../errors.js';
import { isA } from '../is-a.js';

/**
 * @typedef {{ width: number, height: number, data: Uint8Array | Uint8ClampedArray }} DecodedImage
 * @typedef {{ isForBrowser: (bytes: Uint8Array) => boolean,
 *   maxPixels: () => number }} Limits exports of the wasm module
 */

/**
 * @param {Blob | ImageBitmap | ImageData} photo
 * @param {Limits} limits
 * @returns {Promise<DecodedImage | Uint8Array>} the pixels, or the file's bytes
 */
export async function decodePhoto(photo, limits) {
  if (isA(photo, 'ImageData')) return checked(/** @type {ImageData} */ (photo));
  if (isA(photo, 'ImageBitmap')) return readBitmap(/** @type {ImageBitmap} */ (photo), limits);
  return decodeFile(/** @type {Blob} */ (photo), limits);
}

/** @param {Blob} file @param {Limits} limits */
async function decodeFile(file, limits) {
  const bytes = await bytesOf(file);
  if (typeof createImageBitmap === 'undefined' || !limits.isForBrowser(bytes)) return bytes;
  /** @type {ImageBitmap} */ let bitmap;
  try {
    bitmap = await createImageBitmap(file, { colorSpaceConversion: 'none' });
  } catch {
    return bytes;
  }
  return readPixels(bitmap, limits) ?? bytes;
}

/** @param {Blob} blob */
async function bytesOf(blob) {
  try {
    return new Uint8Array(await blob.arrayBuffer());
  } catch (/** @type {any} */ error) {
    return refuse(error.message);
  }
}

/** @param {ImageData} image */
function checked(image) {
  const { width, height, data } = image;
  return data.byteLength === 4 * width * height ? image : refuse('it has no 8-bit RGBA pixels');
}

/** @param {ImageBitmap} bitmap @param {Limits} limits */
function readBitmap(bitmap, limits) {
  let reason = 'its pixels cannot be read here';
  try {
    const pixels = readPixels(bitmap, limits);
    if (pixels) return pixels;
  } catch (/** @type {any} */ error) {
    if (error instanceof BitMarError) throw error;
    reason = error.message;
  }
  return refuse(reason);
}

/** @param {string} why @param {string} [reason] @returns {never} */
function refuse(why, reason) {
  throw new BitMarError('photo', `cannot read the photo: ${why}`, { reason });
}

/**
 * The pixels over white; null if canvas pixels cannot be read here.
 * @param {ImageBitmap} bitmap @param {Limits} limits
 */
function readPixels(bitmap, { maxPixels }) {
  try {
    if (!canReadBack()) return null;
    const { width, height } = bitmap;
    if (width * height > maxPixels()) {
      const why = `a photo of ${width} x ${height} pixels is over the limit of ${maxPixels()} pixels`;
      refuse(why, 'too-large');
    }
    const context = canvasContext(width, height);
    if (!context) return null;
    context.fillStyle = 'white';
    context.fillRect(0, 0, width, height);
    context.drawImage(bitmap, 0, 0);
    const image = context.getImageData(0, 0, width, height);
    // A canvas that is too large for the browser draws nothing, and its pixels are transparent.
    return image.data.at(-1) === 255 ? image : null;
  } finally {
    bitmap.close();
  }
}

/** @param {number} width @param {number} height */
function canvasContext(width, height) {
  if (typeof OffscreenCanvas === 'undefined') return null;
  return new OffscreenCanvas(width, height).getContext('2d', { willReadFrequently: true });
}

/** @type {boolean | undefined} */
let readsBack;

/** Whether a canvas returns what was drawn on it: some privacy settings return noise instead. */
function canReadBack() {
  if (readsBack !== undefined) return readsBack;
  const context = canvasContext(4, 4);
  if (!context) return (readsBack = false);
  context.fillStyle = '#c86432';
  context.fillRect(0, 0, 4, 4);
  const { data } = context.getImageData(0, 0, 4, 4);
  return (readsBack = data.every((value, index) => value === [200, 100, 50, 255][index % 4]));
}
