// @ts-check
/** Starts a worker and waits until its script runs, so that a failure to start has a name. */
import { BitMarError, missingScripts } from '../errors.js';

/**
 * Starts the package's worker. Where `create` fails, because of the page's policies or its origin,
 * other ways are tried.
 * @param {() => Worker} create
 * @param {AbortSignal} signal
 */
export async function startWorker(create, signal) {
  try {
    return await running(create(), signal);
  } catch {
    signal.throwIfAborted();
    const { startOtherwise } = await import('./start-otherwise.js').catch((error) => {
      throw missingScripts(error);
    });
    return startOtherwise(create, signal);
  }
}

/**
 * Starts a caller's worker.
 * @param {() => Worker} create
 * @param {AbortSignal} signal
 */
export async function startOwnWorker(create, signal) {
  try {
    return await running(create(), signal);
  } catch (/** @type {any} */ cause) {
    signal.throwIfAborted();
    if (cause instanceof BitMarError) throw cause;
    const why = cause.message ?? 'its script, or a file that this imports, cannot be loaded';
    const message = `the worker of createWorker does not start: ${why}`;
    throw new BitMarError('network', message, { cause });
  }
}

/**
 * Resolves with the worker once it answers; rejects with its `error` event if it never does.
 * @param {Worker} worker
 * @param {AbortSignal} signal terminates the worker
 * @returns {Promise<Worker>}
 */
export async function running(worker, signal) {
  if (typeof worker?.postMessage !== 'function' || typeof worker.terminate !== 'function') {
    throw new BitMarError('option', 'load: createWorker did not return a Worker');
  }
  return new Promise((resolve, reject) => {
    const stop = (/** @type {any} */ reason) => {
      worker.terminate();
      reject(reason);
    };
    worker.onmessage = () => resolve(worker);
    worker.onerror = (event) => {
      event.preventDefault();
      stop(event);
    };
    signal.addEventListener('abort', () => stop(signal.reason), { once: true });
    worker.postMessage({ ping: true });
  });
}
