// What happened while the page was open, the newest first.

import { el, icon } from '../dom.js';

/** @typedef {import('./types.d.ts').Line} Line */

const LINES_MAX = 100;
/** @type {Record<Line['tone'], string>} */
const ICONS = { good: 'check', info: 'info', warning: 'alert', danger: 'alert' };

export class Log {
  /**
   * @param {HTMLElement} list a live region: what is added is said
   * @param {HTMLElement} empty stands there while nothing has happened
   */
  constructor(list, empty) {
    this.list = list;
    this.empty = empty;
  }

  /**
   * @param {Line[]} lines in the order to be read
   * @param {Date} at
   */
  add(lines, at) {
    if (lines.length === 0) return;
    this.empty.hidden = true;
    this.list.prepend(...lines.map((line) => lineAt(line, at)));
    while (this.list.children.length > LINES_MAX) this.list.lastElementChild?.remove();
  }
}

/**
 * @param {Line} line
 * @param {Date} at
 * @returns {HTMLElement}
 */
function lineAt({ tone, parts }, at) {
  const text = parts.map((part) => (typeof part === 'string' ? part : el('bdi', {}, part.name)));
  return el('li', { class: 'event', 'data-tone': tone }, icon(ICONS[tone]), el('p', {}, ...text), el('time', { datetime: at.toISOString() }, at.toLocaleTimeString('en-GB')));
}
