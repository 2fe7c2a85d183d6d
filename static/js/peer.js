/**
 * The WebRTC connection with one other participant: negotiates, heals, and carries four tracks each way.
 *
 * **Layout.** Whoever starts creates four transceivers, in the order of `SLOTS`, all `sendrecv` from the beginning. To
 * mute, to change a camera or to share a screen is `replaceTrack` alone, and never a negotiation.
 *
 * **Negotiation** is the perfect negotiation of the WebRTC specification. One of the two is polite and yields when
 * offers collide. Two rules are added, because a page can be reloaded without anyone being told:
 * - A description from another origin (`o=`) than the last was written by a new `RTCPeerConnection`: the old one has no
 *   other end any more and is replaced here too, also by the impolite side.
 * - Who ignores an offer repeats its own, in case that the first copy went to a page that is gone.
 *
 * **Healing.** While not connected, ICE is restarted with growing pauses; the impolite side acts first. If that does not
 * help, the connection is built anew. There is no last attempt: only `close` ends it. A signal that did not arrive leaves
 * the two out of step also while pictures move: then they are brought in step again, and the connection is kept.
 * @module
 */
import { CandidateQueue } from './candidates.js';
import { TypedEventTarget } from './events.js';
import { Healing } from './healing.js';
import { originOf } from './sdp.js';

/** @typedef {import('./types.d.ts').Slot} Slot */
/** @typedef {import('./types.d.ts').LinkState} LinkState */
/** @typedef {Record<Slot, MediaStreamTrack | null>} Tracks */

/** What can be sent, in the order of the m-lines. @type {readonly Slot[]} */
export const SLOTS = ['audio', 'video', 'screen', 'screenAudio'];
/** @type {Record<Slot, 'audio' | 'video'>} */
export const KIND_OF = { audio: 'audio', video: 'video', screen: 'video', screenAudio: 'audio' };

/** ICE often recovers by itself within this. Unit: ms. */
const DISCONNECTED_MS = 2_000;
/**
 * From an offer to a connection, before a signal counts as lost. ICE itself says sooner when there is no path, so this is
 * long: a machine that is slow under many connections must not be given more of them. Unit: ms.
 */
const CONNECT_MS = 20_000;
/** After a signal that did not arrive, while nobody says that the other side can be reached again. Unit: ms. */
const UNDELIVERED_MS = 2_000;

/**
 * @typedef {object} PeerOptions
 * @property {boolean} polite the opposite of what the other side has
 * @property {(command: import('./types.d.ts').PeerCommand) => Promise<void>} signal sends to the other side, in order
 * @property {() => boolean} canSignal whether it would go out now
 * @property {() => RTCIceServer[]} iceServers the newest known
 * @property {Readonly<Tracks>} tracks what this side sends, kept current by the owner
 */

/**
 * Events: `link` {state}; `media` {} when the received tracks are others than before.
 * @extends {TypedEventTarget<{ link: { state: LinkState }, media: {} }>}
 */
export class PeerLink extends TypedEventTarget {
  #options;
  /** @type {RTCPeerConnection | null} */
  #pc = null;
  /** @type {Map<Slot, RTCRtpTransceiver>} */
  #transceivers = new Map();
  #candidates = new CandidateQueue();
  /** Of the remote description in force; empty before the first. */
  #remoteOrigin = '';
  /** The last offer that was answered here, so that a second copy of it is known. */
  #answered = '';
  /** The last own offer, as it was sent, and whether it was sent a second time. */
  #offered = { sdp: '', repeated: false };
  /** What is known to have no other end; only a new connection helps. */
  #broken = false;
  /** A signal of the present negotiation did not arrive. */
  #outOfStep = false;
  /** @type {LinkState} */
  #state = 'new';
  #wasConnected = false;
  #closed = false;
  #healing;
  /** Steps of the negotiation run one after the other. */
  #steps = Promise.resolve();
  /** Tracks of one stream are played in step with each other. */
  #streams = { camera: new MediaStream(), screen: new MediaStream() };

