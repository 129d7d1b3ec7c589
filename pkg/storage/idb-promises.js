// @ts-check
/** IndexedDB's requests and transactions as promises. */

/** @template T @param {IDBRequest<T>} request @returns {Promise<T>} */
export const answer = (request) =>
  new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });

/** @param {IDBTransaction} transaction */
export const completion = (transaction) =>
  new Promise((resolve, reject) => {
    transaction.oncomplete = () => resolve(undefined);
    transaction.onabort = () => reject(transaction.error ?? new DOMException('the transaction was aborted', 'AbortError'));
  });

/** Ends a transaction whose changes are not wanted, if it has not ended. @param {IDBTransaction} transaction */
export function abort(transaction) {
  try {
    transaction.abort();
  } catch {
    // It ended by itself.
  }
}
