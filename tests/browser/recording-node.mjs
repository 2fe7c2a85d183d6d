/**
 * A node that follows a script, for the recorder: it serves the library and plays the node's side of `/recording` over
 * real sockets. Every chunk that arrives is checked here, by code that shares nothing with the library's; what the
 * script answers is the test's to say.
 */
import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import http from 'node:http';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

const STATIC = fileURLToPath(new URL('../../static/', import.meta.url));
const TYPES = { '.js': 'text/javascript', '.ts': 'text/plain' };
const HEADER_BYTES = 20;
const OPCODE = { continuation: 0, text: 1, binary: 2, close: 8, ping: 9 };

/** @typedef {{ index: number, start: boolean, timecodeMs: number, payload: Buffer, conn: number, digest: string }} Chunk */
/** @typedef {{ recordId: string, token: string, hello: any, chunks: Map<number, Chunk>, state: string, stops: any[] }} Recording */
/**
 * What the node does; each may return `undefined` for what a sound node does.
 * @typedef {object} Script
 * @property {(hello: any, conn: Connection) => 'silent' | { code: string, error: string, retryable: boolean } | undefined} [start]
 * @property {(chunk: Chunk, conn: Connection) => 'silent' | 'unstored' | { code: string, error: string, retryable: boolean, retryAfterMs?: number } | undefined} [chunk]
 *   silent: stored without an answer; unstored: lost without an answer
 * @property {(stop: any, conn: Connection) => object[] | undefined} [stop] the answers
 * @property {{ maxChunkBytes?: number, maxInFlight?: number, maxDurationMs?: number }} [limits]
 */

/** @param {Script} [script] */
export async function startRecordingNode(script = {}) {
  const node = new RecordingNode(script);
  const server = http.createServer((request, response) => void serve(request, response));
  server.on('upgrade', (request, socket) => node.connections.push(new Connection(node, request, /** @type {any} */ (socket))));
  await new Promise((resolve) => server.listen(0, '127.0.0.1', () => resolve(undefined)));
  const { port } = /** @type {import('node:net').AddressInfo} */ (server.address());
  node.url = `http://127.0.0.1:${port}`;
  node.stop = async () => {
    node.connections.forEach((conn) => conn.cut());
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  };
  return node;
}

class RecordingNode {
  url = '';
  stop = async () => {};
  /** @type {Connection[]} */
  connections = [];
  /** @type {Map<string, Recording>} */
  recordings = new Map();
  /** Every chunk frame that arrived, in order of arrival. @type {Chunk[]} */
  frames = [];
  /** What was wrong with frames. @type {string[]} */
  complaints = [];
  /** The most chunks that were ever unanswered on one socket. */
  unansweredMax = 0;

  /** @param {Script} script */
  constructor(script) {
    this.script = script;
  }

  /** The only recording. */
  get recording() {
    const [only, ...more] = this.recordings.values();
    if (!only || more.length > 0) throw new Error(`${this.recordings.size} recordings`);
    return only;
  }

  get starts() {
    return this.connections.flatMap(({ hello }) => (hello ? [hello] : []));
  }
}

export class Connection {
  /** @type {any} */
  hello = null;
  /** Text messages after the hello. @type {any[]} */
  heard = [];
  /** @type {Recording | null} */
  recording = null;
  unanswered = new Set();
  closed = false;
  #buffer = Buffer.alloc(0);
  /** @type {Buffer[]} */
  #fragments = [];
  #opcode = 0;

