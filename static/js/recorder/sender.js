/**
 * Sends stored chunks over the present socket, one read and one frame at a time, and removes each from storage when the
 * node holds it. It speaks no protocol; `upload.js` does.
 * @module
 */
import { isWhole } from './frame.js';
import { Window } from './window.js';

/** @typedef {import('./types.d.ts').Piece} Piece */

export class Sender {
  #store;
  #meta;
  #events;
  #window = new Window();
  /** The node takes chunks on the present socket. */
  #taking = false;
  #pumping = false;
  /** From this index on the node takes nothing. */
  #limit = Infinity;
  /** Ends with the last removal from storage. @type {Promise<unknown>} */
  #tidying = Promise.resolve();
  /** Chunks that were sent at least once. */
  sent = 0;
  acked = 0;
  bytesAcked = 0;

  /**
   * @param {object} options
   * @param {import('./store.js').ChunkStore} options.store
   * @param {import('./types.d.ts').RecordingMeta} options.meta
   * @param {Piece[]} options.pieces
   * @param {object} events
   * @param {(frame: Uint8Array<ArrayBuffer>) => void} events.write
   * @param {() => void} events.onMoved a chunk was sent for the first time, or acknowledged
   * @param {() => void} events.onIdle nothing more can be sent before something happens
   * @param {(piece: Piece) => void} events.onLost storage does not have it any more
   */
  constructor({ store, meta, pieces }, events) {
    this.#store = store;
    this.#meta = meta;
    this.#events = events;
    for (const piece of pieces) this.#window.add(piece);
  }

  get taking() {
    return this.#taking;
  }

  /** Chunks that still have to be acknowledged. */
  get waiting() {
    return this.#window.size;
  }

  get inFlight() {
    return this.#window.inFlight;
  }

  get allSent() {
    return this.#window.allSent;
  }

  /** When time alone makes something due. Unit: ms of `performance.now()`. */
  get wakeAt() {
    return this.#taking ? this.#window.wakeAt : Infinity;
  }

  /** Something is left that the node does not have and does not want. */
  get keepsAny() {
    return this.#window.size > 0 || this.#window.anyRefused;
  }

  /** @param {number} index @returns {boolean} it is still here */
  has(index) {
    return this.#window.knows(index);
  }

  /** The other side is alive, or something still leaves the browser: nothing is overdue. */
  sign() {
    this.#window.sign();
  }

  /** @param {Piece} piece that is in storage now */
  add(piece) {
    this.#window.add(piece);
    if (piece.index >= this.#limit) this.#window.refuse(piece.index);
    void this.pump();
  }

  /** @param {number} inFlightMax */
  open(inFlightMax) {
    this.#window.open(inFlightMax);
    this.#taking = true;
    void this.pump();
  }

  /** No chunk is sent until the next `open`. */
  pause() {
    this.#taking = false;
  }

  /** The socket is gone. */
  shut() {
    this.#taking = false;
    this.#window.shut();
  }

  /** Resolved when storage is tidy. */
  tidy() {
    return this.#tidying;
  }

  async pump() {
    if (this.#pumping || !this.#taking) return;
    this.#pumping = true;
    try {
      for (let next; this.#taking && (next = this.#window.next()); ) await this.#send(next);
    } finally {
      this.#pumping = false;
    }
    if (this.#taking) this.#events.onIdle();
  }

  /** @param {number} index */
  ack(index) {
    const piece = this.#window.acked(index);
    if (!piece) return;
    this.acked += 1;
    this.bytesAcked += piece.bytes;
    this.#tidying = this.#tidying.then(() => this.#remove(piece)).catch(() => {});
    this.#events.onMoved();
    void this.pump();
  }

  /** @param {(index: number) => boolean} which the node holds, whatever became of the acknowledgements */
  ackAll(which) {
    this.#window.indices.filter(which).forEach((index) => this.ack(index));
  }

  /**
   * The node did not take it this time.
   * @param {number} index
   * @param {number} [waitMs] default: as for one that was lost
   * @returns {boolean} it is here to be sent again
   */
  again(index, waitMs) {
    if (!this.#window.has(index)) return false;
    this.#window.again(index, waitMs);
    void this.pump();
    return true;
  }

  /**
   * The node will never take it. It stays in storage.
   * @param {number} index
   */
  refuse(index) {
    this.#window.refuse(index);
    void this.pump();
  }

  /**
   * The node will take none from this one on: they stay in storage.
   * @param {number} index
   */
  refuseFrom(index) {
    this.#limit = Math.min(this.#limit, index);
    this.#window.refuse(index);
    this.#window.refuseFrom(this.#limit);
    void this.pump();
  }

  /** Of those on their way: the one to suspect when a frame was too large. */
  largest() {
    return this.#window.largest();
  }

  /** @param {import('./window.js').Pending} pending */
  async #send(pending) {
    const { piece } = pending;
    const frame = await this.#store.read(this.#meta, piece).catch(() => null);
    if (!this.#taking || !this.#window.has(piece.index)) return;
    if (!frame || !isWhole(frame, piece.index)) {
      this.#window.refuse(piece.index);
      return this.#events.onLost(piece);
    }
    this.#events.write(frame);
    if (!this.#window.sent(pending)) return;
    this.sent += 1;
    this.#events.onMoved();
  }

  /**
   * How far the recording has come must be known even when no chunk is left in storage: it is written down first.
   * @param {Piece} piece
   */
  async #remove(piece) {
    if (piece.index >= this.#meta.nextIndex) {
      Object.assign(this.#meta, { nextIndex: piece.index + 1, bytesRecorded: piece.end });
      await this.#store.save(this.#meta);
    }
    await this.#store.remove(this.#meta, piece);
  }
}
