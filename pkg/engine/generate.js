// @ts-check
/** Runs a caption's generation in the wasm module. */

/**
 * @param {any} captioner
 * @param {Awaited<ReturnType<typeof import('./decode-image.js').decodePhoto>>} photo
 * @param {object} options
 */
export function begin(captioner, photo, options) {
  const given = withoutUndefined(options);
  return photo instanceof Uint8Array
    ? captioner.begin(photo, given)
    : captioner.beginRgba(photo.width, photo.height, asBytes(photo.data), given);
}

/**
 * Generates token after token; returns false if the job was cancelled.
 * @param {any} generation
 * @param {import('./engine.js').JobControl} control
 */
export async function complete(generation, { onProgress, isCancelled }) {
  let text = '';
  for (let hasMore = true; hasMore; ) {
    hasMore = generation.step();
    if (hasMore && generation.text() !== text) onProgress((text = generation.text()));
    if (await isCancelled()) return false;
  }
  return true;
}

/** `undefined` means "not given". @param {object} options */
const withoutUndefined = (options) =>
  Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined));

/** The class that wasm-bindgen takes. @param {Uint8Array | Uint8ClampedArray} data */
const asBytes = (data) => new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
