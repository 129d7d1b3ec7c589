// @ts-check
/**
 * The page's side of the worker: one worker, one queue, one job at a time.
 * When a worker crashes, the job it was running fails, and the next job starts a new worker.
 */
import { BitMarError, fromPlain } from '../errors.js';
import { JobQueue } from './job-queue.js';

/** How long a cancelled job may keep running before its worker counts as hung, in milliseconds. */
const CANCEL_TIMEOUT = 10_000;

/**
 * @typedef {import('./job-queue.js').Message} Message
 * @typedef {import('./job-queue.js').Job} Job
 * @typedef {{ postMessage: (message: any, transfer: Transferable[]) => void,
 *   terminate: () => void, onmessage: ((event: any) => void) | null, onerror?: any,
 *   onmessageerror?: any }} WorkerLike a worker, or the inline worker
 */

export class WorkerClient {
  #createWorker;
  #loadMessage;
  #onNotice;
  /** @type {WorkerLike | null} */ #worker = null;
  #queue = new JobQueue();
  /** The job whose turn it is. @type {Job | null} */ #job = null;
  /** The request that the worker has not answered yet. @type {any} */ #request = null;
  #nextId = 1;
  #isClosed = false;

  /**
   * @param {() => WorkerLike} createWorker
   * @param {() => Message} loadMessage makes the message of `load`, the first call to each worker
   * @param {(notice: any) => void} onNotice
   */
  constructor(createWorker, loadMessage, onNotice) {
    this.#createWorker = createWorker;
    this.#loadMessage = loadMessage;
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
      return await this.#send({ method: 'load', ...this.#loadMessage(), onEvent });
    } catch (error) {
      this.#stopWorker();
      throw error;
    }
  }

  /**
   * Queues a job. `prepare` makes its arguments when its turn comes, so that a long queue holds no
   * decoded photos.
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

  /** Stops the worker. Its job, and the jobs that wait, fail with `closed`. */
  close() {
    this.#isClosed = true;
    for (const job of this.#queue.takeAll()) job.reject(closed());
    this.#request?.reject(closed());
    this.#stopWorker();
  }

  async #work() {
    while ((this.#job = this.#queue.take())) {
      const job = this.#job;
      const { method, onEvent } = job;
      try {
        if (!this.#worker) await this.start();
        const message = await job.prepare();
        if (!job.isCancelled) job.resolve(await this.#send({ ...message, method, onEvent }, job));
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
    const request = this.#request;
    if (request?.job !== job) return;
    this.#worker?.postMessage({ cancel: request.id }, []);
    request.timer = setTimeout(() => this.#crash('the worker did not answer'), CANCEL_TIMEOUT);
  }

  /**
   * @param {Message & { method: string, onEvent?: (event: any) => void }} message
   * @param {Job} [job]
   */
  #send({ method, args, transfer = [], onEvent }, job) {
    return new Promise((resolve, reject) => {
      if (this.#isClosed || !this.#worker) throw closed();
      const id = this.#nextId++;
      this.#request = { id, job, resolve, reject, onEvent, timer: undefined };
      this.#worker.postMessage({ id, method, args }, transfer);
    });
  }

  /** @param {any} message */
  #receive({ id, event, value, error, notice }) {
    if (notice) return this.#onNotice(notice);
    const request = this.#request;
    if (request?.id !== id) return;
    if (event !== undefined) return request.job?.isCancelled ? undefined : request.onEvent?.(event);
    // A trap leaves the wasm instance in an unknown state, so the next job gets a new one.
    if (error?.code === 'internal') return this.#crash(error.message);
    clearTimeout(request.timer);
    this.#request = null;
    error ? request.reject(fromPlain(error)) : request.resolve(value);
  }

  /** @param {string} message */
  #crash(message) {
    const request = this.#request;
    this.#stopWorker();
    request?.reject(new BitMarError('internal', message));
  }

  #stopWorker() {
    clearTimeout(this.#request?.timer);
    this.#request = null;
    this.#worker?.terminate();
    this.#worker = null;
  }
}

const closed = () => new BitMarError('closed', 'this BitMar was closed');
