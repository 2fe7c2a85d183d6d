/**
 * A stream becomes pieces of video: one MediaRecorder after another, each a segment. Every piece is named by its index
 * in the handler of the event that brought it, before anything is awaited, so that order is the order of capture.
 * @module
 */
import { typeFor } from './support.js';

/**
 * A segment is known by its first bytes, and the first blob of a MediaRecorder can be a single one of them. It waits for
 * the next until there are so many. Unit: bytes.
 */
const HEAD_BYTES_MIN = 64;

/**
 * @typedef {object} Taken what one event brought: a piece, or several where it is too large for one chunk
 * @property {number} index of the first
 * @property {Blob} blob
 * @property {number} pieceBytes size of all but the last
 * @property {boolean} segmentStart
 * @property {number} timecodeMs recorded time since the segment began
 */
/**
 * @typedef {object} CaptureEvents
 * @property {(taken: Taken) => void} onTaken
 * @property {(mimeType: string) => void} onStart of each segment, with the type that is really recorded
 * @property {(track: MediaStreamTrack) => void} onEndedTrack
 * @property {(error: Error) => void} onError the segment is over; another began where that was possible
 */

export class Capture {
  #events;
  #options;
  #wish;
  #timesliceMs;
  /** @type {MediaRecorder | null} */
  #recorder = null;
  #paused = false;
  /** Pieces are at most this large. Unit: bytes. */
  pieceBytesMax;
  nextIndex;

  /**
   * @param {object} options
   * @param {string} [options.mimeType]
   * @param {number} options.timesliceMs
   * @param {MediaRecorderOptions} options.recorder
   * @param {number} options.pieceBytesMax
   * @param {number} options.nextIndex
   * @param {CaptureEvents} events
   */
  constructor({ mimeType, timesliceMs, recorder, pieceBytesMax, nextIndex }, events) {
    this.#wish = mimeType;
    this.#timesliceMs = timesliceMs;
    this.#options = recorder;
    this.pieceBytesMax = pieceBytesMax;
    this.nextIndex = nextIndex;
    this.#events = events;
  }

  /**
   * Begins a segment.
   * @param {MediaStream} stream
   */
  begin(stream) {
    const mimeType = typeFor(stream, this.#wish);
    const recorder = new MediaRecorder(stream, { ...this.#options, ...(mimeType ? { mimeType } : {}) });
    const watch = new AbortController();
    const clock = new RecordedTime();
    let head = new Blob();
    let begun = false;
    recorder.ondataavailable = ({ data }) => {
      const timecodeMs = clock.lap();
      if (data.size === 0) return; // the last of an MP4 segment
      if (begun) return this.#take({ blob: data, segmentStart: false, timecodeMs });
      head = new Blob([head, data]);
      begun = head.size >= HEAD_BYTES_MIN;
      if (begun) this.#take({ blob: head, segmentStart: true, timecodeMs: 0 });
    };
    recorder.onstart = () => this.#events.onStart(recorder.mimeType);
    recorder.onpause = () => clock.pause();
    recorder.onresume = () => clock.resume();
    recorder.onerror = (event) => this.#events.onError(/** @type {any} */ (event).error ?? new Error('the recorder failed'));
    recorder.onstop = () => {
      watch.abort();
      if (!begun && head.size > 0) this.#take({ blob: head, segmentStart: true, timecodeMs: 0 });
      if (this.#recorder === recorder) this.#ended(stream, begun);
    };
    for (const track of stream.getTracks()) {
      track.addEventListener('ended', () => this.#events.onEndedTrack(track), { signal: watch.signal });
    }
    recorder.start(this.#timesliceMs);
    this.#recorder = recorder;
    if (this.#paused) recorder.pause();
  }

  /** Ends the segment. Resolved when its last piece was handed over. */
  async end() {
    const recorder = this.#recorder;
    this.#recorder = null;
    if (!recorder || recorder.state === 'inactive') return;
    const stopped = new Promise((resolve) => recorder.addEventListener('stop', resolve, { once: true }));
    recorder.stop();
    await stopped;
  }

  get paused() {
    return this.#paused;
  }

  pause() {
    this.#paused = true;
    const recorder = this.#recorder;
    if (recorder?.state !== 'recording') return;
    // A pause may last, or be the end: what was recorded before it is not kept waiting, nor is what its encoders still have.
    recorder.requestData();
    recorder.pause();
    setTimeout(() => { if (recorder.state === 'paused') recorder.requestData(); }, this.#timesliceMs);
  }

  resume() {
    this.#paused = false;
    if (this.#recorder?.state === 'paused') this.#recorder.resume();
  }

  /** Hands over what is recorded so far, and goes on. */
  flush() {
    if (this.#recorder && this.#recorder.state !== 'inactive') this.#recorder.requestData();
  }

  /**
   * The segment ended by itself. A stream that got or lost a track cannot be recorded on, but recorded anew; one whose
   * tracks are all over waits for `replaceStream` or `stop`.
   * @param {MediaStream} stream
   * @param {boolean} fruitful a segment without any data is not tried again
   */
  #ended(stream, fruitful) {
    this.#recorder = null;
    if (!fruitful || !stream.active) return;
    try {
      this.begin(stream);
    } catch (error) {
      this.#events.onError(/** @type {Error} */ (error));
    }
  }

  /** @param {{ blob: Blob, segmentStart: boolean, timecodeMs: number }} piece */
  #take({ blob, segmentStart, timecodeMs }) {
    const index = this.nextIndex;
    const pieceBytes = this.pieceBytesMax;
    this.nextIndex += Math.ceil(blob.size / pieceBytes);
    this.#events.onTaken({ index, blob, pieceBytes, segmentStart, timecodeMs });
  }
}

/** Time without the pauses. Unit: ms. */
class RecordedTime {
  #recorded = 0;
  /** @type {number | null} */
  #since = performance.now();
  #lap = 0;

  /** @returns {number} when the piece that ends now began */
  lap() {
    const began = this.#lap;
    this.#lap = this.#now();
    return began;
  }

  pause() {
    this.#recorded = this.#now();
    this.#since = null;
  }

  resume() {
    this.#since ??= performance.now();
  }

  #now() {
    return this.#recorded + (this.#since === null ? 0 : performance.now() - this.#since);
  }
}
