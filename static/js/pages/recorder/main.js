// The recorder page: choose, record, and what became of it. It joins the parts together; what is recorded is made
// in scene.js, kept and sent by the library's Recorder.

import { Leftovers, Recorder } from '../../index.js';
import { captureFor } from '../capture.js';
import { DeviceChoice } from '../devices.js';
import { el, icon, need, setIcon, setText } from '../dom.js';
import { Toasts } from '../feedback.js';
import { copy } from '../invite.js';
import { LevelMeter } from '../level.js';
import { LocalMedia } from '../media.js';
import { ownerId } from '../owner.js';
import { recordingLink } from '../playback.js';
import { rememberInTab, recallInTab } from '../preferences.js';
import { keepAwake } from '../wakelock.js';
import { Formats } from './formats.js';
import { Offers, fileName, saveBlob } from './offers.js';
import { Result } from './result.js';
import { Running, Stopwatch } from './running.js';
import { Scene } from './scene.js';
import { Sources } from './sources.js';
import { screenEnded, storageWords, troubleWords } from './words.js';

/** @typedef {import('../../recorder/types.d.ts').Leftover} Leftover */
/** @typedef {import('../../recorder/types.d.ts').RecordingReady} RecordingReady */
/** @typedef {import('../../recorder/types.d.ts').Trouble} Trouble */
/** @typedef {import('../../recorder/types.d.ts').StorageReport} StorageReport */
/** @typedef {'setup' | 'recording' | 'result'} Screen */

