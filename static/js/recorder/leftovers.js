/**
 * What earlier visits recorded and could not send: found, sent, thrown away or saved as a file.
 * @module
 */
import { SignalError } from '../errors.js';
import { isWhole } from './frame.js';
import { held, hold, remember, remembered } from './holding.js';
import { salvage } from './salvage.js';
import { ChunkStore } from './store.js';
import { Upload } from './upload.js';

/** What is known of a recording without chunks is of use only to a reload, and a node reopens for a day. Unit: ms. */
const EMPTY_KEPT_MS = 24 * 60 * 60 * 1000;

/** @typedef {import('./types.d.ts').Leftover} Leftover */
/** @typedef {import('./types.d.ts').StorageKind} StorageKind */
/** @typedef {ChunkStore | StorageKind | 'auto'} StorageOption */

/**
 * @param {StorageOption} [storage]
 * @returns {Promise<ChunkStore>}
 */
export async function storeOf(storage = 'auto') {
  return storage instanceof ChunkStore ? storage : ChunkStore.open(storage);
}

export class Leftovers {
  /**
   * Recordings that have unsent chunks here and that no tab works on, newest first.
   * @param {StorageOption} [storage]
   * @returns {Promise<Leftover[]>}
   */
  static async list(storage) {
    const store = await storeOf(storage);
    const busy = await held();
    const free = (await store.recordings()).filter(({ key }) => !busy.has(key));
    const entries = await Promise.all(free.map((meta) => entryOf(store, meta)));
    for (const entry of entries) if (entry.chunks === 0 && Date.now() - entry.last > EMPTY_KEPT_MS) await store.forget(entry);
    return entries.filter(({ chunks }) => chunks > 0).sort((a, b) => b.startedAt - a.startedAt);
  }

  /**
   * Sends what is left and has the node make the video.
   * @param {Leftover} entry
   * @param {object} [options]
   * @param {string} [options.url] of the node's `/recording`
   * @param {string} [options.token] where the node asks for one
   * @param {(progress: { acked: number, chunks: number, percent?: number }) => void} [options.onprogress] percent: of the
   *   node's work, once it has everything
   * @param {AbortSignal} [options.signal] gives up; what was not sent stays
   * @param {StorageOption} [options.storage]
   * @returns {Promise<import('./types.d.ts').RecordingReady>} rejected with a `SignalError`; then the chunks are still
   *   here
   */
  static async send(entry, { url = '/recording', token, onprogress, signal, storage } = {}) {
    const store = await storeOf(storage);
    const release = await hold(entry.key);
    if (!release) throw new SignalError('in_use', 'another tab works on this recording', { retryable: true });
    try {
      const { meta, pieces } = await takenUp(store, entry.key);
      const upload = new Upload({ store, meta, pieces, url, token });
      const ready = result(upload, signal);
      const tell = (/** @type {number | undefined} */ percent) => onprogress?.({ acked: upload.sums.acked, chunks: pieces.length, percent });
      upload.addEventListener('moved', () => tell(undefined));
      upload.addEventListener('progress', ({ detail: { percent } }) => tell(percent));
      upload.open();
      upload.end({ chunks: meta.nextIndex, bytes: meta.bytesRecorded });
      return await ready;
    } finally {
      release();
    }
  }

  /**
   * Throws the local chunks away. What the node has already is not touched.
   * @param {Leftover} entry
   * @param {StorageOption} [storage]
   */
  static async discard(entry, storage) {
    const store = await storeOf(storage);
    await store.forget(entry);
    if (remembered() === entry.key) remember(null);
  }

  /**
   * The local chunks as a file. Of a recording with several segments most players show only the first; `files` gives
   * each on its own. The chunks stay.
   * @param {Leftover} entry
   * @param {StorageOption} [storage]
   */
  static async download(entry, storage) {
    return new Blob(await Leftovers.files(entry, storage), { type: entry.mimeType });
  }

  /**
   * The local chunks, a file for each segment.
   * @param {Leftover} entry
   * @param {StorageOption} [storage]
   * @returns {Promise<Blob[]>}
   */
  static async files(entry, storage) {
    return salvage(await storeOf(storage), entry);
  }
}

/**
 * A recording as a list shows it.
 * @param {ChunkStore} store
 * @param {import('./types.d.ts').RecordingMeta} meta
 * @returns {Promise<Leftover>}
 */
export async function entryOf(store, meta) {
  const { pieces } = await store.contents(meta);
  const bytes = pieces.reduce((sum, piece) => sum + piece.bytes, 0);
  return { ...meta, chunks: pieces.length, bytes, last: pieces.at(-1)?.at ?? meta.startedAt };
}

/**
 * What is known of a recording now, with the chunks that still have to be sent.
 * @param {ChunkStore} store
 * @param {string} key
 */
export async function takenUp(store, key) {
  const meta = await store.recording(key);
  if (!meta) throw new SignalError('recording_unknown', 'nothing is left of this recording here');
  const { pieces } = await store.contents(meta);
  let last = pieces.at(-1);
  // A crash in mid-write leaves half a chunk. It was never sent, so its index is free.
  while (last && !(await isStored(store, meta, last))) {
    await store.remove(meta, last);
    pieces.pop();
    last = pieces.at(-1);
  }
  if (last && last.index >= meta.nextIndex) Object.assign(meta, { nextIndex: last.index + 1, bytesRecorded: last.end });
  return { meta, pieces };
}

/**
 * @param {ChunkStore} store
 * @param {import('./types.d.ts').RecordingMeta} meta
 * @param {import('./types.d.ts').Piece} piece
 */
async function isStored(store, meta, piece) {
  const frame = await store.read(meta, piece);
  return frame !== null && isWhole(frame, piece.index);
}

/**
 * @param {Upload} upload
 * @param {AbortSignal} [signal]
 * @returns {Promise<import('./types.d.ts').RecordingReady>}
 */
function result(upload, signal) {
  return new Promise((resolve, reject) => {
    upload.addEventListener('ready', ({ detail }) => resolve(detail));
    upload.addEventListener('error', ({ detail: { code, message, fatal } }) => {
      if (fatal) reject(new SignalError(code, message));
    });
    signal?.addEventListener('abort', () => {
      void upload.close();
      reject(new SignalError('closed', 'given up', { retryable: true }));
    });
  });
}
