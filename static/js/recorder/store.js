/**
 * The chunks of recordings in browser storage, from before they are sent until the node has acknowledged them, and what
 * is known of each recording. It survives a reload and a crash of the tab or of the browser.
 *
 * What is known of a recording lies in IndexedDB, where a write happens whole or not at all. The chunks lie as frames on
 * a shelf (see `shelves.js`): files of the origin, else IndexedDB, else memory. A chunk that storage refuses is kept in
 * memory, which is bounded; nothing is dropped.
 * @module
 */
import { TypedEventTarget } from '../events.js';
import { RECORDINGS, openDatabase, transact } from './idb.js';
import { MemoryShelf, openIdbShelf, openOpfsShelf } from './shelves.js';

/** @typedef {import('./types.d.ts').RecordingMeta} RecordingMeta */
/** @typedef {import('./types.d.ts').Piece} Piece */
/** @typedef {import('./types.d.ts').StorageKind} StorageKind */
/** @typedef {import('./shelves.js').Shelf} Shelf */

/** Everything known of a stored chunk is in its name, so that finding leftovers reads no video. @param {Piece} piece */
const nameOf = ({ index, end, bytes, at }) => `c-${index}-${end}-${bytes}-${at}`;
/** The first chunk of a segment once more, kept when acknowledged: without it no later one can be played. @param {number} index */
const headOf = (index) => `h-${index}`;

/**
 * Events: `degraded` {error} — a chunk went to memory because storage refused it.
 * @extends {TypedEventTarget<{ degraded: { error: Error } }>}
 */
export class ChunkStore extends TypedEventTarget {
  #database;
  #shelf;
  #overflow;
  /** Shelves of other kinds that earlier visits used. @type {Map<StorageKind, Promise<Shelf>>} */
  #others = new Map();
  /** Stands in for the database. @type {Map<string, RecordingMeta>} */
  #known = new Map();

  /**
   * @param {IDBDatabase | null} database
   * @param {Shelf | null} shelf
   */
  constructor(database, shelf) {
    super();
    this.#database = database;
    this.#overflow = new MemoryShelf();
    this.#shelf = shelf ?? this.#overflow;
  }

  /**
   * The best storage that works here, or the one that is asked for.
   * @param {StorageKind | 'auto'} [wish]
   */
  static async open(wish = 'auto') {
    const database = wish === 'memory' ? null : await openDatabase().catch(() => null);
    const kinds = wish === 'auto' ? /** @type {const} */ (['opfs', 'indexeddb']) : [wish];
    for (const kind of database ? kinds : []) {
      const shelf = await openShelf(kind).catch(() => null);
      if (shelf) return new ChunkStore(database, shelf);
    }
    return new ChunkStore(null, null);
  }

  /** `memory` means that a reload loses what the node does not have yet. @returns {StorageKind} */
  get kind() {
    return this.#shelf.kind;
  }

  /** Memory is being used and half full: whoever makes chunks should pause. */
  get crowded() {
    return this.#overflow.crowded;
  }

  // ---- recordings ------------------------------------------------------------------------------------------------

  /** @returns {Promise<RecordingMeta[]>} */
  async recordings() {
    if (!this.#database) return [...this.#known.values()];
    return transact(this.#database, RECORDINGS, 'readonly', (store) => store.getAll());
  }

  /**
   * @param {string} key
   * @returns {Promise<RecordingMeta | undefined>}
   */
  async recording(key) {
    if (!this.#database) return this.#known.get(key);
    return transact(this.#database, RECORDINGS, 'readonly', (store) => store.get(key));
  }

  /** @param {RecordingMeta} meta */
  async save(meta) {
    if (!this.#database) this.#known.set(meta.key, meta);
    else await transact(this.#database, RECORDINGS, 'readwrite', (store) => store.put({ ...meta }, meta.key));
  }

  /**
   * Removes a recording and all its chunks.
   * @param {RecordingMeta} meta
   */
  async forget({ key, shelf }) {
    await (await this.#of(shelf)).drop(key);
    await this.#overflow.drop(key);
    this.#known.delete(key);
    if (this.#database) await transact(this.#database, RECORDINGS, 'readwrite', (store) => store.delete(key));
  }

  // ---- chunks ----------------------------------------------------------------------------------------------------

  /**
   * Keeps a chunk. Resolved when a crash loses it no more.
   * @param {RecordingMeta} meta
   * @param {Piece} piece
   * @param {Uint8Array<ArrayBuffer>} frame
   * @param {boolean} segmentStart
   */
  async append(meta, piece, frame, segmentStart) {
    if (segmentStart) await this.#put(meta, headOf(piece.index), frame);
    await this.#put(meta, nameOf(piece), frame);
  }

  /**
   * @param {RecordingMeta} meta
   * @param {Piece} piece
   * @returns {Promise<Uint8Array<ArrayBuffer> | null>} the frame
   */
  read(meta, piece) {
    return this.#get(meta, nameOf(piece));
  }

  /**
   * @param {RecordingMeta} meta
   * @param {Piece} piece
   */
  async remove(meta, piece) {
    await this.#overflow.remove(meta.key, nameOf(piece));
    await (await this.#of(meta.shelf)).remove(meta.key, nameOf(piece));
  }

  /**
   * What is kept of a recording, in order.
   * @param {RecordingMeta} meta
   * @returns {Promise<{ pieces: Piece[], heads: number[] }>} heads: indices that begin segments
   */
  async contents({ key, shelf }) {
    const names = new Set([...await (await this.#of(shelf)).list(key), ...await this.#overflow.list(key)]);
    const parsed = [...names].map((name) => ({ kind: name[0], numbers: name.split('-').slice(1).map(Number) }));
    const pieces = parsed.filter(({ kind, numbers }) => kind === 'c' && numbers.length === 4)
      .map(({ numbers: [index = 0, end = 0, bytes = 0, at = 0] }) => ({ index, end, bytes, at }))
      .sort((a, b) => a.index - b.index);
    const heads = parsed.filter(({ kind }) => kind === 'h').map(({ numbers: [index = 0] }) => index).sort((a, b) => a - b);
    return { pieces, heads };
  }

  /**
   * @param {RecordingMeta} meta
   * @param {number} index that begins a segment
   */
  readHead(meta, index) {
    return this.#get(meta, headOf(index));
  }

  /** @param {RecordingMeta} meta @param {string} name @param {Uint8Array<ArrayBuffer>} bytes */
  async #put({ key, shelf }, name, bytes) {
    try {
      await (await this.#of(shelf)).put(key, name, bytes);
    } catch (error) {
      if (shelf === 'memory') throw error;
      await this.#overflow.put(key, name, bytes);
      this.emit('degraded', { error: /** @type {Error} */ (error) });
    }
  }

  /** @param {RecordingMeta} meta @param {string} name */
  async #get({ key, shelf }, name) {
    return (await this.#overflow.get(key, name)) ?? (await this.#of(shelf)).get(key, name);
  }

  /** @param {StorageKind} kind @returns {Promise<Shelf>} */
  async #of(kind) {
    if (kind === this.#shelf.kind) return this.#shelf;
    if (kind === 'memory') return this.#overflow;
    const opening = this.#others.get(kind) ?? openShelf(kind);
    this.#others.set(kind, opening);
    return opening;
  }
}

/** @param {StorageKind} kind @returns {Promise<Shelf>} */
function openShelf(kind) {
  if (kind === 'opfs') return openOpfsShelf();
  return kind === 'indexeddb' ? openIdbShelf() : Promise.resolve(new MemoryShelf());
}
