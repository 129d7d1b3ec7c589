// @ts-check
/** `fetch`, extended to `file:` URLs in Node, whose own `fetch` does not support them. */

/** In a variable, so that no bundler tries to resolve Node's module. */
const NODE_FILES = 'node:fs/promises';

export const isNode = Boolean(/** @type {any} */ (globalThis).process?.versions?.node);

/** @param {string | URL} url @param {RequestInit} [init] @returns {Promise<Response>} */
export async function fetchFile(url, init) {
  if (!isNode || !String(url).startsWith('file:')) return fetch(url, init);
  const { readFile } = await import(/* webpackIgnore: true */ /* @vite-ignore */ NODE_FILES);
  return new Response(await readFile(new URL(url), { signal: init?.signal }));
}
