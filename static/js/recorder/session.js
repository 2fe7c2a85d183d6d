/**
 * The ground of a recording in this tab: its storage, what is known of it, and the right to work on it.
 * @module
 */
import { SignalError } from '../errors.js';
import { RELOAD_MS, hold, remember } from './holding.js';
import { storeOf, takenUp } from './leftovers.js';

/** Above this part of the quota a warning is due. */
const NEAR_FULL = 0.8;

/**
 * Begins a recording, or takes one up.
 * @param {import('./leftovers.js').StorageOption | undefined} storage
 * @param {{ title?: string, room?: string, owner?: string }} about
 * @param {string} [earlier] key of the one to take up
 */
export async function openSession(storage, { title, room, owner }, earlier) {
  const store = await storeOf(storage);
  const key = earlier ?? newKey();
  const release = await hold(key, earlier === undefined ? 0 : RELOAD_MS);
  if (!release) throw new SignalError('in_use', 'another tab works on this recording', { retryable: true });
  try {
    if (earlier !== undefined) return { store, release, ...(await takenUp(store, key)) };
    /** @type {import('./types.d.ts').RecordingMeta} */
    const meta = {
      key, recordId: null, uploadToken: null, shelf: store.kind, title, room, owner,
      mimeType: '', startedAt: Date.now(), nextIndex: 0, bytesRecorded: 0,
    };
    await store.save(meta);
    return { store, release, meta, pieces: [] };
  } catch (error) {
    release();
    throw error;
  } finally {
    remember(key);
  }
}

function newKey() {
  const random = crypto.getRandomValues(new Uint8Array(16));
  return [...random].map((byte) => byte.toString(16).padStart(2, '0')).join('');
}

/**
 * How full storage is.
 * @param {import('./store.js').ChunkStore} store
 * @returns {Promise<import('./types.d.ts').StorageReport>}
 */
export async function reportStorage({ kind }) {
  const { storage } = globalThis.navigator;
  const { usage, quota } = (await storage?.estimate?.().catch(() => null)) ?? {};
  const persisted = (await storage?.persisted?.().catch(() => false)) ?? false;
  const nearFull = usage !== undefined && quota !== undefined && usage > quota * NEAR_FULL;
  return { kind, usage, quota, persisted: persisted && kind !== 'memory', nearFull };
}
