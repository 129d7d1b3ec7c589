// @ts-check
/** The engine's end of the messages: `{ id, method, args }` in, events and one answer out. */
import { toPlain } from '../errors.js';
import { Engine } from './engine.js';

export class WorkerServer {
  #post;
  /** @type {Engine | null} */ #engine = null;
  /** The job to cancel at its next token. */
  #cancelledId = 0;
  /** @type {Promise<void>} */ #job = Promise.resolve();
  #ending = new AbortController();

  /** @param {(message: any) => void} post */
  constructor(post) {
    this.#post = post;
  }

  /** @param {{ id: number, method: string, args: any[], cancel?: number }} message */
  receive({ cancel, ...call }) {
    if (cancel) this.#cancelledId = cancel;
    else this.#job = this.#work(call);
  }

  /** Ends the job at its next token, then gives the engine's memory back. */
  async end() {
    this.#ending.abort();
    await this.#job;
    this.#engine?.close();
    this.#engine = null;
  }

  /** @param {{ id: number, method: string, args: any[] }} call */
  async #work({ id, method, args }) {
    const tell = (/** @type {any} */ event) => this.#post({ id, event });
    const isCancelled = async () => {
      await turn();
      return this.#cancelledId === id || this.#ending.signal.aborted;
    };
    try {
      this.#post({ id, value: await this.#answer(method, args, tell, isCancelled) });
    } catch (error) {
      this.#post({ id, error: toPlain(error) });
    }
  }

  /**
   * @param {string} method
   * @param {any[]} args
   * @param {(event: any) => void} tell
   * @param {() => Promise<boolean>} isCancelled
   */
  async #answer(method, args, tell, isCancelled) {
    if (method === 'load') {
      const notice = (/** @type {any} */ notice) => this.#post({ notice });
      this.#engine = await Engine.load(args[0], tell, notice, this.#ending.signal);
      return this.#engine.info();
    }
    if (!this.#engine) throw new Error(`${method} before load`);
    return /** @type {any} */ (this.#engine)[method](...args, tell, isCancelled);
  }
}

/** Lets what waits be heard: messages, and in Node timers and files. */
const turn = 'setImmediate' in globalThis ? () => new Promise(/** @type {any} */ (globalThis).setImmediate) : messageTurn();

function messageTurn() {
  const { port1, port2 } = new MessageChannel();
  return () =>
    new Promise((resolve) => {
      port1.onmessage = resolve;
      port2.postMessage(null);
    });
}
