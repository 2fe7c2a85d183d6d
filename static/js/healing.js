/**
 * When a connection that is not up is tried again: one appointment at a time, with growing pauses, without end.
 * @module
 */
import { Deadline } from './deadline.js';

/** How much longer the polite side waits, so that usually only one of the two acts. Unit: ms. */
const POLITE_WAIT_MS = 4_000;
/** Pauses between attempts double from the first to the second. Unit: ms. */
const PAUSE_MS = 1_000;
const PAUSE_MAX_MS = 20_000;
/** Every so many attempts the gentle way has had its chance. */
const THOROUGH_EVERY = 3;

export class Healing {
  #polite;
  #heal;
  #attempt = 0;
  #deadline = new Deadline();
  /** When the appointment is, by `performance.now()`. Unit: ms. */
  #dueAt = Infinity;

  /**
   * @param {boolean} polite waits longer
   * @param {() => void} heal called when an appointment is due
   */
  constructor(polite, heal) {
    this.#polite = polite;
    this.#heal = heal;
  }

  /** Counts one more attempt. */
  attempt() {
    this.#attempt += 1;
    return { thorough: this.#attempt % THOROUGH_EVERY === 0, hopeless: this.#attempt >= THOROUGH_EVERY };
  }

  /**
   * Makes an appointment. If there is an earlier one, that stands.
   * @param {number} firstMs the wait before the first attempt; later ones and the polite side wait longer
   */
  after(firstMs) {
    const pauseMs = Math.min(PAUSE_MAX_MS, PAUSE_MS * (2 ** this.#attempt - 1));
    const waitMs = firstMs + pauseMs + (this.#polite ? POLITE_WAIT_MS : 0);
    const at = performance.now() + waitMs;
    if (this.#dueAt <= at) return;
    this.#dueAt = at;
    this.#deadline.set(waitMs, () => this.#isDue());
  }

  cancel() {
    this.#deadline.clear();
    this.#dueAt = Infinity;
  }

  /** Things changed for the better: the next attempt counts as the first. */
  begin() {
    this.cancel();
    this.#attempt = 0;
  }

  #isDue() {
    this.#dueAt = Infinity;
    this.#heal();
  }
}
