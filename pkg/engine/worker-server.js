// @ts-check
/**
 * Runs the engine for a worker client. Receives `{ ping }`, `{ id, method, args }` and
 * `{ cancel: id }`; posts `{ id: 0 }` per ping, `{ id, event }`, `{ notice }`, and one
 * `{ id, value }` or `{ id, error }` per call.
 */
import { toPlain } from '../errors.js';
import { Engine } from './engine.js';

/** @typedef {import('./engine.js').JobControl} JobControl */

/** What a client may call after `load`. @type {(keyof Engine)[]} */
const METHODS = [
  'caption', 'correct', 'listMemory', 'memoryStats', 'correctMemory', 'deleteMemory', 'clearMemory',
  'undoMemory', 'exportMemory', 'importMemory', 'aside',
];

/** Those that take a `JobControl` as their last argument. @type {(keyof Engine)[]} */
const LONG_METHODS = ['caption', 'importMemory'];

export class WorkerServer {
  #post;
  /** @type {Engine | null} */ #engine = null;
  /** The call to cancel at its next token. */
  #cancelledId = 0;
  /** Settles when the call in progress has been answered. @type {Promise<void>} */
  #answered = Promise.resolve();
  #ending = new AbortController();

  /** @param {(message: any) => void} post */
  constructor(post) {
    this.#post = post;
  }

  /** @param {any} message */
  receive({ ping, cancel, ...call }) {
    if (ping) this.#post({ id: 0 });
    else if (cancel) this.#cancelledId = cancel;
    else this.#answered = this.#answer(call);
  }

  /** Ends the call in progress at its next token, then frees the engine. */
  async end() {
    this.#ending.abort();
    await this.#answered;
    this.#engine?.close();
    this.#engine = null;
  }

  /** @param {{ id: number, method: any, args: any[] }} call */
  async #answer({ id, method, args }) {
    /** @type {JobControl} */
    const control = {
      onProgress: (event) => this.#post({ id, event }),
      isCancelled: async () => {
        await nextTurn();
        return this.#cancelledId === id || this.#ending.signal.aborted;
      },
    };
    try {
      this.#post({ id, value: await this.#run(method, args, control) });
    } catch (error) {
      this.#post({ id, error: toPlain(error) });
    }
  }

  /** @param {any} method @param {any[]} args @param {JobControl} control */
  async #run(method, args, control) {
    if (method === 'load') return this.#load(args[0], control);
    if (!METHODS.includes(method)) throw new Error(`no such method: ${method}`);
    if (!this.#engine) throw new Error(`${method} before load`);
    const call = LONG_METHODS.includes(method) ? [...args, control] : args;
    return /** @type {any} */ (this.#engine)[method](...call);
  }

  /** @param {any} options @param {JobControl} control */
  async #load(options, { onProgress }) {
    const onNotice = (/** @type {any} */ notice) => this.#post({ notice });
    const { signal } = this.#ending;
    this.#engine = await Engine.load(options, { onProgress, onNotice, signal });
    return this.#engine.info();
  }
}

/** Waits for the event loop to handle messages, and in Node also timers and files. */
const nextTurn = 'setImmediate' in globalThis
  ? () => new Promise(/** @type {any} */ (globalThis).setImmediate)
  : messageTurn();

function messageTurn() {
  const { port1, port2 } = new MessageChannel();
  return () =>
    new Promise((resolve) => {
      port1.onmessage = resolve;
      port2.postMessage(null);
    });
}
