// @ts-check
/** Opens the package's IndexedDB database, and lets go of it when another tab or the browser wants it. */
import { BitMarError } from '../errors.js';

const NAME = 'bitmar';

/** 2: revisions beside the snapshots. */
const VERSION = 2;

/**
 * @param {(database: IDBDatabase) => void} upgrade makes what a new or an older database lacks
 * @param {() => void} onLost hears that the connection must not be used any more
 * @returns {Promise<IDBDatabase>}
 */
export function openDatabase(upgrade, onLost) {
  return new Promise((resolve, reject) => {
    const request = indexedDB.open(NAME, VERSION);
    let isBlocked = false;
    request.onupgradeneeded = () => upgrade(request.result);
    request.onblocked = () => {
      isBlocked = true;
      reject(new BitMarError('storage-blocked', 'another tab holds an older version open'));
    };
    request.onerror = () => reject(request.error);
    request.onsuccess = () => {
      const database = request.result;
      // The other tab let go after all, but the session goes on without the store by now.
      if (isBlocked) return database.close();
      // A newer version in another tab must not wait for this one.
      database.onversionchange = () => {
        database.close();
        onLost();
      };
      database.onclose = onLost;
      resolve(database);
    };
  });
}

/** The code of what kept the memory from being stored. @param {any} error */
export function storageCode(error) {
  if (typeof error?.code === 'string') return error.code;
  return CODES[error?.name] ?? 'storage';
}

/** @type {Record<string, string>} */
const CODES = {
  QuotaExceededError: 'storage-full',
  SecurityError: 'storage-denied',
  InvalidStateError: 'storage-denied',
  ReferenceError: 'storage-denied',
  VersionError: 'storage-outdated',
};
