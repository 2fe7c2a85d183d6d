// The cards of the library, one for each recording. What stays is changed in place, so that nothing jumps and
// the focus is kept while the list is refreshed.

import { el, icon, setAttribute, setIcon, setText } from '../dom.js';
import { clock } from '../figures.js';
import { recordingLink, titleOf } from '../playback.js';
import { factsLine, stateWords } from './words.js';

/** @typedef {import('../playback.js').Recording} Recording */
/**
 * @typedef {object} CardActs
 * @property {(recording: Recording) => void} open
 * @property {(recording: Recording) => void} copyLink
 * @property {(recording: Recording) => void} remove asks first
 */

const GHOSTS = 6;

/** Keeps the list. */
export class Cards {
  /**
   * @param {HTMLElement} list
   * @param {CardActs} acts
   */
  constructor(list, acts) {
    this.list = list;
    this.acts = acts;
    /** @type {Map<string, Card>} */
    this.cards = new Map();
  }

  /** Shows that the list is awaited. */
  wait() {
    this.cards.clear();
    setAttribute(this.list, 'aria-busy', 'true');
    this.list.replaceChildren(...Array.from({ length: GHOSTS }, () => el('li', { class: 'rec rec-ghost', 'aria-hidden': 'true' }, el('div', { class: 'rec-picture' }), el('i'))));
  }

  /** @param {Recording[]} recordings in the order to be shown */
  sync(recordings) {
    setAttribute(this.list, 'aria-busy', 'false');
    const here = new Set(recordings.map(({ recordId }) => recordId));
    for (const [id, card] of this.cards) {
      if (here.has(id)) continue;
      card.root.remove();
      this.cards.delete(id);
    }
    for (const ghost of this.list.querySelectorAll('.rec-ghost')) ghost.remove();
    recordings.forEach((recording, place) => {
      const card = this.cards.get(recording.recordId) ?? new Card(recording, this.acts);
      this.cards.set(recording.recordId, card);
      if (this.list.children[place] !== card.root) this.list.insertBefore(card.root, this.list.children[place] ?? null);
      card.update(recording);
    });
  }

  /** @param {string} recordId */
  focus(recordId) {
    this.cards.get(recordId)?.title.focus();
  }
}

/** One recording in the list. */
class Card {
  /**
   * @param {Recording} recording
   * @param {CardActs} acts
   */
  constructor(recording, acts) {
    this.recording = recording;
    const open = (/** @type {MouseEvent} */ event) => {
      if (event.ctrlKey || event.metaKey || event.shiftKey) return;
      event.preventDefault();
      acts.open(this.recording);
    };
    const href = recordingLink(recording.recordId);
    this.title = el('a', { href, onclick: open });
    this.kind = icon('film');
    this.image = el('img', { alt: '', loading: 'lazy', decoding: 'async', hidden: true });
    this.image.addEventListener('error', () => (this.image.hidden = true));
    this.length = el('span', { class: 'rec-length' });
    this.dot = el('i');
    this.warning = icon('alert');
    this.badge = el('span');
    this.state = el('span', { class: 'rec-state' }, this.dot, this.warning, this.badge);
    this.progress = el('progress', { class: 'progress', max: 100, 'aria-hidden': 'true' });
    this.play = el('span', { class: 'rec-play' }, icon('play'));
    this.facts = el('p', { class: 'rec-facts' });
    this.note = el('p', { class: 'rec-note' });
    this.download = el('a', { class: 'icon-button', download: true }, icon('download'));
    this.copy = el('button', { type: 'button', class: 'icon-button', onclick: () => acts.copyLink(this.recording) }, icon('link'));
    this.remove = el('button', { type: 'button', class: 'icon-button danger', onclick: () => acts.remove(this.recording) }, icon('trash'));
    // The picture leads where the title leads; one of them is enough for the keyboard and for screen readers.
    const picture = el('a', { class: 'rec-picture', href, onclick: open, tabindex: -1, 'aria-hidden': 'true' }, this.kind, this.image, this.play, this.state, this.length, this.progress);
    this.root = el(
      'li',
      { class: 'rec', 'data-id': recording.recordId },
      picture,
      el(
        'div',
        { class: 'rec-body' },
        el('h2', { class: 'rec-title' }, this.title),
        el('div', {}, this.facts, this.note),
        el('div', { class: 'rec-acts' }, this.download, this.copy, this.remove),
      ),
    );
  }

  /** @param {Recording} recording */
  update(recording) {
    this.recording = recording;
    const { state, posterUrl, durationMs, downloadUrl, percent } = recording;
    const name = titleOf(recording);
    const { tone, badge, note } = stateWords(recording);
    setText(this.title, name);
    setAttribute(this.title, 'aria-label', badge === '' ? null : `${name}, ${badge}`);
    setAttribute(this.root, 'data-state', state);
    setAttribute(this.root, 'data-tone', tone === '' ? null : tone);
    this.#poster(state === 'ready' ? posterUrl : undefined);
    setText(this.length, state === 'ready' && durationMs ? clock(durationMs) : '');
    this.length.hidden = this.length.textContent === '';
    this.state.hidden = badge === '';
    this.dot.hidden = state !== 'recording';
    this.warning.toggleAttribute('hidden', tone !== 'danger' && tone !== 'warning');
    setText(this.badge, badge);
    this.progress.hidden = state !== 'finalising';
    if (percent) this.progress.value = percent;
    const sound = recording.mimeType?.startsWith('audio/');
    setIcon(this.kind, state === 'recording' ? 'record' : sound ? 'wave' : 'film');
    this.play.hidden = state !== 'ready';
    setText(this.facts, factsLine(recording));
    setText(this.note, note);
    this.note.hidden = note === '';
    this.#acts(name, state === 'ready' ? downloadUrl : undefined);
  }

  /** @param {string | null | undefined} url */
  #poster(url) {
    if ((this.image.getAttribute('src') ?? '') === (url ?? '')) return;
    setAttribute(this.image, 'src', url ?? null);
    this.image.hidden = !url;
  }

  /**
   * @param {string} name
   * @param {string | null | undefined} url
   */
  #acts(name, url) {
    this.download.hidden = !url;
    setAttribute(this.download, 'href', url ?? null);
    for (const [node, text] of /** @type {const} */ ([[this.download, `Download ${name}`], [this.copy, `Copy the link to ${name}`], [this.remove, `Delete ${name}`]])) {
      setAttribute(node, 'aria-label', text);
      setAttribute(node, 'title', text);
    }
    this.remove.disabled = this.recording.state === 'recording';
  }
}
