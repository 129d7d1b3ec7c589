// @ts-check
/** IndexedDB's requests and transactions as promises. */

/** @template T @param {IDBRequest<T>} request @returns {Promise<T>} */
export const result = (request) =>
  new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });

/** @param {IDBTransaction} transaction */
export const completion = (transaction) =>
  new Promise((resolve, reject) => {
    const aborted = () => new DOMException('the transaction was aborted', 'AbortError');
    transaction.oncomplete = () => resolve(undefined);
    transaction.onabort = () => reject(transaction.error ?? aborted());
  });

/** Rolls a transaction back, if it is still active. @param {IDBTransaction} transaction */
export function abort(transaction) {
  try {
    transaction.abort();
  } catch {
    // It has already finished.
  }
}
