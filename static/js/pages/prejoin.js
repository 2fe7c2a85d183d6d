// The way into every room: a name, a look at oneself, the devices, and what is wrong with them if anything is.

import { el, icon, need, setAttribute, setIcon, setText } from './dom.js';
import { DeviceChoice } from './devices.js';
import { LevelMeter } from './level.js';
import { NAME_CHARS_MAX, initialsOf, shownName, toneOf } from './names.js';
import { recall, remember } from './preferences.js';
import { explainDevices } from './words.js';

/** @typedef {import('./media.js').LocalMedia} LocalMedia */
/** @typedef {{ name: string, takeOver: boolean }} Choice */

/** The page before the call. One is made for the life of the document; it may be shown again. */
export class Prejoin {
  /**
   * @param {HTMLElement} screen
   * @param {string} room
   * @param {LocalMedia} media
   * @param {(deviceId: string) => void} onSpeaker
   */
  constructor(screen, room, media, onSpeaker) {
    this.screen = screen;
    this.media = media;
    this.form = need('form', HTMLFormElement, screen);
    this.name = need('input[name=name]', HTMLInputElement, screen);
    this.nameError = need('#name-error', HTMLElement, screen);
    this.preview = need('video', HTMLVideoElement, screen);
    this.avatar = need('.avatar', HTMLElement, screen);
    this.status = need('[data-part=status]', HTMLElement, screen);
    this.notes = need('[data-part=problems]', HTMLElement, screen);
    this.elsewhere = need('[data-part=elsewhere]', HTMLElement, screen);
    this.join = need('button[type=submit]', HTMLButtonElement, screen);
    this.mic = need('button[data-toggle=audio]', HTMLButtonElement, screen);
    this.camera = need('button[data-toggle=video]', HTMLButtonElement, screen);
    const bar = need('.level', HTMLElement, screen);
    this.meter = new LevelMeter((level) => bar.style.setProperty('--level', level.toFixed(2)));
    this.devices = new DeviceChoice(screen, media, onSpeaker);
    setText(need('[data-part=room]', HTMLElement, screen), room);
    const wide = matchMedia('(min-width: 860px)');
    this.fold = need('details', HTMLDetailsElement, screen);
    this.fold.open = wide.matches;
    wide.addEventListener('change', () => (this.fold.open = wide.matches));
    this.name.maxLength = NAME_CHARS_MAX;
    this.name.value = recall('name');
    this.#listen();
  }

  /**
   * Shows the page and waits until the person joins.
   *
   * @param {Promise<boolean>} openElsewhere whether another tab of this browser is in the call
   * @returns {Promise<Choice>}
   */
  show(openElsewhere) {
    this.elsewhere.hidden = true;
    this.#busy(false);
    void openElsewhere.then((open) => this.#offerTakeOver(open));
    this.render();
    void this.devices.refresh();
    (this.name.value.trim() === '' ? this.name : this.join).focus();
    return new Promise((resolve) => {
      this.resolve = resolve;
    });
  }

  /** Shows that the node is being asked. */
  waiting() {
    this.#busy(true);
  }

  /** Stops what runs only while this page is seen. */
  leave() {
    this.meter.stop();
    this.preview.srcObject = null;
  }

  /** Shows the devices as they are now. */
  render() {
    if (this.screen.hidden) return;
    const { media } = this;
    this.#renderPicture();
    this.meter.watch(media.micOn ? media.tracks.audio : null);
    toggle(this.mic, media.micOn, 'mic', media.problems.audio !== null);
    toggle(this.camera, media.cameraOn, 'camera', media.problems.video !== null);
    this.#renderProblems();
  }

  #listen() {
    this.form.addEventListener('submit', (event) => {
      event.preventDefault();
      this.#submit(!this.elsewhere.hidden);
    });
    need('[data-act=another]', HTMLButtonElement, this.elsewhere).addEventListener('click', () => this.#submit(false));
    this.name.addEventListener('input', () => {
      this.nameError.hidden = true;
      setAttribute(this.name, 'aria-invalid', null);
      this.#renderPicture();
    });
    this.media.addEventListener('change', () => this.render());
    for (const [button, kind] of /** @type {const} */ ([[this.mic, 'audio'], [this.camera, 'video']])) {
      button.addEventListener('click', () => {
        void this.media.set(kind, !(kind === 'audio' ? this.media.micOn : this.media.cameraOn));
      });
    }
  }

  /** @param {boolean} takeOver */
  #submit(takeOver) {
    const name = this.name.value.trim();
    if (name === '') {
      this.nameError.hidden = false;
      setAttribute(this.name, 'aria-invalid', 'true');
      this.name.focus();
      return;
    }
    remember('name', name);
    this.resolve?.({ name, takeOver });
  }

  /** @param {boolean} open */
  #offerTakeOver(open) {
    this.elsewhere.hidden = !open;
    if (open) this.fold.open = false;
    setText(this.join, open ? 'Move the call here' : 'Join');
  }

  /** @param {boolean} waiting */
  #busy(waiting) {
    this.join.disabled = waiting;
    setAttribute(this.join, 'aria-busy', waiting ? 'true' : null);
    setText(this.join, waiting ? 'Joining…' : this.elsewhere.hidden ? 'Join' : 'Move the call here');
  }

  #renderPicture() {
    const track = this.media.cameraOn ? this.media.tracks.video : null;
    const shown = /** @type {MediaStream | null} */ (this.preview.srcObject)?.getVideoTracks()[0] ?? null;
    if (shown !== track) this.preview.srcObject = track ? new MediaStream([track]) : null;
    this.preview.hidden = !track;
    setAttribute(this.preview, 'data-mirrored', track?.getSettings().facingMode !== 'environment');
    this.avatar.hidden = Boolean(track);
    setText(this.avatar, this.name.value.trim() === '' ? '?' : initialsOf(this.name.value));
    this.avatar.dataset.tone = String(toneOf(shownName(this.name.value)));
    const { asking, wanted } = this.media;
    const text = asking ? 'Your browser asks for camera and microphone: choose Allow.' : track ? '' : wanted.video ? '' : 'Your camera is off';
    setText(this.status, text);
    this.status.hidden = text === '';
  }

  #renderProblems() {
    const explained = explainDevices(this.media.problems);
    const key = explained.map(({ title }) => title).join('\n');
    if (this.notes.dataset.key === key) return;
    this.notes.dataset.key = key;
    this.notes.replaceChildren(
      ...explained.map(({ title, text, retry, icon: picture }) =>
        el(
          'div',
          { class: 'note', 'data-tone': 'warning' },
          icon(picture),
          el('div', {}, el('h2', {}, title), el('p', {}, text)),
          retry && el('button', { type: 'button', class: 'button small', onclick: () => void this.media.open() }, 'Try again'),
        ),
      ),
    );
  }
}

/**
 * @param {HTMLButtonElement} button
 * @param {boolean} on
 * @param {string} picture
 * @param {boolean} problem
 */
function toggle(button, on, picture, problem) {
  setAttribute(button, 'aria-pressed', on ? 'true' : 'false');
  setAttribute(button, 'data-problem', problem);
  setIcon(button, on ? picture : `${picture}-off`);
}
