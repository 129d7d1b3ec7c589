// @ts-check
/**
 * Keeps the captioner's memory in storage and in sync with other tabs. Storage may be denied, full
 * or removed at any time: a notice reports that, and the memory then lasts until `close()`.
 */
import { BitMarError } from '../errors.js';
import { storageCode } from './database.js';
import { migrateSnapshot } from './migrate-snapshot.js';
import { SnapshotStore } from './snapshot-store.js';

/**
 * @typedef {{ code: string, message: string, snapshot?: Uint8Array }} Notice `snapshot` is the
 *   memory, if it is not stored: the page keeps it for the case that this worker crashes
 */

export class PersistentMemory {
  #captioner;
  #onNotice;
  /** @type {SnapshotStore | null} */ #store = null;
  /** @type {BroadcastChannel | null} */ #otherTabs = null;

  /** @param {any} captioner @param {(notice: Notice) => void} onNotice */
  constructor(captioner, onNotice) {
    this.#captioner = captioner;
    this.#onNotice = onNotice;
  }

  /** Whether changes are stored. */
  get isStored() {
    return this.#store !== null;
  }

  /**
   * Loads the memory stored under `name`.
   * @param {string} name
   * @param {(event: any) => void} report called with the progress of a migration
   */
  async open(name, report) {
    const onEvicted = () =>
      this.#notify('storage-evicted', 'the browser removed the stored memory');
    const store = new SnapshotStore(name, onEvicted);
    try {
      this.#store = store;
      const snapshot = await store.readIfChanged();
      if (snapshot) await this.#restore(store, snapshot, report);
    } catch (error) {
      this.#continueUnstored(error);
    }
    if (this.#store && typeof BroadcastChannel !== 'undefined') {
      this.#otherTabs = new BroadcastChannel(`bitmar memory ${name}`);
      this.#otherTabs.onmessage = () => this.#notify('changed', 'another tab changed the memory');
    }
  }

  /** Loads what other tabs have stored since. */
  async refresh() {
    try {
      const snapshot = await this.#store?.readIfChanged();
      if (snapshot) this.#captioner.reloadMemory(snapshot);
    } catch (error) {
      this.#continueUnstored(error);
    }
  }

  /**
   * Refreshes the memory, changes it and stores it, all in one transaction.
   * @template T
   * @param {(isRefreshed: boolean) => T} apply synchronous
   * @param {(value: T) => boolean} [isChange] whether there is something to store
   */
  async change(apply, isChange = () => true) {
    /** @type {{ value: T } | { error: unknown } | undefined} */ let outcome;
    // Errors of `apply` are kept in `outcome`, so any error thrown below is a storage error.
    const run = (/** @type {boolean} */ isRefreshed) => {
      try {
        outcome = { value: apply(isRefreshed) };
      } catch (error) {
        outcome = { error };
        return undefined;
      }
      return this.#store && isChange(outcome.value) ? this.#captioner.exportMemory() : undefined;
    };
    try {
      await this.#store?.change((snapshot) => this.#captioner.reloadMemory(snapshot), run);
    } catch (error) {
      this.#continueUnstored(error);
    }
    if (!outcome) run(false);
    const { error, value } = /** @type {any} */ (outcome);
    if (error) throw error;
    if (isChange(value)) {
      this.#notify('changed', 'the memory changed');
      this.#otherTabs?.postMessage('changed');
    }
    return value;
  }

  /** Disconnects from the other tabs and the database. */
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
    if (!snapshot) throw new BitMarError('memory', `there is no snapshot set aside as ${name}`);
    return snapshot;
  }

  /** @param {string} name */
  async deleteAside(name) {
    await this.#store?.deleteAside(name);
    this.#notify('changed', 'a snapshot that was set aside was deleted');
  }

  /**
   * @param {SnapshotStore} store
   * @param {Uint8Array} snapshot
   * @param {(event: any) => void} report
   */
  async #restore(store, snapshot, report) {
    try {
      return this.#captioner.reloadMemory(snapshot);
    } catch (/** @type {any} */ error) {
      if (error.code !== 'snapshot') throw error;
    }
    // Copied first, so that nothing below can lose what the user taught.
    const when = new Date().toISOString().slice(0, 19).replace('T', ' ');
    await store.setAside(when, snapshot);
    try {
      const { snapshot: own, left } = migrateSnapshot(this.#captioner, snapshot, report);
      await this.change((isRefreshed) => isRefreshed || this.#captioner.reloadMemory(own));
      const message = `another model's memory was migrated; ${left} photos could not be encoded`;
      this.#notify('memory-adopted', message);
    } catch (/** @type {any} */ error) {
      if (error.code !== 'snapshot') throw error;
      await this.change(() => {});
      this.#notify('memory-damaged', error.message);
    }
  }

  /** @param {any} error */
  #continueUnstored(error) {
    // Never overwrite a snapshot written by a newer model.
    this.#store = null;
    const code = error?.code === 'snapshot' ? 'storage-outdated' : storageCode(error);
    this.#notify(code, String(error?.message ?? error));
  }

  /** @param {string} code @param {string} message */
  #notify(code, message) {
    const snapshot = this.#store ? undefined : this.#captioner.exportMemory();
    this.#onNotice({ code, message, snapshot });
  }
}
