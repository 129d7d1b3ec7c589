// @ts-check
/** The engine in the thread that asks, behind what the queue uses of a worker. */
import { Session } from './session.js';

export class WorkerHere {
  /** @type {((event: { data: any }) => void) | null} */ onmessage = null;
  #session = new Session((data) => this.onmessage?.({ data }));

  /** @param {any} message */
  postMessage(message) {
    // Not at once: a worker never answers before the call returns.
    queueMicrotask(() => this.#session.hear(message));
  }

  terminate() {
    this.onmessage = null;
    this.#session.end();
  }
}
