// What the call screen shows of a recording: the button with its time, and the sign above the call.

import { need, setAttribute, setText } from '../dom.js';
import { clock } from '../figures.js';

/** Keeps button, menu entry and badge in step. */
export class RecordButton {
  /** @param {HTMLElement} screen */
  constructor(screen) {
    this.buttons = [...screen.querySelectorAll('button[data-act=record]')].filter((button) => button instanceof HTMLButtonElement);
    this.badge = need('[data-badge=recording]', HTMLElement, screen);
    this.time = need('[data-part=recorded]', HTMLElement, this.badge);
    for (const button of this.buttons) button.hidden = typeof MediaRecorder !== 'function';
  }

  /**
   * @param {object} state
   * @param {boolean} state.mine this page records
   * @param {number} state.ms recorded so far
   * @param {boolean} state.anyone somebody records
   */
  render({ mine, ms, anyone }) {
    const time = mine ? clock(ms) : '';
    for (const button of this.buttons) {
      const inMenu = button.parentElement?.id === 'more-menu';
      setAttribute(button, 'aria-pressed', mine ? 'true' : 'false');
      setAttribute(button, 'aria-label', mine ? 'Stop recording' : 'Record the call');
      if (!inMenu) setAttribute(button, 'data-tip', mine ? 'Stop recording (R)' : 'Record the call (R)');
      const words = mine ? (inMenu ? `Stop recording, ${time}` : time) : inMenu ? 'Record the call' : 'Record';
      setText(need('span', HTMLElement, button), words);
    }
    this.badge.hidden = !anyone && !mine;
    setText(this.time, time);
    this.time.hidden = time === '';
  }
}
