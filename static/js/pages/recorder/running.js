// What is seen while it records: the time, and where the pieces are.

import { el, need, setAttribute, setText } from '../dom.js';
import { clock, counted } from '../figures.js';
import { deliveryWords } from './words.js';

/** @typedef {import('../../recorder/types.d.ts').Counts} Counts */
/** @typedef {import('../../recorder/types.d.ts').ConnectionState} ConnectionState */

/** How many of the newest pieces are drawn. */
const PIECES = 36;
const STAGES = /** @type {const} */ (['recorded', 'stored', 'sent', 'acked']);

/** Counts the time that is recorded, without the pauses. */
export class Stopwatch {
  constructor() {
    this.before = 0;
    /** @type {number | null} */
    this.since = null;
  }

  /** @returns {number} ms */
  get ms() {
    return this.before + (this.since === null ? 0 : performance.now() - this.since);
  }

  /** Goes on. */
  run() {
    this.since ??= performance.now();
  }

  /** Stands still. */
  rest() {
    this.before = this.ms;
    this.since = null;
  }
}

/** The part of the card that is seen during a recording. */
export class Running {
  /**
   * @param {HTMLElement} page
   * @param {{ pause: () => void, stop: () => void }} acts
   */
  constructor(page, acts) {
    this.page = page;
    const part = (/** @type {string} */ name) => need(`[data-part=${name}]`, HTMLElement, page);
    this.title = need('.running-title', HTMLElement, page);
    this.state = part('state');
    this.time = part('time');
    this.onAir = part('on-air');
    this.pieces = part('pieces');
    this.words = part('connection');
    this.delivery = need('.delivery', HTMLElement, page);
    this.pause = need('[data-act=pause]', HTMLButtonElement, page);
    this.stop = need('[data-act=stop]', HTMLButtonElement, page);
    this.counts = Object.fromEntries(STAGES.map((stage) => [stage, need(`[data-count=${stage}] b`, HTMLElement, page)]));
    this.pieces.replaceChildren(...Array.from({ length: PIECES }, () => el('i')));
    this.pause.addEventListener('click', acts.pause);
    this.stop.addEventListener('click', acts.stop);
    /** @type {Stopwatch} */
    this.watch = new Stopwatch();
    this.timer = 0;
    this.paused = false;
  }

  /** @param {Stopwatch} watch of the recording that begins */
  begin(watch) {
    this.watch = watch;
    this.stop.disabled = false;
    this.setPaused(false);
    this.timer = window.setInterval(() => this.#tell(), 250);
    this.#tell();
    this.title.focus();
  }

  /** The recording is over, or about to be. */
  end() {
    clearInterval(this.timer);
    this.stop.disabled = true;
    document.title = 'Record · Greenroom';
  }

  /** @param {boolean} paused */
  setPaused(paused) {
    this.paused = paused;
    setAttribute(this.page, 'data-paused', paused);
    setText(this.state, paused ? 'Paused' : 'Recording');
    setText(need('span', HTMLElement, this.pause), paused ? 'Resume' : 'Pause');
  }

  /**
   * @param {Counts} counts
   * @param {ConnectionState} connection
   */
  render(counts, connection) {
    for (const stage of STAGES) setText(/** @type {HTMLElement} */ (this.counts[stage]), counts[stage].toLocaleString('en'));
    this.#drawPieces(counts);
    const { tone, text } = deliveryWords(counts, connection, navigator.onLine);
    setText(this.words, text);
    setAttribute(this.delivery, 'data-tone', tone);
  }

  #tell() {
    const text = clock(this.watch.ms);
    setText(this.time, text);
    setText(this.onAir, text);
    document.title = `${this.paused ? '❚❚' : '●'} ${text} · Greenroom`;
  }

  /** @param {Counts} counts */
  #drawPieces(counts) {
    const first = Math.max(0, counts.recorded - PIECES);
    [...this.pieces.children].forEach((cell, place) => {
      const number = first + place;
      const reached = number < counts.recorded ? STAGES.filter((stage) => number < counts[stage]).pop() : undefined;
      setAttribute(cell, 'data-at', reached);
    });
    setAttribute(this.pieces, 'aria-label', `${counted(counts.recorded, 'piece')} recorded, ${counts.acked} safe on the server`);
  }
}
