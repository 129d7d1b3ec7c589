// @ts-check
/**
 * The memory's snapshot in IndexedDB: whole, in one put after each change.
 * Storage may be full, refused or taken away at any moment; the session then goes on in memory.
 */
const DATABASE = 'bitmar';
const SNAPSHOTS = 'snapshots';

/** @template T @param {IDBRequest<T>} request @returns {Promise<T>} */
const answer = (request) =>
  new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });

/** @returns {Promise<IDBDatabase>} */
function openDatabase() {
  const request = indexedDB.open(DATABASE, 1);
  request.onupgradeneeded = () => request.result.createObjectStore(SNAPSHOTS);
  return new Promise((resolve, reject) => {
    request.onblocked = () => reject(new Error('another tab holds an older version open'));
    answer(request).then(resolve, reject);
  });
}

export class SnapshotStore {
  /** @type {IDBDatabase | null} */ #database = null;
  #name;

  /** @param {string} name */
  constructor(name) {
    this.#name = name;
  }

  /** @returns {Promise<Uint8Array | undefined>} */
  async load() {
    return answer((await this.#snapshots('readonly')).get(this.#name));
  }

  /** @param {Uint8Array} snapshot */
  async save(snapshot) {
    await this.#put(this.#name, snapshot);
  }

  /** Keeps a snapshot this version cannot read, under another name. @param {Uint8Array} snapshot */
  async setAside(snapshot) {
    await this.#put(`${this.#name} (set aside)`, snapshot);
  }

  /** @param {string} name @param {Uint8Array} snapshot */
  async #put(name, snapshot) {
    const snapshots = await this.#snapshots('readwrite');
    const { transaction } = snapshots;
    snapshots.put(snapshot, name);
    await new Promise((resolve, reject) => {
      transaction.oncomplete = resolve;
      transaction.onerror = transaction.onabort = () => reject(transaction.error);
    });
  }

  /** @param {IDBTransactionMode} mode */
  async #snapshots(mode) {
    if (!this.#database) {
      this.#database = await openDatabase();
      // A newer version in another tab must not wait for this one.
      this.#database.onversionchange = () => this.#forget();
      this.#database.onclose = () => this.#forget();
    }
    return this.#database.transaction(SNAPSHOTS, mode).objectStore(SNAPSHOTS);
  }

  #forget() {
    this.#database?.close();
    this.#database = null;
  }
}
