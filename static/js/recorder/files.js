/**
 * A worker that keeps pieces of bytes as files of the origin: a folder for each recording, a file for each piece.
 * Writing in place is fast here and possible only in a worker.
 * @module
 */

const FOLDER = 'greenroom-recordings';

/** The folder of all recordings. */
async function all() {
  return (await navigator.storage.getDirectory()).getDirectoryHandle(FOLDER, { create: true });
}

/** @param {string} key the recording */
async function folder(key, create = false) {
  return (await all()).getDirectoryHandle(key, { create });
}

/** What is gone already is as good as removed. @param {unknown} error */
function unlessGone(error) {
  if (!(error instanceof DOMException) || error.name !== 'NotFoundError') throw error;
}

/** @type {Record<string, (...args: any[]) => Promise<any>>} */
const ACTS = {
  /** Whether writing works at all: some browsers have the names and not the act. */
  async check() {
    const key = `check-${Math.random()}`; // other tabs check, too
    await ACTS.put?.(key, 'check', new Uint8Array(1));
    await ACTS.drop?.(key);
  },

  async put(/** @type {string} */ key, /** @type {string} */ name, /** @type {Uint8Array} */ bytes) {
    const within = await folder(key, true);
    const file = await within.getFileHandle(name, { create: true });
    const handle = await /** @type {any} */ (file).createSyncAccessHandle();
    try {
      handle.truncate(0);
      if (handle.write(bytes, { at: 0 }) !== bytes.length) throw new DOMException('written in part', 'QuotaExceededError');
      handle.flush();
    } catch (error) {
      handle.close();
      await within.removeEntry(name).catch(unlessGone);
      throw error;
    }
    handle.close();
  },

  async get(/** @type {string} */ key, /** @type {string} */ name) {
    try {
      const file = await (await (await folder(key)).getFileHandle(name)).getFile();
      return new Uint8Array(await file.arrayBuffer());
    } catch (error) {
      unlessGone(error);
      return null;
    }
  },

  async remove(/** @type {string} */ key, /** @type {string} */ name) {
    await folder(key).then((within) => within.removeEntry(name)).catch(unlessGone);
  },

  async list(/** @type {string} */ key) {
    /** @type {string[]} */
    const names = [];
    try {
      for await (const name of /** @type {any} */ (await folder(key)).keys()) names.push(name);
    } catch (error) {
      unlessGone(error);
    }
    return names;
  },

  async drop(/** @type {string} */ key) {
    await (await all()).removeEntry(key, { recursive: true }).catch(unlessGone);
  },
};

// One act at a time: a piece is never written and removed at once.
let turn = Promise.resolve();
self.onmessage = ({ data: { id, act, args } }) => {
  turn = turn.then(async () => {
    try {
      self.postMessage({ id, value: await ACTS[act]?.(...args) });
    } catch (error) {
      const { name, message } = /** @type {Error} */ (error);
      self.postMessage({ id, error: { name, message } });
    }
  });
};
