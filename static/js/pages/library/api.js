// What the library asks of the node.

import { ask } from '../api.js';

/** @typedef {import('../playback.js').Recording} Recording */
/**
 * As `GET /recordings/{id}/status` tells it; `work` says what became of each segment.
 *
 * @typedef {Recording & { work?: { segment: number, did: 'copied' | 're-encoded' | 'filled', detail?: string }[] }} RecordingStatus
 */

/**
 * One page of the list, newest first.
 *
 * @param {{ q?: string, state?: string, cursor?: string, limit: number }} query
 * @param {AbortSignal} [signal]
 * @returns {Promise<{ recordings: Recording[], next?: string }>}
 */
export async function listRecordings(query, signal) {
  const search = new URLSearchParams();
  for (const [key, value] of Object.entries(query)) if (value) search.set(key, String(value));
  const { recordings, next } = await (await ask(`/recordings?${search}`, { signal: signal ?? null })).json();
  return { recordings: recordings.map(withoutNulls), next: next ?? undefined };
}

/**
 * @param {string} recordId
 * @returns {Promise<RecordingStatus>}
 */
export async function recordingStatus(recordId) {
  return withoutNulls(await (await ask(`/recordings/${encodeURIComponent(recordId)}/status`)).json());
}

/**
 * Deletes a recording for good.
 *
 * @param {string} recordId
 */
export async function deleteRecording(recordId) {
  await ask(`/recordings/${encodeURIComponent(recordId)}`, { method: 'DELETE' });
}

/**
 * What the node does not know is null there, and left out here.
 *
 * @param {Record<string, unknown>} recording
 * @returns {any}
 */
function withoutNulls(recording) {
  return Object.fromEntries(Object.entries(recording).filter(([, value]) => value !== null));
}
