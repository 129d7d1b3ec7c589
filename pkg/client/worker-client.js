// @ts-check
/**
 * The page's end of the worker: one worker, one queue, one job at a time.
 * A worker that crashes takes its job with it; the next job starts another one.
 */
import { BitMarError, fromPlain } from '../errors.js';
import { JobQueue } from './job-queue.js';

/** How long a cancelled job may go on before its worker counts as hung, in milliseconds. */
const PATIENCE = 10_000;

/**
 * @typedef {import('./job-queue.js').Message} Message @typedef {import('./job-queue.js').Job} Job
 * @typedef {{ postMessage: (message: any, transfer: Transferable[]) => void, terminate: () => void,
 *   onmessage: ((event: any) => void) | null, onerror?: any, onmessageerror?: any }} WorkerLike a worker, or the engine here
 */

export class WorkerClient {
  #createWorker;
  #loading;
  #onNotice;
  /** @type {WorkerLike | null} */ #worker = null;
  #queue = new JobQueue();
  /** @type {Job | null} */ #job = null;
  /** The question the worker is working on. @type {any} */ #asked = null;
  #nextId = 1;
  #isClosed = false;

  /**
   * @param {() => WorkerLike} createWorker
   * @param {() => Message} loading the arguments of `load`, the first call to every worker
   * @param {(notice: any) => void} onNotice hears what went wrong without ending a job
   */
  constructor(createWorker, loading, onNotice) {
    this.#createWorker = createWorker;
    this.#loading = loading;
    this.#onNotice = onNotice;
  }

  /** Starts the worker and loads the model. @param {(event: any) => void} [onEvent] */
  async start(onEvent) {
    this.#worker = this.#createWorker();
    this.#worker.onmessage = ({ data }) => this.#receive(data);
    this.#worker.onerror = (/** @type {ErrorEvent} */ event) => {
      event.preventDefault?.();
      this.#crash(event.message || 'the worker could not be started');
    };
    this.#worker.onmessageerror = () => this.#crash('a message could not be read');
    try {
      return await this.#ask({ method: 'load', ...this.#loading(), onEvent });
    } catch (error) {
      this.#stopWorker();
      throw error;
    }
  }

  /**
   * Queues a job. `prepare` makes its arguments when its turn comes, so that a long queue holds no decoded photos.
   * @param {string} method
   * @param {Job['prepare']} prepare
   * @param {{ signal?: AbortSignal, onEvent?: (event: any) => void, isUrgent?: boolean }} [options]
   */
  call(method, prepare, { signal, onEvent, isUrgent = false } = {}) {
    return new Promise((resolve, reject) => {
      signal?.throwIfAborted();
      if (this.#isClosed) throw closed();
      /** @type {Job} */
      const job = { method, prepare, onEvent, resolve, reject, isUrgent, isCancelled: false };
      const cancel = () => this.#cancel(job, signal?.reason);
      signal?.addEventListener('abort', cancel, { once: true });
      const settled = () => signal?.removeEventListener('abort', cancel);
      job.resolve = (value) => (settled(), resolve(value));
      job.reject = (reason) => (settled(), reject(reason));
      this.#queue.add(job);
      if (!this.#job) this.#work();
    });
  }

  /** Ends the worker; what waits for it fails with `closed`. */
  close() {
    this.#isClosed = true;
    for (const job of this.#queue.takeAll()) job.reject(closed());
    this.#asked?.reject(closed());
    this.#stopWorker();
  }

  async #work() {
    while ((this.#job = this.#queue.take())) {
      const job = this.#job;
      try {
        if (!this.#worker) await this.start();
        const message = await job.prepare();
        if (!job.isCancelled) job.resolve(await this.#ask({ ...message, method: job.method, onEvent: job.onEvent }, job));
      } catch (error) {
        job.reject(error);
      }
    }
  }

  /** @param {Job} job @param {any} reason */
  #cancel(job, reason) {
    job.isCancelled = true;
    this.#queue.drop(job);
    job.reject(reason);
    const asked = this.#asked;
    if (asked?.job !== job) return;
    this.#worker?.postMessage({ cancel: asked.id }, []);
    asked.timer = setTimeout(() => this.#crash('the worker did not answer'), PATIENCE);
  }

  /** @param {Message & { method: string, onEvent?: (event: any) => void }} message @param {Job} [job] */
  #ask({ method, args, transfer = [], onEvent }, job) {
    return new Promise((resolve, reject) => {
      if (this.#isClosed || !this.#worker) throw closed();
      const id = this.#nextId++;
      this.#asked = { id, job, resolve, reject, onEvent, timer: undefined };
      this.#worker.postMessage({ id, method, args }, transfer);
    });
  }

  /** @param {any} answer */
  #receive({ id, event, value, error, notice }) {
    if (notice) return this.#onNotice(notice);
    const asked = this.#asked;
    if (asked?.id !== id) return;
    if (event !== undefined) return asked.job?.isCancelled ? undefined : asked.onEvent?.(event);
    // A trap leaves the wasm instance in an unknown state: the next job gets a new one.
    if (error?.code === 'internal') return this.#crash(error.message);
    clearTimeout(asked.timer);
    this.#asked = null;
    error ? asked.reject(fromPlain(error)) : asked.resolve(value);
  }

  /** @param {string} message */
  #crash(message) {
    const asked = this.#asked;
    this.#stopWorker();
    asked?.reject(new BitMarError('internal', message));
  }

  #stopWorker() {
    clearTimeout(this.#asked?.timer);
    this.#asked = null;
    this.#worker?.terminate();
    this.#worker = null;
  }
}

const closed = () => new BitMarError('closed', 'this BitMar was closed');