  /** @param {RecordingNode} node @param {http.IncomingMessage} request @param {import('node:net').Socket} socket */
  constructor(node, request, socket) {
    this.node = node;
    this.socket = socket;
    this.number = node.connections.length;
    const accept = createHash('sha1').update(`${request.headers['sec-websocket-key']}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest('base64');
    socket.write(`HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${accept}\r\n\r\n`);
    socket.on('data', (bytes) => { this.#buffer = Buffer.concat([this.#buffer, bytes]); while (this.#frame()); });
    socket.on('close', () => { this.closed = true; });
    socket.on('error', () => {});
  }

  /** @param {object[]} messages */
  say(...messages) {
    for (const message of messages) this.#write(OPCODE.text, Buffer.from(JSON.stringify(message)));
  }

  /** Says goodbye. @param {number} code */
  close(code) {
    const payload = Buffer.alloc(2);
    payload.writeUInt16BE(code);
    this.#write(OPCODE.close, payload);
    this.socket.end();
  }

  /** The network is gone. */
  cut() {
    this.socket.destroy();
  }

  /** @param {number} opcode @param {Buffer} payload */
  #write(opcode, payload) {
    if (this.socket.destroyed) return;
    const header = payload.length < 126 ? Buffer.from([0x80 | opcode, payload.length]) : Buffer.from([0x80 | opcode, 126, payload.length >> 8, payload.length & 255]);
    this.socket.write(Buffer.concat([header, payload]));
  }

  #frame() {
    const buffer = this.#buffer;
    if (buffer.length < 2) return false;
    const [first = 0, second = 0] = buffer;
    const short = second & 127;
    const lengthBytes = short === 126 ? 2 : short === 127 ? 8 : 0;
    const from = 2 + lengthBytes + 4;
    if (buffer.length < from) return false;
    const length = lengthBytes === 2 ? buffer.readUInt16BE(2) : lengthBytes === 8 ? Number(buffer.readBigUInt64BE(2)) : short;
    if (buffer.length < from + length) return false;
    const mask = buffer.subarray(from - 4, from);
    const payload = Buffer.from(buffer.subarray(from, from + length));
    for (let at = 0; at < length; at++) payload[at] = (payload[at] ?? 0) ^ (mask[at & 3] ?? 0);
    this.#buffer = buffer.subarray(from + length);
    this.#message(first & 15, (first & 128) !== 0, payload);
    return true;
  }

  /** @param {number} opcode @param {boolean} last @param {Buffer} payload */
  #message(opcode, last, payload) {
    if (opcode === OPCODE.close) { this.close(1000); return; }
    if (opcode > 7) return;
    if (opcode !== OPCODE.continuation) [this.#opcode, this.#fragments] = [opcode, []];
    this.#fragments.push(payload);
    if (!last) return;
    const whole = Buffer.concat(this.#fragments);
    if (this.#opcode === OPCODE.binary) this.#chunk(whole);
    else this.#text(JSON.parse(whole.toString()));
  }

  /** @param {any} message */
  #text(message) {
    if (message.type === 'start') return this.#start(message);
    this.heard.push(message);
    if (message.type === 'stop') this.#stop(message);
    if (message.type === 'abort') this.node.recordings.delete(message.recordId);
  }

  /** @param {any} hello */
  #start(hello) {
    this.hello = hello;
    const refusal = this.node.script.start?.(hello, this);
    if (refusal === 'silent') return;
    if (refusal) return this.say({ type: 'recordingError', ...refusal });
    const { recordings } = this.node;
    const known = [...recordings.values()].find(({ token }) => token === hello.uploadToken);
    const recordId = known?.recordId ?? `rec-${recordings.size}`;
    this.recording = known ?? { recordId, token: `token-${recordId}`, hello, chunks: new Map(), state: 'recording', stops: [] };
    recordings.set(recordId, this.recording);
    const { chunks, state, token } = this.recording;
    const nextIndex = Math.max(-1, ...chunks.keys()) + 1;
    const missing = Array.from({ length: nextIndex }, (_, index) => index).filter((index) => !chunks.has(index));
    const limits = { maxChunkBytes: 4 * 1024 * 1024, maxInFlight: 8, ...this.node.script.limits };
    this.say({ type: 'started', recordId, uploadToken: token, nextIndex, missing, limits, graceMs: 5000, state, merging: 'available' });
    if (state === 'finalising') this.say({ type: 'finished', recordId, chunks: nextIndex });
    if (state === 'ready') this.say(this.ready());
  }

  /** @param {Buffer} frame */
  #chunk(frame) {
    const { node } = this;
    const complain = (/** @type {string} */ what) => node.complaints.push(what);
    if (!this.recording) return complain('a chunk before `started`');
    if (frame.length <= HEADER_BYTES) return complain(`a frame of ${frame.length} bytes`);
    const payload = frame.subarray(HEADER_BYTES);
    const [index, timecodeMs, length, crc] = [4, 8, 12, 16].map((at) => frame.readUInt32BE(at));
    if (frame.toString('latin1', 0, 2) !== 'GR' || frame[2] !== 1 || ((frame[3] ?? 0) & ~1) !== 0) complain(`chunk ${index}: a wrong head`);
    if (length !== payload.length) complain(`chunk ${index}: says ${length} bytes, has ${payload.length}`);
    if (crc !== crc32c(payload)) complain(`chunk ${index}: the checksum is wrong`);
    const digest = createHash('sha256').update(frame).digest('hex');
    const chunk = { index: index ?? -1, start: frame[3] === 1, timecodeMs: timecodeMs ?? -1, payload, conn: this.number, digest };
    node.frames.push(chunk);
    this.unanswered.add(index);
    node.unansweredMax = Math.max(node.unansweredMax, this.unanswered.size);
    this.#answer(chunk, node.script.chunk?.(chunk, this));
  }

  /** @param {Chunk} chunk @param {'silent' | 'unstored' | object | undefined} verdict */
  #answer(chunk, verdict) {
    const recording = /** @type {Recording} */ (this.recording);
    const { recordId, chunks } = recording;
    if (verdict === 'unstored') return;
    if (typeof verdict === 'object') {
      this.unanswered.delete(chunk.index);
      return this.say({ type: 'chunkError', recordId, index: chunk.index, ...verdict });
    }
    const stored = chunks.get(chunk.index);
    if (stored && stored.digest !== chunk.digest) this.node.complaints.push(`chunk ${chunk.index}: other bytes under the same index`);
    chunks.set(chunk.index, stored ?? chunk);
    if (verdict !== 'silent') this.ack(chunk.index);
  }

  /** @param {number} index */
  ack(index) {
    this.unanswered.delete(index);
    this.say({ type: 'chunkAck', recordId: this.recording?.recordId, index, status: 'success' });
  }

  /** @param {any} stop */
  #stop(stop) {
    const recording = /** @type {Recording} */ (this.recording);
    recording.stops.push(stop);
    const { recordId, chunks } = recording;
    const answers = this.node.script.stop?.(stop, this);
    if (answers) return this.say(...answers);
    const missing = Array.from({ length: stop.chunks }, (_, index) => index).filter((index) => !chunks.has(index));
    if (missing.length > 0) {
      return this.say({ type: 'recordingError', recordId, code: 'chunks_missing', error: 'missing', missingChunks: missing, totalExpected: stop.chunks, retryable: true });
    }
    recording.state = 'ready';
    this.say({ type: 'finished', recordId, chunks: chunks.size }, { type: 'mergeProgress', recordId, percent: 50 }, this.ready());
  }

  ready() {
    const { recordId = '' } = this.recording ?? {};
    return {
      type: 'recordingReady', recordId, key: `${recordId}.1700000000000.webm`, downloadUrl: `/recordings/download/${recordId}.1700000000000.webm`, durationMs: 1, sizeBytes: 1,
      mimeType: 'video/webm', sha256: '', complete: true, gaps: [], version: 1,
    };
  }
}

/** @param {http.IncomingMessage} request @param {http.ServerResponse} response */
async function serve(request, response) {
  const name = path.join('/', new URL(request.url ?? '/', 'http://node').pathname);
  if (!name.startsWith('/static/')) return void response.setHeader('content-type', 'text/html').end('<!doctype html><title>blank</title>');
  try {
    const body = await readFile(path.join(STATIC, name.slice('/static/'.length)));
    const type = /** @type {Record<string, string>} */ (TYPES)[path.extname(name)] ?? 'application/octet-stream';
    response.writeHead(200, { 'content-type': type, 'access-control-allow-origin': '*' }).end(body);
  } catch {
    response.writeHead(404).end();
  }
}

/** A byte at a time, as the definition has it. @param {Buffer} bytes */
function crc32c(bytes) {
  let crc = ~0;
  for (const byte of bytes) crc = (TABLE[(crc ^ byte) & 255] ?? 0) ^ (crc >>> 8);
  return ~crc >>> 0;
}
const TABLE = Array.from({ length: 256 }, (_, byte) => {
  let crc = byte;
  for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (crc & 1 ? 0x82f63b78 : 0);
  return crc;
});
