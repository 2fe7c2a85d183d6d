/**
 * One WebSocket that knows whether it is alive. A browser cannot send WebSocket pings and can take minutes to notice a
 * dead network, so silence is answered with a `Ping` message, and silence after that ends the socket. Where the node knows
 * no `Ping`, the user of the socket takes over the watch (`trust`).
 *
 * It reads no message and knows no session; see `signaling.js` and `recorder/link.js` for those.
 * @module
 */
import { Deadline } from './deadline.js';

/** From `new WebSocket` until the node has answered the hello. Unit: ms. */
const HELLO_MS = 10_000;
/** How long a probe waits for a sign of life, when there is reason to doubt. Unit: ms. */
const PROBE_MS = 3_000;
/** Until the node has said its own. Unit: ms. */
const HEARTBEAT_MS = 15_000;
/** The close code that browsers give to a socket which was lost without a goodbye. */
const CLOSE_LOST = 1006;

/**
 * @typedef {object} SocketEvents
 * @property {() => void} onOpen
 * @property {(message: any) => void} onMessage a JSON object with a `type`
 * @property {(code: number) => void} onEnd once, with the close code, and nothing after it
 */

export class LiveSocket {
  #socket;
  #events;
  #ended = false;
  #heartbeatMs = HEARTBEAT_MS;
  #deadline = new Deadline();

  /**
   * @param {string} url
   * @param {SocketEvents} events
   */
  constructor(url, events) {
    this.#events = events;
    this.#socket = new WebSocket(url);
    this.#socket.onopen = () => events.onOpen();
    this.#socket.onmessage = ({ data }) => this.#take(data);
    this.#socket.onclose = ({ code }) => this.#end(code);
    this.#deadline.set(HELLO_MS, () => this.drop());
  }

  /**
   * The node has answered the hello: from here on silence is watched.
   * @param {number} heartbeatMs silence before a ping, and again before the socket counts as dead
   */
  watch(heartbeatMs) {
    if (heartbeatMs > 0) this.#heartbeatMs = heartbeatMs;
    this.#listen();
  }

  /** The node has answered the hello: from here on whoever uses the socket judges silence, and drops it. */
  trust() {
    this.#deadline.clear();
  }

  /** Bytes that were sent and have not left the browser. */
  get buffered() {
    return this.#socket.bufferedAmount;
  }

  /** @param {string | Uint8Array<ArrayBuffer>} data */
  send(data) {
    if (this.#socket.readyState === WebSocket.OPEN) this.#socket.send(data);
  }

  /** Asks for a sign of life now, because something suggests that the network changed. */
  probe() {
    this.#ask(PROBE_MS);
  }

  /** Gives the socket up as lost, without waiting for the other side, which may be gone. */
  drop() {
    this.#socket.close();
    this.#end(CLOSE_LOST);
  }

  /** Says goodbye. What was sent before still arrives; no event follows. */
  close() {
    this.#ended = true;
    this.#deadline.clear();
    this.#socket.close(1000);
  }

  /** @param {unknown} data */
  #take(data) {
    if (this.#ended) return;
    const message = parse(data);
    // What was under way before the question is no answer to it; it only puts the end off a little.
    if (this.#askedWithinMs > 0 && message?.type !== 'Pong') this.#await(this.#askedWithinMs);
    else if (this.#watching) this.#listen();
    if (message) this.#events.onMessage(message);
  }

  #watching = false;
  /** While a ping is unanswered: how long it may be. Unit: ms. */
  #askedWithinMs = 0;

  /** Anything that arrives is life: wait one heartbeat of silence, then ask. */
  #listen() {
    this.#watching = true;
    this.#askedWithinMs = 0;
    this.#deadline.set(this.#heartbeatMs, () => this.#ask(this.#heartbeatMs));
  }

  /** @param {number} withinMs */
  #ask(withinMs) {
    if (this.#ended || !this.#watching) return;
    this.send('{"type":"Ping"}');
    this.#await(withinMs);
  }

  /** @param {number} withinMs */
  #await(withinMs) {
    this.#askedWithinMs = withinMs;
    this.#deadline.set(withinMs, () => this.drop());
  }

  /** @param {number} code */
  #end(code) {
    if (this.#ended) return;
    this.#ended = true;
    this.#deadline.clear();
    this.#events.onEnd(code);
  }
}

/**
 * A frame that is no message is left out; the gap in `seq` that it leaves is noticed by the session.
 * @param {unknown} data
 * @returns {{ type: string } | null}
 */
function parse(data) {
  if (typeof data !== 'string') return null;
  try {
    const message = JSON.parse(data);
    return typeof message?.type === 'string' ? message : null;
  } catch {
    return null;
  }
}