/** The page, until it is closed. */
class Studio {
  constructor() {
    this.page = document.body;
    this.room = roomAsked();
    this.toasts = new Toasts(need('#toasts', HTMLElement));
    const complain = (/** @type {string} */ text) => this.toasts.show(text, { tone: 'problem' });
    this.media = new LocalMedia();
    this.media.wanted = { audio: false, video: false };
    this.scene = new Scene(this.media);
    this.sources = new Sources(this.page, this.scene, complain);
    this.running = new Running(this.page, { pause: () => this.#pause(), stop: () => void this.#stop() });
    this.result = new Result(need('#result', HTMLElement));
    this.offers = new Offers(need('#leftovers', HTMLElement), need('#confirm', HTMLDialogElement), {
      goOn: (entry) => void this.#goOn(entry),
      done: (text) => this.toasts.show(text, { icon: 'check', action: { label: 'Open the library', act: () => location.assign('/library') } }),
      complain,
    });
    this.formats = new Formats(need('#format', HTMLSelectElement), need('#quality', HTMLSelectElement));
    this.devices = new DeviceChoice(this.page, this.media, () => {});
    this.form = need('.studio-form', HTMLFormElement);
    this.title = need('#title', HTMLInputElement);
    this.start = need('button[type=submit]', HTMLButtonElement);
    this.stage = need('[data-part=stage]', HTMLElement);
    this.preview = need('video', HTMLVideoElement, this.stage);
    const level = need('.level', HTMLElement);
    this.meter = new LevelMeter((value) => level.style.setProperty('--level', value.toFixed(2)));
    /** @type {Recorder | null} */
    this.recorder = null;
    this.watch = new Stopwatch();
    this.letSleep = () => {};
    this.trouble = '';
    /** Why the recording ended although nobody pressed Stop, and is saved. */
    this.ended = '';
    this.#listen();
  }

  /** Shows the page as it is when it was opened. */
  async open() {
    if (this.room) setText(need('[data-part=eyebrow]', HTMLElement), `New recording in room ${this.room}: everyone there sees that it runs`);
    await this.#setUp();
  }

  async #setUp() {
    this.page.toggleAttribute('data-restored', false);
    this.#show('setup');
    await Promise.all([this.offers.refresh(), this.sources.restore()]);
    this.page.toggleAttribute('data-restored', true);
  }

  #listen() {
    this.form.addEventListener('submit', (event) => {
      event.preventDefault();
      void this.#begin(null);
    });
    this.media.addEventListener('change', () => this.#render());
    this.media.addEventListener('screen-ended', () => this.#screenEnded());
    this.media.addEventListener('lost', (event) => this.#deviceLost(/** @type {CustomEvent} */ (event).detail));
    this.scene.addEventListener('tracks', () => void this.#retrack());
    for (const type of ['online', 'offline']) addEventListener(type, () => this.#renderDelivery());
    addEventListener('beforeunload', (event) => this.#beforeUnload(event));
    // A hidden page may be ended without a word, on phones above all.
    document.addEventListener('visibilitychange', () => document.hidden && this.recorder?.flush());
  }

  /** @param {Screen} screen */
  #show(screen) {
    this.page.dataset.screen = screen;
    this.#render();
  }

  #render() {
    const { media, scene } = this;
    this.sources.render();
    this.#renderPreview();
    this.meter.watch(media.micOn ? media.tracks.audio : media.screenAudio);
    const words = media.micOn ? '' : media.screenAudio ? 'Screen' : 'No sound';
    setText(need('[data-part=sound]', HTMLElement), words);
    const able = typeof MediaRecorder === 'function';
    this.start.disabled = scene.empty || !able;
    const hint = need('[data-part=start-hint]', HTMLElement);
    if (!able) setText(hint, 'This browser cannot record. Use a current Firefox, Chrome, Edge or Safari.');
    hint.hidden = able && !scene.empty;
    need('[data-part=camera-field]', HTMLElement).hidden = !media.cameraOn;
    need('[data-part=microphone-field]', HTMLElement).hidden = !media.micOn;
    need('[data-part=devices]', HTMLElement).hidden = !media.cameraOn && !media.micOn;
    this.title.placeholder = this.#defaultTitle();
    const asking = need('[data-part=asking]', HTMLElement);
    setText(asking, media.asking ? 'Your browser asks for permission: choose Allow.' : '');
    asking.hidden = !media.asking;
  }

  #renderPreview() {
    const { view } = this.scene;
    const canvas = view instanceof HTMLCanvasElement ? view : null;
    const track = view instanceof MediaStreamTrack ? view : null;
    const drawn = this.stage.querySelector('canvas');
    if (drawn !== canvas) drawn?.remove();
    if (canvas && drawn !== canvas) this.stage.prepend(canvas);
    const shown = /** @type {MediaStream | null} */ (this.preview.srcObject)?.getVideoTracks()[0] ?? null;
    if (shown !== track) this.preview.srcObject = track ? new MediaStream([track]) : null;
    this.preview.hidden = track === null;
    this.stage.toggleAttribute('data-picture', view !== null);
    const empty = need('[data-part=empty]', HTMLElement);
    empty.hidden = view !== null;
    setText(need('p', HTMLElement, empty), this.scene.hasSound ? 'Only sound is recorded.' : 'What you choose appears here.');
    setIcon(empty, this.scene.hasSound ? 'wave' : 'screen');
  }

  /** @returns {string} */
  #defaultTitle() {
    const on = this.sources.on();
    const what = on.includes('screen') ? 'Screen' : on.includes('camera') ? 'Camera' : on.includes('microphone') ? 'Sound' : 'Recording';
    const day = new Date().toLocaleDateString('en-GB', { day: 'numeric', month: 'long' });
    const time = new Date().toLocaleTimeString('en-GB', { hour: '2-digit', minute: '2-digit' });
    return this.room ? `${this.room}, ${day}, ${time}` : `${what}, ${day}, ${time}`;
  }

  /**
   * Begins to record.
   *
   * @param {Leftover | null} earlier the recording of before a reload, to go on with
   */
  async #begin(earlier) {
    if (this.recorder || this.scene.empty) return;
    const { quality, mimeType } = this.formats;
    this.scene.most = quality.most;
    const capture = { ...captureFor(2, false), width: quality.most.width, height: quality.most.height, screenFramesPerSecond: quality.framesPerSecond };
    await this.media.fit(capture);
    const title = earlier?.title ?? (this.title.value.trim() || this.#defaultTitle());
    const recorder = new Recorder({
      room: earlier?.room ?? this.room ?? undefined,
      title,
      owner: ownerId(),
      mimeType,
      videoBitsPerSecond: quality.videoBitsPerSecond,
      audioBitsPerSecond: quality.audioBitsPerSecond,
    });
    this.recorder = recorder;
    this.recordedTitle = title;
    this.#hear(recorder);
    try {
      const stream = await this.scene.hold();
      await recorder.start(stream, earlier ? { continue: earlier } : {});
    } catch (error) {
      this.recorder = null;
      this.scene.release();
      this.toasts.show(`The recording could not start. ${wordsOf(error)}`, { tone: 'problem' });
      return this.#render();
    }
    this.#begun(earlier !== null);
  }

  /** @param {boolean} again */
  #begun(again) {
    this.watch = new Stopwatch();
    if (again) this.watch.before = Number(recallInTab('recording-ms')) || 0;
    this.watch.run();
    this.letSleep = keepAwake();
    rememberInTab('recording-sources', this.sources.on().join(' '));
    // So that a full disk does not make the browser clear what has not been sent.
    void navigator.storage?.persist?.().catch(() => {});
    this.#show('recording');
    this.running.begin(this.watch);
    this.#renderDelivery();
  }

  /** @param {Leftover} entry */
  async #goOn(entry) {
    const wanted = recallInTab('recording-sources').split(' ');
    if (!(await this.sources.reopen(wanted))) return;
    if (this.scene.empty) return this.toasts.show('Choose what to record first, then press “Go on recording” again.');
    await this.#begin(entry);
    if (this.recorder) need('#leftovers', HTMLElement).replaceChildren();
  }

