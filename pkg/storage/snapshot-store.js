// @ts-check
/**
 * The memory's snapshot in IndexedDB: whole, with a revision beside it that every write renews.
 * A change is one transaction: it looks whether another tab has written, changes the memory, and puts the
 * snapshot. The browser runs such transactions of all tabs one after the other, so no tab overwrites
 * what another has just learned. Why there is no wrapper around IndexedDB: docs/storage.md.
 */
import { openDatabase } from './database.js';
import { abort, answer, completion } from './idb-promises.js';

const [SNAPSHOTS, REVISIONS] = ['snapshots', 'revisions'];

/** @param {IDBDatabase} database */
function upgrade(database) {
  for (const name of [SNAPSHOTS, REVISIONS]) {
    if (!database.objectStoreNames.contains(name)) database.createObjectStore(name);
  }
}

export class SnapshotStore {
  #name;
  #onGone;
  /** @type {IDBDatabase | null} */ #database = null;
  /** The revision that the memory in use has; above 0 where one was stored, -1 before the first look. */
  #revision = -1;

  /** @param {string} name @param {() => void} onGone hears that the browser removed what was stored */
  constructor(name, onGone) {
    this.#name = name;
    this.#onGone = onGone;
  }

  /** The stored snapshot, if another tab wrote it since the last look. @returns {Promise<Uint8Array | undefined>} */
  async news() {
    return this.#news(await this.#begin('readonly'));
  }

  /**
   * Changes what is stored. `refresh` hears the snapshot that another tab wrote, if one did; then `apply`
   * changes the memory and gives the snapshot to store, or nothing if there is nothing to store. Neither
   * may wait: a transaction of which nothing is asked ends.
   * @param {(snapshot: Uint8Array) => void} refresh
   * @param {(isRefreshed: boolean) => Uint8Array | undefined} apply
   */
  async change(refresh, apply) {
    const transaction = await this.#begin('readwrite');
    const completed = completion(transaction);
    // Until it is awaited below, a failure of it is a failure of what is awaited before.
    completed.catch(() => {});
    try {
      const news = await this.#news(transaction);
      if (news) refresh(news);
      const snapshot = apply(news !== undefined);
      if (snapshot) this.#put(transaction, snapshot);
    } catch (error) {
      abort(transaction);
      throw error;
    }
    await completed;
  }

  /** Keeps a snapshot that could not be used as it is. @param {string} name @param {Uint8Array} snapshot */
  async setAside(name, snapshot) {
    const transaction = await this.#begin('readwrite');
    transaction.objectStore(SNAPSHOTS).put(snapshot, this.#asideKey(name));
    await completion(transaction);
  }

  /** @returns {Promise<string[]>} */
  async listAside() {
    const snapshots = (await this.#begin('readonly')).objectStore(SNAPSHOTS);
    const prefix = this.#asideKey('');
    // Keys begin with the prefix from itself up to what sorts behind all that begin with it.
    const keys = await answer(snapshots.getAllKeys(IDBKeyRange.bound(prefix, `${prefix}\uffff`)));
    return keys.map((key) => String(key).slice(prefix.length));
  }

  /** @param {string} name @returns {Promise<Uint8Array | undefined>} */
  async exportAside(name) {
    return answer((await this.#begin('readonly')).objectStore(SNAPSHOTS).get(this.#asideKey(name)));
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
    // What no other write has: a counter would begin anew after the browser removed the database.
    this.#revision = 1 + Math.random();
    transaction.objectStore(SNAPSHOTS).put(snapshot, this.#name);
    transaction.objectStore(REVISIONS).put(this.#revision, this.#name);
  }

  /** @param {string} name */
  #asideKey(name) {
    return `${this.#name} (set aside) ${name}`;
  }

  /** @param {IDBTransaction} transaction */
  async #news(transaction) {
    const revision = (await answer(transaction.objectStore(REVISIONS).get(this.#name))) ?? 0;
    if (revision === this.#revision) return undefined;
    /** @type {Uint8Array | undefined} */
    const snapshot = await answer(transaction.objectStore(SNAPSHOTS).get(this.#name));
    if (!snapshot && this.#revision > 0) this.#onGone();
    this.#revision = revision;
    return snapshot;
  }

  /** @param {IDBTransactionMode} mode */
  async #begin(mode) {
    const open = async () => (this.#database ??= await openDatabase(upgrade, () => (this.#database = null)));
    const begun = (/** @type {IDBDatabase} */ database) =>
      database.transaction([SNAPSHOTS, REVISIONS], mode, { durability: 'strict' });
    try {
      return begun(await open());
    } catch (/** @type {any} */ error) {
      if (error.name !== 'InvalidStateError') throw error;
      // The browser closed the connection and has not said so yet.
      this.#database = null;
      return begun(await open());
    }
  }
}
