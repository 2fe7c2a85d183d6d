// The three switches: screen, camera, microphone; and what is wrong with one of them.

import { el, icon, need, setAttribute, setIcon, setText } from '../dom.js';
import { recall, remember } from '../preferences.js';
import { permissionState, presentKinds } from '../asking.js';
import { CORNERS } from './drawing.js';
import { SCREEN_FAILED, explainDevice } from './words.js';

/** @typedef {import('./scene.js').Scene} Scene */
/** @typedef {import('../asking.js').MediaKind} MediaKind */
/** @typedef {'screen' | 'camera' | 'microphone'} Source */

const KIND = /** @type {const} */ ({ camera: 'video', microphone: 'audio' });

/** Turns sources on and off, before and during a recording. */
export class Sources {
  /**
   * @param {HTMLElement} page
   * @param {Scene} scene
   * @param {(text: string) => void} complain
   */
  constructor(page, scene, complain) {
    this.scene = scene;
    this.media = scene.media;
    this.complain = complain;
    /** What the person has switched by hand on this visit. @type {Set<Source>} */
    this.touched = new Set();
    const button = (/** @type {Source} */ source) => need(`[data-source=${source}]`, HTMLButtonElement, page);
    this.buttons = { screen: button('screen'), camera: button('camera'), microphone: button('microphone') };
    this.another = need('.another', HTMLButtonElement, page);
    this.corners = need('[data-part=corners]', HTMLFieldSetElement, page);
    this.notes = need('[data-part=problems]', HTMLElement, page);
    this.#listen();
  }

  /** Opens what was on the last time, where the browser does not have to ask for it. */
  async restore() {
    this.touched.clear();
    const wanted = recall('record-sources') === '' ? ['microphone'] : recall('record-sources').split(' ');
    const present = await presentKinds();
    for (const source of /** @type {const} */ (['microphone', 'camera'])) {
      const kind = KIND[source];
      if (this.touched.has(source)) continue;
      if (wanted.includes(source) && present[kind] && (await permissionState(kind)) === 'granted') await this.media.set(kind, true);
    }
  }

  /**
   * Opens what a recording had that goes on after a reload.
   *
   * @param {string[]} wanted
   * @returns {Promise<boolean>} false where the person closed the question for the screen
   */
  async reopen(wanted) {
    // The screen first: the browser takes its question only right after a press.
    if (wanted.includes('screen') && !this.media.screen && !(await this.shareScreen())) return false;
    for (const source of /** @type {const} */ (['microphone', 'camera'])) {
      if (wanted.includes(source)) await this.media.set(KIND[source], true);
    }
    return true;
  }

  /** @returns {Source[]} what is on */
  on() {
    const { media } = this;
    const all = { screen: media.screen !== null, camera: media.cameraOn, microphone: media.micOn };
    return /** @type {Source[]} */ (Object.keys(all)).filter((source) => all[source]);
  }

  /** Shows the switches as things are. */
  render() {
    const { media, scene } = this;
    const on = this.on();
    for (const source of /** @type {Source[]} */ (Object.keys(this.buttons))) this.#renderButton(source, on.includes(source));
    // The only thing that is recorded cannot be switched off; that is what Stop is for.
    if (scene.held && on.length === 1 && on[0]) this.buttons[on[0]].disabled = true;
    this.another.hidden = media.screen === null;
    this.corners.hidden = media.screen === null || !media.cameraOn;
    this.#renderProblems();
  }

  /** @returns {Promise<boolean>} whether a screen is shared now */
  async shareScreen() {
    const { media } = this;
    if (!media.canShareScreen) {
      this.complain(navigator.mediaDevices ? 'This browser cannot record a screen. Use a computer, or record the camera.' : explainDevice('video', 'insecure').text);
      return false;
    }
    const outcome = await media.shareScreen();
    if (outcome === 'failed') this.complain(SCREEN_FAILED);
    return outcome === 'shared';
  }

  #listen() {
    const { media, scene } = this;
    this.buttons.screen.addEventListener('click', () => {
      if (media.screen) media.stopScreen();
      else void this.shareScreen();
    });
    this.another.addEventListener('click', () => void this.shareScreen());
    for (const source of /** @type {const} */ (['camera', 'microphone'])) {
      this.buttons[source].addEventListener('click', () => void this.#toggle(source));
    }
    const recalled = CORNERS.find((corner) => corner === recall('record-corner'));
    if (recalled) scene.corner = recalled;
    for (const input of this.corners.querySelectorAll('input')) {
      input.checked = input.value === scene.corner;
      input.addEventListener('change', () => {
        scene.corner = CORNERS.find((corner) => corner === input.value) ?? scene.corner;
        remember('record-corner', scene.corner);
      });
    }
  }

  /** @param {'camera' | 'microphone'} source */
  async #toggle(source) {
    this.touched.add(source);
    await this.media.set(KIND[source], !this.on().includes(source));
    const kept = this.on().filter((on) => on !== 'screen');
    remember('record-sources', kept.length === 0 ? 'none' : kept.join(' '));
  }

  /**
   * @param {Source} source
   * @param {boolean} on
   */
  #renderButton(source, on) {
    const button = this.buttons[source];
    const problem = source === 'screen' ? null : this.media.problems[KIND[source]];
    setAttribute(button, 'aria-pressed', on ? 'true' : 'false');
    setAttribute(button, 'data-problem', problem !== null);
    button.disabled = source === 'screen' && !this.media.canShareScreen && navigator.mediaDevices !== undefined;
    if (source !== 'screen') setIcon(button, `${source === 'microphone' ? 'mic' : 'camera'}${on || problem === null ? '' : '-off'}`);
    setText(need('small', HTMLElement, button), this.#state(source, on, problem !== null));
  }

  /**
   * @param {Source} source
   * @param {boolean} on
   * @param {boolean} problem
   * @returns {string}
   */
  #state(source, on, problem) {
    if (problem) return 'Not available';
    if (source !== 'screen') return on ? 'On' : 'Off';
    if (!on) return this.media.canShareScreen ? 'Window or tab' : 'Not on this device';
    return this.media.screenAudio ? 'On, with sound' : 'On';
  }

  #renderProblems() {
    const { problems } = this.media;
    const kinds = /** @type {MediaKind[]} */ (['video', 'audio']).filter((kind) => problems[kind] !== null);
    const key = kinds.map((kind) => `${kind} ${problems[kind]}`).join();
    if (this.notes.dataset.key === key) return;
    this.notes.dataset.key = key;
    this.notes.replaceChildren(...kinds.map((kind) => this.#note(kind)));
  }

  /**
   * @param {MediaKind} kind
   * @returns {HTMLElement}
   */
  #note(kind) {
    const { title, text, retry } = explainDevice(kind, this.media.problems[kind] ?? 'failed');
    return el(
      'div',
      { class: 'note', 'data-tone': 'warning' },
      icon(kind === 'video' ? 'camera-off' : 'mic-off'),
      el('div', {}, el('h2', {}, title), el('p', {}, text)),
      retry && el('button', { type: 'button', class: 'button small', onclick: () => void this.media.set(kind, true) }, 'Try again'),
    );
  }
}
