// The status page: asks its node every second how the cluster is, draws that, and tells what changed.

import { ask } from '../api.js';
import { need, setText } from '../dom.js';
import { counted } from '../figures.js';
import { Board } from './board.js';
import { changesBetween } from './changes.js';
import { Columns, newestLives } from './columns.js';
import { Log } from './log.js';
import { linesOf } from './words.js';

/** @typedef {import('./types.d.ts').ClusterPicture} ClusterPicture */

const EVERY_MS = 1_000;
/** A node that has not answered within this does not answer. Unit: ms. */
const PATIENCE_MS = 3_000;

const part = (/** @type {string} */ name) => need(`[data-part=${name}]`, HTMLElement);

/** The page, until it is closed. */
class Status {
  constructor() {
    this.columns = new Columns();
    this.board = new Board(part('board'));
    this.log = new Log(part('log'), part('quiet'));
    /** @type {ClusterPicture | null} */
    this.picture = null;
    this.seenAt = new Date();
    this.silent = false;
    this.timer = 0;
    this.asking = new AbortController();
    document.addEventListener('visibilitychange', () => (document.hidden ? this.#pause() : void this.look()));
    need('[data-act=again]', HTMLButtonElement).addEventListener('click', () => void this.look());
  }

  /** Asks now, and goes on asking for as long as somebody can see it. */
  async look() {
    this.#pause();
    const asking = (this.asking = new AbortController());
    const from = performance.now();
    try {
      const signal = AbortSignal.any([asking.signal, AbortSignal.timeout(PATIENCE_MS)]);
      this.#take(await (await ask('/api/cluster', { signal })).json());
    } catch {
      if (asking.signal.aborted) return;
      this.#noAnswer();
    }
    if (asking.signal.aborted || document.hidden) return;
    this.timer = window.setTimeout(() => void this.look(), Math.max(0, EVERY_MS - (performance.now() - from)));
  }

  #pause() {
    clearTimeout(this.timer);
    this.asking.abort();
  }

  /** @param {ClusterPicture} picture */
  #take(picture) {
    const { picture: before } = this;
    const now = new Date();
    this.picture = picture;
    this.seenAt = now;
    this.board.sync(this.columns.take(picture, performance.now()), picture.rooms);
    this.#facts(picture, now);
    if (before) this.log.add(linesOf(changesBetween(before, picture)), now);
    if (this.silent) this.log.add([{ tone: 'good', parts: [{ name: picture.node_id }, ' answers again.'] }], now);
    this.silent = false;
  }

  /**
   * @param {ClusterPicture} picture
   * @param {Date} at
   */
  #facts(picture, at) {
    const { node_id, mode, rooms, truncated } = picture;
    const nodes = [...newestLives(picture).values()];
    const live = nodes.filter(({ state }) => state === 'live').length;
    setText(part('nodes'), `${live} of ${nodes.length}`);
    setText(part('rooms'), `${rooms.length.toLocaleString('en')}${truncated ? '+' : ''}`);
    const people = rooms.reduce((sum, { participants }) => sum + participants.length, 0);
    setText(part('participants'), `${people.toLocaleString('en')}${truncated ? '+' : ''}`);
    setText(part('by'), node_id);
    setText(part('at'), at.toLocaleTimeString('en-GB'));
    part('facts').hidden = false;
    part('problem').hidden = true;
    part('board').toggleAttribute('data-old', false);
    part('isolated').hidden = mode !== 'isolated';
    part('local').hidden = mode !== 'local';
    part('truncated').hidden = !truncated;
    setText(part('truncated'), `There are more rooms than these ${rooms.length.toLocaleString('en')}.`);
    part('empty').hidden = rooms.length > 0;
    document.title = `${counted(live, 'live node')} · Status · Greenroom`;
  }

  #noAnswer() {
    setText(part('problem-text'), this.picture ? `The node does not answer. This is how it was at ${this.seenAt.toLocaleTimeString('en-GB')}.` : 'The node does not answer.');
    part('problem').hidden = false;
    part('board').toggleAttribute('data-old', true);
    document.title = 'No answer · Status · Greenroom';
    if (!this.silent) this.log.add([{ tone: 'danger', parts: ['The node that this page asks does not answer.'] }], new Date());
    this.silent = true;
  }
}

void new Status().look();
