// @ts-check
/**
 * Keeps the captioner's memory stored, and in step with the other tabs.
 * Storage may be refused, full or taken away at any moment: a notice tells of it, and the session goes
 * on in memory.
 */
import { BitMarError } from '../errors.js';
import { storageCode } from './database.js';
import { migrateSnapshot } from './migrate-snapshot.js';
import { SnapshotStore } from './snapshot-store.js';

/** @typedef {{ code: string, message: string }} Notice */

export class PersistentMemory {
  #captioner;
  #notice;
  /** @type {SnapshotStore | null} */ #store = null;
  /** @type {BroadcastChannel | null} */ #otherTabs = null;

  /** @param {any} captioner @param {(notice: Notice) => void} notice */
  constructor(captioner, notice) {
    this.#captioner = captioner;
    this.#notice = notice;
  }

  /** Whether changes outlast the session. */
  get isStored() {
    return this.#store !== null;
  }

  /**
   * Fills the memory with what is stored under `name`.
   * @param {string} name
   * @param {(event: any) => void} report hears how far the re-encoding of another model's memory is
   */
  async open(name, report) {
    const store = new SnapshotStore(name, () => this.#tell('storage-evicted', 'the browser removed the stored memory'));
    try {
      this.#store = store;
      const snapshot = await store.news();
      if (snapshot) await this.#restore(store, snapshot, report);
    } catch (error) {
      this.#goOnWithoutStore(error);
    }
    if (this.#store && typeof BroadcastChannel !== 'undefined') {
      this.#otherTabs = new BroadcastChannel(`bitmar memory ${name}`);
      this.#otherTabs.onmessage = () => this.#tell('changed', 'another tab changed the memory');
    }
  }

  /** Takes over what other tabs have stored. */
  async refresh() {
    try {
      const snapshot = await this.#store?.news();
      if (snapshot) this.#captioner.reloadMemory(snapshot);
    } catch (error) {
      this.#goOnWithoutStore(error);
    }
  }

  /**
   * Changes the memory, as the other tabs have left it, and stores it in the same transaction.
   * @template T
   * @param {(isRefreshed: boolean) => T} apply changes the memory at once; whether another tab had, too
   * @param {(value: T) => boolean} [isChange] whether there is something to store
   */
  async change(apply, isChange = () => true) {
    /** What became of `apply`. @type {{ value: T } | { error: unknown } | undefined} */ let outcome;
    const run = (/** @type {boolean} */ isRefreshed) => {
      try {
        outcome = { value: apply(isRefreshed) };
      } catch (error) {
        outcome = { error };
        return undefined;
      }
      return isChange(outcome.value) ? this.#captioner.exportMemory() : undefined;
    };
    try {
      await this.#store?.change((snapshot) => this.#captioner.reloadMemory(snapshot), run);
    } catch (error) {
      this.#goOnWithoutStore(error);
    }
    if (!outcome) run(false);
    const { error, value } = /** @type {any} */ (outcome);
    if (error) throw error;
    if (isChange(value)) {
      this.#tell('changed', 'the memory changed');
      this.#otherTabs?.postMessage('changed');
    }
    return value;
  }

  /** Lets go of the other tabs and the store. */
  close() {
    this.#otherTabs?.close();
    this.#store?.close();
    this.#store = null;
  }

  async listAside() {
    return (await this.#store?.listAside()) ?? [];
  }

  /** @param {string} name */
  async exportAside(name) {
    const snapshot = await this.#store?.exportAside(name);
    if (!snapshot) throw new BitMarError('memory', `nothing was set aside as ${name}`);
    return snapshot;
  }

  /** @param {string} name */
  async deleteAside(name) {
    await this.#store?.deleteAside(name);
    this.#tell('changed', 'a snapshot that was set aside is deleted');
  }

  /** @param {SnapshotStore} store @param {Uint8Array} snapshot @param {(event: any) => void} report */
  async #restore(store, snapshot, report) {
    try {
      return this.#captioner.reloadMemory(snapshot);
    } catch (/** @type {any} */ error) {
      if (error.code !== 'snapshot') throw error;
    }
    // A copy first: nothing below may lose what the user taught.
    const when = new Date().toISOString().slice(0, 19).replace('T', ' ');
    await store.setAside(when, snapshot);
    try {
      const migrated = migrateSnapshot(this.#captioner, snapshot, report);
      await this.change((isRefreshed) => isRefreshed || this.#captioner.reloadMemory(migrated.snapshot));
      this.#tell('memory-adopted', `the memory of another model was taken over, ${migrated.left} photos could not be`);
    } catch (/** @type {any} */ error) {
      if (error.code !== 'snapshot') throw error;
      await this.change(() => {});
      this.#tell('memory-damaged', error.message);
    }
  }

  /** @param {any} error */
  #goOnWithoutStore(error) {
    this.#store = null;
    // A snapshot that a newer page's model wrote is none of ours to replace.
    this.#tell(error?.code === 'snapshot' ? 'storage-outdated' : storageCode(error), String(error?.message ?? error));
  }

  /** @param {string} code @param {string} message */
  #tell(code, message) {
    this.#notice({ code, message });
  }
}
