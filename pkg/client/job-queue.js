// @ts-check
/** The jobs that wait for the worker. */

/**
 * @typedef {{ args: any[], transfer?: Transferable[] }} Message
 * @typedef {{ method: string, prepare: () => Message | Promise<Message>,
 *   onEvent?: (event: any) => void, resolve: (value: any) => void, reject: (reason: any) => void,
 *   isUrgent: boolean, isCancelled: boolean }} Job
 */

export class JobQueue {
  /** @type {Job[]} */ #jobs = [];

  /** Appends a job; an urgent one goes ahead of those that are not urgent. @param {Job} job */
  add(job) {
    const index = job.isUrgent ? this.#jobs.findIndex((other) => !other.isUrgent) : -1;
    this.#jobs.splice(index < 0 ? this.#jobs.length : index, 0, job);
  }

  /** Removes and returns the next job; null if the queue is empty. */
  take() {
    return this.#jobs.shift() ?? null;
  }

  /** Removes and returns all jobs. */
  takeAll() {
    return this.#jobs.splice(0);
  }

  /** Removes a job, if it is in the queue. @param {Job} job */
  drop(job) {
    this.#jobs = this.#jobs.filter((other) => other !== job);
  }
}
