// The recording of a call, made in this page: the call as it is seen, drawn on one canvas, with all voices mixed.
// Canvas and mix stay the same from beginning to end, so people may come and go without a break. It outlives the
// call: what was recorded is sent when the person has left.

import { Recorder } from '../../index.js';
import { AudioMix } from '../audiomix.js';
import { ownerId } from '../owner.js';
import { recallInTab, rememberInTab } from '../preferences.js';
import { Stopwatch } from '../recorder/running.js';
import { tick } from '../ticker.js';
import { paintCall } from './callpainter.js';

/** @typedef {import('../people.js').Person} Person */
/** @typedef {import('../media.js').LocalMedia} LocalMedia */
/** @typedef {import('../tiles.js').Tiles} Tiles */
/** @typedef {import('../../recorder/types.d.ts').Leftover} Leftover */
/** @typedef {import('../../recorder/types.d.ts').RecordingReady} RecordingReady */

const SIZE = { width: 1280, height: 720 };
const FRAMES_PER_SECOND = 24;
const VIDEO_BITS_PER_SECOND = 2_500_000;
const AUDIO_BITS_PER_SECOND = 128_000;
const LAST_FRAMES_MS = 1000;

/**
 * Where a recording is: `recording`, `sending` the rest, `finalising` on the node, `ready`, `failed`.
 *
 * @typedef {'recording' | 'sending' | 'finalising' | 'ready' | 'failed'} Stage
 */

/**
 * One recording of one call. Events: `change`, once a second while it records and whenever anything differs;
 * `trouble` (detail `{ code, message, fatal }`).
 */
export class CallRecording extends EventTarget {
  /**
   * @param {{ room: string, title: string, tiles: Tiles, media: LocalMedia }} call
   */
  constructor({ room, title, tiles, media }) {
    super();
    this.media = media;
    this.tiles = tiles;
    /** @type {Person[]} */
    this.people = [];
    /** @type {Stage} */
    this.stage = 'recording';
    this.percent = 0;
    /** @type {RecordingReady | null} */
    this.ready = null;
    /** @type {unknown} */
    this.error = null;
    this.watch = new Stopwatch();
    this.canvas = document.createElement('canvas');
    Object.assign(this.canvas, SIZE);
    this.mix = new AudioMix();
    this.stopDrawing = () => {};
    this.timer = 0;
    this.recorder = new Recorder({ room, title, owner: ownerId(), videoBitsPerSecond: VIDEO_BITS_PER_SECOND, audioBitsPerSecond: AUDIO_BITS_PER_SECOND });
    this.recorder.addEventListener('counts', () => this.stage === 'sending' && this.#changed());
    this.recorder.addEventListener('connection', () => this.#changed());
    this.recorder.addEventListener('progress', ({ detail }) => ((this.percent = detail.percent), this.#changed()));
    this.recorder.addEventListener('state', ({ detail: { state } }) => state === 'finalising' && this.#enter('finalising'));
    this.recorder.addEventListener('error', ({ detail }) => this.#troubled(detail));
  }

  /** @returns {boolean} whether it records now */
  get running() {
    return this.stage === 'recording';
  }

  /** @returns {boolean} whether something of it could still be lost with this page */
  get unsafe() {
    return this.stage === 'recording' || this.stage === 'sending';
  }

  /**
   * Begins; called from a press of the person, because sound needs one.
   *
   * @param {Person[]} people
   * @param {Leftover} [earlier] the same recording of before a reload
   */
  async start(people, earlier) {
    // Without transparency, so that no player has to know about it.
    const context = this.canvas.getContext('2d', { alpha: false });
    if (!context) throw new Error('this browser cannot draw the call');
    this.sync(people);
    const paint = () => paintCall(context, this.people, this.tiles);
    paint();
    this.stopDrawing = tick(FRAMES_PER_SECOND, paint);
    const picture = this.canvas.captureStream(FRAMES_PER_SECOND).getVideoTracks();
    try {
      await this.mix.resume();
      await this.recorder.start(new MediaStream([...picture, this.mix.track]), earlier ? { continue: earlier } : {});
    } catch (error) {
      this.#letGo();
      throw error;
    }
    if (earlier) this.watch.before = Number(recallInTab('recording-ms')) || 0;
    this.watch.run();
    this.timer = window.setInterval(() => this.#changed(), 1000);
    this.#changed();
  }

  /**
   * The people as they are now.
   *
   * @param {Person[]} people
   */
  sync(people) {
    if (!this.running) return;
    this.people = people;
    const { media } = this;
    const own = [media.micOn ? media.tracks.audio : null, media.screenAudio].filter((track) => track !== null);
    const voices = people.filter(({ me }) => !me).flatMap(({ stream, screen, screenOn }) => [
      ...(stream?.getAudioTracks() ?? []),
      ...(screenOn ? (screen?.getAudioTracks() ?? []) : []),
    ]);
    this.mix.sync([...own, ...voices]);
  }

  /** Ends it; what is left is sent, and the node puts it together. */
  async stop() {
    if (!this.running) return;
    this.watch.rest();
    clearInterval(this.timer);
    rememberInTab('recording-ms', '');
    const stopped = this.recorder.stop();
    this.#enter('sending');
    // The last frames are taken within moments; sending may last.
    setTimeout(() => this.#letGo(), LAST_FRAMES_MS);
    try {
      this.ready = await stopped;
      this.#enter('ready');
    } catch (error) {
      this.error = error;
      this.#enter('failed');
    }
  }

  /** Before the page goes: hands over what is recorded, and goes on if the person stays. */
  flush() {
    this.recorder.flush();
    if (this.running) rememberInTab('recording-ms', String(Math.round(this.watch.ms)));
  }

  #letGo() {
    this.stopDrawing();
    this.mix.close();
  }

  /** @param {import('../../recorder/types.d.ts').Trouble} trouble */
  #troubled(trouble) {
    this.dispatchEvent(new CustomEvent('trouble', { detail: trouble }));
    if (trouble.ends) return void this.stop();
    if (!trouble.fatal || !this.running) return;
    this.watch.rest();
    clearInterval(this.timer);
    this.error = Object.assign(new Error(trouble.message), { code: trouble.code });
    this.#enter('failed');
    this.#letGo();
  }

  /** @param {Stage} stage */
  #enter(stage) {
    this.stage = stage;
    this.#changed();
  }

  #changed() {
    this.dispatchEvent(new Event('change'));
  }
}
