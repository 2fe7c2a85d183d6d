// The dialogs of the room page: a question with two answers, the devices, and the help.

import { need, setText } from './dom.js';
import { DeviceChoice } from './devices.js';
import { LevelMeter } from './level.js';
import { recall, remember } from './preferences.js';

/** @typedef {import('./media.js').LocalMedia} LocalMedia */

/**
 * Asks before something that cannot be undone.
 *
 * @param {HTMLDialogElement} dialog
 * @param {{ title: string, text: string, yes: string, harmless?: boolean }} question harmless: nothing is lost by it
 * @returns {Promise<boolean>}
 */
export function confirm(dialog, { title, text, yes, harmless = false }) {
  setText(need('h2', HTMLElement, dialog), title);
  setText(need('p', HTMLElement, dialog), text);
  const agree = need('button[value=yes]', HTMLElement, dialog);
  setText(agree, yes);
  agree.classList.toggle('danger', !harmless);
  agree.classList.toggle('primary', harmless);
  dialog.returnValue = 'no';
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener('close', () => resolve(dialog.returnValue === 'yes'), { once: true });
  });
}

/** The choice of devices during a call. */
export class Settings {
  /**
   * @param {HTMLDialogElement} dialog
   * @param {LocalMedia} media
   * @param {(deviceId: string) => void} onSpeaker
   */
  constructor(dialog, media, onSpeaker) {
    this.dialog = dialog;
    this.media = media;
    this.choice = new DeviceChoice(dialog, media, onSpeaker);
    this.preview = need('video', HTMLVideoElement, dialog);
    this.off = need('[data-part=camera-off]', HTMLElement, dialog);
    const bar = need('.level', HTMLElement, dialog);
    this.meter = new LevelMeter((level) => bar.style.setProperty('--level', level.toFixed(2)));
    closeByBackdrop(dialog);
    dialog.addEventListener('close', () => this.#closed());
    media.addEventListener('change', () => this.#render());
  }

  /** Opens the dialog. */
  show() {
    this.dialog.showModal();
    void this.choice.refresh();
    this.#render();
  }

  #render() {
    if (!this.dialog.open) return;
    const track = this.media.cameraOn ? this.media.tracks.video : null;
    const shown = /** @type {MediaStream | null} */ (this.preview.srcObject)?.getVideoTracks()[0] ?? null;
    if (shown !== track) this.preview.srcObject = track ? new MediaStream([track]) : null;
    this.preview.hidden = !track;
    this.off.hidden = Boolean(track);
    this.preview.toggleAttribute('data-mirrored', track?.getSettings().facingMode !== 'environment');
    this.meter.watch(this.media.tracks.audio);
  }

  #closed() {
    this.meter.stop();
    this.preview.srcObject = null;
  }
}

/**
 * Prepares the help dialog with its switch for keyboard shortcuts.
 *
 * @param {HTMLDialogElement} dialog
 * @param {(on: boolean) => void} changed
 * @returns {{ show: () => void, shortcutsOn: boolean }}
 */
export function prepareHelp(dialog, changed) {
  const box = need('input[name=shortcuts]', HTMLInputElement, dialog);
  box.checked = recall('shortcuts') !== 'off';
  box.addEventListener('change', () => {
    remember('shortcuts', box.checked ? '' : 'off');
    changed(box.checked);
  });
  closeByBackdrop(dialog);
  return { show: () => dialog.showModal(), shortcutsOn: box.checked };
}

/**
 * A click beside a dialog closes it.
 *
 * @param {HTMLDialogElement} dialog
 */
function closeByBackdrop(dialog) {
  dialog.addEventListener('click', (event) => {
    if (event.target === dialog) dialog.close();
  });
}
