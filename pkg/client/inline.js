// @ts-check
/** Finds the engine for the calling thread. A page that uses workers does not load it. */
import { BitMarError, missingScripts } from '../errors.js';
import { isNode } from '../fetch-file.js';

/** @typedef {typeof import('../engine/inline-worker.js').InlineWorker} InlineWorkerClass */

/** @type {InlineWorkerClass | undefined} */
let provided;

/** @param {InlineWorkerClass} InlineWorker used instead of importing the class on demand */
export function provideInlineWorker(InlineWorker) {
  provided = InlineWorker;
}

/** Makes an inline worker. */
export async function inlineWorker() {
  const InlineWorker = provided ?? (await imported());
  return new InlineWorker();
}

async function imported() {
  try {
    if (isNode) await (await import('../loading/node-globals.js')).supplyNodeGlobals();
    return (await import('../engine/inline-worker.js')).InlineWorker;
  } catch (/** @type {any} */ cause) {
    if ('ServiceWorkerGlobalScope' in globalThis) {
      const message = "a service worker must import the package from 'bitmar/inline' (inline.js)";
      throw new BitMarError('unsupported', message, { cause });
    }
    throw missingScripts(cause);
  }
}