  /** @param {PeerOptions} options */
  constructor(options) {
    super();
    this.#options = options;
    this.#healing = new Healing(options.polite, () => this.#heal());
  }

  /** How the connection is. */
  get state() {
    return this.#state;
  }

  /** The connection of this moment, for measurements; it is replaced when the other side begins anew. */
  get pc() {
    return this.#pc;
  }

  /** @returns {Promise<RTCStatsReport | null>} null while there is no connection */
  async getStats() {
    return (await this.#pc?.getStats()) ?? null;
  }

  /**
   * The received track of a slot; it exists, muted, also while the other side sends nothing.
   * @param {Slot} slot
   */
  track(slot) {
    return this.#transceivers.get(slot)?.receiver.track ?? null;
  }

  /** Builds a connection, anew if there is one, and offers it. */
  start() {
    this.#healing.begin();
    this.#act(() => this.#rebuild());
  }

  /** The other side will offer; if it does not, this side starts. */
  expect() {
    this.#setState('connecting');
    this.#healing.after(CONNECT_MS);
  }

  /** @param {string} sdp */
  takeOffer(sdp) {
    this.#do(() => this.#onOffer(sdp));
  }

  /** @param {string} sdp */
  takeAnswer(sdp) {
    this.#do(() => this.#onAnswer(sdp));
  }

  /** @param {RTCIceCandidateInit | null} candidate */
  takeCandidate(candidate) {
    this.#do(() => this.#candidates.take(this.#pc, candidate));
  }

  /**
   * Sends another track in a slot, or nothing.
   * @param {Slot} slot
   * @param {MediaStreamTrack | null} track
   * @returns {Promise<void>}
   */
  setTrack(slot, track) {
    return this.#do(async () => {
      const transceiver = this.#transceivers.get(slot);
      if (transceiver) await transceiver.sender.replaceTrack(track);
      // The other side offered fewer than four: this one costs a negotiation.
      else if (track && this.#pc && this.#transceivers.size > 0) this.#place(slot, this.#pc.addTransceiver(track));
    });
  }

