/**
 * Chunks that never reached a node, as files that play. Only the first chunk of a segment has what a player needs to
 * begin, so it is put in front where the chunks at hand are from further on.
 * @module
 */
import { HEADER_BYTES, isWhole } from './frame.js';

/** Where something begins that plays by itself: a Matroska Cluster, an MP4 fragment (its type follows its size). */
const CLUSTER = [0x1f, 0x43, 0xb6, 0x75];
const MOOF = [0x6d, 0x6f, 0x6f, 0x66];
const MOOF_SIZE_BYTES = 4;

/**
 * @param {import('./store.js').ChunkStore} store
 * @param {import('./types.d.ts').RecordingMeta} meta
 * @returns {Promise<Blob[]>} one for each segment of which chunks are left
 */
export async function salvage(store, meta) {
  const { pieces, heads } = await store.contents(meta);
  /** @type {Blob[]} */
  const files = [];
  /** @type {Blob[]} */
  let parts = [];
  let segment = -1;
  let expected = -1;
  const finish = () => { if (parts.length > 0) files.push(new Blob(parts, { type: meta.mimeType })); };
  for (const piece of pieces) {
    const { index } = piece;
    const frame = await store.read(meta, piece);
    if (!frame || !isWhole(frame, index)) continue;
    let payload = frame.subarray(HEADER_BYTES);
    const head = heads.filter((one) => one <= index).at(-1) ?? 0;
    if (head !== segment) {
      finish();
      [parts, segment, expected] = [[], head, index];
      if (index !== head) {
        parts.push(await preamble(store, meta, head));
        payload = payload.subarray(clean(payload));
      }
    } else if (index !== expected) payload = payload.subarray(clean(payload));
    expected = index + 1;
    // A Blob of its own for each: browsers put them on disk, so that a long recording does not fill memory.
    parts.push(new Blob([payload]));
  }
  finish();
  return files;
}

/**
 * What precedes the first media of a segment.
 * @param {import('./store.js').ChunkStore} store
 * @param {import('./types.d.ts').RecordingMeta} meta
 * @param {number} head
 */
async function preamble(store, meta, head) {
  const bytes = (await store.readHead(meta, head))?.subarray(HEADER_BYTES) ?? new Uint8Array();
  return new Blob([bytes.subarray(0, clean(bytes))]);
}

/**
 * @param {Uint8Array} bytes
 * @returns {number} where the first thing begins that plays by itself; the length where nothing does
 */
function clean(bytes) {
  for (let at = 0; at < bytes.length; at++) {
    if (CLUSTER.every((byte, offset) => bytes[at + offset] === byte)) return at;
    if (MOOF.every((byte, offset) => bytes[at + offset] === byte)) return Math.max(0, at - MOOF_SIZE_BYTES);
  }
  return bytes.length;
}
