// @ts-check
/** Jobs that wait for their turn. */

/**
 * @typedef {{ args: any[], transfer?: Transferable[] }} Message
 * @typedef {{ method: string, prepare: () => Message | Promise<Message>, onEvent?: (event: any) => void,
 *   resolve: (value: any) => void, reject: (reason: any) => void, isUrgent: boolean, isCancelled: boolean }} Job
 */

export class JobQueue {
  /** @type {Job[]} */ #jobs = [];

  /** Puts a job behind the others; an urgent one goes before those that are not. @param {Job} job */
  add(job) {
    const place = job.isUrgent ? this.#jobs.findIndex((other) => !other.isUrgent) : -1;
    this.#jobs.splice(place < 0 ? this.#jobs.length : place, 0, job);
  }

  /** The job whose turn it is, which waits no more; null if none does. */
  take() {
    return this.#jobs.shift() ?? null;
  }

  /** All jobs, none of which waits any more. */
  takeAll() {
    return this.#jobs.splice(0);
  }

  /** @param {Job} job that waits no more, if it did */
  drop(job) {
    this.#jobs = this.#jobs.filter((other) => other !== job);
  }
}
