// @ts-check
/** A caption's making in the wasm module: its start, and its steps. */

/**
 * @param {any} captioner
 * @param {Awaited<ReturnType<typeof import('./decode-image.js').decodePhoto>>} photo
 * @param {object} options
 */
export function begin(captioner, photo, options) {
  return photo instanceof Uint8Array
    ? captioner.begin(photo, given(options))
    : captioner.beginRgba(photo.width, photo.height, asBytes(photo.data), given(options));
}

/**
 * Makes a caption, token after token.
 * @param {any} generation
 * @param {import('./engine.js').JobControl} control
 * @returns whether it is complete: if not, it was cancelled
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

/** Without what is undefined, which is as good as not given. @param {object} options */
const given = (options) => Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined));

/** The same bytes, as wasm-bindgen takes them. @param {Uint8Array | Uint8ClampedArray} data */
const asBytes = (data) => new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
