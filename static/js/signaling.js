/**
 * A session with a node: joins a room, carries commands and messages, and survives lost sockets. Nothing here knows
 * WebRTC; `call.js` builds calls on it.
 *
 * ```text
 * idle ──join──► connecting ──RoomJoined──► joined ◄──Resumed / RoomJoined──┐
 *   ▲               │ refused                 │ socket lost                 │
 *   └───────────────┘                         └────────► reconnecting ──────┘
 * from every state: leave, close, or a final close code ──► closed
 * ```
 * Messages of the node are numbered. They are taken in order and once, acknowledged in bulk, and after a lost socket
 * the node repeats what was missed; where it cannot, or lost something on the way from another node, it sends a fresh
 * roster (a snapshot) and the numbering goes on. Commands wait in the outbox until they are answered.
 * @module
 */
import { Acks } from './acks.js';
import { jitteredMs } from './backoff.js';
import { CLOSE_TOO_LARGE, FINAL_CLOSE, ROOM_REFUSALS, SignalError, endedBy } from './errors.js';
import { TypedEventTarget } from './events.js';
import { mergeMetadata } from './metadata.js';
import { Outbox } from './outbox.js';
import { rememberUserId, rememberedUserId } from './remembered.js';
import { LiveSocket } from './socket.js';

/** The longest pause between attempts to come back. Unit: ms. */
const BACKOFF_CAP_MS = 8_000;
/** The longest pause while the node still waits for this session: to miss its grace would be to leave. Unit: ms. */
const BACKOFF_GRACE_CAP_MS = 1_500;
/** Of a node that does not say how long it waits. Unit: ms. */
const GRACE_MS = 10_000;
/** A connection that lived this long was a good one: the next loss starts from the base again. Unit: ms. */
const SETTLED_MS = 10_000;
/** How long a first join keeps trying while no node answers. Unit: ms. */
const JOIN_PATIENCE_MS = 15_000;
const JOIN_ID = 'join';

/** @typedef {import('./types.d.ts').NodeMessage} NodeMessage */
/** @typedef {import('./types.d.ts').RoomJoined} RoomJoined */
/** @typedef {import('./types.d.ts').Roster} Roster */
/** @typedef {import('./types.d.ts').SignalingEvents} SignalingEvents */
/** @typedef {import('./types.d.ts').Resumed & { outcome: 'snapshot' }} Snapshot */

/**
 * One participant's session over successive sockets.
 *
 * Events: every message of the node under its own type (`UserJoined`, `Offer`, …; `event.detail` is the message),
 * `undelivered` {type, target, error} for a command that was taken and then did not arrive, `state` {state}, and `ended`
 * {code, reason, mayReturn}, which is the last.
 * @extends {TypedEventTarget<SignalingEvents>}
 */
export class SignalingClient extends TypedEventTarget {
  #url;
  #storage;
  /** @type {import('./types.d.ts').SignalingState} */
  #state = 'idle';
  /** @type {LiveSocket | null} */
  #socket = null;
  /** What was said first on the present socket, until the node agreed. @type {'joining' | 'resuming' | 'open'} */
  #phase = 'joining';
  /** @type {{ type: 'Join', id: string, room_name: string, user_id?: string, username?: string, token?: string, metadata: import('./types.d.ts').Metadata } | null} */
  #hello = null;
  /** @type {{ id: string, token: string, lastSeq: number, heartbeatMs: number, graceMs: number } | null} */
  #session = null;
  /** The caller of `join`, while it waits. @type {{ resolve: (joined: RoomJoined) => void, reject: (error: SignalError) => void, until: number } | null} */
  #joining = null;
  #outbox = new Outbox((text) => this.#socket?.send(text));
  #acks = new Acks(() => this.#sendAck());
  #attempt = 0;
  #openedAt = 0;
  #lostAt = 0;
  #notBefore = 0;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #connectTimer;
  /** Ends the listening to the window. @type {AbortController | null} */
  #watch = null;

