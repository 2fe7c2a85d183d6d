// The choices under "Advanced": the format, of those that this browser can record, and the quality.

import { supported } from '../../index.js';
import { el } from '../dom.js';
import { recall, remember } from '../preferences.js';

/**
 * @typedef {object} Quality
 * @property {string} name
 * @property {string} label
 * @property {number} videoBitsPerSecond
 * @property {number} audioBitsPerSecond
 * @property {{ width: number, height: number }} most the largest picture that is drawn here. Unit: pixels.
 * @property {number} framesPerSecond of a shared screen, at most
 */

/** @type {readonly [Quality, ...Quality[]]} */
const QUALITIES = [
  { name: 'standard', label: 'Standard (about 19 MB a minute)', videoBitsPerSecond: 2_500_000, audioBitsPerSecond: 128_000, most: { width: 1280, height: 720 }, framesPerSecond: 30 },
  { name: 'high', label: 'High (about 46 MB a minute)', videoBitsPerSecond: 6_000_000, audioBitsPerSecond: 160_000, most: { width: 1920, height: 1080 }, framesPerSecond: 30 },
  { name: 'small', label: 'Small files (about 7 MB a minute)', videoBitsPerSecond: 900_000, audioBitsPerSecond: 64_000, most: { width: 960, height: 540 }, framesPerSecond: 15 },
];

/** Keeps the two selects. */
export class Formats {
  /**
   * @param {HTMLSelectElement} format
   * @param {HTMLSelectElement} quality
   */
  constructor(format, quality) {
    this.format = format;
    this.qualitySelect = quality;
    const formats = supported();
    format.replaceChildren(
      el('option', { value: '' }, formats[0] ? `Automatic: ${formats[0].label}` : 'Automatic'),
      ...formats.map(({ mimeType, label }) => el('option', { value: mimeType }, label)),
    );
    quality.replaceChildren(...QUALITIES.map(({ name, label }) => el('option', { value: name }, label)));
    choose(format, recall('record-format'));
    choose(quality, recall('record-quality'));
    format.addEventListener('change', () => remember('record-format', format.value));
    quality.addEventListener('change', () => remember('record-quality', quality.value));
  }

  /** @returns {string | undefined} undefined where the recorder may choose */
  get mimeType() {
    return this.format.value === '' ? undefined : this.format.value;
  }

  /** @returns {Quality} */
  get quality() {
    return QUALITIES.find(({ name }) => name === this.qualitySelect.value) ?? QUALITIES[0];
  }
}

/**
 * @param {HTMLSelectElement} select
 * @param {string} value
 */
function choose(select, value) {
  if ([...select.options].some((option) => option.value === value)) select.value = value;
}
