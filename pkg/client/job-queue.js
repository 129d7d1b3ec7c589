// @ts-check
/**
 * The jobs that wait for the worker, in the order in which they run. Meanwhile the photos of the
 * next ones are fetched. A job whose photo has not arrived lets those behind it pass.
 */

/** @typedef {import('./job.js').Job} Job */

/** How many photos from the network are fetched ahead, and how many from files. */
const AHEAD = 2;

/** Milliseconds between two checks of the fetches in progress. */
const INTERVAL = 125;

export class JobQueue {
  /** @type {Job[]} */ #jobs = [];
  /** The job whose turn it is, if its photo is still awaited. @type {Job | undefined} */ #turn;
  /** @type {any} */ #timer;
  #onChange;

  /** @param {() => void} onChange called when `take` may have a job that it had not before */
  constructor(onChange) {
    this.#onChange = onChange;
  }

  /** Appends a job; an urgent one goes ahead of those that are not urgent. @param {Job} job */
  add(job) {
    const index = job.isUrgent ? this.#jobs.findIndex((other) => !other.isUrgent) : -1;
    this.#jobs.splice(index < 0 ? this.#jobs.length : index, 0, job);
    this.#update();
  }

  /** Removes and returns the next job; undefined if there is none, or none yet. */
  take() {
    const inOrder = this.#turn ? [this.#turn, ...this.#jobs] : this.#jobs;
    this.#turn = inOrder.find((job) => job.isReady || job.isExpected);
    const job = this.#turn?.isReady ? this.#turn : undefined;
    if (job) this.drop(job);
    return job;
  }

  /** Removes and returns all jobs. */
  takeAll() {
    const jobs = this.#jobs;
    this.#jobs = [];
    this.#turn = undefined;
    this.#update();
    return jobs;
  }

  /** Removes a job, if it is in the queue. @param {Job} job */
  drop(job) {
    this.#jobs = this.#jobs.filter((other) => other !== job);
    if (this.#turn === job) this.#turn = undefined;
    this.#update();
  }

  /** Fetches the next photos, and schedules the next check of the fetches in progress. */
  #update() {
    for (const place of ['network', 'file']) {
      let ahead = 0;
      for (const job of this.#jobs.filter((job) => job.place === place)) {
        if (ahead === AHEAD) break;
        if (!job.isReady && !job.isFetching) this.#fetch(job);
        if (!job.isSilent) ahead++;
      }
    }
    clearTimeout(this.#timer);
    if (this.#jobs.some((job) => job.isFetching)) {
      this.#timer = setTimeout(() => this.#look(), INTERVAL);
    }
  }

  /** @param {Job} job */
  async #fetch(job) {
    await job.fetch();
    if (job.isSettled) this.drop(job);
    this.#onChange();
  }

  #look() {
    for (const job of this.#jobs) {
      job.checkFetch();
      if (job.isSettled) this.drop(job);
    }
    this.#update();
    this.#onChange();
  }
}
