// What the library says about a recording and about what went wrong.

import { clock, size, spoken, when } from '../figures.js';

/** @typedef {import('../playback.js').Recording} Recording */

/**
 * Whether it will change by itself.
 *
 * @param {Recording} recording
 * @returns {boolean}
 */
export function isLive({ state }) {
  return state === 'recording' || state === 'finalising';
}

/**
 * One line below the title.
 *
 * @param {Recording} recording
 * @returns {string}
 */
export function factsLine({ roomName, startedAt, sizeBytes, state }) {
  const parts = [startedAt ? when(new Date(startedAt)) : '', roomName ? `Room ${roomName}` : '', state === 'ready' && sizeBytes ? size(sizeBytes) : ''];
  return parts.filter((part) => part !== '').join(' · ');
}

/**
 * What is special about its state.
 *
 * @param {Recording} recording
 * @returns {{ tone: '' | 'info' | 'warning' | 'danger', badge: string, note: string }}
 */
export function stateWords({ state, complete, gaps = [], percent, error }) {
  switch (state) {
    case 'recording':
      return { tone: 'info', badge: 'Recording now', note: '' };
    case 'finalising':
      return { tone: 'info', badge: percent ? `Being put together, ${Math.round(percent)} %` : 'Being put together', note: '' };
    case 'failed':
      return { tone: 'danger', badge: 'Failed', note: failureWords(error) };
    default:
      return complete === false ? { tone: 'warning', badge: 'Not whole', note: missingWords(gaps) } : { tone: '', badge: '', note: '' };
  }
}

/** @type {Record<string, string>} */
const FAILURES = {
  merge_failed: 'The pieces are all there, but could not be put together.',
  merging_unavailable: 'The pieces are kept, but ffmpeg is not installed on the server.',
  empty_recording: 'Nothing was recorded.',
  chunks_lost: 'The pieces were saved, but are no longer there.',
  storage_full: 'The server’s disk was full.',
  storage_failed: 'The server could not write to its disk.',
};

/**
 * @param {Recording['error']} error
 * @returns {string}
 */
export function failureWords(error) {
  if (!error) return 'The server did not say why.';
  return FAILURES[error.code] ?? sentence(error.message || error.code);
}

/** @type {Record<string, string>} */
const REFUSALS = {
  unreachable: 'The server cannot be reached. Check your network.',
  export_failed: 'It could not be made. Download the recording as it is, or try again in a while.',
  merging_unavailable: 'ffmpeg is not installed on the server.',
  storage_full: 'The server’s disk is nearly full.',
  recording_active: 'It is being recorded right now. Stop it first, then delete it.',
  recording_unknown: 'It does not exist any more.',
  not_found: 'This server does not keep recordings.',
  unauthorised: 'You may not do that.',
  forbidden: 'You may not do that.',
};

/**
 * Why the node could not do something.
 *
 * @param {unknown} error
 * @returns {string}
 */
export function refusalWords(error) {
  const code = error instanceof Error && 'code' in error ? String(error.code) : '';
  return REFUSALS[code] ?? (error instanceof Error && error.message ? sentence(error.message) : 'Try again in a moment.');
}

/**
 * What was done with one segment.
 *
 * @param {{ segment: number, did: string, detail?: string }} step
 * @returns {string}
 */
export function workWords({ segment, did, detail }) {
  const what = /** @type {Record<string, string>} */ ({ copied: 'kept as it was recorded', 're-encoded': 'encoded again to fit the rest', filled: 'filled in where it had nothing' })[did] ?? did;
  return `Part ${segment + 1}: ${what}${detail ? ` (${detail})` : ''}.`;
}

/**
 * @param {{ fromMs: number, toMs: number }[]} gaps
 * @returns {string}
 */
function missingWords(gaps) {
  const [only] = gaps;
  if (!only) return 'Something at the end is missing.';
  if (gaps.length === 1) return `${spoken(Math.max(1000, only.toMs - only.fromMs))} missing from ${clock(only.fromMs)}.`;
  const sum = gaps.reduce((total, { fromMs, toMs }) => total + Math.max(0, toMs - fromMs), 0);
  return `${spoken(Math.max(1000, sum))} missing in ${gaps.length} places.`;
}

/**
 * @param {string} text
 * @returns {string}
 */
function sentence(text) {
  const upper = text[0]?.toUpperCase() + text.slice(1);
  return /[.!?…]$/.test(upper) ? upper : `${upper}.`;
}
