// @ts-check
/**
 * The memory's snapshot in IndexedDB, stored as a whole, and a revision that every write renews.
 * A change is one transaction, and the browser runs those of all tabs one after another, so no tab
 * overwrites what another has just stored. docs/storage.md has more, and says why this uses no
 * IndexedDB wrapper.
 */
import { openDatabase } from './database.js';
import { abort, completion, result } from './idb-promises.js';

const [SNAPSHOTS, REVISIONS] = ['snapshots', 'revisions'];

/** @param {IDBDatabase} database */
function upgrade(database) {
  for (const name of [SNAPSHOTS, REVISIONS]) {
    if (!database.objectStoreNames.contains(name)) database.createObjectStore(name);
  }
}

export class SnapshotStore {
  #name;
  #onEvicted;
  /** @type {IDBDatabase | null} */ #database = null;
  /** The revision of the memory in use: 0 if nothing is stored, -1 before the first read. */
  #revision = -1;

  /**
   * @param {string} name
   * @param {() => void} onEvicted called if the browser has removed the snapshot
   */
  constructor(name, onEvicted) {
    this.#name = name;
    this.#onEvicted = onEvicted;
  }

  /**
   * The stored snapshot, if another tab has written it since the last read or write.
   * @returns {Promise<Uint8Array | undefined>}
   */
  async readIfChanged() {
    return this.#readIfChanged(await this.#begin('readonly'));
  }

  /**
   * Calls `refresh` with the snapshot, if another tab has written one, then `apply`, which returns
   * the snapshot to store, if any; its argument tells whether `refresh` was called. Both must be
   * synchronous, because a transaction without a pending request ends.
   * @param {(snapshot: Uint8Array) => void} refresh
   * @param {(isRefreshed: boolean) => Uint8Array | undefined} apply
   */
  async change(refresh, apply) {
    const transaction = await this.#begin('readwrite');
    const completed = completion(transaction);
    // An earlier error in this function is the one to report.
    completed.catch(() => {});
    try {
      const newer = await this.#readIfChanged(transaction);
      if (newer) refresh(newer);
      const snapshot = apply(newer !== undefined);
      if (snapshot) this.#put(transaction, snapshot);
    } catch (error) {
      abort(transaction);
      throw error;
    }
    await completed;
  }

  /**
   * Keeps a snapshot that cannot be used as it is.
   * @param {string} name
   * @param {Uint8Array} snapshot
   */
  async setAside(name, snapshot) {
    const transaction = await this.#begin('readwrite');
    transaction.objectStore(SNAPSHOTS).put(snapshot, this.#asideKey(name));
    await completion(transaction);
  }

  /** @returns {Promise<string[]>} */
  async listAside() {
    const snapshots = (await this.#begin('readonly')).objectStore(SNAPSHOTS);
    const prefix = this.#asideKey('');
    // All keys with this prefix sort between it and the upper bound.
    const keys = await result(snapshots.getAllKeys(IDBKeyRange.bound(prefix, `${prefix}\uffff`)));
    return keys.map((key) => String(key).slice(prefix.length));
  }

  /** @param {string} name @returns {Promise<Uint8Array | undefined>} */
  async exportAside(name) {
    const snapshots = (await this.#begin('readonly')).objectStore(SNAPSHOTS);
    return result(snapshots.get(this.#asideKey(name)));
  }

  /** @param {string} name */
  async deleteAside(name) {
    const transaction = await this.#begin('readwrite');
    transaction.objectStore(SNAPSHOTS).delete(this.#asideKey(name));
    await completion(transaction);
  }

  close() {
    this.#database?.close();
  }

  /** @param {IDBTransaction} transaction @param {Uint8Array} snapshot */
  #put(transaction, snapshot) {
    // Random, hence unique: a counter would start over after the browser removed the database.
    this.#revision = 1 + Math.random();
    transaction.objectStore(SNAPSHOTS).put(snapshot, this.#name);
    transaction.objectStore(REVISIONS).put(this.#revision, this.#name);
  }

  /** @param {string} name */
  #asideKey(name) {
    return `${this.#name} (set aside) ${name}`;
  }

  /** @param {IDBTransaction} transaction */
  async #readIfChanged(transaction) {
    const revision = (await result(transaction.objectStore(REVISIONS).get(this.#name))) ?? 0;
    if (revision === this.#revision) return undefined;
    /** @type {Uint8Array | undefined} */
    const snapshot = await result(transaction.objectStore(SNAPSHOTS).get(this.#name));
    if (!snapshot && this.#revision > 0) this.#onEvicted();
    this.#revision = revision;
    return snapshot;
  }

  /** @param {IDBTransactionMode} mode */
  async #begin(mode) {
    const onLost = () => (this.#database = null);
    const open = async () => (this.#database ??= await openDatabase(upgrade, onLost));
    const begin = (/** @type {IDBDatabase} */ database) =>
      database.transaction([SNAPSHOTS, REVISIONS], mode, { durability: 'strict' });
    try {
      return begin(await open());
    } catch (/** @type {any} */ error) {
      if (error.name !== 'InvalidStateError') throw error;
      // The browser has closed the connection, and its `close` event has not been fired yet.
      this.#database = null;
      return begin(await open());
    }
  }
}
