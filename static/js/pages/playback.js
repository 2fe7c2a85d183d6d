// A finished recording on a page: the player, its facts, and what is missing from it.

import { el, icon } from './dom.js';
import { clock, size, spoken, when } from './figures.js';

/**
 * What pages know of a recording; as the node lists it.
 *
 * @typedef {object} Recording
 * @property {string} recordId
 * @property {'recording' | 'finalising' | 'ready' | 'failed'} state
 * @property {string} [title]
 * @property {string} [roomName]
 * @property {string} [startedAt] RFC 3339
 * @property {number} [durationMs]
 * @property {number} [sizeBytes]
 * @property {string} [mimeType]
 * @property {boolean} [complete]
 * @property {{ fromMs: number, toMs: number, chunks?: number[] }[]} [gaps]
 * @property {{ code: string, message: string } | null} [error]
 * @property {string} [downloadUrl]
 * @property {string} [posterUrl]
 * @property {number} [percent]
 */

/** Long lists of gaps are cut here. */
const GAPS_MAX = 12;

/**
 * How a recording is called.
 *
 * @param {Recording} recording
 * @returns {string}
 */
export function titleOf({ title, roomName }) {
  const given = (title ?? '').trim();
  if (given !== '') return given;
  return roomName ? `Call in ${roomName}` : 'Untitled recording';
}

/**
 * The address that shows this recording in the library.
 *
 * @param {string} recordId
 * @returns {string}
 */
export function recordingLink(recordId) {
  return new URL(`/library?recording=${encodeURIComponent(recordId)}`, location.origin).href;
}

/**
 * Builds the player.
 *
 * @param {Recording} recording
 * @returns {HTMLElement}
 */
export function player(recording) {
  const sound = recording.mimeType?.startsWith('audio/') === true;
  const source = { src: recording.downloadUrl, controls: true, preload: 'metadata', 'aria-label': titleOf(recording) };
  const media = sound ? el('audio', source) : el('video', { ...source, playsinline: true, poster: recording.posterUrl ?? null });
  const broken = el('p', { class: 'field-error', role: 'alert', hidden: true }, 'This browser cannot play the recording. Download it and open it in another player.');
  media.addEventListener('error', () => (broken.hidden = false));
  return el(
    'div',
    { class: 'player' },
    el('div', { class: 'player-picture', 'data-kind': sound ? 'audio' : 'video' }, sound && icon('wave'), media),
    broken,
    facts(recording),
    gapNote(recording, (ms) => {
      media.currentTime = Math.max(0, ms / 1000 - 2);
      void media.play().catch(() => {});
    }),
  );
}

/**
 * @param {Recording} recording
 * @returns {HTMLElement}
 */
export function facts({ durationMs, sizeBytes, mimeType, roomName, startedAt }) {
  const rows = [
    ['Length', durationMs ? clock(durationMs) : ''],
    ['Size', sizeBytes ? size(sizeBytes) : ''],
    ['Format', formatName(mimeType)],
    ['Room', roomName ?? ''],
    ['Recorded', startedAt ? when(new Date(startedAt)) : ''],
  ];
  return el('dl', { class: 'facts' }, ...rows.filter(([, value]) => value !== '').map(([name, value]) => el('div', {}, el('dt', {}, name), el('dd', {}, value))));
}

/**
 * What is missing, in words.
 *
 * @param {Recording} recording
 * @param {(ms: number) => void} jump plays a little before that moment
 * @returns {HTMLElement | null} null where nothing is
 */
function gapNote({ complete, gaps = [] }, jump) {
  if (complete !== false && gaps.length === 0) return null;
  const lines = gaps.slice(0, GAPS_MAX).map(({ fromMs, toMs }) =>
    el('li', {}, el('button', { type: 'button', class: 'link', onclick: () => jump(fromMs) }, `${spoken(Math.max(1000, toMs - fromMs))} missing from ${clock(fromMs)} to ${clock(toMs)}`)),
  );
  const more = gaps.length - lines.length;
  return el(
    'div',
    { class: 'note', 'data-tone': 'warning' },
    icon('alert'),
    el(
      'div',
      {},
      el('h2', {}, 'Something is missing'),
      el('p', {}, gaps.length === 0 ? 'Some pieces never reached the server. The rest is here, in order.' : 'Some pieces never reached the server. The rest is here, in order; if the browser that recorded it comes back, it can send them.'),
      lines.length > 0 && el('ul', { class: 'gap-list' }, ...lines),
      more > 0 && el('p', {}, `And ${more} more places.`),
    ),
  );
}

/**
 * @param {string | undefined} mimeType
 * @returns {string} such as `WebM video`
 */
function formatName(mimeType = '') {
  const [kind = '', rest = ''] = mimeType.split('/');
  const family = rest.split(';')[0] ?? '';
  const names = /** @type {Record<string, string>} */ ({ webm: 'WebM', mp4: 'MP4', 'x-matroska': 'Matroska' });
  return names[family] ? `${names[family]} ${kind === 'audio' ? 'sound' : 'video'}` : '';
}
