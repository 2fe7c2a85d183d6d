/**
 * Records a stream and has a node make a video of it. What is recorded is in browser storage before it is sent and
 * until the node has it durably, so neither a lost network nor a reload nor a crash loses it.
 *
 * ```text
 *                        ┌─pause─► paused ─┐
 * idle ──start──► recording ◄──resume──────┘
 *                        └──stop──► stopping ──all is sent──► finalising ──► ready
 * from every state after idle: something final ──► failed;   abort ──► idle
 * ```
 * `capture.js` makes pieces of the stream, `store.js` keeps them, `upload.js` sends them; this brings them together. It
 * captures no screen and draws nothing, and it never stops a track.
 * @module
 */
import { SignalError } from '../errors.js';
import { TypedEventTarget } from '../events.js';
import { Capture } from './capture.js';
import { Keeper } from './keeper.js';
import { hold, remember, remembered } from './holding.js';
import { entryOf, storeOf } from './leftovers.js';
import { openSession, reportStorage } from './session.js';
import { Upload } from './upload.js';

/** How often the fill of storage is looked at. Unit: chunks. */
const REPORT_EVERY = 30;
/** Passed on as they come. */
const PASSED_ON = /** @type {const} */ (['connection', 'started', 'progress']);

/** @typedef {import('./types.d.ts').RecordingMeta} RecordingMeta */
/** @typedef {import('./types.d.ts').RecorderState} RecorderState */
/** @typedef {import('./types.d.ts').Trouble} Trouble */

/**
 * @typedef {object} Parts
 * @property {import('./store.js').ChunkStore} store
 * @property {RecordingMeta} meta
 * @property {() => void} release gives up the right to work on it
 * @property {Capture} capture
 * @property {Keeper} keeper
 * @property {Upload} upload
 * @property {{ chunks: number, bytes: number }} before what the node has from earlier visits
 * @property {boolean} opened the upload knows what is recorded and has begun
 */
/** @typedef {{ promise: Promise<import('./types.d.ts').RecordingReady>, resolve: (ready: import('./types.d.ts').RecordingReady) => void, reject: (error: Error) => void }} Deferred */

/** @extends {TypedEventTarget<import('./types.d.ts').RecorderEvents>} */
export class Recorder extends TypedEventTarget {
  #options;
  /** @type {RecorderState} */
  #state = 'idle';
  /** From `start` on. @type {Parts | null} */
  #parts = null;
  #bytesRecorded = 0;
  #warned = { nearFull: false, degraded: false };
  #watch = new AbortController();
  /** Changes of stream, one after the other. @type {Promise<void>} */
  #changing = Promise.resolve();
  /** The caller of `stop`. @type {Deferred | null} */
  #stopping = null;

  /**
   * @param {object} [options]
   * @param {string} [options.url] of the node's `/recording`, absolute or relative to the page
   * @param {string} [options.room] that is told that it is being recorded
   * @param {string} [options.title]
   * @param {string} [options.owner]
   * @param {string} [options.token] where the node asks for one
   * @param {string} [options.mimeType] one of `supported()`; default: the best
   * @param {number} [options.timesliceMs] length of a chunk
   * @param {number} [options.videoBitsPerSecond]
   * @param {number} [options.audioBitsPerSecond]
   * @param {number} [options.keyFrameIntervalMs] longer ones make MP4 chunks longer, and a crash loses more
   * @param {import('./leftovers.js').StorageOption} [options.storage] default: the best that works here
   */
  constructor({ url = '/recording', timesliceMs = 1000, keyFrameIntervalMs = 2000, ...rest } = {}) {
    super();
    this.#options = { url, timesliceMs, keyFrameIntervalMs, ...rest };
  }

  /**
   * The recording that this window was making before it was reloaded, for `start(stream, { continue: entry })`; null if
   * there is none, or another tab has it.
   * @param {import('./leftovers.js').StorageOption} [storage]
   */
  static async continuable(storage) {
    const key = remembered();
    if (!key) return null;
    const store = await storeOf(storage);
    const [meta, release] = [await store.recording(key), await hold(key)];
    release?.();
    return meta && release ? entryOf(store, meta) : null;
  }

  get state() {
    return this.#state;
  }

  get recordId() {
    return this.#parts?.meta.recordId ?? null;
  }

  get uploadToken() {
    return this.#parts?.meta.uploadToken ?? null;
  }

  get connection() {
    return this.#parts?.upload.connection ?? 'closed';
  }

