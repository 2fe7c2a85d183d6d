/**
 * The socket of an upload over lost connections: connects, says the hello, and comes back with growing pauses for as
 * long as it is wanted. It knows no chunk; `upload.js` does.
 * @module
 */
import { jitteredMs } from '../backoff.js';
import { FINAL_CLOSE } from '../errors.js';
import { LiveSocket } from '../socket.js';

/** The longest pause between attempts, and while the node still waits for this recorder. Unit: ms. */
const BACKOFF_CAP_MS = 8_000;
const BACKOFF_GRACE_CAP_MS = 1_500;
/** A connection that lived this long was a good one: the next loss starts from the shortest pause again. Unit: ms. */
const SETTLED_MS = 10_000;
/** What a recorder can be told for good. A normal close is not among them: the recording may need another socket. */
const FINAL = new Map(Object.entries(FINAL_CLOSE).filter(([code]) => code !== '1000').map(([code, row]) => [Number(code), row]));

/**
 * @typedef {object} LinkEvents
 * @property {() => object} hello what to say first on each socket
 * @property {(message: import('./types.d.ts').RecordingMessage) => void} onMessage
 * @property {(code: number) => void} onLost with the close code; another attempt follows
 * @property {(end: { code: string, reason: string }) => void} onFinal no attempt follows
 * @property {(connection: { state: import('./types.d.ts').ConnectionState, retryInMs?: number }) => void} onState
 */

export class Link {
  #url;
  #events;
  /** @type {LiveSocket | null} */
  #socket = null;
  /** @type {import('./types.d.ts').ConnectionState} */
  #state = 'closed';
  #attempt = 0;
  #openedAt = Infinity;
  #lostAt = 0;
  #notBefore = 0;
  /** How long the node waits for a lost recorder. Unit: ms. */
  #graceMs = 0;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;
  /** @type {AbortController | null} */
  #watch = null;

  /**
   * @param {string} url of the node's `/recording`, absolute or relative to the page
   * @param {LinkEvents} events
   */
  constructor(url, events) {
    const address = new URL(url, globalThis.location?.href);
    address.protocol = address.protocol.replace('http', 'ws');
    this.#url = address.href;
    this.#events = events;
  }

  get state() {
    return this.#state;
  }

  /** Bytes that were sent and have not left the browser. */
  get buffered() {
    return this.#socket?.buffered ?? 0;
  }

  open() {
    this.#watch = new AbortController();
    const { signal } = this.#watch;
    const wake = () => this.#wake();
    globalThis.addEventListener('online', wake, { signal });
    globalThis.document?.addEventListener('visibilitychange', wake, { signal });
    this.#connect();
  }

  /**
   * The node agreed to the hello.
   * @param {number} graceMs
   */
  agreed(graceMs) {
    this.#graceMs = graceMs;
    this.#openedAt = performance.now();
    this.#socket?.trust();
    this.#setState({ state: 'open' });
  }

  /** @param {object | Uint8Array<ArrayBuffer>} data a message, or a frame */
  send(data) {
    this.#socket?.send(data instanceof Uint8Array ? data : JSON.stringify(data));
  }

  /**
   * Gives the present socket up and takes another, not before some time.
   * @param {number} [waitMs]
   */
  drop(waitMs = 0) {
    this.#notBefore = performance.now() + waitMs;
    this.#socket?.drop();
  }

  /** Ends it here; no event follows. */
  close() {
    this.#watch?.abort();
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const socket = this.#socket;
    this.#socket = null;
    socket?.close();
    this.#setState({ state: 'closed' });
  }

  #connect() {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#setState({ state: 'connecting' });
    const socket = new LiveSocket(this.#url, {
      onOpen: () => this.send(this.#events.hello()),
      onMessage: (message) => this.#events.onMessage(message),
      onEnd: (code) => { if (this.#socket === socket) this.#lost(code); },
    });
    this.#socket = socket;
  }

  /** @param {number} code */
  #lost(code) {
    this.#socket = null;
    const now = performance.now();
    if (this.#state === 'open') this.#lostAt = now;
    if (now - this.#openedAt > SETTLED_MS) this.#attempt = 0;
    this.#openedAt = Infinity;
    const final = FINAL.get(code);
    if (final) {
      this.close();
      return this.#events.onFinal(final);
    }
    const awaited = now - this.#lostAt < this.#graceMs;
    const pauseMs = jitteredMs(this.#attempt++, awaited ? BACKOFF_GRACE_CAP_MS : BACKOFF_CAP_MS);
    const retryInMs = Math.max(0, this.#notBefore - now) + pauseMs;
    this.#timer = setTimeout(() => this.#connect(), retryInMs);
    this.#setState({ state: 'waiting', retryInMs });
    this.#events.onLost(code);
  }

  /** The network or the window is back: no need to wait for the timer. */
  #wake() {
    if (this.#timer === undefined || document.visibilityState !== 'visible') return;
    if (performance.now() >= this.#notBefore) this.#connect();
  }

  /** @param {{ state: import('./types.d.ts').ConnectionState, retryInMs?: number }} connection */
  #setState(connection) {
    if (connection.state === this.#state) return;
    this.#state = connection.state;
    this.#events.onState(connection);
  }
}
