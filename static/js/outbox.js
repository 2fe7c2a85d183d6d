/**
 * Commands on their way to the node, in order, until each is answered. It outlives sockets: what was not answered when
 * one was lost is sent again on the next, so a command is carried out once if the session was kept.
 * @module
 */
import { SignalError } from './errors.js';

/** Commands that may wait at once; beyond it the newest is refused. */
const PENDING_MAX = 500;
/**
 * Commands for others that are remembered after they were taken: between nodes one can still be lost. As many as can
 * be sent before a node is known to be dead.
 */
const TAKEN_MAX = 1000;
/** What a node allows, until it says so itself. A connection that sends more is ended. */
const LIMITS = { message_bytes: 64 * 1024, messages_per_sec: 50, messages_burst: 200 };
/** The part of the allowed rate that commands may use; acks and pings need the rest. */
const SHARE = 0.75;

/** Signals say nothing to a peer that has begun a new negotiation. */
const SIGNALS = new Set(['Offer', 'Answer', 'IceCandidate']);
/** What other participants get. */
const RELAYED = new Set([...SIGNALS, 'Message']);
/** Doing these twice is the same as doing them once. */
const IDEMPOTENT = new Set(['Update', 'Lock']);

/**
 * @typedef {object} Entry
 * @property {number} id
 * @property {import('./types.d.ts').Command['type']} type
 * @property {string} [target] the user id, where it is for one participant
 * @property {string} text the frame
 * @property {boolean} onWire sent on the present socket
 * @property {boolean} everSent sent on any socket
 * @property {() => void} resolve
 * @property {(error: SignalError) => void} reject
 */

/** @typedef {{ type: Entry['type'], target?: string }} Taken */

export class Outbox {
  /** @type {Entry[]} */
  #pending = [];
  /** Relays that were taken, by id, the oldest first. @type {Map<import('./types.d.ts').CommandId, Taken>} */
  #taken = new Map();
  #nextId = 1;
  #write;
  #open = false;
  #limits = LIMITS;
  /** Commands that may go out at once; grows with time up to the burst. */
  #credit = 0;
  #creditAt = 0;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;

  /** @param {(text: string) => void} write to the present socket */
  constructor(write) {
    this.#write = write;
  }

  /**
   * Takes a command and sends it when its turn comes.
   * @param {import('./types.d.ts').Command} command
   * @returns {Promise<void>} resolved by the node's `Accepted`, rejected with a `SignalError`
   */
  push(command) {
    if (this.#pending.length >= PENDING_MAX) {
      return Promise.reject(new SignalError('overloaded', 'too many commands are waiting', { retryable: true }));
    }
    const id = this.#nextId++;
    const text = JSON.stringify({ ...command, id });
    const bytesMax = this.#limits.message_bytes;
    if (new TextEncoder().encode(text).length > bytesMax) {
      return Promise.reject(new SignalError('too_large', `more than ${bytesMax} bytes in one message`));
    }
    return new Promise((resolve, reject) => {
      const target = 'target_user_id' in command ? command.target_user_id : undefined;
      this.#pending.push({ id, type: command.type, target, text, onWire: false, everSent: false, resolve, reject });
      this.#flush();
    });
  }

  /**
   * Settles a command. An answer that came twice is ignored.
   * @param {import('./types.d.ts').CommandId} id
   * @param {SignalError} [error]
   * @returns {Taken | undefined} where the error is about a command that was taken before: it did not arrive
   */
  answer(id, error) {
    const at = this.#pending.findIndex((entry) => entry.id === id);
    const [entry] = at < 0 ? [] : this.#pending.splice(at, 1);
    if (error) {
      const taken = this.#taken.get(id);
      this.#taken.delete(id);
      entry?.reject(error);
      return taken;
    }
    if (entry && RELAYED.has(entry.type)) this.#remember(entry);
    entry?.resolve();
  }

  /** @param {Entry} entry */
  #remember({ id, type, target }) {
    this.#taken.set(id, { type, target });
    const [oldest] = this.#taken.size > TAKEN_MAX ? this.#taken.keys() : [];
    if (oldest !== undefined) this.#taken.delete(oldest);
  }

  /** A socket carries the session: everything unanswered goes out again, in order. */
  open() {
    this.#open = true;
    this.#credit = this.#limits.messages_burst * SHARE;
    this.#creditAt = performance.now();
    for (const entry of this.#pending) entry.onWire = false;
    this.#flush();
  }

  /** The socket is gone; commands wait. */
  shut() {
    this.#open = false;
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  /**
   * The node that knew what was carried out is gone: keeps what was never sent or may safely be sent twice, and
   * rejects the rest. Signals are not kept at all, since every peer renegotiates.
   * @param {import('./types.d.ts').Limits} [limits] of the node that has the session now
   */
  startOver(limits) {
    this.#limits = { ...LIMITS, ...limits };
    this.#reject(
      ({ type }) => SIGNALS.has(type),
      new SignalError('superseded', 'replaced by a new negotiation'),
    );
    this.#reject(
      ({ type, everSent }) => everSent && !IDEMPOTENT.has(type),
      new SignalError('outcome_unknown', 'the connection was lost; it may or may not have been delivered'),
    );
  }

  /** @param {SignalError} error */
  failAll(error) {
    this.#reject(() => true, error);
  }

  /**
   * @param {(entry: Entry) => boolean} which
   * @param {SignalError} error
   */
  #reject(which, error) {
    const rejected = this.#pending.filter(which);
    this.#pending = this.#pending.filter((entry) => !rejected.includes(entry));
    for (const entry of rejected) entry.reject(error);
  }

  #flush() {
    if (!this.#open) return;
    for (const entry of this.#pending) {
      if (entry.onWire) continue;
      if (!this.#spendCredit()) return this.#flushLater();
      entry.onWire = true;
      entry.everSent = true;
      this.#write(entry.text);
    }
  }

  #flushLater() {
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      this.#flush();
    }, 1000 / (this.#limits.messages_per_sec * SHARE));
  }

  #spendCredit() {
    const now = performance.now();
    const earned = ((now - this.#creditAt) / 1000) * this.#limits.messages_per_sec * SHARE;
    this.#credit = Math.min(this.#limits.messages_burst * SHARE, this.#credit + earned);
    this.#creditAt = now;
    if (this.#credit < 1) return false;
    this.#credit -= 1;
    return true;
  }
}