  /** @returns {import('./types.d.ts').Counts} */
  get counts() {
    if (!this.#parts) return { recorded: 0, stored: 0, sent: 0, acked: 0, bytesRecorded: 0, bytesAcked: 0, waiting: 0 };
    const { before, capture, keeper, upload } = this.#parts;
    const acked = before.chunks + upload.acked;
    return {
      recorded: capture.nextIndex, stored: keeper.stored, sent: before.chunks + upload.sent, acked,
      bytesRecorded: this.#bytesRecorded, bytesAcked: before.bytes + upload.bytesAcked, waiting: capture.nextIndex - acked,
    };
  }

  /**
   * Begins to record. Resolved when it records here; the node may still be out of reach.
   * @param {MediaStream} stream
   * @param {{ continue?: { key: string } }} [options] continue: with a recording of before a reload
   */
  async start(stream, { continue: earlier } = {}) {
    if (this.#state !== 'idle') throw new SignalError('already_started', 'a Recorder records once');
    this.#setState('recording');
    try {
      this.#parts = await this.#prepare(earlier?.key);
      this.#parts.capture.begin(stream);
    } catch (error) {
      const { store, meta } = this.#parts ?? {};
      this.#leave('idle');
      if (earlier) remember(earlier.key);
      else if (store && meta) await store.forget(meta).catch(() => {});
      throw error;
    }
    this.#watchWindow();
    void this.#report();
  }

  pause() {
    if (this.#state !== 'recording') return;
    this.#setState('paused');
    this.#parts?.capture.pause();
  }

  resume() {
    if (this.#state !== 'paused') return;
    this.#setState('recording');
    this.#throttle();
  }

  /**
   * Goes on with another stream, or with the same after its tracks changed: a new segment. Ask for one when a screen or
   * microphone is added or another one is chosen.
   * @param {MediaStream} stream
   */
  replaceStream(stream) {
    const running = () => this.#state === 'recording' || this.#state === 'paused';
    if (!running()) return Promise.reject(new SignalError('not_started', 'nothing is being recorded'));
    const change = this.#changing.then(async () => {
      await this.#parts?.capture.end();
      if (running()) this.#parts?.capture.begin(stream);
    });
    this.#changing = change.catch(() => {});
    return change;
  }

  /** Hands over what is recorded so far. For `beforeunload`: if the person stays, the recording goes on. */
  flush() {
    this.#parts?.capture.flush();
  }

  /**
   * Ends the recording. Resolved with the video, rejected with a `SignalError` when that failed for good; what the node
   * has not acknowledged is then still in browser storage.
   * @returns {Promise<import('./types.d.ts').RecordingReady>}
   */
  stop() {
    if (this.#stopping) return this.#stopping.promise;
    if (this.#state !== 'recording' && this.#state !== 'paused') {
      return Promise.reject(new SignalError('not_started', 'nothing is being recorded'));
    }
    this.#stopping = deferred();
    this.#setState('stopping');
    remember(null);
    void this.#changing.then(() => this.#end());
    return this.#stopping.promise;
  }

  /** Ends the recording and throws it away, here and on the node. */
  async abort() {
    if (!this.#parts || this.#state === 'ready') return;
    const { capture, keeper, meta, store, upload } = this.#parts;
    upload.abort();
    keeper.close();
    this.#leave('idle', new SignalError('aborted', 'the recording was thrown away'));
    await Promise.all([capture.end(), keeper.idle(), upload.close()]);
    await store.forget(meta);
  }

  // ---- from stream to node ---------------------------------------------------------------------------------------

  /**
   * @param {string} [earlier] key of the recording to go on with
   * @returns {Promise<Parts>}
   */
  async #prepare(earlier) {
    const { url, token, mimeType, timesliceMs, keyFrameIntervalMs, videoBitsPerSecond, audioBitsPerSecond, storage } = this.#options;
    const { store, meta, pieces, release } = await openSession(storage, this.#options, earlier);
    const waiting = pieces.reduce((sum, { bytes }) => sum + bytes, 0);
    const before = { chunks: meta.nextIndex - pieces.length, bytes: meta.bytesRecorded - waiting };
    this.#bytesRecorded = meta.bytesRecorded;
    const upload = this.#listen(new Upload({ store, meta, pieces, url, token }));
    const keeper = new Keeper({ store, meta }, {
      onStored: (piece) => this.#stored(piece),
      onFull: ({ message }) => this.#trouble('storage_full', `nothing more fits into browser storage: ${message}`),
    });
    const bits = { ...(videoBitsPerSecond ? { videoBitsPerSecond } : {}), ...(audioBitsPerSecond ? { audioBitsPerSecond } : {}) };
    const recorder = /** @type {MediaRecorderOptions} */ ({ ...bits, videoKeyFrameIntervalDuration: keyFrameIntervalMs });
    const capture = new Capture({ mimeType, timesliceMs, recorder, pieceBytesMax: upload.chunkBytesMax, nextIndex: meta.nextIndex }, {
      onTaken: (taken) => this.#taken(taken),
      onStart: (actual) => this.#recording(actual),
      onEndedTrack: ({ kind, label }) => this.emit('ended-track', { kind, label }),
      onError: ({ name, message }) => this.#trouble('recorder_failed', `${name}: ${message}`),
    });
    store.addEventListener('degraded', ({ detail: { error } }) => this.#degraded(error), { signal: this.#watch.signal });
    return { store, meta, release, capture, keeper, upload, before, opened: false };
  }

  /** @param {Upload} upload */
  #listen(upload) {
    for (const type of PASSED_ON) upload.addEventListener(type, ({ detail }) => this.emit(type, /** @type {any} */ (detail)));
    upload.addEventListener('started', () => {
      if (this.#parts) this.#parts.capture.pieceBytesMax = upload.chunkBytesMax;
    });
    upload.addEventListener('moved', () => {
      this.emit('counts', this.counts);
      this.#throttle();
    });
    upload.addEventListener('finished', () => this.#setState('finalising'));
    upload.addEventListener('error', ({ detail }) => {
      if (detail.fatal) this.#leave('failed', new SignalError(detail.code, detail.message));
      this.emit('error', detail);
    });
    upload.addEventListener('ready', ({ detail }) => {
      this.#leave('ready');
      this.emit('ready', detail);
      this.#stopping?.resolve(detail);
    });
    return upload;
  }

  /** @param {string} mimeType what is really recorded; the wish may have been another */
  #recording(mimeType) {
    if (!this.#parts) return;
    this.#parts.meta.mimeType = mimeType;
    void this.#parts.store.save(this.#parts.meta).catch(() => {});
    this.#open();
  }

  #open() {
    if (!this.#parts || this.#parts.opened || this.#state === 'failed') return;
    this.#parts.opened = true;
    this.#parts.upload.open();
  }

  /** @param {import('./capture.js').Taken} taken */
  #taken(taken) {
    this.#bytesRecorded += taken.blob.size;
    this.#parts?.keeper.keep(taken);
    this.emit('counts', this.counts);
  }

  /** @param {import('./types.d.ts').Piece} piece */
  #stored(piece) {
    this.#parts?.upload.add(piece);
    this.emit('counts', this.counts);
    this.#throttle();
    if (piece.index % REPORT_EVERY === REPORT_EVERY - 1) void this.#report();
  }

  /** Memory that stands in for storage is bounded: while it is half full, nothing more is recorded. */
  #throttle() {
    if (!this.#parts || this.#state !== 'recording') return;
    const { capture, store } = this.#parts;
    if (store.crowded && !capture.paused) this.#trouble('storage_full', 'recording waits until the node has taken more');
    if (store.crowded) capture.pause();
    else capture.resume();
  }

  // ---- the end ---------------------------------------------------------------------------------------------------

  async #end() {
    if (!this.#parts) return;
    const { capture, keeper, upload } = this.#parts;
    await capture.end();
    await keeper.idle();
    if (this.#state !== 'stopping') return;
    if (capture.nextIndex === 0) {
      const { code, message } = new SignalError('empty_recording', 'nothing was recorded');
      await this.abort();
      return this.emit('error', { code, message, fatal: true });
    }
    this.#open();
    upload.end({ chunks: capture.nextIndex, bytes: keeper.bytesStored });
  }

  /**
   * Nothing more is recorded. What was captured last is still stored.
   * @param {'idle' | 'ready' | 'failed'} state
   * @param {Error} [error]
   */
  #leave(state, error) {
    const parts = this.#parts;
    this.#watch.abort();
    remember(null);
    this.#setState(state);
    if (error) this.#stopping?.reject(error);
    void Promise.resolve(parts?.capture.end()).then(() => parts?.keeper.idle()).finally(() => parts?.release());
  }

  // ---- window and storage ----------------------------------------------------------------------------------------

  #watchWindow() {
    const hidden = () => { if (document.visibilityState === 'hidden') this.flush(); };
    document.addEventListener('visibilitychange', hidden, { signal: this.#watch.signal });
  }

  async #report() {
    if (!this.#parts) return;
    const report = await reportStorage(this.#parts.store);
    this.emit('storage', report);
    if (report.kind === 'memory') this.#degraded(new Error('the browser gives none'));
    if (report.nearFull && !this.#warned.nearFull) {
      this.#warned.nearFull = true;
      this.#trouble('storage_near_full', 'browser storage is more than 80 % full');
    }
  }

  /** @param {Error} error */
  #degraded({ message }) {
    if (this.#warned.degraded) return;
    this.#warned.degraded = true;
    this.#trouble('storage_unavailable', `chunks wait in memory, and a reload loses them: no browser storage (${message})`);
  }

  /** @param {string} code @param {string} message */
  #trouble(code, message) {
    this.emit('error', { code, message, fatal: false });
  }

  /** @param {RecorderState} state */
  #setState(state) {
    if (state === this.#state) return;
    this.#state = state;
    this.emit('state', { state });
  }
}

/** @returns {Deferred} */
function deferred() {
  /** @type {any} */
  const parts = {};
  parts.promise = new Promise((resolve, reject) => Object.assign(parts, { resolve, reject }));
  parts.promise.catch(() => {}); // the same is told by an event
  return parts;
}
