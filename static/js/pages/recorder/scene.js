// What is recorded, made of what is on: one picture and one sound. One source alone is passed on as it is; a
// screen with a camera is drawn on a canvas, and all sounds are mixed. It knows nothing of recorders.

import { AudioMix } from '../audiomix.js';
import { el } from '../dom.js';
import { tick } from '../ticker.js';
import { drawScene } from './drawing.js';

/** @typedef {import('./drawing.js').Corner} Corner */
/** @typedef {import('../media.js').LocalMedia} LocalMedia */

const FRAMES_PER_SECOND = 30;

/** Event: `tracks` while it is held, when the stream to be recorded is another one now. */
export class Scene extends EventTarget {
  /** @param {LocalMedia} media */
  constructor(media) {
    super();
    this.media = media;
    /** @type {Corner} */
    this.corner = 'bottom-right';
    /** The largest picture that is drawn. Unit: pixels. */
    this.most = { width: 1280, height: 720 };
    /** While a recording runs, its picture and its sound stay even where their sources go. */
    this.held = false;
    this.screen = el('video', { muted: true, playsinline: true });
    this.camera = el('video', { muted: true, playsinline: true });
    /** @type {HTMLCanvasElement | null} */
    this.canvas = null;
    /** @type {MediaStreamTrack | null} of the canvas */
    this.drawn = null;
    /** @type {AudioMix | null} */
    this.mix = null;
    this.stopDrawing = () => {};
    /** @type {MediaStreamTrack[]} */
    this.told = [];
    for (const video of [this.screen, this.camera]) video.muted = true;
    media.addEventListener('change', () => this.sync());
  }

  /** @returns {MediaStreamTrack | null} */
  get screenTrack() {
    return this.media.screen;
  }

  /** @returns {MediaStreamTrack | null} */
  get cameraTrack() {
    return this.media.cameraOn ? this.media.tracks.video : null;
  }

  /** @returns {boolean} whether a sound could be recorded, also one that is muted now */
  get hasSound() {
    return this.media.micOn || this.media.screenAudio !== null;
  }

  /** @returns {boolean} whether nothing at all is on */
  get empty() {
    return !this.screenTrack && !this.cameraTrack && !this.hasSound;
  }

  /** @returns {HTMLCanvasElement | MediaStreamTrack | null} what a preview shows */
  get view() {
    return this.canvas ?? this.screenTrack ?? this.cameraTrack;
  }

  /** Brings picture and sound in line with what is on. */
  sync() {
    // Between two cameras there is none for a moment, and where nothing is left the recording is about to end:
    // neither is a reason for another picture.
    if (this.held && (this.media.asking || this.empty)) return;
    showIn(this.screen, this.screenTrack);
    showIn(this.camera, this.cameraTrack);
    if (this.#mustDraw()) this.#draw();
    else this.#stopDrawing();
    if (!this.held) return;
    this.#mixSounds();
    const tracks = this.#tracks();
    if (tracks.length === this.told.length && tracks.every((track) => this.told.includes(track))) return;
    this.told = tracks;
    this.dispatchEvent(new Event('tracks'));
  }

  /**
   * Holds the scene for a recording; called from a press of the person, because sound needs one.
   *
   * @returns {Promise<MediaStream>}
   */
  async hold() {
    this.held = true;
    this.#mixSounds();
    await this.mix?.resume();
    this.told = this.#tracks();
    return this.stream();
  }

  /** @returns {MediaStream} what is to be recorded now */
  stream() {
    return new MediaStream(this.told);
  }

  /** Lets go after a recording; sources stay on. */
  release() {
    this.held = false;
    this.told = [];
    this.mix?.close();
    this.mix = null;
    this.#stopDrawing();
    this.sync();
  }

  /** @returns {MediaStreamTrack[]} */
  #tracks() {
    const picture = this.drawn ?? this.screenTrack ?? this.cameraTrack;
    return [picture, this.mix?.track].filter((track) => track !== null && track !== undefined);
  }

  /** @returns {boolean} */
  #mustDraw() {
    if (this.screenTrack && this.cameraTrack) return true;
    if (!this.held) return false;
    const hadPicture = this.told.some((track) => track.kind === 'video');
    return this.canvas !== null || (hadPicture && !this.screenTrack && !this.cameraTrack);
  }

  #draw() {
    if (this.canvas) return;
    const { width, height } = this.#size();
    this.canvas = el('canvas', { width, height, 'aria-label': 'Preview', role: 'img' });
    // Without transparency, so that no player has to know about it.
    const context = this.canvas.getContext('2d', { alpha: false });
    if (!context) return;
    const paint = () => drawScene(context, { screen: this.screenTrack && this.screen, camera: this.cameraTrack && this.camera, corner: this.corner });
    paint();
    this.drawn = this.canvas.captureStream(FRAMES_PER_SECOND).getVideoTracks()[0] ?? null;
    this.stopDrawing = tick(FRAMES_PER_SECOND, paint);
  }

  #stopDrawing() {
    this.stopDrawing();
    this.stopDrawing = () => {};
    this.drawn?.stop();
    this.drawn = null;
    this.canvas = null;
  }

  /** @returns {{ width: number, height: number }} of the screen, where there is one, in even numbers */
  #size() {
    const { width = 1280, height = 720 } = (this.screenTrack ?? this.cameraTrack)?.getSettings() ?? {};
    const scale = Math.min(1, this.most.width / width, this.most.height / height);
    const even = (/** @type {number} */ pixels) => Math.max(2, Math.round((pixels * scale) / 2) * 2);
    return { width: even(width), height: even(height) };
  }

  #mixSounds() {
    const { media } = this;
    const tracks = [media.micOn ? media.tracks.audio : null, media.screenAudio].filter((track) => track !== null);
    if (tracks.length > 0) this.mix ??= new AudioMix();
    this.mix?.sync(tracks);
  }
}

/**
 * @param {HTMLVideoElement} video
 * @param {MediaStreamTrack | null} track
 */
function showIn(video, track) {
  const shown = /** @type {MediaStream | null} */ (video.srcObject)?.getVideoTracks()[0] ?? null;
  if (shown === track) return;
  video.srcObject = track ? new MediaStream([track]) : null;
  if (track) video.play().catch(() => {});
}
