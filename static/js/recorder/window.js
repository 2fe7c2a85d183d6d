/**
 * Which chunk is sent next: in order, at most so many unacknowledged at once, and again what was not acknowledged in
 * time. Numbers and times only; `upload.js` reads and sends the bytes.
 * @module
 */

/** Before the first acknowledgement nothing is known of the line. Unit: ms. */
const RTT_GUESS_MS = 500;
/** A chunk is sent again when it is unacknowledged for this long at least, or for so many round trips. Unit: ms. */
const RESEND_MIN_MS = 1_000;
const RESEND_RTTS = 4;
/** Waits double up to this. Unit: ms. */
const RESEND_CAP_MS = 15_000;

/** @typedef {import('./types.d.ts').Piece} Piece */
/**
 * @typedef {object} Pending
 * @property {Piece} piece
 * @property {number} tries how often it was sent, on any socket
 * @property {number} sentAt on the present socket; 0: not on it
 * @property {number} notBefore the node asked to wait until then
 * @property {number} spread of the wait: 1 ± a quarter, so that chunks do not come up together
 */

export class Window {
  /** Unacknowledged, in order. @type {Map<number, Pending>} */
  #pending = new Map();
  /** Refused by the node for good. @type {Set<number>} */
  #refused = new Set();
  #inFlight = 0;
  #inFlightMax = 1;
  #rttMs = RTT_GUESS_MS;
  /** When the last of the acknowledged chunks was sent: what was sent before it was overtaken. */
  #overtookAt = 0;
  /** The last sign that the other side takes something. */
  #signAt = 0;

  /** Chunks that still have to be acknowledged. */
  get size() {
    return this.#pending.size;
  }

  get inFlight() {
    return this.#inFlight;
  }

  /** @param {number} index */
  has(index) {
    return this.#pending.has(index);
  }

  /** Everything is on its way or done. */
  get allSent() {
    return this.#inFlight === this.#pending.size;
  }

  get anyRefused() {
    return this.#refused.size > 0;
  }

  /** @param {number} index @returns {boolean} unacknowledged, or refused */
  knows(index) {
    return this.#pending.has(index) || this.#refused.has(index);
  }

  /** @returns {number[]} */
  get indices() {
    return [...this.#pending.keys()];
  }

  /** @param {Piece} piece */
  add(piece) {
    this.#pending.set(piece.index, { piece, tries: 0, sentAt: 0, notBefore: 0, spread: 0.75 + Math.random() / 2 });
  }

  /**
   * A socket is open, and nothing is on it.
   * @param {number} inFlightMax
   */
  open(inFlightMax) {
    this.shut();
    this.#inFlightMax = Math.max(1, inFlightMax);
    this.#signAt = performance.now();
  }

  /** The socket is gone. */
  shut() {
    this.#inFlight = 0;
    for (const pending of this.#pending.values()) pending.sentAt = 0;
  }

  /** Something was heard, or left the browser. */
  sign() {
    this.#signAt = performance.now();
  }

  /** @returns {Pending | undefined} what may be sent now */
  next(now = performance.now()) {
    let first;
    let seen = 0;
    for (const pending of this.#pending.values()) {
      if (pending.sentAt > 0) {
        seen += 1;
        if (this.#dueAt(pending) <= now) return pending;
      } else if (!first && pending.notBefore <= now) first = pending;
      if (first && seen >= this.#inFlight) break;
    }
    return this.#inFlight < this.#inFlightMax ? first : undefined;
  }

  /** When `next` has something new by the passing of time alone. Unit: ms of `performance.now()`. */
  get wakeAt() {
    let at = Infinity;
    let seen = 0;
    for (const pending of this.#pending.values()) {
      if (pending.sentAt > 0) {
        seen += 1;
        at = Math.min(at, this.#dueAt(pending));
      } else if (this.#inFlight < this.#inFlightMax) {
        at = Math.min(at, pending.notBefore);
        if (pending.notBefore === 0 && seen >= this.#inFlight) break;
      }
    }
    return at;
  }

  /** @param {Pending} pending @returns {boolean} for the first time */
  sent(pending) {
    if (pending.sentAt === 0) this.#inFlight += 1;
    pending.sentAt = performance.now();
    pending.tries += 1;
    return pending.tries === 1;
  }

  /**
   * @param {number} index
   * @returns {Piece | undefined} undefined: known already
   */
  acked(index) {
    const pending = this.#take(index);
    if (!pending) return undefined;
    if (pending.tries === 1 && pending.sentAt > 0) {
      this.#rttMs += (performance.now() - pending.sentAt - this.#rttMs) / 8;
    }
    this.#overtookAt = Math.max(this.#overtookAt, pending.sentAt);
    return pending.piece;
  }

  /**
   * The node will never take this one.
   * @param {number} index
   */
  refuse(index) {
    const pending = this.#take(index);
    if (pending) this.#refused.add(index);
    return pending?.piece;
  }

  /**
   * Nor any from this one on; of those that are on the present socket it says so itself.
   * @param {number} index
   */
  refuseFrom(index) {
    const unsent = [...this.#pending.values()].filter(({ piece, sentAt }) => piece.index >= index && sentAt === 0);
    for (const { piece } of unsent) this.refuse(piece.index);
  }

  /**
   * The node did not take it this time.
   * @param {number} index
   * @param {number} [waitMs] default: as for one that was lost
   */
  again(index, waitMs) {
    const pending = this.#pending.get(index);
    if (!pending) return;
    if (pending.sentAt > 0) this.#inFlight -= 1;
    pending.sentAt = 0;
    pending.notBefore = performance.now() + (waitMs ?? this.#waitMs(pending));
  }

  /** The largest that is on its way: the one to suspect when a frame was too large. */
  largest() {
    const sent = [...this.#pending.values()].filter(({ sentAt }) => sentAt > 0);
    return sent.sort((a, b) => b.piece.bytes - a.piece.bytes)[0]?.piece;
  }

  /** @param {number} index */
  #take(index) {
    const pending = this.#pending.get(index);
    if (pending && pending.sentAt > 0) this.#inFlight -= 1;
    this.#pending.delete(index);
    return pending;
  }

  /**
   * An acknowledgement is overdue. While earlier ones still come in, the line is slow, not broken: the wait counts from
   * the last sign of life, except for a chunk that later ones have overtaken.
   * @param {Pending} pending
   */
  #dueAt(pending) {
    const from = pending.sentAt < this.#overtookAt ? pending.sentAt : Math.max(pending.sentAt, this.#signAt);
    return from + this.#waitMs(pending);
  }

  /** @param {Pending} pending */
  #waitMs({ tries, spread }) {
    const base = Math.max(RESEND_MIN_MS, RESEND_RTTS * this.#rttMs);
    return Math.max(base, Math.min(RESEND_CAP_MS, base * 2 ** Math.max(0, tries - 1)) * spread);
  }
}
