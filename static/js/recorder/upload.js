/**
 * One recording on its way from browser storage to a node: the recorder's side of `/recording`, over as many sockets as
 * it takes, until the video is made. It records nothing; `recorder.js` does, and `leftovers.js` sends what an earlier
 * visit left.
 * @module
 */
import { Deadline } from '../deadline.js';
import { TypedEventTarget } from '../events.js';
import { Link } from './link.js';
import { Sender } from './sender.js';

/** Of a node that has not said otherwise. Unit: bytes. */
const CHUNK_BYTES_MAX = 4 * 1024 * 1024;
/** Silence after which a socket that owes an answer counts as lost. Unit: ms. */
const SILENCE_MS = 20_000;
/** The pause before another attempt when the node could not do something and did not say when it can. Unit: ms. */
const AGAIN_MS = 2_000;
const CLOSE_TOO_LARGE = 1009;

/** Nothing more can be added to this recording. */
const FATAL = new Set(['not_media', 'unauthorised', 'recording_over', 'recording_unknown', 'recording_stopped', 'unsupported_type']);
/** The recording has as much as one may have on this node: it ends, and what is stored becomes its video. */
const LIMITS = new Set(['recording_too_large', 'recording_too_long']);
/** Said by a node that knows less than this library, or of this socket alone. */
const HARMLESS = new Set(['unsupported', 'already_started']);

/** @extends {TypedEventTarget<import('./types.d.ts').UploadEvents>} */
export class Upload extends TypedEventTarget {
  #store;
  #meta;
  #token;
  #link;
  #sender;
  #timer = new Deadline();
  /** What to stop with, once everything is recorded. @type {{ chunks: number, bytes?: number } | null} */
  #ending = null;
  /** @type {'none' | 'sent' | 'taken'} */
  #stop = 'none';
  /** From which chunk on the node takes nothing, and why. @type {{ index: number, code: string, error: string } | null} */
  #limit = null;
  /** Longest that the recording may take on its node. Unit: ms. */
  #longestMs = Infinity;
  /** The video of all that the node has, which it made without a stop. @type {import('./types.d.ts').RecordingReady | null} */
  #made = null;
  /** One more than the highest index that the node has. */
  #reach = 0;
  /** A stop was too early once, or the node takes no more; the next waits for every acknowledgement. */
  #patient = false;
  #owing = false;
  #buffered = 0;
  #heardAt = 0;
  #over = false;
  /** A chunk that is larger is refused. Unit: bytes of payload. */
  chunkBytesMax = CHUNK_BYTES_MAX;