  /** @param {Recorder} recorder */
  #hear(recorder) {
    recorder.addEventListener('counts', () => this.#renderDelivery());
    recorder.addEventListener('connection', () => this.#renderDelivery());
    recorder.addEventListener('state', ({ detail }) => this.#stateChanged(detail.state));
    recorder.addEventListener('progress', ({ detail }) => this.result.finalising(detail.percent));
    recorder.addEventListener('error', ({ detail }) => this.#troubled(detail));
    recorder.addEventListener('storage', ({ detail }) => this.#storage(detail));
    recorder.addEventListener('started', ({ detail }) => {
      if (detail.merging === 'unavailable') this.toasts.show(troubleWords('merging_unavailable', ''), { tone: 'problem' });
    });
  }

  /** @param {import('../../recorder/types.d.ts').RecorderState} state */
  #stateChanged(state) {
    if (state === 'finalising') this.result.finalising(null);
    if (state === 'stopping') this.#renderDelivery();
  }

  #renderDelivery() {
    const { recorder } = this;
    if (!recorder) return;
    if (recorder.state === 'stopping') {
      const away = !navigator.onLine || recorder.connection === 'waiting';
      const words = away ? 'The server cannot be reached just now. What is left is kept in this browser and sent as soon as that works; you may also come back to this page later.' : this.trouble;
      const download = { label: 'Download what is left', icon: 'download', act: () => void this.#downloadRest(recorder) };
      return this.result.sending(recorder.counts, words, away ? [download] : []);
    }
    if (recorder.state === 'recording' || recorder.state === 'paused') this.running.render(recorder.counts, recorder.connection);
  }

  #pause() {
    const { recorder, watch } = this;
    if (!recorder) return;
    const pausing = recorder.state === 'recording';
    if (pausing) {
      recorder.pause();
      watch.rest();
    } else {
      recorder.resume();
      watch.run();
    }
    this.running.setPaused(pausing);
  }

  async #stop() {
    const { recorder } = this;
    if (!recorder || (recorder.state !== 'recording' && recorder.state !== 'paused')) return;
    this.watch.rest();
    this.running.end();
    this.letSleep();
    const stopped = recorder.stop();
    this.#letGo();
    this.#show('result');
    this.#renderDelivery();
    try {
      this.#ready(await stopped);
    } catch (error) {
      await this.#failed(recorder, error);
    }
  }

  /** Lets go of screen, camera and microphone as soon as nothing is recorded from them. */
  #letGo() {
    // The last frames are still taken from the tracks while the recorder stops.
    setTimeout(() => {
      this.media.wanted = { audio: false, video: false };
      this.media.close();
      this.scene.release();
    }, 0);
    rememberInTab('recording-sources', '');
    rememberInTab('recording-ms', '');
  }

  /** @param {RecordingReady} ready */
  #ready(ready) {
    this.recorder = null;
    const link = recordingLink(ready.recordId);
    this.result.ready({ ...ready, state: 'ready', title: this.recordedTitle, roomName: this.room ?? undefined, posterUrl: ready.posterUrl ?? undefined }, [
      { label: 'Download', icon: 'download', primary: true, href: ready.downloadUrl, download: true },
      { label: 'Copy link', icon: 'link', act: () => void this.#copyLink(link) },
      { label: 'Record again', icon: 'record', act: () => void this.#again() },
      { label: 'Library', icon: 'film', href: '/library' },
    ], this.ended);
  }

  /**
   * @param {Recorder} recorder
   * @param {unknown} error
   */
  async #failed(recorder, error) {
    this.recorder = null;
    const here = await leftoverOf(recorder);
    this.result.failed('Your recording is not finished', wordsOf(error), [
      { label: 'Record again', icon: 'record', primary: true, act: () => void this.#again() },
      ...(here ? [{ label: 'Download what is left', icon: 'download', act: () => void this.#downloadRest(recorder) }] : []),
      { label: 'Library', icon: 'film', href: '/library' },
    ]);
  }

  /**
   * The node ended it while this page was away, and has what was recorded until then.
   *
   * @param {Recorder} recorder
   */
  #saved({ recordId }) {
    this.recorder = null;
    this.result.saved('It ended while this page was not connected: after a long break, or because it was as long as the server allows. What was recorded before is saved.', [
      { label: 'Watch it', icon: 'play', primary: true, href: recordId ? recordingLink(recordId) : '/library' },
      { label: 'Record again', icon: 'record', act: () => void this.#again() },
    ]);
  }

  async #again() {
    this.trouble = '';
    this.ended = '';
    this.title.value = '';
    const ready = this.#setUp();
    need('.studio-head h1', HTMLElement).focus();
    await ready;
  }

  /** @param {string} link */
  async #copyLink(link) {
    if (await copy(link)) this.toasts.show('Link copied.', { icon: 'check' });
    else this.toasts.show(`This browser does not let the page copy. The link is ${link}`);
  }

  /** @param {Recorder} recorder */
  async #downloadRest(recorder) {
    const entry = await leftoverOf(recorder);
    if (!entry) return this.toasts.show('Nothing is left in this browser: the server has every piece.');
    saveBlob(await Leftovers.download(entry), fileName(entry));
  }

  /** Another picture or another sound: a new segment of the same recording. */
  async #retrack() {
    const { recorder, scene } = this;
    if (!recorder || (recorder.state !== 'recording' && recorder.state !== 'paused')) return;
    rememberInTab('recording-sources', this.sources.on().join(' '));
    try {
      await recorder.replaceStream(scene.stream());
    } catch (error) {
      this.toasts.show(`The recording could not go on with that. ${wordsOf(error)}`, { tone: 'problem' });
    }
  }

