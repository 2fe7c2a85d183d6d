// What an earlier visit left behind in this browser is sent by itself, one after the other; what cannot be sent, or shall not, is
// downloaded or discarded from here. And the recording that a reload of this page has cut through.

import { Leftovers, Recorder } from '../../index.js';
import { confirm } from '../dialogs.js';
import { el, icon, setText } from '../dom.js';
import { clock, counted, size, when } from '../figures.js';
import { troubleWords } from './words.js';

/** @typedef {import('../../recorder/types.d.ts').Leftover} Leftover */
/**
 * @typedef {object} OfferActs
 * @property {(entry: Leftover) => void} goOn
 * @property {(text: string) => void} done something good, for a toast
 * @property {(text: string) => void} complain
 */

/** The list above the recorder. */
export class Offers {
  /**
   * @param {HTMLElement} holder
   * @param {HTMLDialogElement} question
   * @param {OfferActs} acts
   */
  constructor(holder, question, acts) {
    this.holder = holder;
    this.question = question;
    this.acts = acts;
  }

  /**
   * Looks what is there and shows it.
   */
  async refresh() {
    // A browser without storage has no leftovers; that is no reason to complain.
    const cut = await Recorder.continuable().catch(() => null);
    const others = (await Leftovers.list().catch(() => [])).filter(({ key }) => key !== cut?.key);
    const left = others.map((entry) => ({ entry, row: this.#row(entry) }));
    const rows = [...(cut ? [this.#cutRow(cut)] : []), ...left.map(({ row }) => row)];
    this.holder.replaceChildren(...rows);
    this.holder.hidden = rows.length === 0;
    void this.#sendAll(left);
  }

  /**
   * Whoever recorded meant it to be kept, so nobody is asked.
   *
   * @param {{ entry: Leftover, row: HTMLElement }[]} left
   */
  async #sendAll(left) {
    for (const { entry, row } of left) if (row.isConnected && !row.hasAttribute('data-sending')) await this.#send(entry, row);
  }

  /**
   * @param {Leftover} entry
   * @returns {HTMLElement}
   */
  #cutRow(entry) {
    const row = note('record', 'You were recording when this page was reloaded', `${named(entry)} is kept. Go on with it, or finish it as it is.`);
    const send = () => void this.#send(entry, row);
    row.append(acts(['Go on recording', () => this.acts.goOn(entry), 'primary'], ['Finish it', send], ['Discard', () => void this.#discard(entry, row)]));
    return row;
  }

  /**
   * @param {Leftover} entry
   * @returns {HTMLElement}
   */
  #row(entry) {
    const rest = entry.chunks === 0 ? 'Everything was sent, but it was never finished.' : `${counted(entry.chunks, 'piece')} (${size(entry.bytes)}) did not reach the server.`;
    const row = note('film', 'A recording from an earlier visit is not finished', `${named(entry)}: ${rest}`);
    const send = () => void this.#send(entry, row);
    row.append(acts(
      [entry.chunks === 0 ? 'Finish it' : 'Send', send, 'primary'],
      ['Download', () => void this.#download(entry)],
      ['Discard', () => void this.#discard(entry, row)],
    ));
    return row;
  }

  /**
   * @param {Leftover} entry
   * @param {HTMLElement} row
   */
  async #send(entry, row) {
    const bar = el('progress', { class: 'progress', max: 100, 'aria-label': 'Sent' });
    const before = [...row.children];
    const text = el('p', { role: 'status' }, 'Sending what an earlier visit left…');
    const stop = new AbortController();
    row.replaceChildren(icon('send'), el('div', {}, el('h2', {}, named(entry)), text, bar), acts(['Not now', () => stop.abort()]));
    row.setAttribute('data-sending', '');
    try {
      await Leftovers.send(entry, {
        signal: stop.signal,
        onprogress: ({ acked, chunks, percent }) => {
          bar.value = percent ?? (chunks === 0 ? 100 : (100 * acked) / chunks);
          setText(text, percent === undefined ? `${acked} of ${counted(chunks, 'piece')} sent.` : 'The server puts the recording together…');
        },
      });
      this.acts.done(`${named(entry)} is in the library.`);
      row.remove();
    } catch (error) {
      const { code = '', message = '' } = /** @type {any} */ (error);
      if (!stop.signal.aborted) this.acts.complain(`${named(entry)} could not be sent. ${troubleWords(code, message)}`);
      row.replaceChildren(...before);
      row.removeAttribute('data-sending');
    }
    this.holder.hidden = this.holder.childElementCount === 0;
  }

  /** @param {Leftover} entry */
  async #download(entry) {
    try {
      saveBlob(await Leftovers.download(entry), fileName(entry));
    } catch (error) {
      this.acts.complain(troubleWords('', error instanceof Error ? error.message : ''));
    }
  }

  /**
   * @param {Leftover} entry
   * @param {HTMLElement} row
   */
  async #discard(entry, row) {
    const sure = await confirm(this.question, {
      title: `Discard ${named(entry)}?`,
      text: entry.chunks === 0 ? 'What this browser knows of it is deleted. What the server has stays there.' : `${counted(entry.chunks, 'piece')} that nobody else has are deleted from this browser. This cannot be undone.`,
      yes: 'Discard',
    });
    if (!sure) return;
    await Leftovers.discard(entry);
    row.remove();
    this.holder.hidden = this.holder.childElementCount === 0;
  }
}

/**
 * Hands a file to the person.
 *
 * @param {Blob} blob
 * @param {string} name
 */
export function saveBlob(blob, name) {
  const url = URL.createObjectURL(blob);
  el('a', { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}

/**
 * @param {Pick<Leftover, 'title' | 'mimeType'>} entry
 * @returns {string}
 */
export function fileName({ title, mimeType }) {
  const ending = mimeType.includes('mp4') ? 'mp4' : mimeType.includes('matroska') ? 'mkv' : 'webm';
  const name = (title ?? '').replace(/[^\p{L}\p{N} ._-]+/gu, ' ').trim();
  return `${name || 'recording'}.${ending}`;
}

/**
 * @param {Leftover} entry
 * @returns {string}
 */
function named({ title, startedAt, last }) {
  const length = last > startedAt ? `, ${clock(last - startedAt)} long` : '';
  return title ? `“${title}”` : `The recording of ${when(new Date(startedAt))}${length}`;
}

/**
 * @param {string} picture
 * @param {string} title
 * @param {string} text
 * @returns {HTMLElement}
 */
function note(picture, title, text) {
  return el('div', { class: 'note leftover' }, icon(picture), el('div', {}, el('h2', {}, title), el('p', {}, text)));
}

/**
 * @param {...[label: string, act: () => void, look?: 'primary']} buttons
 * @returns {HTMLElement}
 */
function acts(...buttons) {
  return el('div', { class: 'leftover-acts' }, ...buttons.map(([label, act, look]) => el('button', { type: 'button', class: `button small ${look ?? ''}`, onclick: act }, label)));
}
