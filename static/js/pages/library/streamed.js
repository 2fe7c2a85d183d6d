// A media element that is fed with what has been recorded so far (W3C Media Source Extensions): it goes on by itself as
// more comes, and what is looked for earlier is fetched when somebody goes there.

/** @typedef {import('./livefeed.js').LiveFeed} LiveFeed */

/** So far ahead of what is shown it is fetched, and so far behind it is kept. Unit: seconds. */
const AHEAD_S = 30;
const BEHIND_S = 60;
/** Fetched at once. Unit: bytes. */
const PIECE_BYTES = 512 * 1024;
const AGAIN_MS = 1000;

/**
 * Whether this browser can be fed with such media.
 *
 * @param {string} mimeType with codecs
 * @returns {boolean}
 */
export function canStream(mimeType) {
  return 'MediaSource' in window && MediaSource.isTypeSupported(mimeType);
}

/** Feeds one element until its feed is closed. */
export class Streamed {
  /**
   * @param {HTMLMediaElement} media
   * @param {LiveFeed} feed that has something
   */
  constructor(media, feed) {
    this.media = media;
    this.feed = feed;
    this.source = new MediaSource();
    /** Where the next piece begins; 0 is the head. */
    this.at = 0;
    this.isBusy = false;
    this.source.addEventListener('sourceopen', () => this.#opened(), { once: true });
    media.src = URL.createObjectURL(this.source);
    const { signal } = feed;
    for (const event of ['timeupdate', 'play', 'waiting']) media.addEventListener(event, () => this.#pump(), { signal });
    media.addEventListener('seeking', () => this.#sought(), { signal });
    feed.addEventListener('more', () => this.#more(), { signal });
    signal.addEventListener('abort', () => URL.revokeObjectURL(media.src));
  }

  #opened() {
    this.buffer = this.source.addSourceBuffer(this.feed.live.mimeType ?? '');
    this.buffer.addEventListener('updateend', () => this.#pump());
    this.#more();
  }

  /** The element shows how long it is by now. */
  #more() {
    const seconds = this.feed.live.durationMs / 1000;
    if (this.buffer && !this.buffer.updating && this.source.readyState === 'open' && !(this.source.duration >= seconds)) this.source.duration = seconds;
    this.#pump();
  }

  /** Somebody goes to where nothing is held: it is fetched from there on. */
  #sought() {
    const { currentTime } = this.media;
    if (this.#heldUntil(currentTime) !== null) return this.#pump();
    const place = this.feed.placeOf(currentTime * 1000);
    if (!place || this.at === 0) return;
    this.at = place[1];
    this.fetching?.abort();
    // What was begun of another place is dropped, so that it is not taken for the beginning of this one.
    if (this.buffer && this.source.readyState === 'open') this.buffer.abort();
    this.#pump();
  }

  /**
   * @param {number} seconds
   * @returns {number | null} how far it is held from there on; null: it is not
   */
  #heldUntil(seconds) {
    const held = this.buffer?.buffered;
    for (let range = 0; held && range < held.length; range += 1) {
      // A picture may begin a little later than the sound before it.
      if (held.start(range) <= seconds + 0.2 && seconds < held.end(range)) return held.end(range);
    }
    return null;
  }

  #pump() {
    const { buffer, media, feed } = this;
    if (!buffer || buffer.updating || this.isBusy || feed.signal.aborted || this.source.readyState !== 'open') return;
    const until = this.#heldUntil(media.currentTime);
    if (until !== null && until - media.currentTime > AHEAD_S) return;
    const behind = media.currentTime - BEHIND_S;
    if (behind > 0 && buffer.buffered.length > 0 && buffer.buffered.start(0) < behind - 10) return buffer.remove(0, behind);
    const { bytes, headBytes = 0 } = feed.live;
    const end = this.at < headBytes ? headBytes : Math.min(bytes, this.at + PIECE_BYTES);
    if (end > this.at) void this.#fetch(this.at, end);
  }

  /**
   * @param {number} from
   * @param {number} end
   */
  async #fetch(from, end) {
    this.isBusy = true;
    this.fetching = new AbortController();
    const signal = AbortSignal.any([this.fetching.signal, this.feed.signal]);
    try {
      const answer = await fetch(this.feed.live.streamUrl ?? '', { headers: { Range: `bytes=${from}-${end - 1}` }, cache: 'no-store', signal });
      if (answer.status !== 206) throw new Error(`the server answers ${answer.status}`);
      const piece = await answer.arrayBuffer();
      if (this.at !== from || this.source.readyState !== 'open') return;
      this.buffer?.appendBuffer(piece);
      this.at = this.at === 0 ? this.#start() : from + piece.byteLength;
    } catch {
      // Another place is wanted, the browser holds as much as it may, or the server is away: then it is tried again.
      if (!signal.aborted) setTimeout(() => this.#pump(), AGAIN_MS);
    } finally {
      this.isBusy = false;
    }
    this.#pump();
  }

  /** Behind the head it goes on where the element is. */
  #start() {
    return this.feed.placeOf(this.media.currentTime * 1000)?.[1] ?? this.feed.live.headBytes ?? 0;
  }
}