  /**
   * @param {object} [options]
   * @param {string} [options.url] of the node's `/ws`, absolute or relative to the page; default: the page's own origin
   * @param {Storage | null} [options.storage] where the user id is kept for a reload; default: nowhere
   */
  constructor({ url = '/ws', storage = null } = {}) {
    super();
    this.#url = new URL(url, globalThis.location?.href);
    this.#url.protocol = this.#url.protocol.replace('http', 'ws');
    this.#storage = storage;
  }

  /** Where the session stands. */
  get state() {
    return this.#state;
  }

  /**
   * Joins a room. While no node answers it tries again for 15 s; a refusal ends it at once.
   * @param {import('./types.d.ts').JoinOptions} options
   * @returns {Promise<RoomJoined>} rejected with a `SignalError`, after which `join` may be called again
   */
  join({ room, userId, username, metadata = {}, token }) {
    if (this.#state !== 'idle' && this.#state !== 'closed') {
      return Promise.reject(new SignalError('already_joined', 'leave the room first'));
    }
    const user_id = userId ?? rememberedUserId(this.#storage, room);
    // Nodes read neither: a balancer before a cluster may keep a room together by its name, unless its node did not answer.
    this.#url.searchParams.set('room', room);
    this.#url.searchParams.delete('again');
    this.#hello = { type: 'Join', id: JOIN_ID, room_name: room, user_id, username, metadata, token };
    this.#session = null;
    this.#attempt = 0;
    this.#notBefore = 0;
    this.#watchWindow();
    return new Promise((resolve, reject) => {
      this.#joining = { resolve, reject, until: performance.now() + JOIN_PATIENCE_MS };
      this.#setState('connecting');
      this.#connect();
    });
  }

  /**
   * Sends a command, now or when the session is back.
   * @param {import('./types.d.ts').Command} command
   * @returns {Promise<void>} resolved when the node took it, rejected with a `SignalError`
   */
  send(command) {
    if (!this.#session && this.#state !== 'reconnecting') {
      return Promise.reject(new SignalError('not_joined', 'join a room first'));
    }
    if (command.type === 'Update' && this.#hello) {
      // If the session is lost for good, the next one must begin with what the others knew last.
      this.#hello.metadata = mergeMetadata(this.#hello.metadata, command.metadata);
    }
    return this.#outbox.push(command);
  }

  /** Leaves the room; the others see it at once. */
  leave() {
    if (this.#phase === 'open') this.#socket?.send('{"type":"Leave"}');
    this.#end({ code: 1000, reason: 'left', mayReturn: true });
  }

  /** Ends the session here without leaving: the others see it when the grace is over. */
  close() {
    this.#end({ code: 1000, reason: 'closed', mayReturn: true });
  }

  // ---- sockets -------------------------------------------------------------------------------------------------

  #connect() {
    clearTimeout(this.#connectTimer);
    this.#connectTimer = undefined;
    const socket = new LiveSocket(this.#url.href, {
      onOpen: () => this.#sayHello(),
      onMessage: (message) => this.#take(message),
      onEnd: (code) => this.#lost(code),
    });
    this.#socket = socket;
    this.#phase = this.#session ? 'resuming' : 'joining';
  }

  #sayHello() {
    const session = this.#session;
    this.#phase = session ? 'resuming' : 'joining';
    const hello = session
      ? { type: 'Resume', session_id: session.id, resume_token: session.token, last_seq: session.lastSeq }
      : this.#hello;
    this.#socket?.send(JSON.stringify(hello));
  }

