// The camera, the microphone and the screen of this person: opened, switched, lost and given back.
// It knows nothing of calls; whoever listens to `change` sends the tracks on.

import { audioConstraints, permissionState, presentKinds, problemOf, videoConstraints } from './asking.js';
import { captureFor, smallVideoAsked } from './capture.js';
import { recall, remember } from './preferences.js';

/** @typedef {import('./asking.js').MediaKind} MediaKind */
/** @typedef {import('./asking.js').MediaProblem} MediaProblem */
/** @typedef {{ kind: MediaKind, label: string, recovered: boolean }} LostDevice */

const DEVICE_KEY = /** @type {const} */ ({ audio: 'microphone', video: 'camera' });

/**
 * Local media with what is on, and why something is not.
 *
 * Events: `change` whenever a track or a problem changed, `lost` (detail LostDevice) when a device went
 * away while it was in use, `screen-ended` when sharing was stopped from the browser's own bar.
 */
export class LocalMedia extends EventTarget {
  constructor() {
    super();
    /** @type {{ audio: MediaStreamTrack | null, video: MediaStreamTrack | null }} */
    this.tracks = { audio: null, video: null };
    /** @type {{ audio: MediaProblem | null, video: MediaProblem | null }} */
    this.problems = { audio: null, video: null };
    /** What the person asked for, whether or not a device could follow. */
    this.wanted = { audio: true, video: true };
    /** A browser's question is on screen. */
    this.asking = false;
    /** @type {MediaStreamTrack | null} */
    this.screen = null;
    /** @type {MediaStreamTrack | null} */
    this.screenAudio = null;
    this.capture = captureFor(2, smallVideoAsked());
    this.turn = { audio: 0, video: 0 };
    navigator.mediaDevices?.addEventListener('devicechange', () => this.#devicesChanged());
  }

  /** @returns {boolean} whether others may hear this person */
  get micOn() {
    return this.tracks.audio !== null && this.wanted.audio;
  }

  /** @returns {boolean} whether others may see this person */
  get cameraOn() {
    return this.tracks.video !== null && this.wanted.video;
  }

  /** @returns {boolean} whether this browser can share a screen */
  get canShareScreen() {
    return typeof navigator.mediaDevices?.getDisplayMedia === 'function';
  }

  /** Opens what is wanted, in one question to the person where the browser allows it. */
  async open() {
    if (!navigator.mediaDevices?.getUserMedia) {
      this.problems = { audio: 'insecure', video: 'insecure' };
      return this.#changed();
    }
    const present = await presentKinds();
    for (const kind of /** @type {MediaKind[]} */ (['audio', 'video'])) {
      this.problems[kind] = present[kind] ? null : 'missing';
    }
    const kinds = this.#kindsToOpen();
    if (kinds.length === 2 && (await this.#openBoth())) return this.#changed();
    for (const kind of kinds) {
      if (kinds.length < 2 || (await this.#mayAskAlone(kind))) await this.#openOne(kind);
    }
    this.#changed();
  }

  /**
   * Turns the microphone or the camera on or off. The microphone stays open while it is off, so that
   * turning it on is instant; the camera is let go and its light goes out.
   *
   * @param {MediaKind} kind
   * @param {boolean} on
   */
  async set(kind, on) {
    this.wanted[kind] = on;
    if (on && !this.tracks[kind]) await this.#openOne(kind);
    else if (!on && kind === 'video') this.#drop('video');
    if (this.tracks.audio) this.tracks.audio.enabled = this.wanted.audio;
    this.#changed();
  }

  /**
   * Uses another device from now on. Where it cannot be opened, the problem says why.
   *
   * @param {MediaKind} kind
   * @param {string} deviceId
   */
  async choose(kind, deviceId) {
    remember(DEVICE_KEY[kind], deviceId);
    if (kind === 'video' && !this.wanted.video) return;
    // Some phones cannot have two cameras open at once: the old one is let go first.
    this.#drop(kind);
    await this.#openOne(kind);
    this.#changed();
  }

  /**
   * Follows the size of the call: fewer pixels where more people watch.
   *
   * @param {import('./capture.js').Capture} capture
   */
  async fit(capture) {
    if (capture === this.capture) return;
    this.capture = capture;
    const frameRate = { max: capture.screenFramesPerSecond };
    try {
      await this.tracks.video?.applyConstraints(videoConstraints(capture, ''));
      await this.screen?.applyConstraints({ frameRate });
    } catch {
      // The camera has no such size: it goes on as it is, and the sender's bit rate bounds it.
    }
  }

  /**
   * Asks which screen or window to share.
   *
   * @returns {Promise<'shared' | 'cancelled' | 'failed'>}
   */
  async shareScreen() {
    try {
      const stream = await navigator.mediaDevices.getDisplayMedia({
        video: { frameRate: { max: this.capture.screenFramesPerSecond } },
        audio: true,
      });
      // Without telling in between: whoever listens goes from one screen to the other.
      this.#dropScreen();
      this.screen = stream.getVideoTracks()[0] ?? null;
      this.screenAudio = stream.getAudioTracks()[0] ?? null;
      if (this.screen) {
        this.screen.contentHint = 'detail';
        const { screen } = this;
        screen.addEventListener('ended', () => {
          if (this.screen !== screen) return;
          this.stopScreen();
          this.dispatchEvent(new Event('screen-ended'));
        });
      }
      this.#changed();
      return 'shared';
    } catch (error) {
      return problemOf(error) === 'denied' ? 'cancelled' : 'failed';
    }
  }

  /** Ends screen sharing, if any. */
  stopScreen() {
    if (!this.screen && !this.screenAudio) return;
    this.#dropScreen();
    this.#changed();
  }

  /** Lets go of everything: no light stays on. */
  close() {
    this.#drop('audio');
    this.#drop('video');
    this.stopScreen();
    this.#changed();
  }

  /** @returns {MediaKind[]} */
  #kindsToOpen() {
    return /** @type {MediaKind[]} */ (['audio', 'video']).filter(
      (kind) => this.problems[kind] === null && this.tracks[kind] === null && (kind === 'audio' || this.wanted.video),
    );
  }

  /** @returns {Promise<boolean>} whether both were opened with one question */
  async #openBoth() {
    const turn = { audio: ++this.turn.audio, video: ++this.turn.video };
    try {
      const stream = await this.#ask({
        audio: audioConstraints(recall('microphone')),
        video: videoConstraints(this.capture, recall('camera')),
      });
      this.#take('audio', stream, turn.audio);
      this.#take('video', stream, turn.video);
      return true;
    } catch (error) {
      this.problems = { audio: problemOf(error), video: problemOf(error) };
      return false;
    }
  }

  /**
   * After the joint question failed: whether asking for one alone can help, without pestering the
   * person who has just said no.
   *
   * @param {MediaKind} kind
   * @returns {Promise<boolean>}
   */
  async #mayAskAlone(kind) {
    if (this.problems[kind] !== 'denied') return true;
    const state = await permissionState(kind);
    if (state === 'prompt') this.problems[kind] = 'dismissed';
    return state === 'granted';
  }