  #screenEnded() {
    if (!this.recorder || !this.scene.held) return;
    const on = this.sources.on();
    this.toasts.show(screenEnded({ screen: false, camera: on.includes('camera'), microphone: on.includes('microphone') }), { icon: 'screen' });
    if (on.length === 0) void this.#stop();
  }

  /** @param {{ kind: 'audio' | 'video', recovered: boolean }} lost */
  #deviceLost({ kind, recovered }) {
    const what = kind === 'audio' ? 'microphone' : 'camera';
    const now = recovered ? `Another ${what} is used now.` : this.scene.held ? 'The recording goes on without it.' : 'Choose another one, or record without it.';
    this.toasts.show(`Your ${what} is gone. ${now}`, { tone: 'problem', icon: kind === 'audio' ? 'mic-off' : 'camera-off' });
    if (this.scene.held && this.scene.empty) void this.#stop();
  }

  /** @param {Trouble} trouble */
  #troubled({ code, message, fatal, ends, saved = false }) {
    this.trouble = troubleWords(code, message);
    if (ends) {
      this.ended = this.trouble;
      return void this.#stop();
    }
    if (fatal && (this.recorder?.state === 'failed' || this.page.dataset.screen === 'recording')) return this.#fatal(saved);
    if (this.page.dataset.screen === 'recording') this.toasts.show(this.trouble, { tone: 'problem' });
    else this.#renderDelivery();
  }

  /**
   * The recording ended although nobody pressed Stop.
   *
   * @param {boolean} saved
   */
  #fatal(saved) {
    const { recorder } = this;
    if (this.page.dataset.screen !== 'recording' || !recorder) return;
    this.watch.rest();
    this.running.end();
    this.letSleep();
    this.#letGo();
    this.#show('result');
    if (saved) return this.#saved(recorder);
    void this.#failed(recorder, new Error(this.trouble));
  }

  /** @param {StorageReport} report */
  #storage(report) {
    const words = storageWords(report);
    const notes = need('[data-part=problems]', HTMLElement);
    notes.querySelector('[data-about=storage]')?.remove();
    if (words) notes.append(el('div', { class: 'note', 'data-tone': 'warning', 'data-about': 'storage' }, icon('alert'), el('div', {}, el('h2', {}, words.title), el('p', {}, words.text))));
  }

  /** @param {BeforeUnloadEvent} event */
  #beforeUnload(event) {
    const { recorder } = this;
    if (!recorder || recorder.state === 'finalising') return;
    // Only handed over, never stopped: who stays goes on recording.
    recorder.flush();
    rememberInTab('recording-ms', String(Math.round(this.watch.ms)));
    event.preventDefault();
  }
}

/**
 * @param {Recorder} recorder
 * @returns {Promise<Leftover | undefined>} what this browser still has of its recording
 */
async function leftoverOf({ recordId }) {
  const entries = await Leftovers.list().catch(() => []);
  return entries.find((entry) => entry.recordId === recordId);
}

/** @returns {string | null} the room of `?room=` */
function roomAsked() {
  const room = new URLSearchParams(location.search).get('room') ?? '';
  return /^[A-Za-z0-9_-]{1,64}$/.test(room) ? room : null;
}

/**
 * @param {unknown} error
 * @returns {string}
 */
function wordsOf(error) {
  if (error instanceof DOMException && error.name === 'NotSupportedError') return 'This browser cannot record that format. Choose another one under Advanced.';
  const code = error instanceof Error && 'code' in error ? String(error.code) : '';
  return troubleWords(code, error instanceof Error ? error.message : '');
}

void new Studio().open();