  /** The session is back and nothing was missed: what is not connected is restarted now. */
  check() {
    if (this.#outOfStep) return this.renegotiate();
    if (this.#isConnected()) return;
    const { signalingState, iceConnectionState = 'new' } = this.#pc ?? {};
    const lost = iceConnectionState === 'disconnected' || iceConnectionState === 'failed';
    // What is under way was kept by the session, and goes on.
    if (signalingState !== 'stable' || !lost) return this.#healing.after(CONNECT_MS);
    this.#healing.begin();
    this.#act(() => this.#restartIce());
  }

  /** Signals may have been lost on the way: whatever was under way is begun again, and the connection kept. */
  renegotiate() {
    this.#healing.begin();
    this.#act(() => (this.#pc ? this.#restartIce() : this.#rebuild()));
  }

  /**
   * A signal did not arrive, however long ago it was sent.
   * @param {import('./types.d.ts').PeerCommand['type']} type
   */
  undelivered(type) {
    // Who is connected has found a path without that candidate.
    if (this.#closed || (type === 'IceCandidate' && this.#isConnected())) return;
    this.#outOfStep = true;
    this.#healing.after(UNDELIVERED_MS);
  }

  /** The other side can be reached again: what did not arrive meanwhile is made good at once. */
  reachable() {
    if (this.#outOfStep) this.renegotiate();
  }

  /** The other side is gone, or this one leaves. Nothing happens after it. */
  close() {
    this.#closed = true;
    this.#healing.cancel();
    this.#discard();
  }

  // ---- negotiation ---------------------------------------------------------------------------------------------

  /**
   * Runs a step when those before it are done. A step that fails leaves a connection nobody can vouch for.
   * @param {() => void | Promise<void>} step
   * @returns {Promise<void>}
   */
  #do(step) {
    this.#steps = this.#steps
      .then(() => (this.#closed ? undefined : step()))
      .catch(() => this.#breaks());
    return this.#steps;
  }

  #breaks() {
    if (this.#closed) return;
    this.#broken = true;
    this.#healing.after(0);
  }

  #rebuild() {
    this.#discard();
    const pc = this.#open();
    for (const slot of SLOTS) {
      const streams = [this.#streamOf(slot)];
      this.#place(slot, pc.addTransceiver(this.#options.tracks[slot] ?? KIND_OF[slot], { direction: 'sendrecv', streams }));
    }
  }

  #open() {
    const pc = new RTCPeerConnection({ iceServers: this.#options.iceServers(), bundlePolicy: 'max-bundle' });
    this.#pc = pc;
    pc.onnegotiationneeded = () => this.#do(() => this.#offer(pc));
    pc.onicecandidate = ({ candidate }) => this.#send({ type: 'IceCandidate', candidate: candidate?.toJSON() ?? null });
    pc.onconnectionstatechange = () => this.#observe(pc);
    pc.oniceconnectionstatechange = () => this.#observe(pc);
    this.#setState(this.#wasConnected ? 'reconnecting' : 'connecting');
    return pc;
  }

  #discard() {
    const pc = this.#pc;
    this.#pc = null;
    this.#transceivers.clear();
    this.#candidates.undescribed();
    this.#remoteOrigin = '';
    this.#answered = '';
    this.#broken = false;
    this.#outOfStep = false;
    if (!pc) return;
    pc.onnegotiationneeded = pc.onicecandidate = pc.onconnectionstatechange = pc.oniceconnectionstatechange = null;
    pc.close();
  }

  /** @param {RTCPeerConnection} pc */
  async #offer(pc) {
    if (pc !== this.#pc || pc.signalingState !== 'stable') return;
    await pc.setLocalDescription();
    this.#outOfStep = false;
    this.#offered = { sdp: pc.localDescription?.sdp ?? '', repeated: false };
    this.#send({ type: 'Offer', sdp: this.#offered.sdp });
  }

  #repeatOffer() {
    if (this.#offered.repeated) return;
    this.#offered.repeated = true;
    this.#send({ type: 'Offer', sdp: this.#offered.sdp });
  }

  /** @param {string} sdp */
  async #onOffer(sdp) {
    if (sdp === this.#answered) return;
    if (this.#remoteOrigin && originOf(sdp) !== this.#remoteOrigin) this.#discard();
    if (this.#pc?.signalingState === 'have-local-offer') {
      if (!this.#options.polite) return this.#repeatOffer();
      // A connection that was never answered has nothing to roll back to but stray transceivers.
      if (!this.#remoteOrigin) this.#discard();
    }
    const pc = this.#pc ?? this.#open();
    await this.#describe(pc, { type: 'offer', sdp });
    await this.#placeAll(pc);
    await pc.setLocalDescription();
    this.#answered = sdp;
    this.#send({ type: 'Answer', sdp: pc.localDescription?.sdp ?? '' });
    this.emit('media', {});
    if (!this.#isConnected()) this.#healing.after(CONNECT_MS);
  }

  /** @param {string} sdp */
  async #onAnswer(sdp) {
    const pc = this.#pc;
    if (!pc) return;
    if (this.#remoteOrigin && originOf(sdp) !== this.#remoteOrigin) return this.#breaks();
    if (pc.signalingState !== 'have-local-offer') return; // an answer to an offer that was taken back
    await this.#describe(pc, { type: 'answer', sdp });
    this.emit('media', {});
  }

  /**
   * @param {RTCPeerConnection} pc
   * @param {{ type: RTCSdpType, sdp: string }} description
   */
  async #describe(pc, description) {
    await pc.setRemoteDescription(description);
    this.#remoteOrigin = originOf(description.sdp);
    await this.#candidates.described(pc, description.sdp);
  }

  /**
   * Takes the transceivers of an offer: the n-th of a kind is the n-th slot of that kind. More are left alone.
   * @param {RTCPeerConnection} pc
   */
  async #placeAll(pc) {
    const placed = new Set(this.#transceivers.values());
    for (const transceiver of pc.getTransceivers()) {
      if (placed.has(transceiver)) continue;
      const { kind } = transceiver.receiver.track;
      const slot = SLOTS.find((free) => KIND_OF[free] === kind && !this.#transceivers.has(free));
      if (!slot) continue;
      transceiver.direction = 'sendrecv';
      transceiver.sender.setStreams?.(this.#streamOf(slot));
      this.#place(slot, transceiver);
      await transceiver.sender.replaceTrack(this.#options.tracks[slot]);
    }
  }

  /**
   * @param {Slot} slot
   * @param {RTCRtpTransceiver} transceiver
   */
  #place(slot, transceiver) {
    this.#transceivers.set(slot, transceiver);
  }

  /** @param {Slot} slot */
  #streamOf(slot) {
    return slot === 'audio' || slot === 'video' ? this.#streams.camera : this.#streams.screen;
  }

  /** @param {import('./types.d.ts').PeerCommand} command */
  #send(command) {
    // What is superseded was replaced already, and after the end of the session nothing can be sent.
    this.#options.signal(command).catch(({ code }) => {
      if (code !== 'superseded' && code !== 'closed') this.undelivered(command.type);
    });
  }

  // ---- healing -------------------------------------------------------------------------------------------------

  #isConnected() {
    return this.#pc?.connectionState === 'connected' && !this.#broken;
  }

  /** @param {RTCPeerConnection} pc */
  #observe(pc) {
    if (pc !== this.#pc) return;
    if (pc.connectionState === 'connected') return this.#connected(pc);
    if (pc.connectionState === 'failed') {
      // Broken while the path is good: the other side's certificate is not the one it announced.
      if (pc.iceConnectionState !== 'failed') this.#broken = true;
      this.#healing.after(0);
    } else if (pc.iceConnectionState === 'disconnected') {
      this.#healing.after(DISCONNECTED_MS);
    }
    if (this.#state === 'connected') this.#setState('reconnecting');
  }

  /** @param {RTCPeerConnection} pc */
  #connected(pc) {
    this.#wasConnected = true;
    // Whatever did not arrive was not needed, unless an offer still waits for its answer.
    if (pc.signalingState === 'stable') {
      this.#outOfStep = false;
      this.#healing.begin();
    }
    this.#setState('connected');
  }

  #heal() {
    // Without a session nothing can be agreed; `check` or `renegotiate` comes when it is back.
    const connected = this.#isConnected();
    const agreed = !this.#outOfStep && this.#pc?.signalingState === 'stable';
    if ((connected && agreed) || !this.#options.canSignal()) return;
    const { thorough, hopeless } = this.#healing.attempt();
    // Where signals do not arrive, nothing is known of the path.
    if (hopeless && !connected && !this.#outOfStep) this.#setState('failed');
    const anew = this.#broken || !this.#remoteOrigin || (thorough && !connected);
    this.#act(() => (anew ? this.#rebuild() : this.#restartIce()));
  }

  /** @param {() => void | Promise<void>} step whose success shows in a connection, or another follows */
  #act(step) {
    this.#do(step);
    this.#healing.after(CONNECT_MS);
  }

  async #restartIce() {
    const pc = this.#pc;
    if (!pc) return;
    pc.setConfiguration({ ...pc.getConfiguration(), iceServers: this.#options.iceServers() });
    pc.restartIce();
    if (pc.signalingState === 'have-local-offer') await pc.setLocalDescription({ type: 'rollback' });
    await this.#offer(pc);
  }

  /** @param {LinkState} state */
  #setState(state) {
    if (this.#closed || state === this.#state) return;
    // An attempt does not make a failed link look better; only a connection does.
    if (this.#state === 'failed' && state !== 'connected') return;
    this.#state = state;
    this.emit('link', { state });
  }
}
