// One tile: the picture of a person, or the screen that somebody shares.

import { el, icon, setAttribute, setText } from './dom.js';
import { conditionWords } from './people.js';
import { initialsOf, toneOf } from './names.js';

/** @typedef {import('./people.js').Person} Person */

const QUALITY_WORDS = { good: 'Connection: good', fair: 'Connection: fair', poor: 'Connection: poor', unknown: '' };

/** Shows one person. While the link is away the last frame stays, dimmed, until a new one has come. */
export class Tile {
  /**
   * @param {string} id
   * @param {'person' | 'screen'} kind
   * @param {() => void} [onShape] the picture has another shape now
   */
  constructor(id, kind, onShape = () => {}) {
    this.kind = kind;
    this.video = el('video', { playsinline: true, muted: true, autoplay: true, disablepictureinpicture: true });
    // The attribute alone does not mute a video that a script has made.
    this.video.muted = true;
    this.still = el('canvas', { class: 'tile-still', hidden: true });
    this.avatar = el('div', { class: 'avatar', 'aria-hidden': 'true', 'data-tone': toneOf(id) });
    this.veil = el('p', { class: 'tile-veil', hidden: true }, el('span', { class: 'spinner' }), el('span'));
    this.veilText = /** @type {HTMLElement} */ (this.veil.lastElementChild);
    this.micOff = el('span', { class: 'tile-mic' }, icon('mic-off'));
    this.name = el('bdi');
    this.suffix = el('span', { class: 'tile-suffix' });
    this.quality = el('span', { class: 'quality', role: 'img' }, el('i'), el('i'), el('i'));
    this.root = el(
      'li',
      { class: 'tile', 'data-kind': kind, 'data-user': id },
      this.avatar,
      this.video,
      this.still,
      this.veil,
      el('div', { class: 'tile-label' }, kind === 'screen' ? icon('screen') : this.micOff, this.name, this.suffix),
      this.quality,
    );
    this.frozen = false;
    this.thawing = false;
    this.wanted = false;
    this.video.addEventListener('loadeddata', () => this.#showPicture());
    this.video.addEventListener('resize', () => (this.#showPicture(), onShape()));
  }

  /** @returns {number} width by height of the picture, 0 while there is none */
  get shape() {
    const { videoWidth, videoHeight } = this.video;
    return videoHeight === 0 ? 0 : videoWidth / videoHeight;
  }

  /**
   * Brings the tile up to date.
   *
   * @param {Person} person
   */
  update(person) {
    const screen = this.kind === 'screen';
    const stream = screen ? person.screen : person.stream;
    this.wanted = screen ? true : person.videoOn;
    this.#renderCondition(person);
    if (this.video.srcObject !== stream) {
      this.video.srcObject = stream;
      // Muted video may always play; a refusal here is a stream that was replaced meanwhile.
      if (stream) this.video.play().catch(() => {});
    }
    setAttribute(this.video, 'data-mirrored', !screen && person.me && person.mirrored);
    setText(this.name, person.name);
    setText(this.suffix, suffixOf(person, screen));
    setText(this.avatar, initialsOf(person.name));
    this.micOff.hidden = person.audioOn;
    this.#renderQuality(screen || person.me ? 'unknown' : person.quality);
    setAttribute(this.root, 'aria-label', describe(person, screen));
    this.#showPicture();
  }

  /**
   * @param {boolean} speaking
   */
  setSpeaking(speaking) {
    setAttribute(this.root, 'data-speaking', speaking);
  }

  /** Lets go of the stream. */
  remove() {
    this.video.srcObject = null;
    this.root.remove();
  }

  /** @param {Person} person */
  #renderCondition(person) {
    const { condition } = person;
    const frozen = !person.me && (condition === 'reconnecting' || condition === 'failed');
    if (frozen && !this.frozen) this.#freeze();
    if (!frozen && this.frozen) this.#thaw();
    this.frozen = frozen;
    setAttribute(this.root, 'data-frozen', frozen);
    setAttribute(this.root, 'data-away', frozen || (!person.me && condition === 'suspect'));
    const words = person.me ? '' : conditionWords(condition);
    setText(this.veilText, words);
    this.veil.hidden = words === '';
  }

  /** Keeps what is seen now, since a stream that is being replaced shows black. */
  #freeze() {
    const { videoWidth, videoHeight } = this.video;
    this.thawing = false;
    if (!this.wanted || videoWidth === 0 || this.video.readyState < HTMLMediaElement.HAVE_CURRENT_DATA) return;
    this.still.width = videoWidth;
    this.still.height = videoHeight;
    this.still.getContext('2d')?.drawImage(this.video, 0, 0);
    this.still.hidden = false;
  }

  /** Shows the stream again as soon as it has a new frame. */
  #thaw() {
    this.thawing = true;
    const clear = () => {
      if (!this.thawing) return;
      this.thawing = false;
      this.still.hidden = true;
    };
    if ('requestVideoFrameCallback' in this.video) this.video.requestVideoFrameCallback(clear);
    else setTimeout(clear, 500);
  }

  #showPicture() {
    const live = this.wanted && this.video.srcObject !== null && this.video.videoWidth > 0;
    setAttribute(this.root, 'data-picture', live);
    if (!this.wanted) this.still.hidden = true;
  }

  /** @param {Person['quality']} quality */
  #renderQuality(quality) {
    const words = QUALITY_WORDS[quality];
    this.quality.hidden = words === '';
    setAttribute(this.quality, 'data-quality', quality);
    setAttribute(this.quality, 'aria-label', words);
    setAttribute(this.quality, 'title', words);
  }
}

/**
 * @param {Person} person
 * @param {boolean} screen
 * @returns {string}
 */
function suffixOf(person, screen) {
  if (screen) return person.me ? '(your screen)' : '(screen)';
  return person.me ? '(you)' : '';
}

/**
 * @param {Person} person
 * @param {boolean} screen
 * @returns {string} what a screen reader says for the whole tile
 */
function describe(person, screen) {
  if (screen) return person.me ? 'Your shared screen' : `Screen shared by ${person.name}`;
  const parts = [person.me ? `${person.name}, you` : person.name];
  if (!person.audioOn) parts.push('microphone off');
  if (!person.videoOn) parts.push('camera off');
  if (!person.me && person.condition !== 'fine') parts.push(conditionWords(person.condition).replace('…', ''));
  return parts.join(', ');
}
