// @ts-check
/** The worker's end: `{ id, method, args }` in, events and one answer out. */
import { Engine } from './engine.js';
import { toPlain } from './errors.js';

/** @type {Engine | null} */
let engine = null;
/** The job to cancel at its next token. */
let cancelledId = 0;

const wake = new MessageChannel();

/** Lets the messages that wait be heard. */
function turn() {
  return new Promise((resolve) => {
    wake.port1.onmessage = resolve;
    wake.port2.postMessage(null);
  });
}

/**
 * @param {string} method
 * @param {any[]} args
 * @param {(event: any) => void} tell
 * @param {() => Promise<boolean>} isCancelled
 */
async function answer(method, args, tell, isCancelled) {
  if (method === 'load') {
    engine = await Engine.load(args[0], tell, (notice) => self.postMessage({ notice }));
    return engine.info();
  }
  if (!engine) throw new Error(`${method} before load`);
  return /** @type {any} */ (engine)[method](...args, tell, isCancelled);
}

self.onmessage = async ({ data: { id, method, args, cancel } }) => {
  if (cancel) {
    cancelledId = cancel;
    return;
  }
  const tell = (/** @type {any} */ event) => self.postMessage({ id, event });
  const isCancelled = async () => (await turn(), cancelledId === id);
  try {
    self.postMessage({ id, value: await answer(method, args, tell, isCancelled) });
  } catch (error) {
    self.postMessage({ id, error: toPlain(error) });
  }
};
