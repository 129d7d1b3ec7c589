// @ts-check

/**
 * The URL of an address, absolute because a worker has another base URL; null if it is no URL.
 * @param {string | URL} address
 */
export function absolute(address) {
  try {
    return new URL(address, globalThis.document?.baseURI ?? globalThis.location?.href).href;
  } catch {
    return null;
  }
}