  /** @param {MediaKind} kind */
  async #openOne(kind) {
    if (!navigator.mediaDevices?.getUserMedia) {
      this.problems[kind] = 'insecure';
      return;
    }
    const turn = ++this.turn[kind];
    try {
      const stream = await this.#ask(
        kind === 'audio'
          ? { audio: audioConstraints(recall('microphone')) }
          : { video: videoConstraints(this.capture, recall('camera')) },
      );
      this.#take(kind, stream, turn);
    } catch (error) {
      this.problems[kind] = problemOf(error);
      if (this.problems[kind] === 'denied' && (await permissionState(kind)) === 'prompt') this.problems[kind] = 'dismissed';
    }
  }

  /**
   * @param {MediaStreamConstraints} constraints
   * @returns {Promise<MediaStream>}
   */
  async #ask(constraints) {
    this.asking = true;
    this.#changed();
    try {
      return await navigator.mediaDevices.getUserMedia(constraints);
    } finally {
      this.asking = false;
    }
  }

  /**
   * @param {MediaKind} kind
   * @param {MediaStream} stream
   * @param {number} turn an answer to an older wish is let go
   */
  #take(kind, stream, turn) {
    const track = stream.getTracks().find((candidate) => candidate.kind === kind);
    if (!track) {
      this.problems[kind] = 'missing';
      return;
    }
    if (turn !== this.turn[kind] || (kind === 'video' && !this.wanted.video)) {
      track.stop();
      return;
    }
    this.tracks[kind]?.stop();
    this.tracks[kind] = track;
    this.problems[kind] = null;
    if (kind === 'audio') track.enabled = this.wanted.audio;
    track.addEventListener('ended', () => this.#lost(kind, track));
  }

  /** @param {MediaKind} kind */
  #drop(kind) {
    this.turn[kind] += 1;
    this.tracks[kind]?.stop();
    this.tracks[kind] = null;
  }

  /**
   * A device went away (unplugged, or its permission was taken back): another one takes over.
   *
   * @param {MediaKind} kind
   * @param {MediaStreamTrack} track
   */
  async #lost(kind, track) {
    if (this.tracks[kind] !== track) return;
    this.#drop(kind);
    await this.#openOne(kind);
    const recovered = this.tracks[kind] !== null;
    this.#changed();
    this.dispatchEvent(new CustomEvent('lost', { detail: { kind, label: track.label, recovered } }));
  }

  #dropScreen() {
    this.screen?.stop();
    this.screenAudio?.stop();
    this.screen = null;
    this.screenAudio = null;
  }

  async #devicesChanged() {
    const present = await presentKinds();
    for (const kind of /** @type {MediaKind[]} */ (['audio', 'video'])) {
      if (this.problems[kind] === 'missing' && present[kind]) this.problems[kind] = null;
    }
    this.#changed();
  }

  #changed() {
    this.dispatchEvent(new Event('change'));
  }
}
