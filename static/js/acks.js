/**
 * Tells the node what arrived, in bulk: the node forgets what is acknowledged, and repeats the rest after a lost socket.
 * @module
 */

/** Messages that are acknowledged together, and how long the first of them waits at most. */
const ACK_EVERY = 16;
const ACK_AFTER_MS = 1_000;

export class Acks {
  #unacked = 0;
  #send;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;

  /** @param {() => void} send tells the node the last number that arrived */
  constructor(send) {
    this.#send = send;
  }

  /** One more message was taken. */
  count() {
    this.#unacked += 1;
    if (this.#unacked >= ACK_EVERY) this.#flush();
    else this.#timer ??= setTimeout(() => this.#flush(), ACK_AFTER_MS);
  }

  /** The socket is gone; the number travels with the hello of the next. */
  stop() {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#unacked = 0;
  }

  #flush() {
    this.stop();
    this.#send();
  }
}
