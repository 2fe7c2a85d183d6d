/**
 * Signals from people who are not in the roster yet: on a cluster the news of a participant can be slower than their
 * first offer. Bounded, because a sender who never appears must cost nothing.
 * @module
 */

/** @typedef {import('./types.d.ts').Signal} Signal */

/** Signals held for all senders together; beyond it the oldest goes. */
const HELD_MAX = 200;

export class Waiting {
  /** @type {Signal[]} */
  #held = [];

  /** @param {Signal} signal */
  hold(signal) {
    this.#held.push(signal);
    if (this.#held.length > HELD_MAX) this.#held.shift();
  }

  /**
   * Takes what one sender sent, in order.
   * @param {string} userId
   */
  claim(userId) {
    const theirs = this.#held.filter(({ from_user_id }) => from_user_id === userId);
    this.#held = this.#held.filter((signal) => !theirs.includes(signal));
    return theirs;
  }

  clear() {
    this.#held = [];
  }
}
