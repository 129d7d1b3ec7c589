// @ts-check
/**
 * The page's side of the worker: one worker, one queue, one job at a time.
 * When a worker crashes, the job it was running fails, and the next job starts a new worker.
 */
import { BitMarError, fromPlain } from '../errors.js';
import { JobQueue } from './job-queue.js';
import { Job } from './job.js';
import { unreadable } from './photo-source.js';

/** How long a cancelled job may keep running before its worker counts as hung, in milliseconds. */
const CANCEL_TIMEOUT = 10_000;

/**
 * @typedef {import('./job.js').Message} Message
 * @typedef {{ postMessage: (message: any, transfer: Transferable[]) => void,
 *   terminate: () => void, onmessage: ((event: any) => void) | null, onerror?: any,
 *   onmessageerror?: any }} WorkerLike a worker, or the inline worker
 */

export class WorkerClient {
  #createWorker;
  #sources;
  #onNotice;
  /** @type {WorkerLike | null} */ #worker = null;
  /** The memory after its last change, if it is not stored. @type {Uint8Array | undefined} */ #kept;
  #queue = new JobQueue(() => this.#next());
  /** The job whose turn it is. @type {Job | undefined} */ #job;
  /** The request that the worker has not answered yet. @type {any} */ #request = null;
  #nextId = 1;
  #isClosed = false;
  #closing = new AbortController();

  /**
   * @param {(signal: AbortSignal) => Promise<WorkerLike>} createWorker
   * @param {object} sources what `load`, the first call to each worker, is to load
   * @param {(notice: any) => void} onNotice
   */
  constructor(createWorker, sources, onNotice) {
    this.#createWorker = createWorker;
    this.#sources = sources;
    this.#onNotice = onNotice;
  }

  /** Starts the worker and loads the model. @param {(event: any) => void} [onEvent] */
  async start(onEvent) {
    this.#worker = await this.#createWorker(this.#closing.signal);
    this.#worker.onmessage = ({ data }) => this.#receive(data);
    this.#worker.onerror = (/** @type {ErrorEvent} */ event) => {
      event.preventDefault?.();
      this.#crash(event.message || 'the worker could not be started');
    };
    this.#worker.onmessageerror = () => this.#crash('a message could not be read');
    try {
      const args = [{ ...this.#sources, kept: this.#kept }];
      return await this.#send({ args, job: { method: 'load', onEvent } });
    } catch (error) {
      this.#stopWorker();
      throw error;
    }
  }

  /**
   * Queues a job.
   * @param {string} method
   * @param {any[]} args
   * @param {import('./job.js').JobOptions & { signal?: AbortSignal }} [options] a `photo` becomes
   *   the first argument
   */
  async call(method, args, { signal, ...options } = {}) {
    signal?.throwIfAborted();
    if (this.#isClosed) throw closed();
    const job = new Job(method, args, options);
    const cancel = () => this.#cancel(job, signal?.reason);
    signal?.addEventListener('abort', cancel, { once: true });
    this.#queue.add(job);
    this.#next();
    try {
      return await job.answer;
    } finally {
      signal?.removeEventListener('abort', cancel);
    }
  }

  /** Stops the worker. Its job, and the jobs that wait, fail with `closed`. */
  close() {
    this.#isClosed = true;
    this.#closing.abort(closed());
    for (const job of this.#queue.takeAll()) job.reject(closed());
    this.#job?.reject(closed());
    this.#request?.reject(closed());
    this.#stopWorker();
  }

  #next() {
    if (this.#job) return;
    this.#job = this.#queue.take();
    if (this.#job) this.#run(this.#job);
  }

  /** @param {Job} job */
  async #run(job) {
    try {
      if (!this.#worker) await this.start();
      const message = await job.message();
      if (!job.isSettled) job.resolve(await this.#send({ ...message, job }));
      else for (const bitmap of message.transfer ?? []) /** @type {any} */ (bitmap).close();
    } catch (error) {
      job.reject(error);
    }
    this.#job = undefined;
    this.#next();
  }

  /** @param {Job} job @param {any} reason */
  #cancel(job, reason) {
    this.#queue.drop(job);
    job.reject(reason);
    const request = this.#request;
    if (request?.job !== job) return;
    this.#worker?.postMessage({ cancel: request.id }, []);
    request.timer = setTimeout(() => this.#crash('the worker did not answer'), CANCEL_TIMEOUT);
  }

  /**
   * @param {Message & { job: { method: string, onEvent?: (event: any) => void } }} message
   * @returns {Promise<any>}
   */
  #send({ job, args, transfer = [] }) {
    return new Promise((resolve, reject) => {
      if (this.#isClosed || !this.#worker) throw closed();
      const id = this.#nextId++;
      try {
        this.#worker.postMessage({ id, method: job.method, args }, transfer);
      } catch (/** @type {any} */ error) {
        // All other arguments can be posted: they were checked.
        throw job instanceof Job ? unreadable(error) : new BitMarError('option', error.message);
      }
      this.#request = { id, job, resolve, reject, timer: undefined };
    });
  }

  /** @param {any} message */
  #receive({ id, event, value, error, notice }) {
    if (notice) return this.#notify(notice);
    const request = this.#request;
    if (request?.id !== id) return;
    if (event !== undefined) return this.#report(request, event);
    // A trap leaves the wasm instance in an unknown state, so the next job gets a new one.
    if (error?.code === 'internal') return this.#crash(error.message);
    clearTimeout(request.timer);
    this.#request = null;
    error ? request.reject(fromPlain(error)) : request.resolve(value);
  }

  /** @param {{ code: string, message: string, snapshot?: Uint8Array }} notice */
  #notify({ snapshot, ...notice }) {
    this.#kept = snapshot;
    try {
      this.#onNotice(notice);
    } catch (error) {
      (globalThis.reportError ?? console.error)(error);
    }
  }

  /**
   * Calls the caller's function. If that throws, the job fails.
   * @param {any} request
   * @param {any} event
   */
  #report(request, event) {
    const { job } = request;
    if (job.isSettled) return;
    try {
      job.onEvent?.(event);
    } catch (error) {
      if (job instanceof Job) this.#cancel(job, error);
      else request.reject(error);
    }
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
