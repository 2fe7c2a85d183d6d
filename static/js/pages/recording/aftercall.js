// What becomes of a recording when the call is over: told on the page that stands in its place.

import { Leftovers } from '../../index.js';
import { el, icon, need, setText } from '../dom.js';
import { counted } from '../figures.js';
import { recordingLink } from '../playback.js';
import { fileName, saveBlob } from '../recorder/offers.js';
import { troubleWords } from '../recorder/words.js';

/** @typedef {import('./callrecording.js').CallRecording} CallRecording */

/** The note about the last recording of this page. */
export class AfterCall {
  /** @param {HTMLElement} holder */
  constructor(holder) {
    this.holder = holder;
    this.title = need('h2', HTMLElement, holder);
    this.text = need('p', HTMLElement, holder);
    this.progress = need('progress', HTMLProgressElement, holder);
    this.acts = need('[data-part=recording-acts]', HTMLElement, holder);
    this.over = new AbortController();
  }

  /** @param {CallRecording | null} recording null: nothing was recorded */
  show(recording) {
    this.over.abort();
    this.over = new AbortController();
    this.holder.hidden = recording === null;
    if (!recording) return;
    this.#render(recording);
    recording.addEventListener('change', () => this.#render(recording), { signal: this.over.signal });
  }

  /** @param {CallRecording} recording */
  #render(recording) {
    const { stage, percent, ready, error } = recording;
    const { recorded, acked } = recording.recorder.counts;
    this.holder.dataset.stage = stage;
    this.progress.hidden = stage === 'ready' || stage === 'failed';
    this.progress.value = stage === 'sending' ? (recorded === 0 ? 0 : (100 * acked) / recorded) : percent;
    if (stage === 'ready' && ready) {
      this.#say('The recording is in the library', ready.complete ? 'Watch it, download it or pass on its link.' : 'Some of it never reached the server; the rest is there.');
      return this.#act(el('a', { class: 'button small primary', href: recordingLink(ready.recordId) }, icon('play'), 'Watch it'));
    }
    if (stage === 'failed') {
      const { code = '', message = '' } = /** @type {any} */ (error ?? {});
      this.#say('The recording is not finished', troubleWords(code, message));
      return this.#act(el('button', { type: 'button', class: 'button small', onclick: () => void saveRest(recording) }, icon('download'), 'Download what is left'));
    }
    this.#act();
    if (stage === 'finalising') return this.#say('Putting the recording together…', 'The server has all of it. You may close this page.');
    const away = !navigator.onLine || recording.recorder.connection === 'waiting';
    this.#say('Sending the recording…', away ? 'The server cannot be reached just now. What is left is kept in this browser and sent as soon as that works.' : `${counted(recorded - acked, 'piece')} left. Leave this page open for a moment.`);
  }

  /**
   * @param {string} title
   * @param {string} text
   */
  #say(title, text) {
    setText(this.title, title);
    setText(this.text, text);
  }

  /** @param {HTMLElement} [act] */
  #act(act) {
    const shown = this.acts.firstElementChild?.textContent ?? '';
    if (shown === (act?.textContent ?? '')) return;
    this.acts.replaceChildren(...(act ? [act] : []));
  }
}

/** @param {CallRecording} recording */
async function saveRest({ recorder }) {
  const entries = await Leftovers.list().catch(() => []);
  const entry = entries.find(({ recordId }) => recordId === recorder.recordId);
  if (entry) saveBlob(await Leftovers.download(entry), fileName(entry));
}
