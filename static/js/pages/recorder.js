// The way to the recorder page of this node, if it has one.

/**
 * Opens the recorder for a room in a new tab.
 *
 * @param {string} room
 * @returns {Promise<'opened' | 'missing' | 'unreachable'>}
 */
export async function openRecorder(room) {
  const url = `/recorder?room=${encodeURIComponent(room)}`;
  try {
    const answer = await fetch(url, { method: 'HEAD' });
    if (answer.status === 404) return 'missing';
  } catch {
    return 'unreachable';
  }
  window.open(url, '_blank', 'noopener');
  return 'opened';
}
