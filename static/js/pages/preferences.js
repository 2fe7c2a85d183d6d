// What this browser (or this tab) remembers for a person. Storage may be switched off: then nothing is
// remembered and everything still works.

const PREFIX = 'greenroom.';

/** @typedef {'name' | 'camera' | 'microphone' | 'speaker' | 'shortcuts' | 'owner' | 'record-sources' | 'record-corner' | 'record-format' | 'record-quality'} BrowserKey */

/**
 * Reads what this browser remembers.
 *
 * @param {BrowserKey} key
 * @returns {string} empty where nothing is remembered
 */
export function recall(key) {
  return read(() => localStorage, key);
}

/**
 * Remembers in this browser; an empty value forgets.
 *
 * @param {BrowserKey} key
 * @param {string} value
 */
export function remember(key, value) {
  write(() => localStorage, key, value);
}

/**
 * Reads what this tab remembers: it outlives a reload and ends with the tab.
 *
 * @param {string} key
 * @returns {string}
 */
export function recallInTab(key) {
  return read(() => sessionStorage, key);
}

/**
 * Remembers in this tab; an empty value forgets.
 *
 * @param {string} key
 * @param {string} value
 */
export function rememberInTab(key, value) {
  write(() => sessionStorage, key, value);
}

/**
 * @param {() => Storage} storage
 * @param {string} key
 * @returns {string}
 */
function read(storage, key) {
  try {
    return storage().getItem(PREFIX + key) ?? '';
  } catch {
    return '';
  }
}

/**
 * @param {() => Storage} storage
 * @param {string} key
 * @param {string} value
 */
function write(storage, key, value) {
  try {
    if (value === '') storage().removeItem(PREFIX + key);
    else storage().setItem(PREFIX + key, value);
  } catch {
    // Storage is full or switched off; the page goes on without it.
  }
}
