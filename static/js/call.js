/**
 * The room as an application sees it: who is there, what they send and say, and what this participant sends.
 *
 * `Call` joins the signaling of `signaling.js` with one `PeerLink` for each other participant. It keeps both through
 * lost sockets, dead nodes and reloads, and tells the difference by events. It plays nothing, captures nothing and
 * touches no page; an application does that.
 * @module
 */
import { SignalError } from './errors.js';
import { TypedEventTarget } from './events.js';
import { mergeMetadata } from './metadata.js';
import { KIND_OF, PeerLink } from './peer.js';
import { Participant } from './participant.js';
import { QualityMeter } from './quality.js';
import { SignalingClient } from './signaling.js';
import { Waiting } from './waiting.js';

/** How often the connections are measured. Unit: ms. */
const MEASURE_MS = 2_000;

/** @typedef {import('./types.d.ts').CallEvents} CallEvents */
/** @typedef {import('./types.d.ts').LeaveReason} LeaveReason */
/** @typedef {import('./types.d.ts').Metadata} Metadata */
/** @typedef {import('./types.d.ts').Roster} Roster */
/** @typedef {import('./types.d.ts').Signal} Signal */
/** @typedef {import('./types.d.ts').Slot} Slot */
/** @typedef {import('./types.d.ts').WireUser} WireUser */

/**
 * @typedef {object} CallOptions
 * @property {string} room 1–64 characters of `A-Z a-z 0-9 _ -`
 * @property {string} [username] for people; need not be unique
 * @property {string} [userId] default: the id this window had in this room, else one the node makes
 * @property {Metadata} [metadata] what the others shall know of this participant
 * @property {string} [token] only where the node asks for one
 * @property {string} [url] of the node's `/ws`; default: the page's own origin
 * @property {Storage | null} [storage] keeps the user id for a reload; default: `sessionStorage`
 */

/**
 * One call. Events are listed in `types.d.ts` (`CallEvents`) and in the README.
 * @extends {TypedEventTarget<CallEvents>}
 */
export class Call extends TypedEventTarget {
  #options;
  #client;
  /** @type {import('./types.d.ts').Me | null} */
  #me = null;
  /** @type {Metadata} */
  #metadata;
  /** @type {Record<Slot, MediaStreamTrack | null>} */
  #tracks = { audio: null, video: null, screen: null, screenAudio: null };
  /** @type {RTCIceServer[]} */
  #iceServers = [];
  #room = { locked: false, recording: false };
  #isolated = false;
  /** @type {WeakMap<Participant, QualityMeter>} */
  #meters = new WeakMap();
  #waiting = new Waiting();
  /** @type {ReturnType<typeof setInterval> | undefined} */
  #measuring;

  /**
   * Everyone else in the room, by user id. Read-only.
   * @type {Map<string, Participant>}
   */
  participants = new Map();

  /** @param {CallOptions} options */
  constructor({ storage = sessionStorageIfAny(), ...options }) {
    super();
    this.#options = options;
    this.#metadata = { audio: false, video: false, screen: false, ...options.metadata };
    this.#client = new SignalingClient({ url: options.url, storage });
    this.#listen();
  }

  /** This participant; null before the first `join`. */
  get me() {
    return this.#me;
  }

  /** @returns {import('./types.d.ts').CallState} */
  get state() {
    return this.#client.state === 'closed' ? 'left' : this.#client.state;
  }

  /** Whether nobody else can join. */
  get locked() {
    return this.#room.locked;
  }

  /** Whether someone records. */
  get recording() {
    return this.#room.recording;
  }

  /** Whether the node is cut off from its cluster, as it said last. */
  get isolated() {
    return this.#isolated;
  }

