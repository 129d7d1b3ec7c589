// @ts-check
/** Whether a file is the one this version was built with. */

/**
 * @typedef {{ bytes?: number, sha256?: string }} Expected
 * What a file should be, as the build recorded it. Without it the server's Content-Length is used.
 */

/** @param {Uint8Array<ArrayBuffer>} bytes @param {Expected} expected */
export async function isExpected(bytes, { sha256 }) {
  // Outside a secure context there is no digest; the model's own checks remain.
  if (!sha256 || !globalThis.crypto?.subtle) return true;
  const digest = new Uint8Array(await crypto.subtle.digest('SHA-256', bytes));
  return Array.from(digest, (byte) => byte.toString(16).padStart(2, '0')).join('') === sha256;
}
