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
 * It captures no screen and draws nothing, and it never stops a track. The work is done in `pipeline.js`.
 * @module
 */
import { SignalError } from '../errors.js';
import { TypedEventTarget } from '../events.js';
import { RELOAD_MS, hold, remember, remembered } from './holding.js';
import { entryOf, storeOf } from './leftovers.js';
import { Pipeline } from './pipeline.js';

/** Passed on as they come. */
const PASSED_ON = /** @type {const} */ (['connection', 'started', 'progress']);
const NONE = { recorded: 0, stored: 0, sent: 0, acked: 0, bytesRecorded: 0, bytesAcked: 0, waiting: 0 };

/** @typedef {import('./types.d.ts').RecordingReady} RecordingReady */
/** @typedef {{ promise: Promise<RecordingReady>, resolve: (ready: RecordingReady) => void, reject: (error: Error) => void }} Deferred */

/** @extends {TypedEventTarget<import('./types.d.ts').RecorderEvents>} */
export class Recorder extends TypedEventTarget {
  #options;
  /** @type {import('./types.d.ts').RecorderState} */
  #state = 'idle';
  /** @type {Pipeline | null} */
  #pipeline = null;
  #watch = new AbortController();
  /** The start and changes of stream, one after the other. @type {Promise<void>} */
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
    const [meta, release] = [await store.recording(key), await hold(key, RELOAD_MS)];
    release?.();
    return meta && release ? entryOf(store, meta) : null;
  }

  get state() {
    return this.#state;
  }

  get recordId() {
    return this.#pipeline?.meta.recordId ?? null;
  }

  get uploadToken() {
    return this.#pipeline?.meta.uploadToken ?? null;
  }

  get connection() {
    return this.#pipeline?.upload.connection ?? 'closed';
  }

  /** @returns {import('./types.d.ts').Counts} */
  get counts() {
    return this.#pipeline?.counts ?? NONE;
  }

  /**
   * Begins to record. Resolved when it records here; the node may still be out of reach.
   * @param {MediaStream} stream
   * @param {{ continue?: { key: string } }} [options] continue: with a recording of before a reload
   */
  start(stream, { continue: earlier } = {}) {
    if (this.#state !== 'idle') return Promise.reject(new SignalError('already_started', 'it records already'));
    this.#setState('recording');
    return this.#change(() => this.#begin(stream, earlier?.key));
  }

  pause() {
    if (this.#state !== 'recording') return;
    this.#setState('paused');
    if (this.#pipeline) this.#pipeline.paused = true;
  }

  resume() {
    if (this.#state !== 'paused') return;
    this.#setState('recording');
    if (this.#pipeline) this.#pipeline.paused = false;
  }

  /**
   * Goes on with another stream, or with the same after its tracks changed: a new segment. Ask for one when a screen or
   * microphone is added or another one is chosen.
   * @param {MediaStream} stream
   */
  replaceStream(stream) {
    if (!this.#running) return Promise.reject(notStarted());
    return this.#change(async () => { if (this.#running) await this.#pipeline?.replace(stream); });
  }

  /** Hands over what is recorded so far. For `beforeunload`: if the person stays, the recording goes on. */
  flush() {
    this.#pipeline?.flush();
  }

  /**
   * Ends the recording. Resolved with the video, rejected with a `SignalError` when that failed for good; what the node
   * has not acknowledged is then still in browser storage.
   * @returns {Promise<RecordingReady>}
   */
  stop() {
    if (this.#stopping) return this.#stopping.promise;
    if (!this.#running) return Promise.reject(notStarted());
    this.#stopping = deferred();
    this.#setState('stopping');
    remember(null);
    void this.#change(() => this.#end());
    return this.#stopping.promise;
  }

  /** Ends the recording and throws it away, here and on the node. */
  async abort() {
    if (this.#state === 'idle' || this.#state === 'ready') return;
    if (!this.#pipeline) await this.#changing; // it has only just begun
    const pipeline = this.#pipeline;
    this.#leave('idle', new SignalError('aborted', 'the recording was thrown away'));
    await pipeline?.discard();
  }

  get #running() {
    return this.#state === 'recording' || this.#state === 'paused';
  }

  /**
   * After the changes before it.
   * @param {() => Promise<void>} act
   */
  #change(act) {
    const change = this.#changing.then(act);
    this.#changing = change.catch(() => {});
    return change;
  }

  /** @param {MediaStream} stream @param {string} [earlier] key of the recording to go on with */
  async #begin(stream, earlier) {
    try {
      this.#pipeline = await Pipeline.open(this.#options, {
        onCounts: () => this.emit('counts', this.counts),
        onEndedTrack: (track) => this.emit('ended-track', track),
        onTrouble: (code, message) => this.emit('error', { code, message, fatal: false }),
        onStorage: (report) => this.emit('storage', report),
      }, earlier);
      this.#listen(this.#pipeline.upload);
      this.#pipeline.paused = this.#state === 'paused';
      this.#pipeline.begin(stream);
    } catch (error) {
      const pipeline = this.#pipeline;
      this.#leave('idle', /** @type {Error} */ (error));
      // What was recorded before the reload is not given up because of a stream.
      if (earlier) remember(earlier);
      await (earlier ? pipeline?.close() : pipeline?.discard());
      throw error;
    }
    const hidden = () => { if (document.visibilityState === 'hidden') this.flush(); };
    document.addEventListener('visibilitychange', hidden, { signal: this.#watch.signal });
  }

  /** @param {import('./upload.js').Upload} upload */
  #listen(upload) {
    for (const type of PASSED_ON) upload.addEventListener(type, ({ detail }) => this.emit(type, /** @type {any} */ (detail)));
    upload.addEventListener('finished', () => this.#setState('finalising'));
    upload.addEventListener('error', ({ detail }) => {
      if (detail.fatal) return this.#fail(detail);
      this.emit('error', detail);
      // Unless whoever heard of it has done so.
      if (detail.ends && this.#running) void this.stop();
    });
    upload.addEventListener('ready', ({ detail }) => {
      const stopping = this.#stopping;
      void this.#pipeline?.close();
      this.#leave('ready');
      this.emit('ready', detail);
      stopping?.resolve(detail);
    });
  }

  async #end() {
    const pipeline = this.#pipeline;
    const fruitful = await pipeline?.end();
    if (this.#state !== 'stopping' || !pipeline || fruitful) return;
    this.#fail({ code: 'empty_recording', message: 'nothing was recorded', fatal: true });
    await pipeline.discard();
  }

  /** @param {import('./types.d.ts').Trouble} trouble */
  #fail(trouble) {
    void this.#pipeline?.close();
    this.#leave('failed', new SignalError(trouble.code, trouble.message));
    this.emit('error', trouble);
  }

  /**
   * @param {'idle' | 'ready' | 'failed'} state
   * @param {Error} [error] for the caller of `stop`
   */
  #leave(state, error) {
    this.#watch.abort();
    this.#watch = new AbortController();
    if (state === 'idle') this.#pipeline = null;
    remember(null);
    this.#setState(state);
    if (error) this.#stopping?.reject(error);
    if (state === 'idle') this.#stopping = null;
  }

  /** @param {import('./types.d.ts').RecorderState} state */
  #setState(state) {
    if (state === this.#state) return;
    this.#state = state;
    this.emit('state', { state });
  }
}

const notStarted = () => new SignalError('not_started', 'nothing is being recorded');

/** @returns {Deferred} */
function deferred() {
  /** @type {any} */
  const parts = {};
  parts.promise = new Promise((resolve, reject) => Object.assign(parts, { resolve, reject }));
  parts.promise.catch(() => {}); // an event tells the same
  return parts;
}
