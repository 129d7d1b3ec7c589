// @ts-check
/** Opens the package's IndexedDB database, and closes it when another tab or the browser asks. */
import { BitMarError } from '../errors.js';

const NAME = 'bitmar';

/** Version 2 added the store of revisions. */
const VERSION = 2;

/**
 * @param {(database: IDBDatabase) => void} upgrade creates what a new or an older database lacks
 * @param {() => void} onLost called when the connection can no longer be used
 * @returns {Promise<IDBDatabase>}
 */
export function openDatabase(upgrade, onLost) {
  return new Promise((resolve, reject) => {
    const request = indexedDB.open(NAME, VERSION);
    let isBlocked = false;
    request.onupgradeneeded = () => upgrade(request.result);
    request.onblocked = () => {
      isBlocked = true;
      const message = 'another tab has an older version of the database open';
      reject(new BitMarError('storage-blocked', message));
    };
    request.onerror = () => reject(request.error);
    request.onsuccess = () => {
      const database = request.result;
      // The other tab closed it after all, but by now this one has gone on without storage.
      if (isBlocked) return database.close();
      // A newer version in another tab must not have to wait for this one.
      database.onversionchange = () => {
        database.close();
        onLost();
      };
      database.onclose = onLost;
      resolve(database);
    };
  });
}

/** The notice code for an error that kept the memory from being stored. @param {any} error */
export function storageCode(error) {
  if (typeof error?.code === 'string') return error.code;
  return CODES[error?.name] ?? 'storage';
}

/** By the error's name. @type {Record<string, string>} */
const CODES = {
  QuotaExceededError: 'storage-full',
  SecurityError: 'storage-denied',
  InvalidStateError: 'storage-denied',
  ReferenceError: 'storage-denied',
  VersionError: 'storage-outdated',
};
