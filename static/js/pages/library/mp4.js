// A recording that is no MP4, as one: the node makes it when it is first asked for, and the page waits for it.

import { ask } from '../api.js';
import { el, icon, setText } from '../dom.js';

/** @typedef {import('../playback.js').Recording} Recording */

const WORDS = 'Download as MP4';
/** When it is asked again, where the node does not say. */
const AGAIN_MS = 2000;

/**
 * The button, and how far it is once it was pressed. There is nothing to press where the recording is an MP4.
 *
 * @param {Recording} recording
 * @param {(error: unknown) => void} failed
 * @returns {HTMLElement[]}
 */
export function mp4Act({ downloadUrl = '' }, failed) {
  const name = downloadUrl.split('/').pop() ?? '';
  if (name === '' || name.endsWith('.mp4')) return [];
  const words = el('span', {}, WORDS);
  const bar = el('progress', { class: 'progress', max: 100, 'aria-label': 'How far the MP4 is', hidden: true });
  const button = el('button', { type: 'button', class: 'button', 'data-act': 'mp4', onclick: () => void press() }, icon('download'), words);
  const press = async () => {
    button.disabled = true;
    try {
      // Whoever closes the dialog waits no longer; the node goes on, and has it ready the next time.
      const isThere = await made(name, () => button.isConnected, (percent) => {
        setText(words, `Making the MP4… ${percent} %`);
        bar.value = percent;
        bar.hidden = false;
      });
      if (isThere) el('a', { href: link(name), download: true }).click();
    } catch (error) {
      failed(error);
    }
    setText(words, WORDS);
    bar.hidden = true;
    button.disabled = false;
  };
  return [button, bar];
}

/** @param {string} name */
const link = (name) => `/recordings/download/${encodeURIComponent(name)}?format=mp4`;

/**
 * @param {string} name
 * @param {() => boolean} wanted
 * @param {(percent: number) => void} tell
 * @returns {Promise<boolean>} whether it is there; false: nobody waits any more
 */
async function made(name, wanted, tell) {
  while (wanted()) {
    // One byte, and no step into a bucket: all of it comes with the download.
    const response = await ask(link(name), { headers: { Range: 'bytes=0-0' }, redirect: 'manual' });
    if (response.status !== 202) {
      void response.body?.cancel();
      return true;
    }
    const { percent } = await response.json();
    tell(percent);
    const seconds = Number(response.headers.get('Retry-After'));
    await new Promise((resolve) => setTimeout(resolve, seconds > 0 ? seconds * 1000 : AGAIN_MS));
  }
  return false;
}
