/**
 * From a stream to a node: `capture.js` makes pieces of the stream, `keeper.js` stores them, `upload.js` sends them; this
 * brings them together, counts, and looks after the storage between them.
 * @module
 */
import { Capture } from './capture.js';
import { Keeper } from './keeper.js';
import { openSession, reportStorage } from './session.js';
import { Upload } from './upload.js';

/** How often the fill of storage is looked at. Unit: chunks. */
const REPORT_EVERY = 30;

/**
 * @typedef {object} PipelineOptions as of `Recorder`
 * @property {string} url
 * @property {string} [room]
 * @property {string} [title]
 * @property {string} [owner]
 * @property {string} [token]
 * @property {string} [mimeType]
 * @property {number} timesliceMs
 * @property {number} [videoBitsPerSecond]
 * @property {number} [audioBitsPerSecond]
 * @property {number} keyFrameIntervalMs
 * @property {import('./leftovers.js').StorageOption} [storage]
 */
/**
 * @typedef {object} PipelineEvents
 * @property {() => void} onCounts
 * @property {(track: { kind: string, label: string }) => void} onEndedTrack
 * @property {(code: string, message: string) => void} onTrouble and it goes on
 * @property {(report: import('./types.d.ts').StorageReport) => void} onStorage
 */

export class Pipeline {
  #events;
  #release;
  /** What the node has from earlier visits. */
  #before;
  #bytesRecorded;
  #opened = false;
  /** The application wants it paused. */
  #paused = false;
  #closed = false;
  /** Told once. @type {Set<string>} */
  #told = new Set();
  #capture;
  #keeper;
  #store;
  meta;
  upload;

  /**
   * @param {PipelineOptions} options
   * @param {PipelineEvents} events
   * @param {string} [earlier] key of the recording to go on with
   */
  static async open(options, events, earlier) {
    return new Pipeline(await openSession(options.storage, options, earlier), options, events);
  }

