// @ts-check
/** The engine in the thread that asks, behind what the queue uses of a worker. */
import { renew } from './wasm-instance.js';
import { WorkerServer } from './worker-server.js';

/** All engines of this thread, which share one instance of the wasm module. @type {Set<InlineWorker>} */
const engines = new Set();

export class InlineWorker {
  /** @type {((event: { data: any }) => void) | null} */ onmessage = null;
  /** @type {((event: { message: string }) => void) | null} */ onerror = null;
  #server = new WorkerServer((data) => this.#post(data));

  constructor() {
    engines.add(this);
  }

  /** @param {any} message */
  postMessage(message) {
    // Not at once: a worker never answers before the call returns.
    queueMicrotask(() => this.#server.receive(message));
  }

  terminate() {
    engines.delete(this);
    this.onmessage = this.onerror = null;
    this.#server.end();
  }

  /** @param {any} data */
  #post(data) {
    if (!engines.has(this)) return;
    if (data.error?.code === 'internal') this.#renew();
    this.onmessage?.({ data });
  }

  /** A trap leaves the instance in an unknown state, and here no worker ends with it. */
  #renew() {
    renew();
    const others = [...engines].filter((engine) => engine !== this);
    for (const other of others) other.onerror?.({ message: 'another captioner of this thread crashed' });
  }
}
