// @ts-check
/** The start of a caption: what was read of a photo, and the options, as the wasm module takes them. */

/**
 * @param {any} captioner
 * @param {Awaited<ReturnType<typeof import('./pixels.js').readPhoto>>} read
 * @param {object} options
 */
export function begin(captioner, read, options) {
  return read instanceof Uint8Array
    ? captioner.begin(read, given(options))
    : captioner.beginRgba(read.width, read.height, asBytes(read.data), given(options));
}

/** Without what is undefined, which is as good as not given. @param {object} options */
const given = (options) => Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined));

/** The same bytes, as wasm-bindgen takes them. @param {Uint8Array | Uint8ClampedArray} data */
const asBytes = (data) => new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
