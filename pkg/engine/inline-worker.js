// @ts-check
/** A stand-in for a worker that runs the engine in the calling thread. */
import { renew } from './wasm-instance.js';
import { WorkerServer } from './worker-server.js';

/** The inline workers of this thread, which share one wasm instance. @type {Set<InlineWorker>} */
const workers = new Set();

export class InlineWorker {
  /** @type {((event: { data: any }) => void) | null} */ onmessage = null;
  /** @type {((event: { message: string }) => void) | null} */ onerror = null;
  #server = new WorkerServer((data) => this.#post(data));

  constructor() {
    workers.add(this);
  }

  /** @param {any} message */
  postMessage(message) {
    // Deferred, because a real worker never answers before this call returns.
    queueMicrotask(() => this.#server.receive(message));
  }

  terminate() {
    workers.delete(this);
    this.onmessage = this.onerror = null;
    this.#server.end();
  }

  /** @param {any} data */
  #post(data) {
    if (!workers.has(this)) return;
    if (data.error?.code === 'internal') this.#renew();
    this.onmessage?.({ data });
  }

  /** Replaces the wasm instance after a trap, which leaves it in an unknown state. */
  #renew() {
    renew();
    const others = [...workers].filter((worker) => worker !== this);
    for (const other of others) {
      other.onerror?.({ message: 'another captioner of this thread crashed' });
    }
  }
}