  /** @param {number} code */
  #lost(code) {
    this.#release();
    const final = FINAL_CLOSE[code];
    if (final) return this.#refuse(new SignalError(final.code, final.reason), { ...final, code });
    if (code === CLOSE_TOO_LARGE) this.#outbox.failAll(new SignalError('too_large', 'the node refused a message of this size'));
    if (this.#joining && performance.now() > this.#joining.until) {
      return this.#refuse(new SignalError('unreachable', 'no node answered', { retryable: true }));
    }
    if (this.#phase === 'open' && performance.now() - this.#openedAt > SETTLED_MS) this.#attempt = 0;
    if (this.#phase === 'open') this.#url.searchParams.delete('again');
    else this.#url.searchParams.set('again', '1');
    if (this.#state === 'joined') this.#lostAt = performance.now();
    if (!this.#joining) this.#setState('reconnecting');
    this.#connectTimer = setTimeout(() => this.#connect(), this.#backoffMs());
  }

  #backoffMs() {
    const awaited = this.#session && performance.now() - this.#lostAt < this.#session.graceMs;
    const pauseMs = jitteredMs(this.#attempt++, awaited ? BACKOFF_GRACE_CAP_MS : BACKOFF_CAP_MS);
    return Math.max(0, this.#notBefore - performance.now()) + pauseMs;
  }

  /** Gives the socket up without a word about it. */
  #release() {
    this.#socket = null;
    this.#outbox.shut();
    this.#acks.stop();
  }

  // ---- messages ------------------------------------------------------------------------------------------------

  /** @param {NodeMessage} message */
  #take(message) {
    if (message.type === 'RoomJoined') return this.#adopt(message);
    if (message.type === 'Resumed' && message.outcome === 'snapshot') return this.#adopt(message);
    if (message.type === 'Error' && this.#isRefusal(message)) return this.#refused(SignalError.fromWire(message));
    if (!this.#session || this.#phase === 'joining' || !this.#isNext(message.seq)) return;
    this.#session.lastSeq = message.seq;
    this.#acks.count();
    this.#deliver(message);
  }

  /**
   * Each message is taken once and in order.
   * @param {number} seq
   */
  #isNext(seq) {
    const lastSeq = this.#session?.lastSeq ?? 0;
    if (seq > lastSeq + 1) this.#socket?.drop(); // a message is missing; resuming brings it
    return seq === lastSeq + 1;
  }

  /** @param {Exclude<NodeMessage, RoomJoined>} message */
  #deliver(message) {
    switch (message.type) {
      case 'Resumed':
        return this.#opened(() => this.emit('Resumed', message));
      case 'Accepted':
        return this.#outbox.answer(message.id);
      case 'Error':
        if (message.id !== undefined) return this.#answer(message.id, SignalError.fromWire(message));
        break;
      case 'Draining':
        this.#moveAfter(message.reconnect_after_ms);
        break;
    }
    if (KNOWN.has(message.type)) this.emit(message.type, /** @type {any} */ (message));
  }

  /**
   * A command was refused; or it was taken before, and then lost on the way to another node.
   * @param {import('./types.d.ts').CommandId} id
   * @param {SignalError} error
   */
  #answer(id, error) {
    const taken = this.#outbox.answer(id, error);
    if (taken) this.emit('undelivered', { ...taken, error });
  }

  /**
   * A session begins, or begins again with a fresh roster. The node may also say so in the midst of it, where something
   * was lost on its way here: then the socket stays, and commands are still answered on it.
   * @param {RoomJoined | Snapshot} message
   */
  #adopt(message) {
    const midway = this.#phase === 'open';
    if (midway && message.seq <= (this.#session?.lastSeq ?? 0)) return;
    this.#session = {
      id: message.session_id,
      token: message.resume_token,
      lastSeq: message.seq,
      heartbeatMs: message.heartbeat_ms,
      graceMs: message.limits?.grace_ms ?? GRACE_MS,
    };
    if (this.#hello) this.#hello.user_id = message.user_id;
    rememberUserId(this.#storage, message.room_name, message.user_id);
    this.#acks.count();
    const tell = () => (message.type === 'RoomJoined' ? this.emit('RoomJoined', message) : this.emit('Resumed', message));
    if (midway) return tell();
    this.#outbox.startOver(message.limits);
    this.#opened(tell);
    if (message.type === 'RoomJoined') this.#joining?.resolve(message);
    this.#joining = null;
  }

  /**
   * The present socket carries the session.
   * @param {() => void} tell runs before the new state is told, so that listeners of `state` see the new roster
   */
  #opened(tell) {
    this.#phase = 'open';
    this.#openedAt = performance.now();
    this.#socket?.watch(this.#session?.heartbeatMs ?? 0);
    this.#outbox.open();
    tell();
    if (this.#phase === 'open' && this.#socket) this.#setState('joined');
  }

  #sendAck() {
    if (this.#session) this.#socket?.send(JSON.stringify({ type: 'Ack', seq: this.#session.lastSeq }));
  }

  // ---- refusals and the end --------------------------------------------------------------------------------------

  /**
   * Whether an error answers the hello. While missed messages are repeated, an old error can be among them: that one
   * has the next number.
   * @param {import('./types.d.ts').WireError} error
   */
  #isRefusal(error) {
    if (this.#phase !== 'resuming') return this.#phase === 'joining';
    if (error.code === 'session_unknown') return true;
    return error.id === undefined && error.seq !== (this.#session?.lastSeq ?? 0) + 1;
  }

  /** @param {SignalError} error */
  #refused(error) {
    if (error.code === 'session_unknown' && this.#phase === 'resuming') {
      this.#session = null;
      return this.#sayHello();
    }
    if (error.retryAfterMs) this.#notBefore = performance.now() + error.retryAfterMs;
    // The session still stands, at a node that does not answer: once that is known to be dead, the grace begins.
    if (error.code === 'overloaded' && this.#session) this.#lostAt = performance.now();
    if (error.retryable && !ROOM_REFUSALS.has(error.code)) return this.#socket?.drop();
    this.#refuse(error);
  }

  /**
   * The way in, or back in, is closed.
   * @param {SignalError} error
   * @param {import('./types.d.ts').Ended} [ended]
   */
  #refuse(error, ended = endedBy(error)) {
    const joining = this.#joining;
    if (!joining) return this.#end(ended);
    this.#joining = null;
    this.#stop();
    this.#setState('idle');
    joining.reject(error);
  }

  /** @param {import('./types.d.ts').Ended} ended */
  #end(ended) {
    if (this.#state === 'idle' || this.#state === 'closed') return;
    const error = new SignalError('closed', ended.reason);
    const joining = this.#joining;
    this.#joining = null;
    this.#stop();
    this.#outbox.failAll(error);
    this.#setState('closed');
    this.emit('ended', ended);
    joining?.reject(error);
  }

  #stop() {
    const socket = this.#socket;
    this.#release();
    socket?.close();
    this.#session = null;
    clearTimeout(this.#connectTimer);
    this.#connectTimer = undefined;
    this.#watch?.abort();
  }

  // ---- reasons to act before a timer says so ---------------------------------------------------------------------

  /**
   * The node is going away and has told this session when to move.
   * @param {number} afterMs
   */
  #moveAfter(afterMs) {
    const socket = this.#socket;
    this.#notBefore = performance.now() + afterMs;
    this.#connectTimer = setTimeout(() => socket?.drop(), afterMs);
  }

  #watchWindow() {
    this.#watch?.abort();
    this.#watch = new AbortController();
    const { signal } = this.#watch;
    const wake = () => this.#wake();
    globalThis.addEventListener?.('online', wake, { signal });
    globalThis.addEventListener?.('offline', wake, { signal });
    // A window that was away may have slept through the end of its socket.
    const shown = () => { if (document.visibilityState === 'visible') wake(); };
    globalThis.document?.addEventListener('visibilitychange', shown, { signal });
  }

  #wake() {
    if (this.#socket) this.#socket.probe();
    else if (this.#connectTimer !== undefined && performance.now() >= this.#notBefore) this.#connect();
  }

  // ---- small things ----------------------------------------------------------------------------------------------

  /** @param {import('./types.d.ts').SignalingState} state */
  #setState(state) {
    if (state === this.#state) return;
    this.#state = state;
    this.emit('state', { state });
  }
}

/** Messages of types that this library does not know are no events: a newer node may send them. */
const KNOWN = new Set([
  'UserJoined', 'UserUpdated', 'UserLeft', 'RoomState', 'Muted', 'Offer', 'Answer', 'IceCandidate', 'Message',
  'Error', 'Draining', 'Pong',
]);
