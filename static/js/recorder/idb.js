/**
 * IndexedDB with promises: one database, a store of recordings (what is known of each) and one of chunk bytes for
 * browsers without an origin private file system.
 * @module
 */

const DATABASE = 'greenroom-recordings';
const VERSION = 1;
export const RECORDINGS = 'recordings';
export const BYTES = 'bytes';

/** @returns {Promise<IDBDatabase>} rejected where storage is switched off */
export function openDatabase() {
  return new Promise((resolve, reject) => {
    const request = indexedDB.open(DATABASE, VERSION);
    request.onupgradeneeded = () => {
      request.result.createObjectStore(RECORDINGS);
      request.result.createObjectStore(BYTES);
    };
    request.onerror = () => reject(request.error);
    request.onsuccess = () => {
      const database = request.result;
      // A newer version of the library in another tab must not wait for this one.
      database.onversionchange = () => database.close();
      resolve(database);
    };
  });
}

/**
 * One request in a transaction of its own, resolved when the transaction is complete and not before: a request that
 * succeeded can still be undone when the disk is full.
 * @template T
 * @param {IDBDatabase} database
 * @param {string} storeName
 * @param {IDBTransactionMode} mode
 * @param {(store: IDBObjectStore) => IDBRequest<T>} act
 * @returns {Promise<T>}
 */
export function transact(database, storeName, mode, act) {
  return new Promise((resolve, reject) => {
    const transaction = database.transaction(storeName, mode);
    const request = act(transaction.objectStore(storeName));
    transaction.oncomplete = () => resolve(request.result);
    transaction.onabort = () => reject(transaction.error ?? request.error);
  });
}