  /**
   * Enters the room and begins to connect with everyone in it.
   * @returns {Promise<void>} resolved when `me` and `participants` are known; rejected with a `SignalError`, after
   *   which it may be called again
   */
  async join() {
    const { room, userId, username, token } = this.#options;
    const metadata = this.#metadata;
    await this.#client.join({ room, userId: this.#me?.userId ?? userId, username, token, metadata });
    // What changed on the way in came too late for the words with which one enters.
    if (this.#metadata !== metadata) this.#report(this.update(this.#metadata));
  }

  /** Leaves for good; the others see it at once. Ends with the event `ended`. */
  leave() {
    this.#client.leave();
  }

  /**
   * Sends a track in a slot to everyone, present and future, or sends nothing there. No connection is negotiated anew
   * for it. The metadata `audio`, `video` and `screen` follow by themselves.
   * @param {Slot} slot
   * @param {MediaStreamTrack | null} track stays the application's: it is never stopped here
   * @returns {Promise<void>} resolved when every connection sends it
   */
  async setTrack(slot, track) {
    if (track && track.kind !== KIND_OF[slot]) throw new TypeError(`${slot} takes no ${track.kind} track`);
    this.#tracks[slot] = track;
    // A device that was pulled out, or "stop sharing" in the browser's own bar.
    track?.addEventListener('ended', () => { if (this.#tracks[slot] === track) this.setTrack(slot, null); }, { once: true });
    if (slot !== 'screenAudio') this.#announce({ [slot]: track !== null });
    await Promise.all([...this.participants.values()].map(({ peer }) => peer.setTrack(slot, track)));
  }

  /**
   * @param {unknown} data any JSON
   * @param {string} [targetUserId] default: everyone else
   * @returns {Promise<void>} resolved when the node took it; rejected with a `SignalError`
   */
  sendMessage(data, targetUserId) {
    return this.#client.send({ type: 'Message', data, target_user_id: targetUserId });
  }

  /**
   * Changes what the others know of this participant. Before `join` it is kept for it.
   * @param {Metadata} metadata merged; null deletes a key
   * @returns {Promise<void>} resolved when the node took it; rejected with a `SignalError`
   */
  async update(metadata) {
    this.#metadata = mergeMetadata(this.#metadata, metadata);
    if (this.#me) {
      this.#me.metadata = this.#metadata;
      this.emit('me', { me: this.#me });
    }
    if (this.#inRoom()) await this.#client.send({ type: 'Update', metadata });
  }

  /**
   * Moderators only: removes someone.
   * @param {string} userId
   */
  kick(userId) {
    return this.#client.send({ type: 'Kick', target_user_id: userId });
  }

  /**
   * Moderators only: asks someone to mute.
   * @param {string} userId
   * @param {string} kind `audio`, `video` or `screen`
   */
  mute(userId, kind) {
    return this.#client.send({ type: 'Mute', target_user_id: userId, kind });
  }

  /**
   * Moderators only: lets nobody else in, or everybody again.
   * @param {boolean} locked
   */
  lock(locked) {
    return this.#client.send({ type: 'Lock', locked });
  }

  // ---- what the node says --------------------------------------------------------------------------------------

  #listen() {
    const client = this.#client;
    client.addEventListener('state', () => this.emit('state', { state: this.state }));
    client.addEventListener('RoomJoined', ({ detail }) => this.#reconcile(detail, 'joined'));
    client.addEventListener('Resumed', ({ detail }) => this.#onResumed(detail));
    client.addEventListener('UserJoined', ({ detail }) => this.#onUser(detail.user));
    client.addEventListener('UserUpdated', ({ detail }) => this.#onNews(detail.user));
    client.addEventListener('UserLeft', ({ detail }) => this.#remove(detail.user_id, detail.reason));
    client.addEventListener('Offer', ({ detail }) => this.#onSignal(detail));
    client.addEventListener('Answer', ({ detail }) => this.#onSignal(detail));
    client.addEventListener('IceCandidate', ({ detail }) => this.#onSignal(detail));
    client.addEventListener('Message', ({ detail }) => this.emit('message', { from: detail.from_user_id, data: detail.data }));
    client.addEventListener('RoomState', ({ detail }) => this.#setRoom(detail));
    client.addEventListener('Muted', ({ detail }) => this.emit('muted', { kind: detail.kind, by: detail.by }));
    client.addEventListener('Error', ({ detail }) => this.emit('problem', { code: detail.code, message: detail.message }));
    client.addEventListener('undelivered', ({ detail }) => this.#onUndelivered(detail));
    client.addEventListener('ended', ({ detail }) => this.#onEnded(detail));
  }

  /** @param {import('./types.d.ts').Resumed} message */
  #onResumed(message) {
    if (message.outcome === 'snapshot') return this.#reconcile(message, 'snapshot');
    for (const { peer } of this.participants.values()) peer.check();
    this.emit('joined', { outcome: 'full' });
  }

  /**
   * Makes `participants` what the roster says, telling exactly the differences.
   * @param {Roster} roster
   * @param {'joined' | 'snapshot'} outcome
   */
  #reconcile(roster, outcome) {
    this.#enter(roster);
    const listed = new Map(roster.participants.map((user) => [user.user_id, user]));
    for (const userId of [...this.participants.keys()]) if (!listed.has(userId)) this.#remove(userId);
    for (const user of listed.values()) {
      const kept = this.participants.get(user.user_id);
      this.#onUser(user);
      const peer = this.participants.get(user.user_id)?.peer;
      // With a session of our own that is new, everyone else has taken the old connections down.
      if (kept && outcome === 'snapshot') peer?.renegotiate();
      else peer?.start();
    }
    this.emit('joined', { outcome });
  }

  /** @param {Roster} roster */
  #enter(roster) {
    const { user_id: userId, role, session_id: sessionId } = roster;
    this.#me = { userId, username: this.#me?.username ?? this.#options.username ?? '', role, metadata: this.#metadata, sessionId };
    this.#iceServers = roster.ice_servers ?? [];
    this.#setRoom(roster);
    this.#setIsolated(roster.isolated === true);
    this.#measuring ??= setInterval(() => this.#measure(), MEASURE_MS);
    this.emit('me', { me: this.#me });
  }

  /** @param {WireUser} user who is in the room, known here or not */
  #onUser(user) {
    const known = this.participants.has(user.user_id) || user.user_id === this.#me?.userId;
    if (known) this.#onUpdated(user);
    else this.#add(user);
  }

  /** @param {WireUser} user */
  #onNews(user) {
    const participant = this.participants.get(user.user_id);
    const wasAway = participant?.state === 'suspect';
    this.#onUpdated(user);
    if (wasAway && participant.state === 'present') participant.peer.reachable();
  }

  /** @param {WireUser} user whom the last news of somebody who left must not bring back */
  #onUpdated(user) {
    if (user.user_id === this.#me?.userId) return this.#onOwnUser(user);
    const participant = this.participants.get(user.user_id);
    if (!participant?.update(user)) return;
    this.emit('participant', { kind: 'updated', participant });
    if (participant.placeTracks()) this.emit('media', { participant });
  }

  /** @param {WireUser} user */
  #onOwnUser({ role, username }) {
    const me = this.#me;
    if (!me || (me.role === role && me.username === username)) return;
    this.#me = { ...me, role, username };
    this.emit('me', { me: this.#me });
  }

  /** @param {WireUser} user */
  #add(user) {
    const participant = new Participant(user, this.#linkWith(user.user_id));
    this.participants.set(user.user_id, participant);
    participant.peer.addEventListener('link', ({ detail }) => {
      participant.link = detail.state;
      this.emit('participant', { kind: 'updated', participant });
    });
    participant.peer.addEventListener('media', () => {
      if (participant.placeTracks()) this.emit('media', { participant });
    });
    this.emit('participant', { kind: 'joined', participant });
    participant.peer.expect();
    for (const signal of this.#waiting.claim(user.user_id)) this.#onSignal(signal);
  }

  /**
   * @param {string} userId
   * @returns {PeerLink}
   */
  #linkWith(userId) {
    return new PeerLink({
      // Both sides compare the same two ids, so exactly one is polite, whoever joined first.
      polite: (this.#me?.userId ?? '') < userId,
      tracks: this.#tracks,
      iceServers: () => this.#iceServers,
      canSignal: () => this.#client.state === 'joined',
      signal: (command) => this.#client.send({ ...command, target_user_id: userId }),
    });
  }

  /**
   * @param {string} userId
   * @param {LeaveReason} [reason]
   */
  #remove(userId, reason) {
    this.#waiting.claim(userId);
    const participant = this.participants.get(userId);
    if (!participant) return;
    this.participants.delete(userId);
    participant.peer.close();
    this.emit('participant', { kind: 'left', participant, reason });
  }

  /** @param {Signal} signal */
  #onSignal(signal) {
    const peer = this.participants.get(signal.from_user_id)?.peer;
    if (!peer) return this.#waiting.hold(signal);
    if (signal.type === 'Offer') peer.takeOffer(signal.sdp);
    else if (signal.type === 'Answer') peer.takeAnswer(signal.sdp);
    else if (signal.type === 'IceCandidate') peer.takeCandidate(signal.candidate);
  }

  /** @param {import('./types.d.ts').SignalingEvents['undelivered']} lost */
  #onUndelivered({ type, target = '', error }) {
    if (type === 'Message') return this.emit('problem', { code: 'undelivered', message: error.message });
    if (type === 'Offer' || type === 'Answer' || type === 'IceCandidate') this.participants.get(target)?.peer.undelivered(type);
  }

  /** @param {boolean} isolated */
  #setIsolated(isolated) {
    if (this.#isolated === isolated) return;
    this.#isolated = isolated;
    this.emit('isolated', { isolated });
  }

  /** @param {{ locked: boolean, recording: boolean }} room */
  #setRoom({ locked, recording }) {
    if (this.#room.locked === locked && this.#room.recording === recording) return;
    this.#room = { locked, recording };
    this.emit('room', { locked, recording });
  }

  /** @param {import('./types.d.ts').Ended} ended */
  #onEnded(ended) {
    clearInterval(this.#measuring);
    this.#measuring = undefined;
    for (const { peer } of this.participants.values()) peer.close();
    this.participants.clear();
    this.#waiting.clear();
    this.emit('ended', ended);
  }

  // ---- small things --------------------------------------------------------------------------------------------

  #inRoom() {
    return this.#client.state === 'joined' || this.#client.state === 'reconnecting';
  }

  /**
   * Tells the others, without anyone waiting for it.
   * @param {Metadata} metadata
   */
  #announce(metadata) {
    const known = Object.entries(metadata).every(([key, value]) => this.#metadata[key] === value);
    if (known) return;
    this.#report(this.update(metadata));
  }

  /** @param {Promise<void>} telling of something that nobody waits for */
  #report(telling) {
    telling.catch((error) => {
      const { code = 'unknown', message = '' } = error instanceof SignalError ? error : {};
      if (code !== 'closed') this.emit('problem', { code, message });
    });
  }

  async #measure() {
    for (const participant of this.participants.values()) {
      const report = participant.link === 'connected' ? await participant.peer.getStats() : null;
      const meter = this.#meters.get(participant) ?? new QualityMeter();
      this.#meters.set(participant, meter);
      const quality = meter.take(report, { video: participant.metadata.video === true });
      if (quality === participant.quality || !this.participants.has(participant.userId)) continue;
      participant.quality = quality;
      this.emit('participant', { kind: 'updated', participant });
    }
  }
}

/** A browser that blocks storage throws at the mere look. */
function sessionStorageIfAny() {
  try {
    return globalThis.sessionStorage ?? null;
  } catch {
    return null;
  }
}
