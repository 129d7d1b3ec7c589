// @ts-check
/**
 * Test environments that imitate a browser in Node, such as jsdom in jest, hide some of the globals
 * that both have. This brings back those that the package needs.
 */

/** In a variable, so that no bundler tries to resolve Node's module. */
const NODE_VM = 'node:vm';

const NEEDED = [
  'fetch', 'MessageChannel', 'performance', 'Response', 'setImmediate', 'TextDecoder', 'TextEncoder',
];

/** Defines what is missing; in plain Node, that is nothing. */
export async function supplyNodeGlobals() {
  if (!('arrayBuffer' in Blob.prototype)) define(Blob.prototype, 'arrayBuffer', arrayBuffer);
  const missing = NEEDED.filter((name) => !(name in globalThis));
  if (missing.length === 0) return;
  const { runInThisContext } = await import(/* webpackIgnore: true */ /* @vite-ignore */ NODE_VM);
  const node = runInThisContext('globalThis');
  for (const name of missing) define(globalThis, name, node[name]);
}

/** @param {object} object @param {string} name @param {any} value */
const define = (object, name, value) =>
  Object.defineProperty(object, name, { value, configurable: true, writable: true });

/** `Blob.prototype.arrayBuffer` for a Blob that only FileReader reads. @this {Blob} */
function arrayBuffer() {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result);
    reader.onerror = () => reject(reader.error);
    reader.readAsArrayBuffer(this);
  });
}
