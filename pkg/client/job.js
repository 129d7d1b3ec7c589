// @ts-check
/** A call that the worker is to answer, and the photo that it may need for that. */
import { BitMarError } from '../errors.js';
import { fetchPhoto, placeOf, toSendable } from './photo-source.js';

/** How long a job whose turn it is waits for its photo, in milliseconds; most files take less. */
const GRACE = 250;

/** Milliseconds without a byte after which the queue starts another fetch. */
const SILENCE = 1000;

/** Milliseconds without a byte after which a job fails. */
const TIMEOUT = 30_000;

/**
 * @typedef {{ photo?: any, onEvent?: (event: any) => void, isUrgent?: boolean }} JobOptions
 * @typedef {{ args: any[], transfer?: Transferable[] }} Message
 */

export class Job {
  method;
  onEvent;
  isUrgent;
  isSettled = false;
  /** Where the photo comes from: `network` or `file`, null if there is nothing to fetch. */
  place;
  /** Whether nothing is left to fetch. */
  isReady;
  isFetching = false;
  #args;
  /** The caller's, then what was fetched. @type {any} */ #photo;
  /** When the job was made, then when its fetch began. */ #since = performance.now();
  /** When the last byte arrived. */ #lastByteAt = 0;
  #ending = new AbortController();
  /** @type {(value: any) => void} */ #resolve = () => {};
  /** @type {(reason: any) => void} */ #reject = () => {};
  /** Settles with the worker's answer. */
  answer = new Promise((resolve, reject) => ([this.#resolve, this.#reject] = [resolve, reject]));

  /** @param {string} method @param {any[]} args those after the photo @param {JobOptions} options */
  constructor(method, args, { photo, onEvent, isUrgent = false }) {
    this.method = method;
    this.onEvent = onEvent;
    this.isUrgent = isUrgent;
    this.place = placeOf(photo);
    this.isReady = this.place === null;
    this.#args = args;
    this.#photo = photo;
  }

  /** Whether its photo may come any moment, so that its turn is worth waiting for. */
  get isExpected() {
    return performance.now() - this.#since < GRACE;
  }

  /** Whether its fetch is in progress and has brought nothing lately. */
  get isSilent() {
    return this.isFetching && this.#silence > SILENCE;
  }

  get #silence() {
    return performance.now() - this.#lastByteAt;
  }

  /** Gets the photo. A failure ends the job. */
  async fetch() {
    this.isFetching = true;
    this.#since = this.#lastByteAt = performance.now();
    const onBytes = () => (this.#lastByteAt = performance.now());
    try {
      this.#photo = await fetchPhoto(this.#photo, { signal: this.#ending.signal, onBytes });
      this.isReady = true;
    } catch (error) {
      this.reject(error);
    } finally {
      this.isFetching = false;
    }
  }

  /** Ends the job if its photo has stopped coming. */
  checkFetch() {
    if (!this.isFetching || this.#silence < TIMEOUT) return;
    const message = `no byte of the photo arrived in ${TIMEOUT / 1000} seconds`;
    this.reject(new BitMarError(this.place === 'file' ? 'photo' : 'network', message));
  }

  /** What to post to the worker. @returns {Promise<Message>} */
  async message() {
    if (this.#photo === undefined) return { args: this.#args };
    const { sendable, transfer } = await toSendable(this.#photo);
    return { args: [sendable, ...this.#args], transfer };
  }

  /** @param {any} value */
  resolve(value) {
    this.isSettled = true;
    this.#resolve(value);
  }

  /** Ends the job, and its fetch. @param {any} reason */
  reject(reason) {
    this.isSettled = true;
    this.#reject(reason);
    this.#ending.abort();
  }
}
