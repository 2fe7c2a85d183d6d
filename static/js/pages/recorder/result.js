// What is seen after Stop: the rest being sent, the server putting it together, and the player.

import { el, icon, need, setAttribute, setText } from '../dom.js';
import { counted } from '../figures.js';
import { player, titleOf } from '../playback.js';

/** @typedef {import('../playback.js').Recording} Recording */
/** @typedef {{ label: string, icon?: string, primary?: boolean, href?: string, download?: boolean, act?: () => void }} Action */

/** The screen after a recording. */
export class Result {
  /** @param {HTMLElement} section */
  constructor(section) {
    this.section = section;
    const part = (/** @type {string} */ name) => need(`[data-part=${name}]`, HTMLElement, section);
    this.icon = part('icon');
    this.title = part('title');
    this.text = part('text');
    this.progress = need('progress', HTMLProgressElement, section);
    this.player = part('player');
    this.actions = part('actions');
  }

  /**
   * The last pieces are on their way.
   *
   * @param {{ recorded: number, acked: number }} counts
   * @param {string} trouble in words; empty while all is well
   * @param {Action[]} actions
   */
  sending({ recorded, acked }, trouble, actions) {
    const left = recorded - acked;
    this.#show('sending', 'Sending the rest…');
    setText(this.text, trouble || (left === 1 ? 'One piece is left. Leave this page open.' : `${counted(left, 'piece')} are left. Leave this page open.`));
    this.#progress(recorded === 0 ? null : (100 * acked) / recorded);
    this.#act(actions);
  }

  /** @param {number | null} percent null while it is not known */
  finalising(percent) {
    this.#show('finalising', 'Putting your recording together…');
    setText(this.text, 'The server has every piece. You may leave this page: the recording will be in the library.');
    this.#progress(percent);
    this.#act([{ label: 'Go to the library', icon: 'film', href: '/library' }]);
  }

  /**
   * @param {Recording} recording
   * @param {Action[]} actions
   * @param {string} [why] it ended by itself
   */
  ready(recording, actions, why = '') {
    this.#show('ready', titleOf(recording));
    const words = recording.complete === false ? 'Your recording is ready, but not whole.' : 'Your recording is ready.';
    setText(this.text, `${words} ${why}`.trim());
    this.progress.hidden = true;
    this.player.replaceChildren(player(recording));
    this.#act(actions);
    this.title.focus();
  }

  /**
   * It is in the library, and this page was not told more.
   *
   * @param {string} text
   * @param {Action[]} actions
   */
  saved(text, actions) {
    this.#over('saved', 'Your recording is saved', text, actions);
  }

  /**
   * @param {string} title
   * @param {string} text
   * @param {Action[]} actions
   */
  failed(title, text, actions) {
    this.#over('failed', title, text, actions);
  }

  /**
   * @param {string} state
   * @param {string} title
   * @param {string} text
   * @param {Action[]} actions
   */
  #over(state, title, text, actions) {
    this.#show(state, title);
    setText(this.text, text);
    this.progress.hidden = true;
    this.#act(actions);
    this.title.focus();
  }

  /**
   * @param {string} state
   * @param {string} title
   */
  #show(state, title) {
    this.section.dataset.state = state;
    setAttribute(this.icon, 'data-tone', state === 'failed' ? 'danger' : null);
    setText(this.title, title);
    if (state !== 'ready' && this.player.firstChild) this.player.replaceChildren();
  }

  /** @param {number | null} percent */
  #progress(percent) {
    this.progress.hidden = false;
    if (percent === null) this.progress.removeAttribute('value');
    else this.progress.value = percent;
  }

  /** @param {Action[]} actions */
  #act(actions) {
    const key = actions.map(({ label, href }) => label + href).join('\n');
    // Buttons that are the same stay, or they would lose the focus at each step of the progress.
    if (this.actions.dataset.key === key && this.actions.childElementCount > 0) return;
    this.actions.dataset.key = key;
    this.actions.replaceChildren(...actions.map(button));
  }
}

/**
 * @param {Action} action
 * @returns {HTMLElement}
 */
function button({ label, icon: picture, primary, href, download, act }) {
  const look = primary ? 'button primary' : 'button';
  const inside = [picture ? icon(picture) : null, label];
  if (href) return el('a', { class: look, href, download: download === true }, ...inside);
  return el('button', { type: 'button', class: look, onclick: act }, ...inside);
}
