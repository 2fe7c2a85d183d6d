/**
 * Where the bytes of chunks lie. A shelf keeps pieces of bytes by recording and name and knows nothing of what they
 * are; `store.js` does. Three kinds: files of the origin (OPFS), IndexedDB, and memory, which survives nothing.
 * @module
 */
import { BYTES, openDatabase, transact } from './idb.js';
import { openWorker } from './worker.js';

/**
 * @typedef {object} Shelf
 * @property {'opfs' | 'indexeddb' | 'memory'} kind
 * @property {(key: string, name: string, bytes: Uint8Array<ArrayBuffer>) => Promise<void>} put resolved when a crash of the tab loses
 *   nothing any more
 * @property {(key: string, name: string) => Promise<Uint8Array<ArrayBuffer> | null>} get
 * @property {(key: string, name: string) => Promise<void>} remove
 * @property {(key: string) => Promise<string[]>} list the names
 * @property {(key: string) => Promise<void>} drop all of one recording
 */

/** Pieces that memory holds when there is no storage, or none left. Unit: bytes. */
export const MEMORY_BYTES_MAX = 64 * 1024 * 1024;

/** @implements {Shelf} */
export class MemoryShelf {
  kind = /** @type {const} */ ('memory');
  /** @type {Map<string, Map<string, Uint8Array<ArrayBuffer>>>} */
  #kept = new Map();
  bytes = 0;

  /** Nothing more fits soon; whoever makes pieces should pause. */
  get crowded() {
    return this.bytes > MEMORY_BYTES_MAX / 2;
  }

  /** @param {string} key @param {string} name @param {Uint8Array<ArrayBuffer>} bytes */
  async put(key, name, bytes) {
    if (this.bytes + bytes.length > MEMORY_BYTES_MAX) throw new DOMException('the memory set aside is full', 'QuotaExceededError');
    const pieces = this.#kept.get(key) ?? new Map();
    this.#kept.set(key, pieces.set(name, bytes));
    this.bytes += bytes.length;
  }

  /** @param {string} key @param {string} name */
  async get(key, name) {
    return this.#kept.get(key)?.get(name) ?? null;
  }

  /** @param {string} key @param {string} name */
  async remove(key, name) {
    this.bytes -= this.#kept.get(key)?.get(name)?.length ?? 0;
    this.#kept.get(key)?.delete(name);
  }

  /** @param {string} key */
  async list(key) {
    return [...(this.#kept.get(key)?.keys() ?? [])];
  }

  /** @param {string} key */
  async drop(key) {
    for (const name of await this.list(key)) await this.remove(key, name);
    this.#kept.delete(key);
  }
}

/** @returns {Promise<Shelf>} rejected where IndexedDB is switched off */
export async function openIdbShelf() {
  const database = await openDatabase();
  const range = (/** @type {string} */ key) => IDBKeyRange.bound([key], [key, []]);
  return {
    kind: 'indexeddb',
    put: async (key, name, bytes) => void await transact(database, BYTES, 'readwrite', (store) => store.put(bytes, [key, name])),
    get: async (key, name) => (await transact(database, BYTES, 'readonly', (store) => store.get([key, name]))) ?? null,
    remove: (key, name) => transact(database, BYTES, 'readwrite', (store) => store.delete([key, name])),
    drop: (key) => transact(database, BYTES, 'readwrite', (store) => store.delete(range(key))),
    async list(key) {
      const names = await transact(database, BYTES, 'readonly', (store) => store.getAllKeys(range(key)));
      return names.map((name) => String(/** @type {string[]} */ (name)[1]));
    },
  };
}

/** @returns {Promise<Shelf>} rejected where the browser has no files, or no worker may run */
export async function openOpfsShelf() {
  const ask = await openWorker();
  return {
    kind: 'opfs',
    put: (key, name, bytes) => ask('put', key, name, bytes),
    get: (key, name) => ask('get', key, name),
    remove: (key, name) => ask('remove', key, name),
    list: (key) => ask('list', key),
    drop: (key) => ask('drop', key),
  };
}
