// The three choices of device, as they stand in the prejoin page and in the settings dialog.

import { el, need } from './dom.js';
import { recall, remember } from './preferences.js';

/** @typedef {import('./media.js').LocalMedia} LocalMedia */

/**
 * @returns {boolean} whether this browser can send sound to a chosen device
 */
export function canChooseSpeaker() {
  return 'setSinkId' in HTMLMediaElement.prototype;
}

/** Keeps the selects for camera, microphone and speaker in step with the devices that are there. */
export class DeviceChoice {
  /**
   * @param {ParentNode} root holds selects with the names `camera`, `microphone` and `speaker`
   * @param {LocalMedia} media
   * @param {(deviceId: string) => void} onSpeaker
   */
  constructor(root, media, onSpeaker) {
    this.media = media;
    this.camera = need('select[name=camera]', HTMLSelectElement, root);
    this.microphone = need('select[name=microphone]', HTMLSelectElement, root);
    this.speaker = need('select[name=speaker]', HTMLSelectElement, root);
    this.camera.addEventListener('change', () => void media.choose('video', this.camera.value));
    this.microphone.addEventListener('change', () => void media.choose('audio', this.microphone.value));
    this.speaker.addEventListener('change', () => {
      remember('speaker', this.speaker.value);
      onSpeaker(this.speaker.value);
    });
    const speakerField = this.speaker.closest('.field');
    if (speakerField instanceof HTMLElement) speakerField.hidden = !canChooseSpeaker();
    media.addEventListener('change', () => void this.refresh());
    navigator.mediaDevices?.addEventListener('devicechange', () => void this.refresh());
  }

  /** Lists the devices again. Their names are known only after the person has allowed one. */
  async refresh() {
    const devices = await listDevices();
    const { audio, video } = this.media.tracks;
    fill(this.camera, ofKind(devices, 'videoinput'), video?.getSettings().deviceId ?? recall('camera'), 'Camera');
    fill(this.microphone, ofKind(devices, 'audioinput'), audio?.getSettings().deviceId ?? recall('microphone'), 'Microphone');
    fill(this.speaker, ofKind(devices, 'audiooutput'), recall('speaker'), 'Speaker');
  }
}

/**
 * @returns {Promise<MediaDeviceInfo[]>}
 */
async function listDevices() {
  try {
    return (await navigator.mediaDevices?.enumerateDevices()) ?? [];
  } catch {
    return [];
  }
}

/**
 * @param {MediaDeviceInfo[]} devices
 * @param {MediaDeviceKind} kind
 * @returns {MediaDeviceInfo[]}
 */
function ofKind(devices, kind) {
  return devices.filter((device) => device.kind === kind);
}

/**
 * @param {HTMLSelectElement} select
 * @param {MediaDeviceInfo[]} devices
 * @param {string} chosen
 * @param {string} what
 */
function fill(select, devices, chosen, what) {
  const choices = devices.map((device, position) => ({
    value: device.deviceId,
    label: device.label || (devices.length === 1 ? `${what} of this device` : `${what} ${position + 1}`),
  }));
  if (choices.length === 0) choices.push({ value: '', label: navigator.mediaDevices ? `No ${what.toLowerCase()} found` : 'Not available here' });
  select.disabled = devices.length === 0;
  const shown = [...select.options].map((option) => `${option.value}\n${option.text}`).join('\n');
  const wanted = choices.map((choice) => `${choice.value}\n${choice.label}`).join('\n');
  // An open list would close if its entries were replaced by the same ones.
  if (shown !== wanted) select.replaceChildren(...choices.map(({ value, label }) => el('option', { value }, label)));
  if (choices.some((choice) => choice.value === chosen)) select.value = chosen;
}
