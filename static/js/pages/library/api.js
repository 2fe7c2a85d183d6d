// What the library asks of the node.

/** @typedef {import('../playback.js').Recording} Recording */
/**
 * As `GET /recordings/{id}/status` tells it; `work` says what became of each segment.
 *
 * @typedef {Recording & { work?: { segment: number, did: 'copied' | 're-encoded' | 'filled', detail?: string }[] }} RecordingStatus
 */

/** A refusal of the node, or no answer at all (`unreachable`). */
export class ApiError extends Error {
  /**
   * @param {string} code
   * @param {string} message
   */
  constructor(code, message) {
    super(message);
    this.code = code;
  }
}

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

/**
 * @param {string} path
 * @param {RequestInit} [options]
 * @returns {Promise<Response>}
 */
async function ask(path, options = {}) {
  const response = await fetch(path, { headers: { Accept: 'application/json' }, cache: 'no-store', ...options }).catch((error) => {
    if (error instanceof DOMException && error.name === 'AbortError') throw error;
    throw new ApiError('unreachable', 'the server does not answer');
  });
  if (response.ok) return response;
  const problem = await response.json().catch(() => ({}));
  throw new ApiError(problem.code ?? String(response.status), problem.detail ?? problem.title ?? '');
}
