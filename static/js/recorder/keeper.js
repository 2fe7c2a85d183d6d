/**
 * Puts what was captured into storage, in order and one at a time, and says when each chunk is there. Only then may it
 * be sent.
 * @module
 */
import { encodeFrame } from './frame.js';

/** How often storage that is full is tried again. Unit: ms. */
const AGAIN_MS = 500;

/** @typedef {import('./capture.js').Taken} Taken */

export class Keeper {
  #store;
  #meta;
  #events;
  /** @type {Promise<void>} */
  #work = Promise.resolve();
  #closed = false;
  #told = false;
  /** Chunks that are or were in storage. */
  stored;
  /** Bytes of payload of those chunks. */
  bytesStored;

  /**
   * @param {object} options
   * @param {import('./store.js').ChunkStore} options.store
   * @param {import('./types.d.ts').RecordingMeta} options.meta
   * @param {object} events
   * @param {(piece: import('./types.d.ts').Piece) => void} events.onStored
   * @param {(error: Error) => void} events.onFull told once for each time that nothing more fits
   */
  constructor({ store, meta }, events) {
    this.#store = store;
    this.#meta = meta;
    this.#events = events;
    this.stored = meta.nextIndex;
    this.bytesStored = meta.bytesRecorded;
  }

  /** @param {Taken} taken */
  keep(taken) {
    // The browser holds the bytes of a Blob, on disk if there are many; here only its turn is queued.
    this.#work = this.#work.then(() => this.#cut(taken));
  }

  /** Resolved when everything that was captured is in storage. */
  idle() {
    return this.#work;
  }

  /** Nothing more is wanted. */
  close() {
    this.#closed = true;
  }

  /** @param {Taken} taken */
  async #cut({ index, blob, pieceBytes, segmentStart, timecodeMs }) {
    for (let from = 0, at = index; from < blob.size && !this.#closed; from += pieceBytes, at += 1) {
      const payload = new Uint8Array(await blob.slice(from, from + pieceBytes).arrayBuffer());
      await this.#put({ index: at, timecodeMs, segmentStart: segmentStart && from === 0 }, payload);
    }
  }

  /**
   * @param {{ index: number, timecodeMs: number, segmentStart: boolean }} chunk
   * @param {Uint8Array} payload
   */
  async #put(chunk, payload) {
    const bytes = payload.length;
    const piece = { index: chunk.index, end: this.bytesStored + bytes, bytes, at: Date.now() };
    const frame = encodeFrame(chunk, payload);
    while (!this.#closed) {
      try {
        await this.#store.append(this.#meta, piece, frame, chunk.segmentStart);
        this.#told = false;
        this.stored += 1;
        this.bytesStored += bytes;
        return this.#events.onStored(piece);
      } catch (error) {
        if (!this.#told) this.#events.onFull(/** @type {Error} */ (error));
        this.#told = true;
        await new Promise((resolve) => setTimeout(resolve, AGAIN_MS));
      }
    }
  }
}
