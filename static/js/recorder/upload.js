/**
 * One recording on its way from browser storage to a node: sends each stored chunk until it is acknowledged, over as
 * many sockets as it takes, then says stop and waits for the video. It records nothing; `recorder.js` does, and
 * `leftovers.js` sends what an earlier visit left.
 * @module
 */
import { Deadline } from '../deadline.js';
import { TypedEventTarget } from '../events.js';
import { isWhole } from './frame.js';
import { Link } from './link.js';
import { Window } from './window.js';

/** Of a node that has not said otherwise. Unit: bytes. */
export const CHUNK_BYTES_MAX = 4 * 1024 * 1024;
/** Silence after which a socket that owes an answer counts as lost. Unit: ms. */
const SILENCE_MS = 20_000;
/** How often a stop is repeated that the node could not take. Unit: ms. */
const STOP_AGAIN_MS = 2_000;
const CLOSE_TOO_LARGE = 1009;

/** Nothing more can be added to this recording. */
const FATAL = new Set(['not_media', 'unauthorised', 'recording_over', 'recording_unknown', 'recording_stopped', 'unsupported_type']);
/** Said by a node that knows less than this library, or of this socket alone. */
const HARMLESS = new Set(['unsupported', 'already_started']);

/** @typedef {import('./types.d.ts').RecordingMeta} RecordingMeta */
/** @typedef {import('./types.d.ts').Piece} Piece */

/** @extends {TypedEventTarget<import('./types.d.ts').UploadEvents>} */
export class Upload extends TypedEventTarget {
  #store;
  #meta;
  #token;
  #link;
  #window = new Window();
  #timer = new Deadline();
  #chunkBytesMax = CHUNK_BYTES_MAX;
  /** The node takes chunks on the present socket. */
  #taking = false;
  #pumping = false;
  /** What to stop with, once everything is recorded. @type {{ chunks: number, bytes?: number } | null} */
  #ending = null;
  /** @type {'none' | 'sent' | 'taken'} */
  #stop = 'none';
  /** A stop was too early once; the next waits for every acknowledgement. */
  #patient = false;
  #buffered = 0;
  #heardAt = 0;
  #over = false;
  /** Ends with the last removal from storage. @type {Promise<unknown>} */
  #tidying = Promise.resolve();
  sent = 0;
  acked = 0;
  bytesAcked = 0;

