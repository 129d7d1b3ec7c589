// @ts-check
/** Checks that a file is the one this version was built with. */

/**
 * @typedef {{ bytes?: number, sha256?: string }} Expected a file's size and hash as the build
 *   recorded them; both are unknown for a caller's own file
 */

/** @param {Uint8Array<ArrayBuffer>} bytes @param {Expected} expected */
export async function isExpected(bytes, { sha256 }) {
  // Insecure contexts cannot compute digests; the checks of the model's reader remain.
  if (!sha256 || !globalThis.crypto?.subtle) return true;
  const digest = new Uint8Array(await crypto.subtle.digest('SHA-256', bytes));
  return Array.from(digest, (byte) => byte.toString(16).padStart(2, '0')).join('') === sha256;
}