  /**
   * @param {Awaited<ReturnType<typeof openSession>>} session
   * @param {PipelineOptions} options
   * @param {PipelineEvents} events
   */
  constructor({ store, meta, pieces, release }, options, events) {
    this.#store = store;
    this.meta = meta;
    this.#release = release;
    this.#events = events;
    const waiting = pieces.reduce((sum, { bytes }) => sum + bytes, 0);
    this.#before = { chunks: meta.nextIndex - pieces.length, bytes: meta.bytesRecorded - waiting };
    this.#bytesRecorded = meta.bytesRecorded;
    this.upload = new Upload({ store, meta, pieces, url: options.url, token: options.token });
    this.upload.addEventListener('started', () => { this.#capture.pieceBytesMax = this.upload.chunkBytesMax; });
    this.upload.addEventListener('moved', () => {
      this.#events.onCounts();
      this.#throttle();
    });
    this.#keeper = new Keeper({ store, meta }, {
      onStored: (piece) => this.#stored(piece),
      onFull: ({ message }) => this.#events.onTrouble('storage_full', `nothing more fits into browser storage: ${message}`),
    });
    this.#capture = new Capture({ ...captureOptions(options), pieceBytesMax: this.upload.chunkBytesMax, nextIndex: meta.nextIndex }, {
      onTaken: (taken) => this.#taken(taken),
      onStart: (mimeType) => this.#started(mimeType),
      onEndedTrack: ({ kind, label }) => this.#events.onEndedTrack({ kind, label }),
      onError: ({ name, message }) => this.#events.onTrouble('recorder_failed', `${name}: ${message}`),
    });
    store.addEventListener('degraded', ({ detail }) => { if (!this.#closed) this.#degraded(detail.error); });
  }

  /** @returns {import('./types.d.ts').Counts} */
  get counts() {
    const { sent, acked, bytesAcked } = this.upload.sums;
    const { chunks, bytes } = this.#before;
    const recorded = this.#capture.nextIndex;
    return {
      recorded, stored: this.#keeper.stored, sent: chunks + sent, acked: chunks + acked,
      bytesRecorded: this.#bytesRecorded, bytesAcked: bytes + bytesAcked, waiting: recorded - chunks - acked,
    };
  }

  /** @param {MediaStream} stream */
  begin(stream) {
    this.#capture.begin(stream);
    void this.#report();
  }

  /** @param {MediaStream} stream */
  async replace(stream) {
    await this.#capture.end();
    if (!this.#closed) this.#capture.begin(stream);
  }

  /** @param {boolean} paused */
  set paused(paused) {
    this.#paused = paused;
    if (paused) this.#capture.pause();
    else this.#throttle();
  }

  flush() {
    this.#capture.flush();
  }

  /**
   * Ends the stream; the node makes the video when it has everything.
   * @returns {Promise<boolean>} false: nothing at all was recorded
   */
  async end() {
    await this.#capture.end();
    await this.#keeper.idle();
    const chunks = this.#capture.nextIndex;
    if (chunks === 0 || this.#closed) return chunks > 0;
    this.#open();
    this.upload.end({ chunks, bytes: this.#keeper.bytesStored });
    return true;
  }

  /** Sends nothing more. What is recorded until now is still stored, for another visit. */
  async close() {
    this.#closed = true;
    try {
      await Promise.all([this.#capture.end(), this.upload.close()]);
      await this.#keeper.idle();
    } finally {
      this.#release();
    }
  }

  /** Throws everything away, here and on the node. */
  async discard() {
    this.#keeper.close();
    void this.upload.abort();
    await this.close();
    await this.#store.forget(this.meta);
  }

  /** @param {string} mimeType what is really recorded; the wish may have been another */
  #started(mimeType) {
    this.meta.mimeType = mimeType;
    void this.#store.save(this.meta).catch(() => {});
    this.#open();
  }

  #open() {
    if (this.#opened || this.#closed) return;
    this.#opened = true;
    this.upload.open();
  }

  /** @param {import('./capture.js').Taken} taken */
  #taken(taken) {
    this.#bytesRecorded += taken.blob.size;
    this.#keeper.keep(taken);
    this.#events.onCounts();
  }

  /** @param {import('./types.d.ts').Piece} piece */
  #stored(piece) {
    this.upload.add(piece);
    this.#events.onCounts();
    this.#throttle();
    if (piece.index % REPORT_EVERY === REPORT_EVERY - 1) void this.#report();
  }

  /** Memory that stands in for storage is bounded: while it is half full, nothing more is recorded. */
  #throttle() {
    if (this.#paused || this.#closed) return;
    const { crowded } = this.#store;
    if (crowded && !this.#capture.paused) this.#events.onTrouble('storage_full', 'recording waits until the node has taken more');
    if (crowded) this.#capture.pause();
    else this.#capture.resume();
  }

  async #report() {
    const report = await reportStorage(this.#store);
    if (this.#closed) return;
    this.#events.onStorage(report);
    if (report.kind === 'memory') this.#degraded(new Error('the browser gives none'));
    if (report.nearFull) this.#once('storage_near_full', 'browser storage is more than 80 % full');
  }

  /** @param {Error} error */
  #degraded({ message }) {
    this.#once('storage_unavailable', `chunks wait in memory, and a reload loses them: no browser storage (${message})`);
  }

  /** @param {string} code @param {string} message */
  #once(code, message) {
    if (!this.#told.has(code)) this.#events.onTrouble(code, message);
    this.#told.add(code);
  }
}

/** @param {PipelineOptions} options */
function captureOptions({ mimeType, timesliceMs, keyFrameIntervalMs, videoBitsPerSecond, audioBitsPerSecond }) {
  const bits = { ...(videoBitsPerSecond ? { videoBitsPerSecond } : {}), ...(audioBitsPerSecond ? { audioBitsPerSecond } : {}) };
  const recorder = /** @type {MediaRecorderOptions} */ ({ ...bits, videoKeyFrameIntervalDuration: keyFrameIntervalMs });
  return { mimeType, timesliceMs, recorder };
}
