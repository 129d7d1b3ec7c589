// @ts-check
/**
 * The episodic memory: photos with the captions they were given or corrected to. Fires `change`
 * after every change, in this tab or another.
 */

import { checked } from './signatures.js';

/** @typedef {import('../index.js').Remembered | number} Entry */

/** @param {Entry} entry a slot, or a listed entry, which must still be in its slot */
const place = (entry) =>
  typeof entry === 'number' ? { slot: entry } : { slot: entry.slot, writtenAt: entry.writtenAt };

export class Memory extends EventTarget {
  #client;

  /** @param {import('./worker-client.js').WorkerClient} client */
  constructor(client) {
    super();
    this.#client = client;
  }

  /** @param {string} method @param {any[]} args */
  #call(method, ...args) {
    return this.#client.call(method, args, { isUrgent: true });
  }

  list() {
    return this.#call('listMemory');
  }

  stats() {
    return this.#call('memoryStats');
  }

  /** @param {Entry} entry @param {string} text */
  async correct(entry, text) {
    checked('memory.correct', entry, text);
    return this.#call('correctMemory', place(entry), text);
  }

  /** @param {Entry} entry */
  async delete(entry) {
    checked('memory.delete', entry);
    return this.#call('deleteMemory', place(entry));
  }

  clear() {
    return this.#call('clearMemory');
  }

  undo() {
    return this.#call('undoMemory');
  }

  export() {
    return this.#call('exportMemory');
  }

  /**
   * @param {Uint8Array | ArrayBuffer} snapshot
   * @param {{ mode?: 'replace' | 'merge' }} [options]
   */
  async import(snapshot, options) {
    const { mode = 'replace' } = checked('memory.import', snapshot, options);
    // Copied now, because the caller may change it before its turn.
    return this.#call('importMemory', new Uint8Array(snapshot.slice(0)), mode);
  }

  listAside() {
    return this.#call('aside', 'list');
  }

  /** @param {string} name */
  async exportAside(name) {
    checked('memory.exportAside', name);
    return this.#call('aside', 'export', name);
  }

  /** @param {string} name */
  async deleteAside(name) {
    checked('memory.deleteAside', name);
    return this.#call('aside', 'delete', name);
  }
}