  /**
   * @param {object} options
   * @param {import('./store.js').ChunkStore} options.store
   * @param {import('./types.d.ts').RecordingMeta} options.meta kept up to date in storage
   * @param {import('./types.d.ts').Piece[]} options.pieces stored by an earlier visit
   * @param {string} options.url of the node's `/recording`
   * @param {string} [options.token] where the node asks for one
   */
  constructor({ store, meta, pieces, url, token }) {
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
    this.#sender = new Sender({ store, meta, pieces }, {
      write: (frame) => this.#link.send(frame),
      onMoved: () => this.emit('moved', {}),
      onIdle: () => this.#idle(),
      onLost: ({ index }) => this.#trouble('chunk_lost', `chunk ${index} is not readable in browser storage`, index),
    });
  }

  get connection() {
    return this.#link.state;
  }

  /** What this visit sent, and what of it the node holds. */
  get sums() {
    const { sent, acked, bytesAcked } = this.#sender;
    return { sent, acked, bytesAcked };
  }

  open() {
    this.#link.open();
  }

  /** @param {import('./types.d.ts').Piece} piece that is in storage now */
  add(piece) {
    this.#sender.add(piece);
  }

  /**
   * Everything is recorded and stored: when it is sent, the recording is finalised.
   * @param {{ chunks: number, bytes: number }} total
   */
  end(total) {
    this.#ending = total;
    if (this.#made) return void this.#ready(this.#made);
    void this.#sender.pump();
  }

  /** Tells the node to throw the recording away. */
  abort() {
    if (this.#meta.recordId) this.#link.send({ type: 'abort', recordId: this.#meta.recordId });
    return this.close();
  }

  /** Ends sending here; resolved when storage is tidy. No event follows. */
  close() {
    this.#over = true;
    this.#sender.shut();
    this.#timer.clear();
    this.#link.close();
    return this.#sender.tidy();
  }

  // ---- speaking --------------------------------------------------------------------------------------------------

  #hello() {
    const { mimeType, room, title, owner, uploadToken, recordId } = this.#meta;
    const again = uploadToken ? { uploadToken, recordId } : {};
    return { type: 'start', framing: 'indexed', mimeType, roomName: room, title, owner, token: this.#token, ...again };
  }

  #idle() {
    const ready = this.#patient ? this.#sender.waiting === 0 : this.#sender.allSent;
    if (this.#ending && this.#stop === 'none' && ready) {
      this.#stop = 'sent';
      const made = this.#limit ? { chunks: this.#end(this.#limit) } : this.#ending;
      this.#link.send({ type: 'stop', recordId: this.#meta.recordId, ...made });
    }
    this.#arm();
  }

  /** How many chunks there are for the node. @param {{ index: number }} limit */
  #end({ index }) {
    return Math.max(index, this.#reach);
  }

  // ---- hearing ---------------------------------------------------------------------------------------------------

  /** @param {import('./types.d.ts').RecordingMessage} message */
  #take(message) {
    if (this.#over) return;
    this.#heardAt = performance.now();
    this.#sender.sign();
    switch (message.type) {
      case 'started': return this.#started(message);
      case 'chunkAck': return this.#acked(message.index);
      case 'chunkError': return this.#chunkError(message);
      case 'finished': return this.#finished(message.chunks);
      case 'mergeProgress': return this.emit('progress', { percent: message.percent });
      case 'recordingReady': return void this.#ready(message);
      case 'recordingError': return this.#recordingError(message);
    }
  }

  /** @param {import('./types.d.ts').Started} message */
  #started(message) {
    const { recordId, uploadToken, limits, nextIndex, missing, graceMs, state } = message;
    Object.assign(this.#meta, { recordId, uploadToken });
    void this.#store.save(this.#meta).catch(() => {});
    this.#link.agreed(graceMs);
    this.chunkBytesMax = Math.min(CHUNK_BYTES_MAX, limits.maxChunkBytes);
    this.#longestMs = limits.maxDurationMs ?? Infinity;
    this.#reach = Math.max(this.#reach, nextIndex);
    this.#stop = 'none';
    this.emit('started', message);
    if (state === 'recording') {
      const gone = missing.filter((index) => index < this.#meta.nextIndex && !this.#sender.has(index));
      if (gone.length > 0) this.#trouble('chunks_gone', `the node lost ${gone.length} chunks that it had acknowledged`);
      return this.#sender.open(limits.maxInFlight);
    }
    // Nothing can be added now; what the node has is as good as acknowledged.
    const lacks = new Set(missing);
    this.#sender.ackAll((index) => index < nextIndex && !lacks.has(index));
    const done = this.#ending !== null && this.#sender.waiting === 0;
    // A node that gave this recorder up makes a video of what it has, and takes more when it is through.
    if (state === 'finalising' && !done) return this.#link.drop(AGAIN_MS);
    if (state === 'ready' && !done) return this.#finishedElsewhere();
    this.#stop = 'taken';
    this.#arm();
  }

  #finishedElsewhere() {
    this.#fail('recording_over', 'the recording was finished elsewhere, and not everything is in it');
  }

  /** @param {number} index */
  #acked(index) {
    this.#reach = Math.max(this.#reach, index + 1);
    this.#sender.ack(index);
  }

  /** @param {import('./types.d.ts').ChunkError} message */
  #chunkError({ index, code, error, retryable, retryAfterMs }) {
    if (this.#stop === 'taken') return; // it has that chunk, and this one was sent twice
    if (this.#stop === 'sent' && code === 'recording_stopped') return; // the answer to the stop follows
    if (LIMITS.has(code) && index !== undefined) return this.#limited({ index, code, error });
    if (!retryable && FATAL.has(code)) return this.#fail(code, error);
    this.#trouble(code, error, index);
    if (index === undefined) return;
    if (retryable) this.#sender.again(index, retryAfterMs);
    else this.#sender.refuse(index);
  }

  /** @param {{ index: number, code: string, error: string }} limit */
  #limited(limit) {
    const first = this.#limit === null;
    if (!this.#limit || limit.index < this.#limit.index) this.#limit = limit;
    this.#patient = true;
    this.#sender.refuseFrom(limit.index);
    const { index, code, error } = limit;
    if (first) this.emit('error', { code, message: error, fatal: false, ends: true, index });
  }

  /** @param {number} chunks */
  #finished(chunks) {
    if (!this.#ending) return this.#finishedElsewhere();
    this.#stop = 'taken';
    this.#sender.pause();
    // Nothing is missing, so everything of ours is durable, whatever became of the acknowledgements.
    this.#sender.ackAll((index) => index < chunks);
    this.emit('finished', { chunks });
    this.#arm();
  }

  /** @param {import('./types.d.ts').RecordingReady} message */
  async #ready(message) {
    if (!this.#ending) return this.#endedUnasked(message);
    const { keepsAny } = this.#sender;
    await this.close();
    if (!keepsAny) await this.#store.forget(this.#meta).catch(() => {});
    this.emit('ready', message);
  }

  /**
   * The node ended the recording by itself: somebody was in a pause when its longest time was over. Where it has all of it,
   * that is an end like any other.
   * @param {import('./types.d.ts').RecordingReady} message
   */
  #endedUnasked(message) {
    if (this.#sender.waiting > 0) return this.#finishedElsewhere();
    this.#made = message;
    const tooLong = Date.now() - this.#meta.startedAt >= this.#longestMs;
    const [code, error] = tooLong ? ['recording_too_long', 'the recording is as long as one may be'] : ['recording_over', 'the recording was ended elsewhere'];
    this.#limited({ index: this.#reach, code, error });
  }

  /** @param {import('./types.d.ts').RecordingError} message */
  #recordingError({ code, error, retryable, missingChunks = [], retryAfterMs = AGAIN_MS }) {
    if (code === 'chunks_missing') return this.#missing(missingChunks, error);
    if (code === 'bytes_differ' && this.#ending?.bytes !== undefined) {
      // The count of chunks says whether all are there; a sum that is wrong says nothing about which.
      this.#ending = { chunks: this.#ending.chunks };
      this.#stop = 'none';
      this.#trouble(code, error);
      return void this.#sender.pump();
    }
    if (!retryable && !HARMLESS.has(code)) return this.#fail(code, error);
    this.#trouble(code, error);
    if (retryable) this.#link.drop(retryAfterMs);
  }

  /** @param {number[]} missing @param {string} error */
  #missing(missing, error) {
    this.#stop = 'none';
    this.#patient = true;
    const ours = missing.filter((index) => this.#sender.again(index, 0));
    if (ours.length > 0 || this.#sender.waiting > 0) return void this.#sender.pump();
    if (!this.#limit) return this.#fail('chunks_missing', error, missing);
    // The stop may have been on its way before the limit was known. Of several chunks on theirs the node may have taken a
    // later one; it then makes a video with that gap.
    const end = this.#end(this.#limit);
    if (missing.some((index) => index < end)) return this.#fail(this.#limit.code, this.#limit.error, missing);
    void this.#sender.pump();
  }

  // ---- time and the end ------------------------------------------------------------------------------------------

  /** Something is owed by the other side, or becomes due: looks again then. */
  #arm() {
    if (this.#over) return;
    const now = performance.now();
    const owing = this.#sender.inFlight > 0 || this.#stop !== 'none';
    if (owing && !this.#owing) this.#heardAt = now; // silence before that was nobody's fault
    this.#owing = owing;
    const at = Math.min(this.#sender.wakeAt, owing ? this.#heardAt + SILENCE_MS : Infinity);
    if (at === Infinity) return this.#timer.clear();
    this.#timer.set(Math.max(20, at - now), () => this.#due());
  }

  #due() {
    const { buffered } = this.#link;
    // A slow line is not a dead one, and what has not even left is not overdue.
    if (buffered < this.#buffered) this.#heardAt = performance.now();
    if (buffered > 0) this.#sender.sign();
    this.#buffered = buffered;
    const silent = performance.now() - this.#heardAt >= SILENCE_MS;
    if (silent && this.#owing && this.#link.state === 'open') return this.#link.drop();
    if (this.#sender.taking) void this.#sender.pump();
    else this.#arm();
  }

  /** @param {number} code */
  #lost(code) {
    this.#timer.clear();
    this.#owing = false;
    const piece = code === CLOSE_TOO_LARGE ? this.#sender.largest() : undefined;
    this.#sender.shut();
    if (!piece) return;
    // Sending it again would close every socket to come.
    this.#sender.refuse(piece.index);
    this.#trouble('too_large', `the node refused chunk ${piece.index} of ${piece.bytes} bytes`, piece.index);
  }

  /** @param {string} code @param {string} message @param {number} [index] */
  #trouble(code, message, index) {
    this.emit('error', { code, message, fatal: false, ...(index === undefined ? {} : { index }) });
  }

  /** @param {string} code @param {string} message @param {number[]} [missing] */
  #fail(code, message, missing) {
    if (this.#over) return;
    const saved = code === 'recording_over' && this.#sender.waiting === 0;
    void this.close();
    this.emit('error', { code, message, fatal: true, ...(missing ? { missing } : {}), ...(saved ? { saved } : {}) });
  }
}
