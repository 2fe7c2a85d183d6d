// The dialog of one recording: the player, or why there is none yet.

import { el, icon, need, setText } from '../dom.js';
import { player, titleOf } from '../playback.js';
import { recordingStatus } from './api.js';
import { livePlayer } from './liveplayer.js';
import { mp4Act } from './mp4.js';
import { failureWords, refusalWords, workWords } from './words.js';

/** @typedef {import('./api.js').RecordingStatus} RecordingStatus */
/** @typedef {import('../playback.js').Recording} Recording */

/** Shows one recording at a time, and follows it while it is not ready. */
export class Watch {
  /**
   * @param {HTMLDialogElement} dialog
   * @param {Pick<import('./cards.js').CardActs, 'copyLink' | 'remove'> & { closed: (recordId: string) => void, failed: (error: unknown) => void }} acts
   */
  constructor(dialog, acts) {
    this.dialog = dialog;
    this.acts = acts;
    this.title = need('[data-part=title]', HTMLElement, dialog);
    this.body = need('[data-part=body]', HTMLElement, dialog);
    this.shown = '';
    this.key = '';
    /** @type {import('./liveplayer.js').LivePlayer | null} while what is shown is being recorded */
    this.live = null;
    need('[data-act=close]', HTMLButtonElement, dialog).addEventListener('click', () => dialog.close());
    dialog.addEventListener('click', (event) => event.target === dialog && dialog.close());
    dialog.addEventListener('close', () => this.#closed());
  }

  /**
   * @param {string} recordId
   * @param {Recording} [known] what is known already, so that nothing has to be waited for
   */
  async show(recordId, known) {
    this.shown = recordId;
    this.key = '';
    this.live?.close();
    this.live = null;
    setText(this.title, known ? titleOf(known) : 'Recording');
    if (known) this.#render(known);
    else this.body.replaceChildren(waiting('Looking for it…', null));
    if (!this.dialog.open) this.dialog.showModal();
    try {
      this.update(await recordingStatus(recordId));
    } catch (error) {
      if (this.shown === recordId && !known) this.#nothing(error);
    }
  }

  /** @param {RecordingStatus} recording newer than what is shown, of whatever recording */
  update(recording) {
    if (recording.recordId !== this.shown) return;
    setText(this.title, titleOf(recording));
    this.#render(recording);
  }

  /** @param {RecordingStatus} recording */
  #render(recording) {
    const { state, percent, downloadUrl, error } = recording;
    // It is put together in a moment: who watches goes on meanwhile.
    const seen = state === 'finalising' && this.live?.media.isConnected ? 'recording' : state;
    const key = [seen, downloadUrl, error?.code].join(' ');
    const bar = this.body.querySelector('progress');
    if (bar && percent) bar.value = percent;
    // What is the same is left alone: it may be playing.
    if (key !== this.key) {
      const { live } = this;
      this.live = null;
      this.body.replaceChildren(...this.#content(recording));
      if (live) this.#goOn(live);
    }
    this.key = key;
    const work = workList(recording);
    if (work && !this.body.querySelector('.fold')) this.body.append(work);
  }

  /**
   * @param {RecordingStatus} recording
   * @returns {HTMLElement[]}
   */
  #content(recording) {
    const { state, percent, downloadUrl } = recording;
    const acts = this.#actions(recording);
    if (state === 'ready' && downloadUrl) return [player(recording), acts];
    if (state === 'finalising') return [waiting('The server is putting it together. It opens here when it is ready.', percent ?? null), acts];
    if (state === 'recording') {
      this.live = livePlayer(recording, waiting('It is being recorded right now. It can be played a moment after it was stopped.', undefined));
      return [this.live.root, acts];
    }
    return [note(failureWords(recording.error), 'What was recorded is kept on the server; whoever runs it can find out more.'), acts];
  }

  /**
   * @param {Recording} recording
   * @returns {HTMLElement}
   */
  #actions(recording) {
    const ready = recording.state === 'ready' && recording.downloadUrl;
    const remove = el('button', { type: 'button', class: 'button push', onclick: () => this.acts.remove(recording) }, icon('trash'), 'Delete');
    remove.disabled = recording.state === 'recording';
    return el(
      'p',
      { class: 'result-acts' },
      ready ? el('a', { class: 'button primary', href: recording.downloadUrl, download: true }, icon('download'), 'Download') : null,
      ...(ready ? mp4Act(recording, this.acts.failed) : []),
      el('button', { type: 'button', class: 'button', onclick: () => this.acts.copyLink(recording) }, icon('link'), 'Copy link'),
      remove,
    );
  }

  /**
   * Who has watched what was recorded goes on in the finished video.
   *
   * @param {import('./liveplayer.js').LivePlayer} live
   */
  #goOn(live) {
    const { currentTime, paused } = live.media;
    live.close();
    const media = this.body.querySelector('video, audio');
    if (!(media instanceof HTMLMediaElement) || currentTime === 0) return;
    media.currentTime = currentTime;
    if (!paused) void media.play().catch(() => {});
  }

  /** @param {unknown} error */
  #nothing(error) {
    const unknown = error instanceof Error && 'code' in error && (error.code === 'recording_unknown' || error.code === '404' || error.code === 'not_found');
    setText(this.title, unknown ? 'This recording is not here' : 'This recording cannot be shown');
    this.body.replaceChildren(note(unknown ? 'It was deleted, or the link is not complete.' : refusalWords(error), ''));
  }

  #closed() {
    // A player that is taken out of the page goes on in some browsers.
    this.body.querySelector('video')?.pause();
    this.body.querySelector('audio')?.pause();
    this.live?.close();
    this.live = null;
    this.body.replaceChildren();
    const was = this.shown;
    this.shown = '';
    this.acts.closed(was);
  }
}

/**
 * @param {string} text
 * @param {number | null | undefined} percent null: not known; undefined: there is nothing to measure
 * @returns {HTMLElement}
 */
function waiting(text, percent) {
  const bar = percent === undefined ? null : el('progress', { class: 'progress', max: 100, 'aria-label': 'Progress', value: percent ?? undefined });
  return el('div', { class: 'waiting', role: 'status' }, el('span', { class: 'notice-icon' }, icon(percent === undefined ? 'record' : 'film')), el('p', {}, text), bar);
}

/**
 * @param {string} title
 * @param {string} text
 * @returns {HTMLElement}
 */
function note(title, text) {
  return el('div', { class: 'note', 'data-tone': 'warning' }, icon('alert'), el('div', {}, el('h2', {}, title), text !== '' && el('p', {}, text)));
}

/**
 * @param {RecordingStatus} recording
 * @returns {HTMLElement | null} null where everything was simply kept
 */
function workList({ work = [] }) {
  if (work.length < 2 && work.every(({ did }) => did === 'copied')) return null;
  return el('details', { class: 'fold' }, el('summary', {}, 'How it was put together'), el('ul', { class: 'work' }, ...work.map((step) => el('li', {}, workWords(step)))));
}