  /**
   * @param {object} options
   * @param {import('./store.js').ChunkStore} options.store
   * @param {RecordingMeta} options.meta kept up to date in storage
   * @param {Piece[]} [options.pieces] stored by an earlier visit
   * @param {string} options.url of the node's `/recording`
   * @param {string} [options.token] where the node asks for one
   */
  constructor({ store, meta, pieces = [], url, token }) {
    super();
    this.#store = store;
    this.#meta = meta;
    this.#token = token;
    this.#link = new Link(url, {
      hello: () => this.#hello(),
      onMessage: (message) => this.#take(message),
      onLost: (code) => this.#lost(code),
      onFinal: ({ code, reason }) => this.#fail(code, reason),
      onState: (connection) => this.emit('connection', connection),
    });
    for (const piece of pieces) this.#window.add(piece);
  }

  get connection() {
    return this.#link.state;
  }

  get chunkBytesMax() {
    return this.#chunkBytesMax;
  }

  open() {
    this.#link.open();
  }

  /**
   * A chunk is in storage.
   * @param {Piece} piece
   */
  add(piece) {
    this.#window.add(piece);
    void this.#pump();
  }

  /**
   * Everything is recorded and stored: when it is sent, the recording is finalised.
   * @param {{ chunks: number, bytes: number }} total
   */
  end(total) {
    this.#ending = total;
    void this.#pump();
  }

  /** Tells the node to throw the recording away. */
  abort() {
    if (this.#meta.recordId) this.#link.send({ type: 'abort', recordId: this.#meta.recordId });
    this.close();
  }

  /** Ends sending here; resolved when storage is tidy. No event follows. */
  close() {
    this.#over = true;
    this.#taking = false;
    this.#timer.clear();
    this.#link.close();
    return this.#tidying;
  }

  // ---- sending ---------------------------------------------------------------------------------------------------

  #hello() {
    const { mimeType, room, title, owner, uploadToken, recordId } = this.#meta;
    const again = uploadToken ? { uploadToken, recordId } : {};
    return { type: 'start', framing: 'indexed', mimeType, roomName: room, title, owner, token: this.#token, ...again };
  }

  async #pump() {
    if (this.#pumping || !this.#taking) return;
    this.#pumping = true;
    try {
      for (let next; this.#taking && (next = this.#window.next()); ) await this.#send(next);
    } finally {
      this.#pumping = false;
    }
    this.#maybeStop();
    this.#arm();
  }

  /** @param {import('./window.js').Pending} pending */
  async #send(pending) {
    const { piece, tries } = pending;
    const frame = await this.#store.read(this.#meta, piece).catch(() => null);
    if (!this.#taking || !this.#window.has(piece.index)) return;
    if (!frame || (tries === 0 && !isWhole(frame, piece.index))) {
      this.#window.refuse(piece.index);
      return this.#trouble('chunk_lost', `chunk ${piece.index} is not readable in browser storage`, piece.index);
    }
    this.#link.send(frame);
    if (this.#window.sent(pending)) {
      this.sent += 1;
      this.emit('moved', {});
    }
  }

  #maybeStop() {
    const { recordId } = this.#meta;
    const ready = this.#patient ? this.#window.size === 0 : this.#window.allSent;
    if (!this.#ending || !this.#taking || this.#stop !== 'none' || !ready) return;
    this.#stop = 'sent';
    this.#link.send({ type: 'stop', recordId, ...this.#ending });
  }

  // ---- hearing ---------------------------------------------------------------------------------------------------

  /** @param {import('./types.d.ts').RecordingMessage} message */
  #take(message) {
    if (this.#over) return;
    this.#heardAt = performance.now();
    this.#window.sign();
    switch (message.type) {
      case 'started': return void this.#started(message);
      case 'chunkAck': return this.#acked(message.index);
      case 'chunkError': return this.#chunkError(message);
      case 'finished': return this.#finished(message.chunks);
      case 'mergeProgress': return this.emit('progress', { percent: message.percent });
      case 'recordingReady': return void this.#ready(message);
      case 'recordingError': return this.#recordingError(message);
    }
  }

  /** @param {import('./types.d.ts').Started} message */
  async #started(message) {
    const { recordId, uploadToken, limits, nextIndex, missing, graceMs, state } = message;
    Object.assign(this.#meta, { recordId, uploadToken });
    this.#link.agreed(graceMs);
    this.#chunkBytesMax = Math.min(CHUNK_BYTES_MAX, limits.maxChunkBytes);
    this.#stop = 'none';
    const saved = this.#store.save(this.#meta).catch(() => {});
    this.#tidying = this.#tidying.then(() => saved);
    this.emit('started', message);
    if (state === 'recording') {
      const gone = missing.filter((index) => index < this.#meta.nextIndex && !this.#window.knows(index));
      if (gone.length > 0) this.#trouble('chunks_gone', `the node lost ${gone.length} chunks that it had acknowledged`);
      this.#window.open(limits.maxInFlight);
      this.#taking = true;
      return this.#pump();
    }
    // Nothing can be added now; what the node has is as good as acknowledged.
    const lacks = new Set(missing);
    for (const index of this.#window.indices) if (index < nextIndex && !lacks.has(index)) this.#acked(index);
    this.#stop = 'taken';
    this.#arm();
  }

  /** @param {number} index */
  #acked(index) {
    const piece = this.#window.acked(index);
    if (!piece) return;
    this.acked += 1;
    this.bytesAcked += piece.bytes;
    this.#tidying = this.#tidying.then(() => this.#removed(piece)).catch(() => {});
    this.emit('moved', {});
    void this.#pump();
  }

  /**
   * How far the recording has come must be known even when no chunk is left in storage: it is written down first.
   * @param {Piece} piece
   */
  async #removed(piece) {
    if (piece.index >= this.#meta.nextIndex) {
      Object.assign(this.#meta, { nextIndex: piece.index + 1, bytesRecorded: piece.end });
      await this.#store.save(this.#meta);
    }
    await this.#store.remove(this.#meta, piece);
  }

  /** @param {import('./types.d.ts').ChunkError} message */
  #chunkError({ index, code, error, retryable, retryAfterMs }) {
    if (!retryable && FATAL.has(code)) return this.#fail(code, error);
    if (index === undefined) return this.#trouble(code, error);
    if (retryable) this.#window.again(index, retryAfterMs);
    else this.#window.refuse(index);
    this.#trouble(code, error, index);
    void this.#pump();
  }

  /** @param {number} chunks */
  #finished(chunks) {
    this.#stop = 'taken';
    this.#taking = false;
    // Nothing is missing, so everything of ours is durable, whatever became of the acknowledgements.
    for (const index of this.#window.indices) if (index < chunks) this.#acked(index);
    this.emit('finished', { chunks });
    this.#arm();
  }

  /** @param {import('./types.d.ts').RecordingReady} message */
  async #ready(message) {
    const kept = this.#window.size > 0 || this.#window.anyRefused;
    await this.close();
    if (!kept) await this.#store.forget(this.#meta).catch(() => {});
    this.emit('ready', message);
  }

  /** @param {import('./types.d.ts').RecordingError} message */
  #recordingError({ code, error, retryable, missingChunks, retryAfterMs }) {
    if (code === 'chunks_missing') return this.#missing(missingChunks ?? [], error);
    if (HARMLESS.has(code)) return this.#trouble(code, error);
    if (code === 'bytes_differ' && this.#ending?.bytes !== undefined) {
      this.#ending = { chunks: this.#ending.chunks };
      this.#stop = 'none';
      this.#trouble(code, error);
      return this.#maybeStop();
    }
    if (!retryable) return this.#fail(code, error);
    this.#trouble(code, error);
    this.#link.drop(retryAfterMs ?? STOP_AGAIN_MS);
  }

  /** @param {number[]} missing @param {string} error */
  #missing(missing, error) {
    this.#stop = 'none';
    this.#patient = true;
    const ours = missing.filter((index) => this.#window.has(index));
    if (ours.length === 0 && this.#window.size === 0) return this.#fail('chunks_missing', error, missing);
    for (const index of ours) this.#window.again(index, 0);
    void this.#pump();
  }

  // ---- time and the end ------------------------------------------------------------------------------------------

  /** Something is owed by the other side, or becomes due: looks again then. */
  #arm() {
    if (this.#over) return;
    const owing = this.#window.inFlight > 0 || this.#stop !== 'none';
    const at = Math.min(this.#taking ? this.#window.wakeAt : Infinity, owing ? this.#heardAt + SILENCE_MS : Infinity);
    if (at === Infinity) return this.#timer.clear();
    this.#timer.set(Math.max(20, at - performance.now()), () => this.#due());
  }

  #due() {
    // What leaves the browser is a sign of life as well: a slow line is not a dead one.
    const { buffered } = this.#link;
    if (buffered < this.#buffered) [this.#heardAt] = [performance.now(), this.#window.sign()];
    this.#buffered = buffered;
    if (this.#link.state === 'open' && performance.now() - this.#heardAt >= SILENCE_MS) return this.#link.drop();
    if (this.#taking) void this.#pump();
    else this.#arm();
  }

  /** @param {number} code */
  #lost(code) {
    this.#taking = false;
    this.#timer.clear();
    if (code === CLOSE_TOO_LARGE) {
      // Sending it again would close every socket to come.
      const piece = this.#window.largest();
      if (piece) {
        this.#window.refuse(piece.index);
        this.#trouble('too_large', `the node refused chunk ${piece.index} of ${piece.bytes} bytes`, piece.index);
      }
    }
    this.#window.shut();
  }

  /** @param {string} code @param {string} message @param {number} [index] */
  #trouble(code, message, index) {
    this.emit('error', { code, message, fatal: false, ...(index === undefined ? {} : { index }) });
  }

  /** @param {string} code @param {string} message @param {number[]} [missing] */
  #fail(code, message, missing) {
    if (this.#over) return;
    void this.close();
    this.emit('error', { code, message, fatal: true, ...(missing ? { missing } : {}) });
  }
}
