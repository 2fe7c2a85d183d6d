/**
 * Who works on a recording. A Web Lock is held by one tab and let go by the browser when the tab ends, however it ends;
 * so what no tab holds was left behind.
 * @module
 */

const nameOf = (/** @type {string} */ key) => `greenroom.recording.${key}`;
/** How long the page before a reload may take to end. Unit: ms. */
export const RELOAD_MS = 1_000;
/** Where this window remembers its recording over a reload. */
const REMEMBERED = 'greenroom.recording';

/**
 * Takes a recording for this tab.
 * @param {string} key
 * @param {number} [waitMs] for a holder that may be about to end: the page that this one replaces
 * @returns {Promise<(() => void) | null>} lets it go; null: another tab has it
 */
export function hold(key, waitMs = 0) {
  // Without locks (pages without HTTPS) nobody can know of another tab.
  if (!globalThis.navigator?.locks) return Promise.resolve(() => {});
  const options = waitMs > 0 ? { signal: AbortSignal.timeout(waitMs) } : { ifAvailable: true };
  return new Promise((resolve) => {
    navigator.locks.request(nameOf(key), options, (lock) => {
      if (!lock) return resolve(null);
      return new Promise((release) => resolve(() => release(undefined)));
    }).catch(() => resolve(null));
  });
}

/** @returns {Promise<Set<string>>} keys of recordings that some tab holds */
export async function held() {
  const { held: locks = [] } = (await navigator.locks?.query()) ?? {};
  const prefix = nameOf('');
  return new Set(locks.flatMap(({ name }) => (name?.startsWith(prefix) ? [name.slice(prefix.length)] : [])));
}

/** @param {string | null} key null: nothing to go on with after a reload */
export function remember(key) {
  try {
    if (key === null) sessionStorage.removeItem(REMEMBERED);
    else sessionStorage.setItem(REMEMBERED, key);
  } catch {
    // Storage is switched off: a reload cannot go on.
  }
}

/** @returns {string | null} */
export function remembered() {
  try {
    return sessionStorage.getItem(REMEMBERED);
  } catch {
    return null;
  }
}
