// The recordings that this page makes, one after the other: asked for, begun, ended, told.

import { Recorder } from '../../index.js';
import { confirm } from '../dialogs.js';
import { need } from '../dom.js';
import { recordingLink } from '../playback.js';
import { troubleWords } from '../recorder/words.js';
import { CallRecording } from './callrecording.js';

/** @typedef {import('../callscreen.js').Scene} Scene */
/** @typedef {import('../tiles.js').Tiles} Tiles */
/** @typedef {import('../../recorder/types.d.ts').Trouble} Trouble */
/** @typedef {import('../../recorder/types.d.ts').Leftover} Leftover */

/** Outlives calls, because a recording does. Event: `change`. */
export class Recordings extends EventTarget {
  constructor() {
    super();
    /** The one that records, or the last one that did. @type {CallRecording | null} */
    this.last = null;
    /** Those that could still lose something with this page. @type {Set<CallRecording>} */
    this.open = new Set();
    /** A question or a start is under way. */
    this.busy = false;
    addEventListener('beforeunload', (event) => {
      const unsafe = [...this.open].filter((recording) => recording.unsafe);
      for (const recording of unsafe) recording.flush();
      if (unsafe.length > 0) event.preventDefault();
    });
    document.addEventListener('visibilitychange', () => document.hidden && this.running?.flush());
  }

  /** @returns {CallRecording | null} the one that records now */
  get running() {
    return this.last?.running ? this.last : null;
  }

  /** A call begins: what was said about the recording of an earlier one is said. */
  forget() {
    if (!this.last?.unsafe) this.last = null;
  }

  /**
   * Begins after a question, or ends.
   *
   * @param {Scene} scene
   * @param {Tiles} tiles
   */
  async toggle(scene, tiles) {
    if (this.running) return this.stop(scene);
    if (this.busy) return;
    this.busy = true;
    const sure = await confirm(need('#confirm', HTMLDialogElement), {
      title: 'Record this call?',
      text: `Everyone in the call will see that it is recorded. What is seen and heard here, shared screens too, goes into the library of this server.${scene.call.recording ? ' Somebody records it already.' : ''}`,
      yes: 'Start recording',
      harmless: true,
    });
    if (sure) await this.#begin(scene, tiles);
    this.busy = false;
  }

  /**
   * Goes on with the recording that a reload of this page has cut through, if there is one.
   *
   * @param {Scene} scene
   * @param {Tiles} tiles
   */
  async goOn(scene, tiles) {
    const entry = await Recorder.continuable().catch(() => null);
    if (!entry || entry.room !== scene.room || this.running || this.busy) return;
    this.busy = true;
    await this.#begin(scene, tiles, entry);
    this.busy = false;
  }

  /**
   * Ends what records, in the call.
   *
   * @param {Scene} scene
   */
  stop({ call, toasts }) {
    const recording = this.running;
    if (!recording) return;
    void recording.stop();
    void call.update({ recording: null }).catch(() => {});
    toasts.show('The recording ended. The rest of it is being sent.', { icon: 'record' });
    const told = new AbortController();
    recording.addEventListener('change', () => {
      const { stage, ready, error } = recording;
      if (stage !== 'ready' && stage !== 'failed') return;
      told.abort();
      // After the call its own page tells.
      if (call.state === 'left') return;
      if (stage === 'ready' && ready) toasts.show('The recording is in the library.', { icon: 'check', action: { label: 'Watch it', act: () => void open(recordingLink(ready.recordId), '_blank', 'noopener') } });
      if (stage === 'failed') toasts.show(failedWords(error), { tone: 'problem' });
    }, { signal: told.signal });
  }

  /** The call is over, in whatever way. */
  leave() {
    void this.running?.stop();
  }

  /**
   * @param {Scene} scene
   * @param {Tiles} tiles
   * @param {Leftover} [earlier]
   */
  async #begin(scene, tiles, earlier) {
    const { call, room, media, people, toasts } = scene;
    const recording = new CallRecording({ room, title: earlier?.title ?? titleFor(room), tiles, media });
    recording.addEventListener('change', () => {
      if (!recording.unsafe) this.open.delete(recording);
      this.#changed();
    });
    recording.addEventListener('trouble', (event) => this.#troubled(scene, recording, /** @type {CustomEvent<Trouble>} */ (event).detail));
    try {
      // Told first, so that the others know who it is when the node says that somebody records.
      void call.update({ recording: true }).catch(() => {});
      await recording.start(people.list(), earlier);
      this.last = recording;
      this.open.add(recording);
      this.#changed();
    } catch (error) {
      void call.update({ recording: null }).catch(() => {});
      toasts.show(`The call cannot be recorded. ${troubleWords('', error instanceof Error ? error.message : '')}`, { tone: 'problem' });
    }
  }

  /**
   * @param {Scene} scene
   * @param {CallRecording} recording
   * @param {Trouble} trouble
   */
  #troubled(scene, recording, { code, message, fatal, ends }) {
    const { call, toasts } = scene;
    if (call.state === 'left') return;
    if (recording.running) toasts.show(fatal ? `The recording ended. ${troubleWords(code, message)}` : troubleWords(code, message), { tone: 'problem' });
    if (fatal) void call.update({ recording: null }).catch(() => {});
    if (ends) this.stop(scene);
  }

  #changed() {
    this.dispatchEvent(new Event('change'));
  }
}

/**
 * @param {unknown} error
 * @returns {string}
 */
function failedWords(error) {
  const { code = '', message = '' } = /** @type {any} */ (error ?? {});
  return `The recording is not finished. ${troubleWords(code, message)}`;
}

/**
 * @param {string} room
 * @returns {string} such as `design-review, 21 November, 11:05`
 */
function titleFor(room) {
  const now = new Date();
  const day = now.toLocaleDateString('en-GB', { day: 'numeric', month: 'long' });
  return `${room}, ${day}, ${now.toLocaleTimeString('en-GB', { hour: '2-digit', minute: '2-digit' })}`;
}
