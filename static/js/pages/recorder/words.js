// What the recorder says: what happened, and what to do.

import { counted, size } from '../figures.js';

/** @typedef {import('../asking.js').MediaProblem} MediaProblem */
/** @typedef {import('../asking.js').MediaKind} MediaKind */
/** @typedef {import('../../recorder/types.d.ts').Counts} Counts */
/** @typedef {import('../../recorder/types.d.ts').ConnectionState} ConnectionState */

/** @type {Record<MediaKind, string>} */
const DEVICE = { audio: 'microphone', video: 'camera' };

/**
 * Explains why a microphone or a camera cannot be recorded.
 *
 * @param {MediaKind} kind
 * @param {MediaProblem} problem
 * @returns {{ title: string, text: string, retry: boolean }}
 */
export function explainDevice(kind, problem) {
  const what = DEVICE[kind];
  const What = what[0]?.toUpperCase() + what.slice(1);
  switch (problem) {
    case 'insecure':
      return {
        title: `${What} needs a secure address`,
        text: 'Browsers give out cameras, microphones and screens only on https:// addresses or on localhost. Open this page over https://, or ask whoever runs this server to turn it on.',
        retry: false,
      };
    case 'denied':
      return {
        title: `${What} is blocked`,
        text: `Allow it for this page with the ${what} or lock symbol beside the address, then try again. You can also record without it.`,
        retry: true,
      };
    case 'dismissed':
      return {
        title: `${What} not allowed yet`,
        text: 'The browser’s question was closed without an answer. Try again and choose Allow, or record without it.',
        retry: true,
      };
    case 'missing':
      return { title: `No ${what} found`, text: 'Plug one in or switch it on, then try again. You can also record without it.', retry: true };
    case 'busy':
      return { title: `${What} is in use`, text: 'Another program or tab holds it. Close it there and try again, or record without it.', retry: true };
    case 'failed':
      return { title: `${What} did not start`, text: 'The browser gave no reason. Choose another one under Devices, or record without it.', retry: true };
  }
}

/** What a screen that could not be had means. */
export const SCREEN_FAILED = 'The screen could not be shared. Check that the system lets this browser record the screen, then try again.';

/** @typedef {{ screen: boolean, camera: boolean, microphone: boolean }} On */

/**
 * What happens now that the screen is no longer shared.
 *
 * @param {On} on what is still on
 * @returns {string}
 */
export function screenEnded(on) {
  const rest = [on.camera && 'the camera', on.microphone && 'the microphone'].filter((part) => part !== false);
  if (rest.length === 0) return 'You stopped sharing the screen. Nothing was left to record, so the recording ended.';
  return `You stopped sharing the screen; the recording goes on with ${rest.join(' and ')}.`;
}

/**
 * Where the pieces of the recording are, in one sentence.
 *
 * @param {Counts} counts
 * @param {ConnectionState} connection
 * @param {boolean} online
 * @returns {{ tone: 'good' | 'info' | 'warning', text: string }}
 */
export function deliveryWords(counts, connection, online) {
  const { recorded, sent, acked, waiting } = counts;
  if (!online) return { tone: 'warning', text: `You are offline. ${whereWords(counts)} The rest is sent when the network is back.` };
  if (connection === 'connecting' && sent === 0) return { tone: 'info', text: 'Connecting to the server…' };
  // Between two attempts and during one alike, so that the words stand still.
  if (connection === 'waiting' || connection === 'connecting') return { tone: 'warning', text: `The server does not answer. ${whereWords(counts)} Trying again by itself.` };
  if (connection === 'closed') return { tone: 'warning', text: `Not connected. ${whereWords(counts)}` };
  if (recorded === 0) return { tone: 'good', text: 'Connected. The first piece comes in a moment.' };
  if (waiting <= 2) return { tone: 'good', text: 'Everything so far is safe on the server.' };
  return { tone: 'info', text: `${counted(acked, 'piece')} of ${recorded} are safe on the server; the rest follows.` };
}

