// A recording that is watched while it is recorded.

import { el, icon } from '../dom.js';
import { titleOf } from '../playback.js';
import { LiveFeed } from './livefeed.js';
import { Streamed, canStream } from './streamed.js';

/** @typedef {import('../playback.js').Recording} Recording */
/** @typedef {{ root: HTMLElement, media: HTMLMediaElement, close: () => void }} LivePlayer */

/** So far before the end it begins. Unit: seconds. */
const BEFORE_END_S = 4;
/** Where a file is played that ends so soon, a longer one takes its place. Unit: seconds. */
const NEARLY_OVER_S = 1;

/**
 * @param {Recording} recording
 * @param {HTMLElement} meanwhile is shown until there is something, and where it cannot be watched
 * @returns {LivePlayer}
 */
export function livePlayer(recording, meanwhile) {
  const feed = new LiveFeed(recording.recordId);
  const sound = recording.mimeType?.startsWith('audio/') === true;
  const media = el(sound ? 'audio' : 'video', { controls: true, playsinline: true, 'aria-label': titleOf(recording) });
  const newest = () => {
    media.currentTime = Math.max(0, feed.live.durationMs / 1000 - BEFORE_END_S);
    void media.play().catch(() => {});
  };
  const shown = el(
    'div',
    { class: 'player' },
    el('div', { class: 'player-picture', 'data-kind': sound ? 'audio' : 'video' }, sound && icon('wave'), media),
    el(
      'div',
      { class: 'live-line' },
      el('p', { class: 'live-mark' }, 'Being recorded right now'),
      el('button', { type: 'button', class: 'button small', onclick: newest }, 'Go to the newest'),
    ),
  );
  const root = el('div', {}, meanwhile);
  feed.addEventListener('more', () => {
    if (shown.isConnected || root.contains(shown)) return;
    if (canStream(feed.live.mimeType ?? '')) new Streamed(media, feed);
    else playFiles(media, feed);
    media.addEventListener('loadedmetadata', newest, { once: true });
    root.replaceChildren(shown);
  });
  const close = () => {
    feed.close();
    media.pause();
  };
  return { root, media, close };
}

/**
 * Plays what there is as a file with an end, and a longer one when that is near.
 *
 * @param {HTMLMediaElement} media
 * @param {LiveFeed} feed that has something
 */
function playFiles(media, feed) {
  const { signal } = feed;
  const load = () => {
    const { currentTime, paused } = media;
    media.src = feed.live.fileUrl ?? '';
    media.currentTime = currentTime;
    if (!paused) void media.play().catch(() => {});
  };
  const longer = () => {
    const isOver = media.error !== null || media.duration - media.currentTime < NEARLY_OVER_S;
    if (isOver && media.getAttribute('src') !== feed.live.fileUrl) load();
  };
  for (const event of ['timeupdate', 'ended', 'error']) media.addEventListener(event, longer, { signal });
  feed.addEventListener('more', longer, { signal });
  load();
}
