/**
 * A timer that does not blame others for this page's own delay.
 *
 * When a page was suspended or too busy to run, its timers and what arrived meanwhile come up together, and the timer
 * may be first. So a deadline that is noticed late is given once more in full.
 * @module
 */

/** Later than this is late. More than the second to which browsers align the timers of hidden pages. Unit: ms. */
const LATE_MS = 2_000;

export class Deadline {
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #id;

  /**
   * Replaces what was set before.
   * @param {number} waitMs
   * @param {() => void} act
   */
  set(waitMs, act) {
    this.#arm(waitMs, (lateMs) => {
      if (lateMs > LATE_MS) this.#arm(waitMs, act);
      else act();
    });
  }

  clear() {
    clearTimeout(this.#id);
  }

  /**
   * @param {number} waitMs
   * @param {(lateMs: number) => void} act
   */
  #arm(waitMs, act) {
    this.clear();
    const at = performance.now() + waitMs;
    this.#id = setTimeout(() => act(performance.now() - at), waitMs);
  }
}
