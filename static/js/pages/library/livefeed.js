// How far a recording can be watched that is still being recorded; asked again and again.

import { ask } from '../api.js';

/**
 * As `GET /recordings/{id}/live` tells it.
 *
 * @typedef {object} Live
 * @property {string} [mimeType] with codecs
 * @property {number} bytes that can be read
 * @property {number} [headBytes] of these, those that describe the tracks
 * @property {number} durationMs
 * @property {[number, number][]} places times in milliseconds, and the byte from which on a player shows them
 * @property {string} [streamUrl]
 * @property {string} [fileUrl] up to here, as a file of its own
 */

const ASK_MS = 2000;
/** After these it is never going to be better. */
const FINAL = new Set(['not_live', 'recording_over', 'recording_unknown', 'not_found', '404']);

/** Follows one recording, and says `more` when there is more, and `over` when there will be nothing more. */
export class LiveFeed extends EventTarget {
  /** @param {string} recordId */
  constructor(recordId) {
    super();
    this.path = `/recordings/${encodeURIComponent(recordId)}/live`;
    /** @type {Live} */
    this.live = { bytes: 0, durationMs: 0, places: [] };
    this.closing = new AbortController();
    /** @type {number | undefined} */
    this.timer = undefined;
    void this.#ask();
  }

  /** Every address that belongs to it lies here. */
  get signal() {
    return this.closing.signal;
  }

  /**
   * The last place from which this moment is shown.
   *
   * @param {number} ms
   * @returns {[number, number] | undefined}
   */
  placeOf(ms) {
    const { places } = this.live;
    return places.filter(([time]) => time <= ms).at(-1) ?? places[0];
  }

  close() {
    this.closing.abort();
    clearTimeout(this.timer);
  }

  async #ask() {
    const { places, bytes } = this.live;
    const from = places.at(-1)?.[1] ?? 0;
    try {
      const live = /** @type {Live} */ (await (await ask(`${this.path}?from=${from}`, { signal: this.signal })).json());
      this.live = { ...live, places: [...places.filter(([, at]) => at < from), ...live.places] };
      if (live.bytes > bytes) this.dispatchEvent(new Event('more'));
    } catch (error) {
      if (this.signal.aborted) return;
      const code = error instanceof Error && 'code' in error ? String(error.code) : '';
      if (FINAL.has(code)) {
        this.dispatchEvent(new CustomEvent('over', { detail: { code } }));
        return;
      }
    }
    this.timer = window.setTimeout(() => void this.#ask(), ASK_MS);
  }
}