/**
 * Where what the server does not have is meanwhile.
 *
 * @param {Counts} counts
 * @returns {string}
 */
function whereWords({ recorded, stored, waiting }) {
  if (recorded === 0) return 'What is recorded is kept in this browser.';
  if (waiting === 0) return 'What was recorded so far is safe there.';
  // The newest one is still on its way into the browser's storage.
  const kept = recorded - stored <= 1 ? 'kept in this browser' : 'kept in memory';
  return waiting === 1 ? `1 piece is ${kept}.` : `${waiting} pieces are ${kept}.`;
}

/**
 * What a nearly full storage means for a recording.
 *
 * @param {{ kind: string, usage?: number, quota?: number, nearFull: boolean }} report
 * @returns {{ title: string, text: string } | null} null where there is nothing to say
 */
export function storageWords({ kind, usage, quota, nearFull }) {
  if (kind === 'memory') {
    return {
      title: 'This window keeps nothing over a reload',
      text: 'The browser gives this page no storage, as in some private windows. Leave the page open until everything is sent.',
    };
  }
  if (!nearFull) return null;
  const figures = usage !== undefined && quota !== undefined ? ` (${size(usage)} of ${size(quota)})` : '';
  return {
    title: 'This browser’s storage is nearly full',
    text: `What is recorded is kept here until the server has it${figures}. Free some space on this device, or stop before the network fails for long.`,
  };
}

/** @type {Record<string, string>} by code of the node or of the library */
const TROUBLES = {
  unauthorised: 'The server does not take this recording from here: its key is not known there.',
  recording_unknown: 'The server does not know this recording any more.',
  recording_over: 'This recording is finished and cannot be added to any more.',
  recording_active: 'This recording is going on right now, so it cannot be deleted.',
  recording_too_large: 'The recording is as large as the server allows, so it has ended. What was recorded before is saved.',
  recording_too_long: 'The recording is as long as the server allows, so it has ended. What was recorded before is saved.',
  too_many_recordings: 'You are making as many recordings at once as the server allows. What you record is kept in this browser and sent when another one has ended.',
  quota_exceeded: 'Your recordings take as much room as the server allows. Delete some in the library, then record again.',
  record_id_taken: 'The server already has a recording with this name. Start again.',
  replaced: 'The recording goes on in another tab or window; this one has stopped.',
  storage_full: 'The server’s disk is full. What you record is kept in this browser and sent when there is room again.',
  storage_failed: 'The server could not save a piece just now. It is kept in this browser and sent again.',
  merge_failed: 'The server has every piece but could not put them together. Nothing is lost; whoever runs the server can see why.',
  merging_unavailable: 'The server keeps the pieces but cannot put them together, because ffmpeg is not installed there.',
  empty_recording: 'Nothing was recorded, so there is nothing to keep.',
  chunks_lost: 'The server had saved the pieces but cannot find them any more. Whoever runs the server can see why.',
  not_media: 'The server does not recognise what this browser records. Choose another format under Advanced.',
  unsupported_type: 'The server does not take this format. Choose another one under Advanced.',
  too_large: 'A piece was larger than the server takes.',
  overloaded: 'The server is busy. The recording goes on here and is sent when it has time.',
  draining: 'The server is about to restart. The recording goes on here and is sent to the next one.',
  conflict: 'The server has other bytes for a piece of this recording, and kept those.',
  chunks_missing: 'Some pieces never reached the server, and this browser does not have them any more.',
};

/**
 * One sentence for what went wrong.
 *
 * @param {string} code
 * @param {string} message the server's or the library's own words
 * @returns {string}
 */
export function troubleWords(code, message) {
  const known = TROUBLES[code];
  if (known) return known;
  const text = message.trim();
  if (text === '') return 'Something went wrong. Try again.';
  const sentence = text[0]?.toUpperCase() + text.slice(1);
  return /[.!?…]$/.test(sentence) ? sentence : `${sentence}.`;
}
