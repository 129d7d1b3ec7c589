// @ts-check
/** Finds the wasm build that this engine can run, by validating modules of a few bytes. */

import { BitMarError } from './errors.js';

const bytes = (/** @type {string} */ hex) =>
  Uint8Array.from(hex.match(/../g) ?? [], (pair) => parseInt(pair, 16));

/** `i8x16.splat` and `i8x16.popcnt`: fixed-width SIMD. */
const SIMD128 = bytes('0061736d010000000105016000017b030201000a0a0108004100fd0ffd620b');

/** `i16x8.relaxed_dot_i8x16_i7x16_s`, the only relaxed instruction our kernels use. */
const RELAXED = bytes(
  '0061736d01000000010401600000030201000a2c012a00fd0c00000000000000000000000000000000' +
    'fd0c00000000000000000000000000000000fd92021a0b',
);

/** @returns {'relaxed' | 'simd128' | null} the faster build that runs here, null if none does */
export function supportedBuild() {
  if (typeof WebAssembly === 'undefined' || !WebAssembly.validate(SIMD128)) return null;
  return WebAssembly.validate(RELAXED) ? 'relaxed' : 'simd128';
}

/** Fails where a policy forbids to compile: validation, in contrast, is always allowed. */
export function checkCompiles() {
  try {
    new WebAssembly.Module(SIMD128);
  } catch (/** @type {any} */ cause) {
    const message = 'WebAssembly cannot be compiled here: the Content Security Policy of the page, ' +
      "and of worker.js, must allow 'wasm-unsafe-eval' in script-src";
    throw new BitMarError('unsupported', message, { cause });
  }
}
