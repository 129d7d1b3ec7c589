// @ts-check
/**
 * A photo to RGBA pixels with the browser's decoder, at full size: the model's own resize follows,
 * so that every way in sees the same pixels. What the browser cannot decode goes to Rust as bytes.
 */
import { BitMarError } from '../errors.js';
import { isA } from '../is-a.js';

/** The limit of `preprocess::MAX_PIXELS`: Rust refuses more by the header, before anything is decoded. */
const MAX_PIXELS = 100_000_000;

/** Bytes in which a header's width and height are looked for: JPEGs may hold large EXIF first. */
const HEAD = 256 * 1024;

/** @typedef {{ width: number, height: number, data: Uint8Array | Uint8ClampedArray }} DecodedImage */

/**
 * @param {Blob | ImageBitmap | ImageData} photo
 * @returns {Promise<DecodedImage | Uint8Array>} pixels, or the file's bytes where the browser gave none
 */
export async function decodePhoto(photo) {
  if (isA(photo, 'ImageData')) return /** @type {ImageData} */ (photo);
  if (isA(photo, 'ImageBitmap')) return drawn(/** @type {ImageBitmap} */ (photo)) ?? refuse('its pixels cannot be read here');
  return readFile(/** @type {Blob} */ (photo));
}

/** @param {Blob} photo */
async function readFile(photo) {
  const bytes = async () => new Uint8Array(await photo.arrayBuffer());
  if (typeof createImageBitmap === 'undefined' || photo.size === 0 || (await isOverLimit(photo))) return bytes();
  try {
    const bitmap = await createImageBitmap(photo, { colorSpaceConversion: 'none' });
    return drawn(bitmap) ?? bytes();
  } catch {
    return bytes();
  }
}

/** @param {string} why @returns {never} */
function refuse(why) {
  throw new BitMarError('photo', `cannot read the photo: ${why}`);
}

/** @param {ImageBitmap} bitmap */
function drawn(bitmap) {
  try {
    if (!canReadBack()) return null;
    const { width, height } = bitmap;
    if (width * height > MAX_PIXELS) refuse(`it has more than ${MAX_PIXELS} pixels`);
    const context = canvasContext(width, height);
    context?.drawImage(bitmap, 0, 0);
    return context?.getImageData(0, 0, width, height) ?? null;
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

/** Whether a canvas gives back what was drawn: privacy settings put noise in its place. */
function canReadBack() {
  if (readsBack !== undefined) return readsBack;
  const context = canvasContext(4, 4);
  if (!context) return (readsBack = false);
  context.fillStyle = '#c86432';
  context.fillRect(0, 0, 4, 4);
  const { data } = context.getImageData(0, 0, 4, 4);
  return (readsBack = data.every((value, index) => value === [200, 100, 50, 255][index % 4]));
}

/** @param {Blob} photo */
async function isOverLimit(photo) {
  const head = new DataView(await photo.slice(0, HEAD).arrayBuffer());
  const [width, height] = dimensions(head) ?? [0, 0];
  return width * height > MAX_PIXELS;
}

/**
 * Width and height as a header states them, null for what is not found.
 * @param {DataView} head
 */
function dimensions(head) {
  try {
    const magic = head.getUint32(0);
    if (magic === 0x89504e47) return [head.getUint32(16), head.getUint32(20)]; // PNG
    if (magic === 0x47494638) return [head.getUint16(6, true), head.getUint16(8, true)]; // GIF
    if (magic >>> 16 === 0x424d) return [head.getInt32(18, true), Math.abs(head.getInt32(22, true))]; // BMP
    if (magic >>> 16 === 0xffd8) return jpegDimensions(head);
    if (magic === 0x52494646) return webpDimensions(head);
  } catch {
    // The head ends early: the decoder will say what is wrong.
  }
  return null;
}

/** @param {DataView} head */
function webpDimensions(head) {
  const [simple, extended, lossless] = [0x56503820, 0x56503858, 0x5650384c];
  const chunk = head.getUint32(12);
  if (chunk === simple) return [head.getUint16(26, true) & 0x3fff, head.getUint16(28, true) & 0x3fff];
  if (chunk === extended) return [24, 27].map((at) => (head.getUint32(at, true) & 0xffffff) + 1);
  if (chunk === lossless) return [0, 14].map((shift) => ((head.getUint32(21, true) >>> shift) & 0x3fff) + 1);
  return null;
}

/** @param {DataView} head */
function jpegDimensions(head) {
  for (let at = 2; ; at += 2 + head.getUint16(at + 2)) {
    while (head.getUint8(at) === 0xff && head.getUint8(at + 1) === 0xff) at++;
    const marker = head.getUint8(at + 1);
    const isFrame = marker >= 0xc0 && marker <= 0xcf && ![0xc4, 0xc8, 0xcc].includes(marker);
    if (isFrame) return [head.getUint16(at + 7), head.getUint16(at + 5)];
    if (head.getUint8(at) !== 0xff || marker === 0xda) return null;
  }
}
