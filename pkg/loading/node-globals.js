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
  const missing = NEEDED.filter((name) => !(name in globalThis));
  if (missing.length === 0) return;
  const { runInThisContext } = await import(/* webpackIgnore: true */ /* @vite-ignore */ NODE_VM);
  const node = runInThisContext('globalThis');
  for (const name of missing) {
    const own = { value: node[name], configurable: true, writable: true };
    Object.defineProperty(globalThis, name, own);
  }
}
