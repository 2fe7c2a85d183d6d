// How the pages ask the node over HTTP.

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
 * @param {string} path
 * @param {RequestInit} [options]
 * @returns {Promise<Response>} rejected with an `ApiError`
 */
export async function ask(path, options = {}) {
  const response = await fetch(path, { headers: { Accept: 'application/json' }, cache: 'no-store', ...options }).catch((error) => {
    if (error instanceof DOMException && error.name === 'AbortError') throw error;
    throw new ApiError('unreachable', 'the server does not answer');
  });
  // Where the way leads elsewhere, and whoever asks does not want to go there, nothing more is told.
  if (response.ok || response.type === 'opaqueredirect') return response;
  const problem = await response.json().catch(() => ({}));
  throw new ApiError(problem.code ?? String(response.status), problem.detail ?? problem.title ?? '');
}
