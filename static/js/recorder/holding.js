/**
 * Who works on a recording. A Web Lock is held by one tab and let go by the browser when the tab ends, however it ends;
 * so what no tab holds was left behind.
 * @module
 */

const nameOf = (/** @type {string} */ key) => `greenroom.recording.${key}`;
/** Where this window remembers its recording over a reload. */
const REMEMBERED = 'greenroom.recording';

/**
 * Takes a recording for this tab.
 * @param {string} key
 * @returns {Promise<(() => void) | null>} lets it go; null: another tab has it
 */
export function hold(key) {
  // Without locks (pages without HTTPS) nobody can know of another tab.
  if (!globalThis.navigator?.locks) return Promise.resolve(() => {});
  return new Promise((resolve, reject) => {
    navigator.locks.request(nameOf(key), { ifAvailable: true }, (lock) => {
      if (!lock) return resolve(null);
      return new Promise((release) => resolve(() => release(undefined)));
    }).catch(reject);
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
