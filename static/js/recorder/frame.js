/**
 * A chunk as it crosses the wire (`indexed` framing), and as it lies in browser storage: a header of 20 bytes,
 * big-endian, and the payload.
 *
 * ```text
 * "GR" · version u8 = 1 · flags u8 · index u32 · timecode u32 · payload length u32 · CRC-32C of the payload u32
 * ```
 * @module
 */
import { crc32c } from './crc32c.js';

export const HEADER_BYTES = 20;
const MAGIC = 0x4752; // "GR"
const VERSION = 1;
/** Flag bit 0: this chunk begins a segment, which is one life of a MediaRecorder. */
const SEGMENT_START = 1;

/**
 * @param {object} chunk
 * @param {number} chunk.index in capture order, from 0, over all segments of a recording
 * @param {number} chunk.timecodeMs recorded time since the segment began
 * @param {boolean} chunk.segmentStart
 * @param {Uint8Array} payload
 * @returns {Uint8Array<ArrayBuffer>}
 */
export function encodeFrame({ index, timecodeMs, segmentStart }, payload) {
  const frame = new Uint8Array(HEADER_BYTES + payload.length);
  const header = new DataView(frame.buffer, 0, HEADER_BYTES);
  header.setUint16(0, MAGIC);
  header.setUint8(2, VERSION);
  header.setUint8(3, segmentStart ? SEGMENT_START : 0);
  header.setUint32(4, index);
  header.setUint32(8, Math.min(0xffffffff, Math.max(0, Math.round(timecodeMs))));
  header.setUint32(12, payload.length);
  header.setUint32(16, crc32c(payload));
  frame.set(payload, HEADER_BYTES);
  return frame;
}

/**
 * Whether stored bytes are a whole frame of this index: a crash can leave half of one, or an empty file.
 * @param {Uint8Array} frame
 * @param {number} index
 */
export function isWhole(frame, index) {
  if (frame.length <= HEADER_BYTES) return false;
  const header = new DataView(frame.buffer, frame.byteOffset, HEADER_BYTES);
  return header.getUint16(0) === MAGIC && header.getUint8(2) === VERSION && header.getUint32(4) === index
    && header.getUint32(12) === frame.length - HEADER_BYTES
    && header.getUint32(16) === crc32c(frame.subarray(HEADER_BYTES));
}
