// @ts-check
/** The episodic memory: what was captioned and corrected. */
export class Memory {
  #link;

  /** @param {import('./rpc.js').WorkerLink} link */
  constructor(link) {
    this.#link = link;
  }

  /** @param {string} method @param {any[]} args */
  #call(method, ...args) {
    return this.#link.call(method, () => ({ args }));
  }

  list() {
    return this.#call('listMemory');
  }

  /** @param {number} slot */
  delete(slot) {
    return this.#call('deleteMemory', slot);
  }

  clear() {
    return this.#call('clearMemory');
  }

  export() {
    return this.#call('exportMemory');
  }

  /** @param {Uint8Array | ArrayBuffer} snapshot */
  import(snapshot) {
    return this.#call('importMemory', new Uint8Array(snapshot));
  }
}
