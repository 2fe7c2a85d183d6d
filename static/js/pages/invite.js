// Lets a person bring others in.

import { el } from './dom.js';
import { inviteLink } from './names.js';

/**
 * Hands the invite link over: on phones through the share sheet, else through the clipboard.
 *
 * @param {string} room
 * @returns {Promise<'shared' | 'copied' | 'cancelled' | 'failed'>}
 */
export async function invite(room) {
  const url = inviteLink(room);
  if (matchMedia('(pointer: coarse)').matches && typeof navigator.share === 'function') {
    try {
      await navigator.share({ title: `Greenroom: ${room}`, text: 'Join the call', url });
      return 'shared';
    } catch (error) {
      if (error instanceof DOMException && error.name === 'AbortError') return 'cancelled';
    }
  }
  return (await copy(url)) ? 'copied' : 'failed';
}

/**
 * Copies text, also where the page has no secure address and so no clipboard of its own.
 *
 * @param {string} text
 * @returns {Promise<boolean>}
 */
export async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return copyBySelection(text);
  }
}

/**
 * @param {string} text
 * @returns {boolean}
 */
function copyBySelection(text) {
  const before = document.activeElement;
  const field = el('textarea', { class: 'visually-hidden', readonly: true, 'aria-hidden': 'true' });
  field.value = text;
  document.body.append(field);
  field.select();
  try {
    return document.execCommand('copy');
  } catch {
    return false;
  } finally {
    field.remove();
    if (before instanceof HTMLElement) before.focus();
  }
}
